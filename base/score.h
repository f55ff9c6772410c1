/* The scoreboard: one shared page of numbers per group, written by its workers.
 *
 * One memfd per group, sealed against resizing (an unsealed one lets an application's ftruncate(2) kill
 * the reader with SIGBUS). Workers run application code and may scribble over it, so every reader copies
 * with score_read(), which brings each value into its range; nothing read here is ever trusted with more
 * than being shown, or with a hint about who is idle. */
#ifndef BASE_SCORE_H
#define BASE_SCORE_H

#include <stdatomic.h>
#include <stdint.h>

struct err;

#define SCORE_SLOTS_MAX 16384

enum score_state { SCORE_FREE, SCORE_STARTING, SCORE_SERVING, SCORE_DRAINING, SCORE_STATE_END };

/* One worker's slot, a cache line or two of its own. The worker writes; supervisor, siblings and status read.
 */
struct score_slot {
    _Alignas(128) _Atomic uint32_t state; /* enum score_state */
    _Atomic uint32_t threads;             /* Python threads the worker runs */
    _Atomic uint32_t busy;                /* of them in a request now */
    _Atomic uint32_t kept;                /* idle kept connections it watches */
    _Atomic uint64_t requests;            /* finished since it started */
    _Atomic int64_t busy_since_ms;        /* clock_now_ms() when it last went from no to one busy thread */
};

#define SCORE_THREADS_MAX  4096
#define SCORE_KEPT_MAX     (UINT32_C(1) << 20)
#define SCORE_REQUESTS_MAX (UINT64_C(1) << 53) /* what every reader of JSON can hold */

/* A copy, every value in its range. */
struct score_view {
    enum score_state state;
    uint32_t threads;  /* <= SCORE_THREADS_MAX */
    uint32_t busy;     /* <= threads */
    uint32_t kept;     /* <= SCORE_KEPT_MAX */
    uint64_t requests; /* <= SCORE_REQUESTS_MAX */
};

struct score; /* one mapping of one board */

/* Makes a sealed board with that many slots; *fd is its memfd, the caller's. NULL with *e. */
struct score *score_create(const char *group, uint32_t slot_count, int *fd, struct err *e);

/* Maps the board behind a descriptor, which stays the caller's. NULL with *e. */
struct score *score_map(int fd, struct err *e);

/* Unmaps it. NULL is fine. */
void score_free(struct score *s);

uint32_t score_slot_count(const struct score *s);

/* A worker's own slot, to write. index < slot_count. */
struct score_slot *score_slot(struct score *s, uint32_t index);

/* Empties a slot before its next worker; for the supervisor. */
void score_clear(struct score *s, uint32_t index);

/* Copies a slot out. index < slot_count. */
struct score_view score_read(const struct score *s, uint32_t index);

#endif
