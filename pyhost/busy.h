/* What each serving thread is at, for those who watch it: timers, the slow log, pyfpm stacks. */
#ifndef PYHOST_BUSY_H
#define PYHOST_BUSY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HOST_BUSY_TEXT_MAX 512 /* method and URI, cut */

/* One per serving thread, which alone writes. Zeroed memory is a thread without a request. */
struct host_busy {
    _Atomic uint32_t sequence; /* odd while the thread writes */
    _Atomic uint64_t number;   /* of its request in this process, from 1; 0: none */
    _Atomic int64_t since_ms;  /* clock_now_ms() when it began */
    _Atomic pid_t thread;      /* gettid(2) */
    _Atomic uint32_t text_size;
    char text[HOST_BUSY_TEXT_MAX]; /* "GET /path?query", as the web server sent it */
};

/* A copy that belongs together. */
struct host_busy_view {
    uint64_t number;
    int64_t since_ms;
    pid_t thread;
    char text[HOST_BUSY_TEXT_MAX + 1];
};

/* The thread begins and ends a request. method and uri may be NULL. */
void host_busy_begin(struct host_busy *b, uint64_t number, int64_t now_ms, pid_t thread, const char *method,
                     const char *uri);
void host_busy_end(struct host_busy *b);

/* False when the thread has no request. Any thread; waits for nobody but a writer that is at it. */
bool host_busy_read(const struct host_busy *b, struct host_busy_view *view);

/* The same of the request that it is at or was at last; false when it never had one. */
bool host_busy_read_last(const struct host_busy *b, struct host_busy_view *view);

/* True while the thread is still in the request of that number. */
bool host_busy_is(const struct host_busy *b, uint64_t number);

#endif
