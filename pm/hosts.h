/* The installed host programs, and which of them serves a group. */
#ifndef PM_HOSTS_H
#define PM_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

struct cfg_group;
struct err;

/* The path of a program in libexec/pyfpm beside the running binary; of the folder when name is "". 0 or -1
 * with *e. */
int pm_hosts_libexec(const char *name, char *path, size_t path_size, struct err *e);

/* The same in share/pyfpm/host: what a host is built from. */
int pm_hosts_kit(const char *name, char *path, size_t path_size, struct err *e);

/* True, with the sentence, when a host's end means that it was built from other sources than we were. */
bool pm_hosts_explain_end(int wait_status, struct err *e);

/* The X.Y of every installed host, sorted; free each and the array. 0, or -1 with *e and *count 0. */
int pm_hosts_list(char ***versions, size_t *count, struct err *e);

/* The host for a group: by python-version, else by the version that python-home or the first virtual
 * environment in python-path says (the group's, then its applications'), else the default. 0, or -1 with *e,
 * which lists the hosts that exist and says how to add one. */
int pm_hosts_choose(const struct cfg_group *group, char *path, size_t path_size, struct err *e);

#endif
