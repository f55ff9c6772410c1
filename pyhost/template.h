/* The template: the process that workers are forked from. */
#ifndef PYHOST_TEMPLATE_H
#define PYHOST_TEMPLATE_H

#include <stdbool.h>

struct host;

/* Imports the application if the group wants it preloaded (and may_preload), reports, and forks a worker for
 * every WIRE_SPAWN until the supervisor closes the channel. Does not return in the template; in a worker it
 * returns the worker's exit status, once that has served. With the GIL. */
int host_template_run(struct host *h, bool may_preload);

/* pyfpm check: imports the application, reports, and returns the exit status. With the GIL. */
int host_template_check(struct host *h);

/* From the first call on the process exits once shutdown-timeout is over, with the status of the last call.
 * Main thread. */
void host_template_limit_exit(const struct host *h, int status);

/* Ends the interpreters of a worker: exit functions run, output is flushed. May end the process with that
 * status itself. Bounded by shutdown-timeout, after which the process exits with that status all the same.
 * With the GIL, which is gone afterwards. */
void host_template_finalize(const struct host *h, int status);

#endif
