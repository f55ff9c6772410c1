/* pyfpm status: what the running pyfpm and its groups do, as a table for people or as JSON for programs.
 *
 * Shows what the supervisor says and computes nothing of its own. */
#include "pm/commands.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/command_target.h"
#include "pm/control_client.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char help[] = "usage: pyfpm status [--config FILE] [--json] [GROUP...]\n"
                           "\n"
                           "Shows what the running pyfpm and its groups (or those named) do: one line a "
                           "group, and below it what is\n"
                           "wrong with it. Busy is threads in a request, of all; kept is idle kept "
                           "connections; died is workers that\n"
                           "ended though nobody had asked them to.\n"
                           "\n"
                           "  -c, --config FILE   whose control key names the socket (default " CONFIG_DEFAULT
                           ")\n"
                           "  -s, --socket PATH   the control socket itself\n"
                           "      --json          everything, with each process, as one JSON object; "
                           "pyfpm-control(7) has its members\n"
                           "  -h, --help          print this\n"
                           "\n"
                           "exit status: 0 it runs; 1 it does not, or has no such group\n"
                           "example: pyfpm status --config pyfpm.yaml --json shop\n";

#define COLUMNS  9
#define CELL_MAX 96

/* A check is about the file; what runs is worth a moment, no more. */
#define STALE_PATIENCE_MS 2000

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}

static long long number_of(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

/* ---- collecting ---- */

struct answer {
    json_t *supervisor;
    json_t *groups;
};

static void collect(const json_t *line, void *context)
{
    struct answer *answer = context;
    const char *kind = text_of(line, "kind");
    json_t *copy = json_copy((json_t *)line);
    bool is_group = strcmp(kind, "group") == 0;
    if (is_group || strcmp(kind, "supervisor") == 0)
        json_object_del(copy, "kind");
    if (is_group)
        json_array_append(answer->groups, copy);
    else if (strcmp(kind, "supervisor") == 0)
        json_object_set(answer->supervisor, "supervisor", copy);
    json_decref(copy);
}

/* ---- the table ---- */

struct row {
    char cells[COLUMNS][CELL_MAX];
};

static const struct row heading = {
    {"GROUP", "STATE", "GEN", "PYTHON", "WORKERS", "BUSY", "KEPT", "REQUESTS", "DIED"}};

static bool is_right_aligned(int column)
{
    return column == 2 || column >= 4;
}

static void set_cell(struct row *row, int column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void set_cell(struct row *row, int column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(row->cells[column], CELL_MAX, format, args);
    va_end(args);
}

static void fill_row(struct row *row, const json_t *group)
{
    const json_t *workers = json_object_get(group, "workers");
    const json_t *threads = json_object_get(group, "threads");
    const char *python = text_of(group, "python");
    set_cell(row, 0, "%s", text_of(group, "group"));
    set_cell(row, 1, "%s", text_of(group, "state"));
    set_cell(row, 2, "%lld", number_of(group, "generation"));
    set_cell(row, 3, "%s", python[0] ? python : "-");
    set_cell(row, 4, "%lld/%lld", number_of(workers, "serving"), number_of(workers, "wanted"));
    set_cell(row, 5, "%lld/%lld", number_of(threads, "busy"), number_of(threads, "all"));
    set_cell(row, 6, "%lld", number_of(group, "kept"));
    set_cell(row, 7, "%lld", number_of(group, "requests"));
    set_cell(row, 8, "%lld", number_of(group, "restarts"));
}

static void widen(int widths[COLUMNS], const struct row *row)
{
    for (int column = 0; column < COLUMNS; column++)
        if ((int)strlen(row->cells[column]) > widths[column])
            widths[column] = (int)strlen(row->cells[column]);
}

/* NO_COLOR is https://no-color.org's. */
static bool wants_colour(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

static const char *colour_of(const char *state)
{
    if (strcmp(state, "serving") == 0)
        return "\033[32m";
    return strcmp(state, "failed") == 0 || strcmp(state, "backoff") == 0 ? "\033[31m" : "\033[33m";
}

static void print_row(const struct row *row, const int widths[COLUMNS], bool colour)
{
    for (int column = 0; column < COLUMNS; column++) {
        const char *cell = row->cells[column];
        bool coloured = colour && column == 1;
        bool is_last = column == COLUMNS - 1;
        printf("%s%*s%s%s", coloured ? colour_of(cell) : "",
               is_right_aligned(column) ? widths[column] : -widths[column], cell, coloured ? "\033[0m" : "",
               is_last ? "\n" : "  ");
    }
}

/* ---- below a group's line ---- */

static void print_reason(const char *label, const char *text)
{
    printf("    %s: ", label);
    pm_client_print(text, 8);
    putchar('\n');
}

static void print_reload(const json_t *group)
{
    const json_t *reload = json_object_get(group, "last_reload");
    const json_t *reloads = json_object_get(group, "reloads");
    char when[64];
    time_t at = (time_t)number_of(reload, "ended_at");
    struct tm parts;
    if (json_is_true(json_object_get(reload, "is_start")))
        return;
    if (strcmp(text_of(reload, "outcome"), "going") == 0) {
        printf("    reload: under way");
    } else {
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&at, &parts));
        printf("    reload: %s at %s", text_of(reload, "outcome"), when);
    }
    printf(" (%lld good, %lld failed since the start)\n", number_of(reloads, "good"),
           number_of(reloads, "failed"));
    if (text_of(reload, "failure")[0])
        print_reason("why it failed", text_of(reload, "failure"));
}

static void print_reasons(const json_t *group)
{
    size_t index;
    const json_t *sentence;
    const json_t *workers = json_object_get(group, "workers");
    if (text_of(group, "python_home")[0])
        print_reason("python-home", text_of(group, "python_home"));
    if (number_of(workers, "starting") > 0 || number_of(workers, "draining") > 0)
        printf("    workers: %lld starting, %lld draining\n", number_of(workers, "starting"),
               number_of(workers, "draining"));
    if (number_of(group, "failures") > 0 && number_of(group, "retry_in_ms") > 0)
        printf("    failures: %lld in a row, the next try in %lld ms\n", number_of(group, "failures"),
               number_of(group, "retry_in_ms"));
    else if (number_of(group, "failures") > 0 && strcmp(text_of(group, "state"), "serving") != 0)
        printf("    failures: %lld in a row\n", number_of(group, "failures"));
    if (text_of(group, "failure")[0])
        print_reason("failure", text_of(group, "failure"));
    print_reload(group);
    if (json_is_true(json_object_get(group, "degraded")))
        print_reason(
            "degraded",
            "what serves is not what is on disk: a worker that died would be replaced by the new code");
    json_array_foreach(json_object_get(group, "stale"), index, sentence)
        print_reason("stale", json_string_value(sentence));
}

static void print_head(const json_t *supervisor)
{
    long long seconds = number_of(supervisor, "uptime_ms") / 1000;
    printf("pyfpm %s, pid %lld, up ", text_of(supervisor, "version"), number_of(supervisor, "pid"));
    if (seconds >= 86400)
        printf("%lldd ", seconds / 86400);
    if (seconds >= 3600)
        printf("%lldh ", seconds / 3600 % 24);
    if (seconds >= 60)
        printf("%lldm ", seconds / 60 % 60);
    printf("%llds, ", seconds % 60);
    pm_client_print(text_of(supervisor, "config"), 4);
    printf("%s\n\n", json_is_true(json_object_get(supervisor, "stopping")) ? " (stopping)" : "");
}

static void print_table(const json_t *document)
{
    size_t index;
    const json_t *group;
    struct row row;
    int widths[COLUMNS] = {0};
    const json_t *groups = json_object_get(document, "groups");
    bool colour = wants_colour();
    widen(widths, &heading);
    json_array_foreach(groups, index, group)
    {
        fill_row(&row, group);
        widen(widths, &row);
    }
    print_head(json_object_get(document, "supervisor"));
    print_row(&heading, widths, false);
    json_array_foreach(groups, index, group)
    {
        fill_row(&row, group);
        print_row(&row, widths, colour);
        print_reasons(group);
    }
}

static int print_json(const json_t *document)
{
    int result = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    return result;
}

/* ---- the command ---- */

/* Asks and collects; *document is the caller's. The exit code. */
static int fetch(const struct command_target *target, char **names, bool with_processes, json_t **document)
{
    int exit_code;
    struct answer answer = {.supervisor = json_object(), .groups = json_array()};
    json_t *request = command_make_request(target, "status", names);
    if (with_processes)
        json_object_set_new(request, "processes", json_true());
    struct pm_client *client = command_ask(target, request, &exit_code);
    if (client)
        exit_code = command_read_answer(client, collect, &answer);
    pm_client_close(client);
    json_object_set_new(answer.supervisor, "groups", answer.groups);
    *document = answer.supervisor;
    return exit_code;
}

int command_status(int argc, char **argv)
{
    bool as_json = false;
    json_t *document;
    const struct command_flag flags[] = {{"json", &as_json}, {NULL, NULL}};
    struct command_target target;
    int exit_code = command_take_target(argc, argv, help, flags, &target);
    if (exit_code != COMMAND_GO_ON)
        return exit_code;
    exit_code = fetch(&target, argv + optind, as_json, &document);
    if (exit_code == EXIT_SUCCESS && as_json)
        exit_code = print_json(document) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    else if (exit_code == EXIT_SUCCESS)
        print_table(document);
    json_decref(document);
    if (fflush(stdout) != 0 || ferror(stdout))
        exit_code = EXIT_FAILURE;
    return exit_code;
}

/* ---- for pyfpm check ---- */

static bool is_named(const char *name, char **names)
{
    for (char **n = names; *n; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return !names[0];
}

static void print_stale(const char *name, const json_t *stale)
{
    size_t index;
    const json_t *sentence;
    json_array_foreach(stale, index, sentence)
    {
        printf("%s: stale: ", name);
        pm_client_print(json_string_value(sentence), 4);
        putchar('\n');
    }
}

static void add_stale(const char *name, json_t *stale, json_t *groups)
{
    size_t index;
    json_t *group;
    json_array_foreach(groups, index, group) if (strcmp(text_of(group, "name"), name) == 0)
        json_object_set(group, "stale", stale);
}

void command_add_stale(const char *config_path, const struct cfg *cfg, char **names, json_t *groups)
{
    struct err ignored; /* that none runs, or another one, is no business of a check */
    json_t *line = NULL;
    char *every_name[] = {NULL};
    struct command_target target = {.config = config_path};
    if (strcmp(cfg->global.control, "none") == 0)
        return;
    struct pm_client *client = pm_client_connect(cfg->global.control, &ignored);
    if (!client)
        return;
    pm_client_set_patience(client, STALE_PATIENCE_MS);
    if (pm_client_ask(client, command_make_request(&target, "status", every_name), &ignored) == 0)
        while ((line = pm_client_next(client, &ignored)) && !pm_client_is_last(line)) {
            const char *name = text_of(line, "group");
            json_t *stale = json_object_get(line, "stale");
            if (is_named(name, names) && !groups)
                print_stale(name, stale);
            else if (json_array_size(stale) > 0)
                add_stale(name, stale, groups);
            json_decref(line);
        }
    json_decref(line);
    pm_client_close(client);
    fflush(stdout);
}
