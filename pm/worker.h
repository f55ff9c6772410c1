/* One worker process, as the supervisor knows it. */
#ifndef PM_WORKER_H
#define PM_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "pm/states.h"

struct err;
struct pm_child;
struct pm_generation;
struct pm_output;

struct pm_worker {
    struct pm_generation *generation;
    enum pm_worker_state state; /* changed by pm_worker_enter() only */
    uint32_t slot;
    uint64_t serial;
    struct pm_child *child; /* NULL once it is gone */
    struct pm_output *output;
    int64_t born_ms;
    int64_t due_ms;    /* when patience with the present state runs out; 0: never */
    char *failure;     /* what it said of why it cannot start; owned */
    bool expected_end; /* we asked it to end */
    bool end_noted;    /* group.c has counted this end */

    /* What the last look at its slot showed; see scaling.c. */
    bool is_idle;
    uint64_t requests_seen;
    int64_t idle_since_ms;

    /* Set while it serves and is to be replaced; see pm_worker_retire(). */
    char *retire_reason; /* owned */
    bool retire_noted;   /* group.c has counted the wish */
    uint64_t successor;  /* serial of the worker that was started in its place; 0: none yet */

    struct pm_worker *next;
};

/* Makes the supervisor's side of a worker: channel and log pipe. *channel_end and *log_end are for the
 * template to pass on, the caller's. Not in any list yet. NULL with *e. */
struct pm_worker *pm_worker_new(struct pm_generation *gen, uint32_t slot, uint64_t serial, int *channel_end,
                                int *log_end, struct err *e);

/* The only door between states: takes the move that the event means, or logs why there is none. */
void pm_worker_enter(struct pm_worker *w, enum pm_worker_event event);

/* Asks it to finish: WIRE_DRAIN with these flags. May be said again with more flags. */
void pm_worker_drain(struct pm_worker *w, uint32_t flags);

/* Notes that it is to be replaced: group.c starts a successor and drains it when that serves; until then it
 * serves on. Nothing happens to one that does not serve; the first reason stays, cut to one line. */
void pm_worker_retire(struct pm_worker *w, const char *why);

/* Kills it now. */
void pm_worker_kill(struct pm_worker *w);

/* Acts on patience that ran out: a start-up or a drain that takes too long ends with SIGKILL. */
void pm_worker_enforce(struct pm_worker *w, int64_t now_ms);

/* Its pid, for the log; 0 while it is unknown. */
int pm_worker_pid(const struct pm_worker *w);

void pm_worker_free(struct pm_worker *w);

#endif
