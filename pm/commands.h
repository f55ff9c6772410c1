/* The commands of pyfpm and what they share. Each takes argv with its own name removed and returns the exit
 * code. */
#ifndef PM_COMMANDS_H
#define PM_COMMANDS_H

#include <jansson.h>

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
int command_reload(int argc, char **argv);
int command_reopen(int argc, char **argv);
int command_request(int argc, char **argv);
int command_status(int argc, char **argv);
int command_stop(int argc, char **argv);

/* Says what is stale about each group (of those named; names ends with NULL) of the running pyfpm that has
 * this configuration, if there is one: prints "shop: stale: flask 2.2.2 → 3.0.0", or, with groups (a list of
 * objects that have a name), gives each its list "stale" when that is not empty. */
void command_add_stale(const char *config_path, const struct cfg *cfg, char **names, json_t *groups);

/* Loads a configuration, printing its errors and warnings to stderr. NULL after errors. */
struct cfg *command_load(const char *path);

/* Reads the options of a command that knows --config and --help only. *path is set when the file is named.
 * COMMAND_GO_ON, or the exit code that the command is done with. */
#define COMMAND_GO_ON (-1)
int command_take_config(int argc, char **argv, const char *help, const char **path);

/* Says how to go on when path is the default and is not there. */
void command_suggest_config(const char *path);

/* Names the command that runs, as it is typed ("pyfpm check"), for complaints. The text stays the caller's
 * and has to last. */
void command_set_title(const char *text);

/* Prints "pyfpm: COMPLAINT DETAIL (see pyfpm COMMAND --help)" and returns EXIT_USAGE. detail may be NULL. */
int command_usage(const char *complaint, const char *detail);

/* Says that there is no such group, and which there are. Returns EXIT_USAGE. */
int command_refuse_group(const struct cfg *cfg, const char *name);

#endif
