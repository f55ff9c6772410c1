/* What the commands share: loading the configuration for a person to see, and complaining about usage. */
#include "pm/commands.h"

#include "config/config.h"
#include "pm/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

struct cfg *command_load(const char *path)
{
    struct cfg_report report = {0};
    struct cfg *cfg = cfg_load(path, &report);
    report_to_stderr(&report);
    cfg_report_free(&report);
    return cfg;
}

int command_usage(const char *complaint, const char *detail)
{
    fprintf(stderr, "pyfpm: %s%s%s (see pyfpm --help)\n", complaint, detail ? " " : "", detail ? detail : "");
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
