/* Replacing a worker, successor first: whose turn it is, and what has to happen.
 *
 * A worker that is to retire (pm_worker_retire(), WIRE_RETIRE) serves on until the worker that was started
 * in its place serves; so capacity never dips, and when no successor can start nothing changes. One worker of
 * a generation is replaced at a time. */
#ifndef PM_RETIRE_H
#define PM_RETIRE_H

#include <stdbool.h>

struct pm_generation;
struct pm_worker;

enum pm_retire_step {
    PM_RETIRE_REST,  /* nothing now */
    PM_RETIRE_START, /* start a successor */
    PM_RETIRE_DRAIN, /* the successor serves: the old one may go */
};

/* Whose turn it is: the serving worker whose successor lives, else the oldest that is to retire; NULL when
 * none is. */
struct pm_worker *pm_retire_find(const struct pm_generation *gen);

/* What to do about it; w may be NULL. is_paused: no successor may be started now. Workers that are missing or
 * on their way come first. */
enum pm_retire_step pm_retire_step(const struct pm_generation *gen, const struct pm_worker *w,
                                   bool is_paused);

/* True while the generation has, or is getting, one worker more than it wants: for the one that is being
 * replaced. */
bool pm_retire_is_going(const struct pm_generation *gen);

#endif
