/* The connections that a worker holds, and who owns each of them.
 *
 * A connection is either owned by one thread, which alone may touch its fields, or parked in an epoll set,
 * where the first to take it becomes its owner: a worker thread or the watch thread. Entries are never
 * freed while threads run, so that an event that comes too late finds an entry, sees by its number that it is
 * not meant, and does no harm. Knows nothing of FastCGI. Any thread. */
#ifndef PYHOST_CONNS_H
#define PYHOST_CONNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HOST_CONNS_MAX 16384 /* per process */

enum host_conn_state {
    HOST_CONN_FREE,
    HOST_CONN_OWNED,   /* one thread works on it */
    HOST_CONN_ARMING,  /* being put into an epoll set: an event may take it, a scan may not */
    HOST_CONN_IDLE,    /* in the ready set: an event or a scan may take it */
    HOST_CONN_WAITING, /* in the waiting room: only the watch thread may take it */
};

struct host_conn {
    _Atomic uint32_t word;       /* number of the last parking << 3 | enum host_conn_state */
    int fd;                      /* the owner's; -1 while a request has it */
    bool in_ready_set;           /* the owner's: known to the epoll set of the worker threads */
    bool is_fresh;               /* the owner's: no request was served on it here */
    _Atomic int64_t deadline_ms; /* the owner writes before parking; the watch thread reads */
    _Atomic int64_t parked_ms;   /* the same */
    bool is_over;                /* the owner's: answered, and read away until the peer is done */
    int64_t over_due_ms;         /* the owner's: until then at most */
    struct host_conn *next_free; /* under the lock of the registry */
};

struct host_conns;

/* NULL without memory. Memory is touched as connections come. */
struct host_conns *host_conns_new(uint32_t capacity);

/* Forgets all connections; closes no descriptor. NULL is fine. */
void host_conns_free(struct host_conns *s);

/* A new entry, owned by the caller, with fd -1; NULL when all are in use. */
struct host_conn *host_conns_add(struct host_conns *s);

/* Gives an owned entry back; its fd is closed or somebody else's by now. */
void host_conns_remove(struct host_conns *s, struct host_conn *c);

/* Entries in use, parked or owned. */
uint32_t host_conns_count(const struct host_conns *s);

/* The entries that were ever used are 0 … size - 1. */
uint32_t host_conns_size(const struct host_conns *s);
struct host_conn *host_conns_at(struct host_conns *s, uint32_t index);

enum host_conn_state host_conn_state(const struct host_conn *c);

/* Starts parking an owned connection: gives the number for epoll_data, new each time. The caller then puts
 * it into the epoll set and calls host_conn_settle(), or host_conn_unpark() when that failed. */
uint64_t host_conn_park(struct host_conns *s, struct host_conn *c);

/* Ends the parking that token stands for: IDLE or WAITING; nothing happens when an event took it meanwhile.
 */
void host_conn_settle(struct host_conns *s, uint64_t token, enum host_conn_state state);

/* Takes the connection that an event's token means. NULL when the event came too late. */
struct host_conn *host_conn_take_event(struct host_conns *s, uint64_t token);

/* Takes a connection found by a scan; false when it is in no state to be taken, or somebody else was faster.
 */
bool host_conn_take_idle(struct host_conn *c);
bool host_conn_take_waiting(struct host_conn *c); /* for the watch thread */

/* The watch thread puts one that it took back into the waiting room, whose epoll set still has it: the token
 * of the parking stays good. */
void host_conn_wait_on(struct host_conn *c);

/* As host_conn_take_event() of a connection that is to be owned again after epoll refused it. */
void host_conn_unpark(struct host_conns *s, uint64_t token);

#endif
