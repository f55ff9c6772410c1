/* Starts a program with exactly the descriptors that it is meant to have. */
#ifndef PM_SPAWN_H
#define PM_SPAWN_H

#include <sys/types.h>

struct err;

#define PM_SPAWN_FDS_MAX 9

/* fds[n] becomes descriptor n of the program; -1 leaves the number closed (0 to 2: /dev/null). They stay the
 * caller's. Every other descriptor is closed in the program. Signals start at their defaults, none blocked.
 * Returns the pid, or -1 with *e, also when the exec failed. */
pid_t pm_spawn(const char *program, char *const argv[], const int fds[PM_SPAWN_FDS_MAX], struct err *e);

#endif
