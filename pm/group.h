/* A named process group: which of its generations lives, and what has to happen next.
 *
 * Everything that happens to a group is only recorded and marks it dirty; pm_group_settle() compares what
 * is with what should be and acts. So a reload, a crash and a stop in any order meet in one place. */
#ifndef PM_GROUP_H
#define PM_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "pm/record.h"

struct cfg_group;
struct err;
struct pm;
struct pm_generation;
struct pm_group;
struct pm_listener;

/* A group as status shows it. What it points to belongs to the group, valid until that settles. */
struct pm_group_view {
    uint32_t id; /* no other group ever has it */
    const char *name;
    const struct cfg_group *cfg;             /* what is served, or will be tried */
    const struct pm_generation *generations; /* all, newest first */
    const struct pm_generation *current;     /* NULL: nothing serves yet */
    const struct pm_generation *next;        /* NULL: no reload is being tried */
    bool is_ending;
    bool is_degraded;         /* what serves is no longer on disk, and no template holds it */
    unsigned failures;        /* to start, or soon after it, in a row */
    const char *last_failure; /* of them, or NULL */
    int64_t retry_at_ms;      /* nothing is started before; clock_now_ms() */
    uint64_t requests_past;   /* of workers that have ended */
    unsigned restarts;        /* workers that ended though nobody had asked them to */
    const struct pm_record *record;
};

/* A new group, dirty. Takes the listener, or tries for one itself when it is NULL; copies cfg. NULL with *e
 * (the listener stays the caller's). */
struct pm_group *pm_group_new(struct pm *pm, const struct cfg_group *cfg, struct pm_listener *listener,
                              struct err *e);

/* For a new group whose address cannot be had now: says why, and tries again after a pause. */
void pm_group_fail_start(struct pm_group *g, const char *why);

/* Starts a new generation beside the one that serves, from this configuration. Takes the listener.
 * 0, or -1 with *e and nothing changed. */
int pm_group_reload(struct pm_group *g, const struct cfg_group *cfg, struct pm_listener *listener,
                    struct err *e);

/* Counts a reload that could not even begin. */
void pm_group_refuse_reload(struct pm_group *g, const char *why);

/* True when a reload with this configuration would change nothing but the workers. */
bool pm_group_wants(const struct pm_group *g, const struct cfg_group *cfg);

/* Closes the door, drains the workers for good. Then pm_group_is_gone() becomes true. */
void pm_group_end(struct pm_group *g);

/* Kills everything that it runs; after pm_group_end(). */
void pm_group_kill(struct pm_group *g);

bool pm_group_is_gone(const struct pm_group *g);
bool pm_group_is_ending(const struct pm_group *g);

/* Frees a group that is gone. */
void pm_group_free(struct pm_group *g);

/* Acts. Clears dirty, arms the timer for whatever has to be looked at later. */
void pm_group_settle(struct pm_group *g);

bool pm_group_is_dirty(const struct pm_group *g);
void pm_group_mark_dirty(struct pm_group *g);

/* Somebody waits for the group that the responder knows by that id. */
void pm_group_ring(struct pm_group *g, uint32_t id);

/* The responder went away and knows nothing of us any more. */
void pm_group_forget_responder(struct pm_group *g);

/* True once the first generation serves or has failed; *serving says which. */
bool pm_group_is_decided(const struct pm_group *g, bool *serving);

bool pm_group_is_reloading(const struct pm_group *g);

/* The state of the reload; DONE and FAILED are reported once and become NONE. */
enum pm_reload_state pm_group_collect_reload(struct pm_group *g);

/* Of its last start or reload, as in its record. */
unsigned pm_group_reload_number(const struct pm_group *g);

struct pm_group_view pm_group_view(const struct pm_group *g);

/* How its environment differs from what the serving generation started from, as sentences ("flask 2.2.2 →
 * 3.0.0"); none when it does not. The group's, valid until it settles. */
const char *const *pm_group_stale(const struct pm_group *g, size_t *count);

/* Its workers, coming, serving and going; for the cap on those of all groups together. */
unsigned pm_group_count_workers(const struct pm_group *g);

/* A worker of some group has gone: whoever was short of room may try again. */
void pm_group_offer_room(struct pm_group *g);

const char *pm_group_name(const struct pm_group *g);

/* For its generations. */
uv_loop_t *pm_group_loop(const struct pm_group *g);
uint64_t pm_group_next_serial(struct pm_group *g);
void pm_group_handover(const struct pm_group *g, int *rx, int *tx);

#endif
