/* Finds the running pyfpm that a command is meant for, asks it, and reads its answer. */
#include "pm/command_target.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/commands.h"
#include "pm/control.h"
#include "pm/control_client.h"
#include "pm/report.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_MAX   2
#define FIRST_FLAG  256
#define SOCKET_FLAG 's'

int command_take_target(int argc, char **argv, const char *help, const struct command_flag *flags,
                        struct command_target *target)
{
    struct option options[4 + FLAGS_MAX] = {{"config", required_argument, NULL, 'c'},
                                            {"socket", required_argument, NULL, SOCKET_FLAG},
                                            {"help", no_argument, NULL, 'h'}};
    for (int i = 0; i < FLAGS_MAX && flags[i].name; i++)
        options[3 + i] = (struct option){flags[i].name, no_argument, NULL, FIRST_FLAG + i};
    int option;
    *target = (struct command_target){.config = CONFIG_DEFAULT};
    while ((option = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
        if (option == 'c')
            target->config = optarg;
        else if (option == SOCKET_FLAG)
            target->socket_path = optarg;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else if (option >= FIRST_FLAG)
            *flags[option - FIRST_FLAG].value = true;
        else
            return EXIT_USAGE;
    }
    return COMMAND_GO_ON;
}

json_t *command_make_request(const struct command_target *target, const char *verb, char **names)
{
    char resolved[PATH_MAX];
    json_t *request = json_pack("{s:s}", "verb", verb);
    json_t *groups = names[0] ? json_array() : NULL;
    for (char **name = names; *name; name++)
        json_array_append_new(groups, pm_json_text(*name)); /* one that is no UTF-8 is no group's */
    if (groups)
        json_object_set_new(request, "groups", groups);
    if (!target->socket_path)
        json_object_set_new(request, "config",
                            json_string(realpath(target->config, resolved) ? resolved : target->config));
    return request;
}

/* The socket's path, the caller's; NULL after having said why not. */
static char *find_socket(const struct command_target *target, int *exit_code)
{
    char *path = NULL;
    struct cfg_report report = {0};
    if (target->socket_path)
        return strdup(target->socket_path);
    *exit_code = EXIT_CONFIG;
    if (cfg_load_control(target->config, &path, &report) < 0) {
        report_to_stderr(&report);
        command_suggest_config(target->config);
    } else if (!path) {
        fprintf(stderr, "pyfpm: there is no control socket: %s says control: none\n", target->config);
        *exit_code = EXIT_FAILURE;
    }
    cfg_report_free(&report);
    return path;
}

struct pm_client *command_ask(const struct command_target *target, json_t *request, int *exit_code)
{
    struct err e;
    char *path = find_socket(target, exit_code);
    if (!path) {
        json_decref(request);
        return NULL;
    }
    *exit_code = EXIT_FAILURE;
    struct pm_client *client = pm_client_connect(path, &e);
    free(path);
    if (!client)
        json_decref(request);
    if (client && pm_client_ask(client, request, &e) == 0)
        return client;
    fprintf(stderr, "pyfpm: %s\n", e.text);
    pm_client_close(client);
    return NULL;
}

int command_read_answer(struct pm_client *client, void (*show)(const json_t *line, void *context),
                        void *context)
{
    struct err e;
    json_t *line;
    while ((line = pm_client_next(client, &e)) && !pm_client_is_last(line)) {
        if (show)
            show(line, context);
        json_decref(line);
    }
    bool is_good = line && json_is_true(json_object_get(line, "ok"));
    const char *error = json_string_value(json_object_get(line, "error"));
    fflush(stdout); /* before what comes on stderr */
    if (!is_good)
        fprintf(stderr, "pyfpm: %s\n", !line ? e.text : error ? error : "it failed and does not say why");
    json_decref(line);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
