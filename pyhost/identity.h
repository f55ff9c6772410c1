/* Who a host is: its user, groups, limits, folder and environment variables. */
#ifndef PYHOST_IDENTITY_H
#define PYHOST_IDENTITY_H

struct cfg_group;
struct err;

/* Turns this process into the group's, for good: a session of its own, limits, nice, umask, chroot, groups,
 * user, working folder, no-new-privileges, environment variables. Started by root it proves that root is
 * out of reach; started by somebody else it does what that user may. Before Python and before threads.
 * 0, or -1 with *e; then the process is halfway and must exit. */
int host_identity_assume(const struct cfg_group *group, struct err *e);

#endif
