/* One serving worker, as its threads share it: serve.c's Python threads, and watch.c's thread without Python.
 */
#ifndef PYHOST_SERVE_H
#define PYHOST_SERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct host;
struct host_busy;
struct host_clients;
struct host_conns;
struct host_probe;
struct score_slot;

/* The watch thread's sleep: who finds it asleep, and may need it, wakes it. */
enum host_sleep {
    HOST_AWAKE,         /* it looks again within a tick */
    HOST_SLEEP_TIMED,   /* until a deadline; woken when all threads became busy */
    HOST_SLEEP_FOREVER, /* woken also when there is a connection, hence a deadline */
};

/* Why nothing new is taken in. */
enum host_doors {
    HOST_DOORS_OPEN,
    HOST_DOORS_PAUSED, /* no descriptors or no entries left: both receivers are out of the ready set for a
                          while */
    HOST_DOORS_SHUT,   /* draining: for good */
};

struct host_worker {
    /* Made before the threads start and read-only from then on. */
    struct host *host;
    struct score_slot *slot;      /* shared memory: this worker writes, nobody here believes it */
    struct host_conns *conns;     /* locks for itself */
    struct host_clients *clients; /* who may connect */
    uint32_t threads;
    struct host_busy *at_work; /* what each thread is at; it writes, the watch thread reads */
    struct host_probe *probe;  /* the watch thread asks */
    int ready_set;             /* epoll: the worker threads wait here */
    int watch_set;  /* epoll: the watch thread waits here; channel, wake_event and the waiting room */
    int end_event;  /* eventfd in the ready set: the threads are to end */
    int wake_event; /* eventfd in the watch set */

    /* Worker threads write, the watch thread reads. */
    _Atomic uint32_t busy;     /* threads in a request */
    _Atomic uint32_t kept;     /* connections parked in the ready set; the watch thread writes too */
    _Atomic uint64_t begun;    /* requests; the next one's number is one more */
    _Atomic uint64_t finished; /* requests */
    _Atomic bool
        samples_memory; /* the end of a request wakes the watch thread (it writes) from an endless sleep */
    _Atomic uint64_t retire_at; /* that many requests wake the watch thread (it writes); 0: none */
    _Atomic bool is_saturated;  /* all threads were busy since the watch thread last looked (it clears it) */

    /* The watch thread writes (drain flags only from off to on), worker threads read. */
    _Atomic int sleep; /* enum host_sleep; whoever wakes it sets HOST_AWAKE */
    _Atomic bool is_draining;
    _Atomic bool is_last;        /* draining, and there is nobody to hand connections to */
    _Atomic int64_t last_due_ms; /* then: until when a new connection may still send its request */
    _Atomic bool is_ending;

    /* Any thread, under doors_lock; read without it for a first look. */
    pthread_mutex_t doors_lock;
    _Atomic int doors;             /* enum host_doors */
    _Atomic int64_t resume_due_ms; /* when paused doors are tried again */

    _Atomic bool is_refused; /* handing over met a full queue since the watch thread last tried; any thread */
    _Atomic bool has_warned_of_queue; /* queue-timeout without QUEUE_START was logged; any thread */
    _Atomic int64_t complained_ms;    /* when a misbehaving peer was last logged; any thread */
    _Atomic int64_t paused_ms;        /* when a lack of descriptors was last logged; any thread */
};

/* How long a peer whose request was answered may go on sending: from one piece to the next, and in all. */
#define HOST_FAREWELL_PAUSE_MS 1000
#define HOST_FAREWELL_MS       10000

/* Numbers in epoll_data that are no connection's. */
#define HOST_TOKEN_LISTEN   (UINT64_MAX - 1)
#define HOST_TOKEN_HANDOVER (UINT64_MAX - 2)
#define HOST_TOKEN_END      (UINT64_MAX - 3)
#define HOST_TOKEN_CHANNEL  (UINT64_MAX - 4)
#define HOST_TOKEN_WAKE     (UINT64_MAX - 5)

#endif
