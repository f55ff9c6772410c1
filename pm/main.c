/* pyfpm's command line: which command, which file, the help. The work is in command_*.c and supervisor.c. */
#include "pm/commands.h"
#include "pm/supervisor.h"

#include "config/config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char overview[] =
    "pyfpm " PYFPM_VERSION ", the FastCGI process manager for Python\n"
    "\n"
    "usage: pyfpm [--config FILE]                     run in the foreground\n"
    "       pyfpm check [--config FILE] [GROUP...]    try the file, every interpreter, every application\n"
    "       pyfpm check --explain [GROUP...]          say what each environment is made of, and what is "
    "wrong\n"
    "       pyfpm dump [--config FILE]                print the effective configuration\n"
    "       pyfpm pythons [--config FILE]             list the Pythons that groups can run on\n"
    "       pyfpm add-python PYTHON                   build the host for one more Python\n"
    "       pyfpm request GROUP PATH [options]        send one request straight to a group\n"
    "       pyfpm import mod_wsgi FILE                turn an Apache configuration into groups\n"
    "\n"
    "       pyfpm status [--config FILE] [GROUP...]   what the running pyfpm does\n"
    "       pyfpm reload [--config FILE] [GROUP...]   reload it, or those groups, and wait for the outcome\n"
    "       pyfpm reopen [--config FILE]              have it open its log file anew\n"
    "       pyfpm stop [--config FILE] [--now]        have it finish its requests, stop, and wait\n"
    "\n"
    "  -c, --config FILE   the configuration (default " CONFIG_DEFAULT ")\n"
    "  -t, --test          the same as check\n"
    "  -V, --version       print the version\n"
    "  -h, --help          print this, or the help of a command: pyfpm check --help\n"
    "\n"
    "signals: HUP, USR2 reload; USR1 reopen the log; QUIT, TERM finish requests and stop; INT stop now\n"
    "exit status: 0 fine, 1 failed, 64 bad usage, 78 bad configuration\n"
    "\n"
    "example: pyfpm --config /etc/pyfpm/pyfpm.yaml\n";

static int command_run(int argc, char **argv);

static const struct command {
    const char *name;
    const char *title; /* as it is typed */
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", "pyfpm", command_run},
    {"check", "pyfpm check", command_check},
    {"dump", "pyfpm dump", command_dump},
    {"pythons", "pyfpm pythons", command_pythons},
    {"add-python", "pyfpm add-python", command_add_python},
    {"request", "pyfpm request", command_request},
    {"import", "pyfpm import", command_import},
    {"status", "pyfpm status", command_status},
    {"reload", "pyfpm reload", command_reload},
    {"reopen", "pyfpm reopen", command_reopen},
    {"stop", "pyfpm stop", command_stop},
};

static int command_run(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"test", no_argument, NULL, 't'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *path = CONFIG_DEFAULT;
    int option;
    while ((option = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1) {
        if (option == 'c')
            path = optarg;
        else if (option == 't')
            return command_check(argc, argv);
        else if (option == 'V')
            return printf("pyfpm %s\n", PYFPM_VERSION) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else if (option == 'h')
            return fputs(overview, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            return EXIT_USAGE;
    }
    if (optind < argc)
        return command_usage("there is no command", argv[optind]);
    struct cfg *cfg = command_load(path);
    if (!cfg)
        return EXIT_CONFIG;
    return pm_run(path, cfg);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The first word that is no option (and no option's value) may be a command; it is taken out of argv. */
static const struct command *take_command(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) {
            i++;
            continue;
        }
        const struct command *command = argv[i][0] == '-' ? NULL : find_command(argv[i]);
        if (command) {
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof argv[0]);
            --*argc;
            return command;
        }
        if (argv[i][0] != '-')
            break;
    }
    return &commands[0];
}

/* No descriptor of ours may take the place of a standard one that is closed. */
static bool hold_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int main(int argc, char **argv)
{
    if (!hold_standard_descriptors())
        return EXIT_FAILURE;
    const struct command *command = take_command(&argc, argv);
    char title[32]; /* getopt begins its complaints with argv[0] */
    snprintf(title, sizeof title, "%s", command->title);
    argv[0] = title;
    command_set_title(command->title);
    return command->run(argc, argv);
}
