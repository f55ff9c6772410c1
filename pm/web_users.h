/* Whether a web server on this machine could connect to a group's socket. */
#ifndef PM_WEB_USERS_H
#define PM_WEB_USERS_H

struct cfg_group;
struct err;

/* 0 when one could, or when nobody can tell. 1 with a warning in *e when the group listens on a unix socket
 * that no web server's user of this machine could connect to, and there is such a user. -1 with *e when the
 * socket cannot be given to its owner. Always 0 for a supervisor that is not root: its sockets belong to its
 * own user, and so may the web server. */
int pm_web_users_check(const struct cfg_group *group, struct err *e);

#endif
