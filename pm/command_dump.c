/* pyfpm dump: the effective configuration, every default filled in. */
#include "pm/commands.h"

#include "config/config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: pyfpm dump [--config FILE]\n"
    "\n"
    "Prints the effective configuration as YAML: includes read in, variables expanded, every\n"
    "default filled in. Reading the output gives the same configuration.\n"
    "\n"
    "example: pyfpm dump --config pyfpm.yaml | less\n";

int command_dump(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *path = CONFIG_DEFAULT;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'c')
            path = optarg;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            return EXIT_USAGE;
    }
    if (optind < argc)
        return command_usage("dump takes no argument", argv[optind]);
    struct cfg *cfg = command_load(path);
    if (!cfg)
        return EXIT_CONFIG;
    cfg_dump(cfg, stdout);
    cfg_free(cfg);
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
