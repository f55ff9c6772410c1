/* pyfpm reload, stop and reopen: what a signal would do, with an answer.
 *
 * They wait for the outcome, say how it comes along, and exit with it. */
#include "pm/commands.h"

#include "base/err.h"
#include "pm/command_target.h"
#include "pm/control_client.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command_flag no_flags[] = {{NULL, NULL}};

static const char *text_of(const json_t *line, const char *member)
{
    const char *text = json_string_value(json_object_get(line, member));
    return text ? text : "";
}

static long long number_of(const json_t *line, const char *member)
{
    return json_integer_value(json_object_get(line, member));
}

/* ---- reload ---- */

static const char reload_help[] =
    "usage: pyfpm reload [--config FILE] [GROUP...]\n"
    "\n"
    "Has the running pyfpm read its file anew and roll all groups, or those named, onto a new generation;\n"
    "waits until that is done and says how it comes along. A group whose new generation cannot start keeps\n"
    "its old one; an error in the file changes nothing.\n"
    "\n"
    "  -c, --config FILE   whose control key names the socket (default " CONFIG_DEFAULT ")\n"
    "  -s, --socket PATH   the control socket itself\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 every group has moved; 1 one has not, or pyfpm is not running\n"
    "example: pyfpm reload --config pyfpm.yaml shop\n";

static void show_outcome(const json_t *line)
{
    const char *group = text_of(line, "group");
    long long generation = number_of(line, "generation");
    if (json_is_true(json_object_get(line, "ends"))) {
        printf("group %s: is no longer in the file, and finishes its requests\n", group);
    } else if (json_is_true(json_object_get(line, "ok"))) {
        printf("group %s: generation %lld is serving\n", group, generation);
    } else {
        if (generation > 0)
            printf("group %s: failed, generation %lld keeps serving: ", group, generation);
        else
            printf("group %s: failed: ", group);
        pm_client_print(text_of(line, "failure"), 4);
        putchar('\n');
    }
}

static void show_reload(const json_t *line, void *context)
{
    (void)context;
    const char *kind = text_of(line, "kind");
    const char *group = text_of(line, "group");
    if (strcmp(kind, "outcome") == 0)
        show_outcome(line);
    else if (strcmp(kind, "progress") == 0 && number_of(line, "moved") == 0)
        printf("group %s: generation %lld is starting\n", group, number_of(line, "generation"));
    else if (strcmp(kind, "progress") == 0)
        printf("group %s: %lld of %lld workers moved\n", group, number_of(line, "moved"),
               number_of(line, "of"));
    else if (strcmp(kind, "pending") == 0)
        printf("%s%s: the file changes this too, which a reload of everything would take up\n",
               strcmp(group, "global") == 0 ? "" : "group ", group);
    else if (strcmp(kind, "message") == 0)
        fprintf(stderr, "%s%s\n", strcmp(text_of(line, "severity"), "warning") == 0 ? "warning: " : "",
                text_of(line, "text"));
    fflush(stdout);
}

int command_reload(int argc, char **argv)
{
    struct command_target target;
    int exit_code = command_take_target(argc, argv, reload_help, no_flags, &target);
    if (exit_code != COMMAND_GO_ON)
        return exit_code;
    struct pm_client *client = command_ask(&target, command_make_request(&target, "reload", argv + optind),
                                           &exit_code);
    if (client)
        exit_code = command_read_answer(client, show_reload, NULL);
    pm_client_close(client);
    return exit_code;
}

/* ---- stop ---- */

static const char stop_help[] =
    "usage: pyfpm stop [--config FILE] [--now]\n"
    "\n"
    "Has the running pyfpm finish its requests, up to graceful-timeout, and stop; waits until it is gone.\n"
    "\n"
    "  -c, --config FILE   whose control key names the socket (default " CONFIG_DEFAULT ")\n"
    "  -s, --socket PATH   the control socket itself\n"
    "      --now           without finishing requests\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 it has stopped; 1 it was not running, or does not stop\n"
    "example: pyfpm stop --config pyfpm.yaml\n";

static void show_stop(const json_t *line, void *context)
{
    (void)context;
    long long workers = number_of(line, "workers");
    if (workers > 0)
        printf("%lld %s in %lld %s left\n", workers, workers == 1 ? "worker" : "workers",
               number_of(line, "groups"), number_of(line, "groups") == 1 ? "group" : "groups");
    fflush(stdout);
}

int command_stop(int argc, char **argv)
{
    struct err e;
    bool now = false;
    const struct command_flag flags[] = {{"now", &now}, {NULL, NULL}};
    struct command_target target;
    char *no_names[] = {NULL};
    int exit_code = command_take_target(argc, argv, stop_help, flags, &target);
    if (exit_code != COMMAND_GO_ON)
        return exit_code;
    if (optind < argc)
        return command_usage("pyfpm stop takes no argument", argv[optind]);
    json_t *request = command_make_request(&target, "stop", no_names);
    if (now)
        json_object_set_new(request, "now", json_true());
    struct pm_client *client = command_ask(&target, request, &exit_code);
    if (client)
        exit_code = command_read_answer(client, show_stop, NULL);
    if (exit_code == EXIT_SUCCESS && pm_client_wait_gone(client, &e) < 0) {
        fprintf(stderr, "pyfpm: %s\n", e.text);
        exit_code = EXIT_FAILURE;
    }
    pm_client_close(client);
    return exit_code;
}

/* ---- reopen ---- */

static const char reopen_help[] =
    "usage: pyfpm reopen [--config FILE]\n"
    "\n"
    "Has the running pyfpm open its log file anew, after it was renamed.\n"
    "\n"
    "  -c, --config FILE   whose control key names the socket (default " CONFIG_DEFAULT ")\n"
    "  -s, --socket PATH   the control socket itself\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 done; 1 it cannot, and goes on with the old file, or is not running\n"
    "example: mv pyfpm.log pyfpm.log.1 && pyfpm reopen --config pyfpm.yaml\n";

int command_reopen(int argc, char **argv)
{
    struct command_target target;
    char *no_names[] = {NULL};
    int exit_code = command_take_target(argc, argv, reopen_help, no_flags, &target);
    if (exit_code != COMMAND_GO_ON)
        return exit_code;
    if (optind < argc)
        return command_usage("pyfpm reopen takes no argument", argv[optind]);
    struct pm_client *client = command_ask(&target, command_make_request(&target, "reopen", no_names),
                                           &exit_code);
    if (client)
        exit_code = command_read_answer(client, NULL, NULL);
    pm_client_close(client);
    return exit_code;
}
