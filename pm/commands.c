/* What the commands share: loading the configuration for a person to see, and complaining about usage. */
#include "pm/commands.h"

#include "config/config.h"
#include "pm/report.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_NAMED 10 /* in a complaint */

/* The command that runs, as it is typed: "pyfpm check". Written once, before the command runs. */
static const char *title = "pyfpm";

void command_set_title(const char *text)
{
    title = text;
}

void command_suggest_config(const char *path)
{
    if (strcmp(path, CONFIG_DEFAULT) == 0 && access(path, F_OK) != 0 && errno == ENOENT)
        fprintf(stderr, "pyfpm: write that file, or name another with --config\n");
}

struct cfg *command_load(const char *path)
{
    struct cfg_report report = {0};
    struct cfg *cfg = cfg_load(path, &report);
    report_to_stderr(&report);
    cfg_report_free(&report);
    if (!cfg)
        command_suggest_config(path);
    return cfg;
}

int command_usage(const char *complaint, const char *detail)
{
    fprintf(stderr, "pyfpm: %s%s%s (see %s --help)\n", complaint, detail ? " " : "", detail ? detail : "",
            title);
    return EXIT_USAGE;
}

int command_refuse_group(const struct cfg *cfg, const char *name)
{
    fprintf(stderr, "pyfpm: the configuration has no group %s; it has", name);
    for (size_t i = 0; i < cfg->group_count && i < GROUPS_NAMED; i++)
        fprintf(stderr, "%s %s", i > 0 ? "," : "", cfg->groups[i]->name);
    fprintf(stderr, "%s\n", cfg->group_count > GROUPS_NAMED ? ", ..." : "");
    return EXIT_USAGE;
}

int command_take_config(int argc, char **argv, const char *help, const char **path)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'c')
            *path = optarg;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            return EXIT_USAGE;
    }
    return optind < argc ? command_usage("this command takes no argument", argv[optind]) : COMMAND_GO_ON;
}
