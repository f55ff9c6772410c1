/* What group.c, group_next.c and group_current.c share about one group; nobody else includes it. */
#ifndef PM_GROUP_PARTS_H
#define PM_GROUP_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/log.h"
#include "pm/group.h"
#include "pm/record.h"

struct err;
struct pm_generation;
struct pm_responder;
struct pm_watch;
struct pm_worker;

/* A worker that ends by itself, or asks to be replaced, sooner than this has died young, and its successor
 * waits. */
#define PM_GROUP_YOUNG_MS 10000

struct pm_group {
    struct pm *pm;
    uint32_t id;
    char *name;
    bool dirty;
    bool ending;
    bool gone;

    struct cfg_group *wanted;     /* what the file says, for the next try */
    struct pm_listener *listener; /* NULL until the address can be had */
    int handover_rx;              /* lives across generations */
    int handover_tx;

    struct pm_generation *generations; /* all, newest first */
    struct pm_generation *current;
    struct pm_generation *next;
    unsigned last_number;

    unsigned failures;       /* in a row */
    char *last_failure;      /* why it could not start, as logged in full; owned */
    int64_t retry_at_ms;     /* nothing is started before */
    bool answered;           /* the responder has our socket */
    bool watched;            /* the responder has it, to say when somebody comes: no worker is there */
    bool has_rung;           /* it said so */
    bool wants_room;         /* not all workers could be started, because of max-workers */
    bool is_degraded;        /* current runs code that is no longer on disk, and no template holds it */
    struct pm_record record; /* of its start and reloads */

    uint64_t requests_past; /* of workers that have ended; see struct pm_group_view */
    unsigned restarts;
    struct pm_watch *watch;

    uv_timer_t timer;
};

struct log_subject pm_group_subject(const struct pm_group *g);

/* group.c ------------------------------------------------------------------------------------------------ */

/* The responder has the group's socket no more: what it holds goes back into the queue, or is answered when
 * the group ends. */
void pm_group_stop_answering(struct pm_group *g);
bool pm_group_ask_responder(struct pm_group *g, struct pm_responder *r);

/* True when no other group holds this listener: another one may have taken the address over in the same
 * reload. */
bool pm_group_holds_alone(const struct pm_group *g, const struct pm_listener *l);
void pm_group_close_door(const struct pm_group *g, struct pm_listener *l);

/* Workers of generations that are neither current nor next. */
unsigned pm_group_count_old_serving(const struct pm_group *g);

/* What WIRE_DRAIN has to say to a worker of that generation. */
uint32_t pm_group_drain_flags(const struct pm_group *g, const struct pm_generation *gen);

/* group_next.c: failing, trying again, and the generation that a reload tries -------------------------------
 */

void pm_group_wait_before_retry(struct pm_group *g);

/* A reason is logged in full once, not at every attempt: why, or what to say instead. Status shows it until
 * it is forgotten. */
const char *pm_group_tell_once(struct pm_group *g, const char *why);
void pm_group_forget_failures(struct pm_group *g);

void pm_group_fail_next(struct pm_group *g, const char *why);

/* Takes its roles from a generation: template and workers that do not serve yet are killed. */
void pm_group_abandon(struct pm_group *g, struct pm_generation *gen);

/* Counts workers that ended since the last look, and draws the consequences. */
void pm_group_note_ends(struct pm_group *g, struct pm_generation *gen, int64_t now);
void pm_group_make_next(struct pm_group *g);
void pm_group_settle_next(struct pm_group *g, int64_t now);

/* group_current.c: the generation that serves, those that only finish, and replacing a worker ---------------
 */

void pm_group_settle_current(struct pm_group *g, int64_t now);
void pm_group_settle_retiring(struct pm_group *g, int64_t now);
void pm_group_settle_old(struct pm_group *g);

#endif
