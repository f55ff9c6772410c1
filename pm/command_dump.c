/* pyfpm dump: the effective configuration, every default filled in. */
#include "pm/commands.h"

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: pyfpm dump [--config FILE]\n"
    "\n"
    "Prints the effective configuration as YAML: includes read in, variables expanded, every\n"
    "default filled in. Reading the output gives the same configuration.\n"
    "\n"
    "  -c, --config FILE   the configuration (default " CONFIG_DEFAULT ")\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 fine; 78 the file has errors\n"
    "example: pyfpm dump --config pyfpm.yaml | less\n";

int command_dump(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT;
    int done = command_take_config(argc, argv, help, &path);
    if (done != COMMAND_GO_ON)
        return done;
    struct cfg *cfg = command_load(path);
    if (!cfg)
        return EXIT_CONFIG;
    cfg_dump(cfg, stdout);
    cfg_free(cfg);
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
}
