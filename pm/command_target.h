/* What the commands that talk to a running pyfpm share: their options, and the way to its control socket. */
#ifndef PM_COMMAND_TARGET_H
#define PM_COMMAND_TARGET_H

#include <jansson.h>
#include <stdbool.h>

struct pm_client;

/* Which pyfpm is meant. */
struct command_target {
    const char *config;      /* whose control key names the socket */
    const char *socket_path; /* NULL: find it through config */
};

/* An option without a value. */
struct command_flag {
    const char *name; /* without the dashes */
    bool *value;
};

/* Reads --config, --socket, --help and the flags (the last one's name is NULL). Arguments follow at
 * argv[optind]. COMMAND_GO_ON, or the exit code that the command is done with. */
int command_take_target(int argc, char **argv, const char *help, const struct command_flag *flags,
                        struct command_target *target);

/* {"verb": …, "groups": [names…]}, and for which configuration it is meant. names ends with NULL; without any
 * there is no "groups". NULL without memory. */
json_t *command_make_request(const struct command_target *target, const char *verb, char **names);

/* Connects and asks; takes the request. NULL after having said on stderr why not, with *exit_code set. */
struct pm_client *command_ask(const struct command_target *target, json_t *request, int *exit_code);

/* Reads to the end of an answer; show (or NULL) gets each line but the last. The exit code; failures are on
 * stderr. */
int command_read_answer(struct pm_client *client, void (*show)(const json_t *line, void *context),
                        void *context);

#endif
