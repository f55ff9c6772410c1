/* pyfpm check: tries everything that a start would need, in throw-away processes, and says what it finds.
 *
 * Reads the file, then starts every group's host with --check: as the group's user, with its environment,
 * importing its application, without sockets. One group after the other; what a host says comes out line by
 * line as it comes, or, with --json, as one document at the end. */
#include "pm/commands.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/explain.h"
#include "pm/printable.h"
#include "pm/trial.h"
#include "pm/web_users.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: pyfpm check [--config FILE] [--explain] [--json] [GROUP...]\n"
    "\n"
    "Checks the file, then starts the interpreter of every group (or of those named), as its user and with "
    "its\n"
    "environment, and imports its application in a process that is thrown away. Opens no socket.\n"
    "\n"
    "  -c, --config FILE   the configuration (default " CONFIG_DEFAULT ")\n"
    "      --explain       say what each environment is made of: the baseline, every entry of sys.path and "
    "where it\n"
    "                      came from, what shadows what; the last line of a group is the verdict\n"
    "      --json          print one JSON document for all groups (docs/check-explain.md has its keys)\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 all fine; 1 a group's environment or application is broken; 78 the file has errors\n"
    "example: pyfpm check --config pyfpm.yaml --explain shop\n";

#define OUTPUT_SIZE_MAX (1024 * 1024) /* of an application's own output in the document */

struct options {
    const char *config;
    bool explain;
    bool json;
    char **names; /* of groups; none means all */
};

/* What one group's check found. In the text form warnings and output are printed as they come, too. */
struct findings {
    const struct cfg_group *group;
    bool is_json;
    json_t *errors, *warnings, *output; /* arrays of strings */
    size_t output_size;
};

/* Bytes that are no UTF-8 stand as \xNN: JSON has no place for them. New reference. */
static json_t *string_of(const char *text, size_t size)
{
    char *shown = NULL;
    size_t shown_size = 0;
    json_t *string = json_stringn(text, size);
    FILE *out = string ? NULL : open_memstream(&shown, &shown_size);
    if (!out)
        return string;
    printable_write(out, text, size);
    if (fclose(out) == 0)
        string = json_stringn(shown, shown_size);
    free(shown);
    return string;
}

static void print_marked(const struct findings *f, const char *mark, const char *text, size_t size)
{
    char prefix[CFG_NAME_MAX + 32];
    snprintf(prefix, sizeof prefix, "%s: %s", f->group->name, mark);
    if (!f->is_json)
        printable_write_lines(stdout, prefix, text, size);
}

static void append_lines(json_t *array, const char *text, size_t size)
{
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t line = newline ? (size_t)(newline - text) : size;
        json_array_append_new(array, string_of(text, line));
        text += newline ? line + 1 : line;
        size -= newline ? line + 1 : line;
    }
}

static void add_output(struct findings *f, const char *text, size_t size)
{
    static const char cut[] = "[there was more]";
    if (f->output_size > OUTPUT_SIZE_MAX)
        return;
    f->output_size += size;
    if (f->output_size > OUTPUT_SIZE_MAX)
        append_lines(f->output, cut, sizeof cut - 1);
    else
        append_lines(f->output, text, size);
}

static void hear(void *context, enum pm_trial_kind kind, const char *text, size_t size)
{
    struct findings *f = context;
    switch (kind) {
    case PM_TRIAL_OUTPUT:
        add_output(f, text, size);
        print_marked(f, "output: ", text, size);
        return;
    case PM_TRIAL_WARNING:
        json_array_append_new(f->warnings, string_of(text, size));
        print_marked(f, "warning: ", text, size);
        return;
    case PM_TRIAL_ERROR:
        json_array_append_new(f->errors, string_of(text, size));
        print_marked(f, "error: ", text, size);
        return;
    }
}

/* The socket is the supervisor's business, so the host says nothing of it. True when it can be had. */
static bool check_socket(struct findings *f)
{
    struct err e;
    int found = pm_web_users_check(f->group, &e);
    if (found != 0)
        hear(f, found > 0 ? PM_TRIAL_WARNING : PM_TRIAL_ERROR, e.text, strlen(e.text));
    return found >= 0;
}

/* The last lines of a group in the text form. */
static void print_end(const struct findings *f, bool is_fine, const json_t *facts, const char *verdict)
{
    if (f->is_json)
        return;
    if (facts)
        pm_explain_print(facts, stdout);
    if (verdict)
        print_marked(f, "", verdict, strlen(verdict));
    else if (is_fine)
        print_marked(f, "", "fine", 4);
    fflush(stdout);
}

/* The group as an object of the document; takes everything. NULL without memory. */
static json_t *document_group(struct findings *f, bool is_fine, json_t *facts, char *verdict)
{
    json_t *group = json_pack("{s:s, s:b, s:o, s:o, s:o}", "name", f->group->name, "ok", is_fine, "errors",
                              f->errors, "warnings", f->warnings, "output", f->output);
    if (verdict)
        json_object_set_new(group, "verdict", string_of(verdict, strlen(verdict)));
    if (facts)
        json_object_set_new(group, "explanation", facts);
    free(verdict);
    return group;
}

static bool try_group(const struct cfg_group *group, const struct options *options, json_t *document)
{
    struct pm_explain explain = {.is_too_long = false};
    struct findings f = {.group = group,
                         .is_json = options->json,
                         .errors = json_array(),
                         .warnings = json_array(),
                         .output = json_array()};
    struct pm_trial_listener listener = {hear, &f};
    bool has_socket = check_socket(&f);
    char *failure = pm_trial_run(group, options->explain ? &explain : NULL, &listener);
    if (failure)
        hear(&f, PM_TRIAL_ERROR, failure, strlen(failure));
    bool is_fine = !failure && has_socket;
    const char *reason = failure || has_socket ? failure : json_string_value(json_array_get(f.errors, 0));
    json_t *facts = options->explain ? pm_explain_facts(&explain, group) : NULL;
    char *verdict = facts ? pm_explain_verdict(facts, reason, f.warnings) : NULL;
    print_end(&f, is_fine, facts, verdict);
    json_array_append_new(json_object_get(document, "groups"), document_group(&f, is_fine, facts, verdict));
    free(failure);
    pm_explain_free(&explain);
    return is_fine;
}

static bool is_named(const struct cfg_group *group, char **names)
{
    if (!names[0])
        return true;
    for (; *names; names++)
        if (strcmp(*names, group->name) == 0)
            return true;
    return false;
}

static int check_groups(const struct cfg *cfg, const struct options *options, json_t *document)
{
    bool fine = true;
    for (size_t i = 0; i < cfg->group_count; i++)
        if (is_named(cfg->groups[i], options->names))
            fine = try_group(cfg->groups[i], options, document) && fine;
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The messages of the configuration; those of the text form go to stderr. */
static void report_config(const struct cfg_report *report, const struct options *options, json_t *document)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct cfg_message *message = &report->messages[i];
        const char *key = message->severity == CFG_WARNING ? "warnings" : "errors";
        json_array_append_new(json_object_get(document, key),
                              string_of(message->text, strlen(message->text)));
        if (!options->json)
            fprintf(stderr, "%s%s\n", message->severity == CFG_WARNING ? "warning: " : "", message->text);
    }
}

/* Everything between the options and the document. The exit code. */
static int check(const struct options *options, json_t *document)
{
    struct cfg_report report = {0};
    struct cfg *cfg = cfg_load(options->config, &report);
    report_config(&report, options, document);
    cfg_report_free(&report);
    if (!cfg) {
        command_suggest_config(options->config);
        return EXIT_CONFIG;
    }
    int result = 0;
    for (char **name = options->names; *name && result == 0; name++)
        if (!cfg_find_group(cfg, *name))
            result = command_refuse_group(cfg, *name);
    if (result == 0)
        result = check_groups(cfg, options, document);
    if (result != EXIT_USAGE)
        command_add_stale(options->config, cfg, options->names,
                          options->json ? json_object_get(document, "groups") : NULL);
    cfg_free(cfg);
    return result;
}

/* EXIT_USAGE, with a sentence about the word that getopt_long(3) has just refused. */
static int refuse_option(const char *word, int option)
{
    char text[256];
    if (option == ':')
        snprintf(text, sizeof text, "%.200s needs a value", word);
    else if (strncmp(word, "--", 2) == 0 && strchr(word, '='))
        snprintf(text, sizeof text, "check has no option %.200s, or it takes no value", word);
    else if (strncmp(word, "--", 2) == 0)
        snprintf(text, sizeof text, "check has no option %.200s", word);
    else
        snprintf(text, sizeof text, "check has no option -%c", optopt);
    fprintf(stderr, "pyfpm: %s (see pyfpm check --help)\n", text);
    return EXIT_USAGE;
}

/* COMMAND_GO_ON, or the exit code that the command is done with. */
static int take_options(int argc, char **argv, struct options *taken)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
        {"explain", no_argument, NULL, 'e'},      {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0}};
    int option;
    optind = 1; /* the run command may have read some of them */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":c:th", options, NULL)) != -1) {
        if (option == 'c')
            taken->config = optarg;
        else if (option == 'e')
            taken->explain = true;
        else if (option == 'j')
            taken->json = true;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else if (option != 't')
            return refuse_option(argv[optind - 1], option);
    }
    taken->names = argv + optind;
    return COMMAND_GO_ON;
}

int command_check(int argc, char **argv)
{
    struct options options = {.config = CONFIG_DEFAULT};
    int result = take_options(argc, argv, &options);
    if (result != COMMAND_GO_ON)
        return result;
    json_t *document = json_pack("{s:b, s:[], s:[], s:[]}", "ok", false, "errors", "warnings", "groups");
    if (!document)
        return command_usage("no memory for the findings", NULL);
    result = check(&options, document);
    json_object_set_new(document, "ok", json_boolean(result == EXIT_SUCCESS));
    if (options.json && result != EXIT_USAGE &&
        (json_dumpf(document, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0 || putchar('\n') == EOF))
        result = EXIT_FAILURE;
    json_decref(document);
    return result;
}
