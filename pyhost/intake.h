/* The way of a connection into a worker, to rest, and out of it again. */
#ifndef PYHOST_INTAKE_H
#define PYHOST_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct host_conn;
struct host_worker;

/* Starts watching the listening socket and the hand-over receiver. 0, or -1 with *e. */
int host_intake_open(struct host_worker *w, struct err *e);

/* Stops watching both for good. The watch thread, once or more. */
void host_intake_shut(struct host_worker *w);

/* Watches both again after a lack of descriptors or entries; nothing happens otherwise. Called when one was
 * given back, and by the watch thread once w->resume_due_ms has passed. */
void host_intake_resume(struct host_worker *w);

/* Deals with what the ready set reported. Returns a connection on which a whole request header waits, owned
 * by the caller; NULL when there is nothing to serve: whatever came is parked, handed over or closed. */
struct host_conn *host_intake_take(struct host_worker *w, uint64_t token);

/* The same without looking at it: whatever was taken is the caller's. */
struct host_conn *host_intake_take_unseen(struct host_worker *w, uint64_t token);

/* Accepts one connection, or receives one from a sibling, whether draining or not; owned by the caller, not
 * looked at yet. NULL when there is none, or no room for it. */
struct host_conn *host_intake_accept(struct host_worker *w);
struct host_conn *host_intake_receive(struct host_worker *w);

/* Looks at an owned connection and sends it where it belongs. Returns it, still owned, when a whole request
 * header waits on it, else NULL. */
struct host_conn *host_intake_sort(struct host_worker *w, struct host_conn *c);

/* After a request that left the connection open: parks it, or while draining hands it over. Returns it when
 * it has to be served again at once. */
struct host_conn *host_intake_keep(struct host_worker *w, struct host_conn *c);

/* After a request that ended before its peer did: puts the connection into the waiting room, where what still
 * comes is read away for a bounded time, so that a peer that is slow to end holds no thread. */
void host_intake_linger(struct host_worker *w, struct host_conn *c);

/* Puts an owned connection into the ready set, until the deadline of its kind. */
void host_intake_park(struct host_worker *w, struct host_conn *c);

/* Takes back a connection that a scan found idle; false when somebody else was faster. */
bool host_intake_unpark(struct host_worker *w, struct host_conn *c);

/* Hands an owned connection to a sibling. true: gone. false: still owned, no longer in any set; errno says
 * why. */
bool host_intake_pass(struct host_worker *w, struct host_conn *c);

/* Closes an owned connection, whose fd may be -1 already, and forgets it. */
void host_intake_close(struct host_worker *w, struct host_conn *c);

/* Ends the process at once, because epoll_wait(2) on a set of ours failed: the application closed it or put
 * another file in its place, and nothing could be served any more. Any thread. */
_Noreturn void host_intake_give_up(const char *what, int error);

/* Wakes the watch thread unless it is awake. */
void host_intake_wake_watch(struct host_worker *w);

#endif
