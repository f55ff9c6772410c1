/* What the commands share: loading the configuration for a person to see, and complaining about usage. */
#include "pm/commands.h"

#include "config/config.h"
#include "pm/report.h"

#include <stdio.h>

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
