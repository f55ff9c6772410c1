/* The commands of pyfpm and what they share. Each takes argv with its own name removed and returns the exit
 * code. */
#ifndef PM_COMMANDS_H
#define PM_COMMANDS_H

#define CONFIG_DEFAULT "/etc/pyfpm/pyfpm.yaml"

/* Exit codes beside EXIT_SUCCESS and EXIT_FAILURE; those of sysexits.h. */
#define EXIT_USAGE  64
#define EXIT_CONFIG 78

struct cfg;

int command_add_python(int argc, char **argv);
int command_check(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_import(int argc, char **argv);
int command_pythons(int argc, char **argv);
int command_request(int argc, char **argv);

/* Loads a configuration, printing its errors and warnings to stderr. NULL after errors. */
struct cfg *command_load(const char *path);

/* Reads the options of a command that knows --config and --help only. *path is set when the file is named.
 * COMMAND_GO_ON, or the exit code that the command is done with. */
#define COMMAND_GO_ON (-1)
int command_take_config(int argc, char **argv, const char *help, const char **path);

/* Prints "pyfpm: COMPLAINT DETAIL" and returns EXIT_USAGE. detail may be NULL. */
int command_usage(const char *complaint, const char *detail);

#endif
