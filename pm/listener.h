/* Listening sockets: made once per address, shared by generations, closed when the last one lets go. */
#ifndef PM_LISTENER_H
#define PM_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

struct cfg_group;
struct err;
struct pm_listener;

/* The listener for a group's address: a new one, or the one that another generation already holds, with
 * backlog, owner and mode brought up to date. A stale socket file (nobody listens) is taken over; a live
 * one is refused. Release with pm_listener_release(). NULL with *e. */
struct pm_listener *pm_listener_acquire(const struct cfg_group *group, struct err *e);

/* One more holder of the same. */
struct pm_listener *pm_listener_hold(struct pm_listener *l);

/* Closes it with the last holder, and removes its socket file. *l becomes NULL; NULL is fine. */
void pm_listener_release(struct pm_listener **l);

/* Removes the socket file now, so that no new client comes; what is queued can still be accepted. A TCP
 * socket stays: the kernel refuses a second one while this one lives, so whoever wants the address gets it
 * again. */
void pm_listener_close_door(struct pm_listener *l);

/* How many hold it. */
unsigned pm_listener_holders(const struct pm_listener *l);

/* Who the socket file of a group is given to: listen-owner and listen-group, else the group's own user and
 * its group; -1 for what stays as it is made. 0, or -1 with *e: there is no such user or group. */
int pm_listener_find_owner(const struct cfg_group *group, uid_t *uid, gid_t *gid, struct err *e);

int pm_listener_fd(const struct pm_listener *l);
const char *pm_listener_address(const struct pm_listener *l);

#endif
