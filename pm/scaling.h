/* The number of workers that a generation should have right now, and how that changes.
 *
 * pm_scale_plan() decides; here the numbers for it are gathered and its answer is kept. Nothing is started or
 * ended here: group.c brings the workers to the number that is wanted. */
#ifndef PM_SCALING_H
#define PM_SCALING_H

#include <stdbool.h>
#include <stdint.h>

struct cfg_group;
struct pm_generation;
struct pm_worker;

struct pm_scaling {
    unsigned wanted; /* workers */
    unsigned step;   /* of pm_scale_plan() */
    bool is_pressed; /* recorded: somebody waits, and nobody is free */
    bool is_short;   /* nobody could be started for them: all groups together have as many as they may */
    int64_t due_ms;  /* the next round; 0: none */
};

/* A generation is about to serve. inherited: how many workers of its predecessors serve now. */
void pm_scaling_begin(struct pm_generation *gen, unsigned inherited, int64_t now_ms);

/* A connection waits, and nobody is free to take it. */
void pm_scaling_press(struct pm_generation *gen, int64_t now_ms);

/* There may be room again. */
void pm_scaling_offer_room(struct pm_generation *gen, int64_t now_ms);

/* Does a round when one is due. room: how many more workers all groups together may have. Returns how many
 * idle workers are to be ended; wanted has counted them out already. */
unsigned pm_scaling_round(struct pm_generation *gen, unsigned room, int64_t now_ms);

/* The serving worker that has been without a request for longest; NULL when none is. */
struct pm_worker *pm_scaling_find_idle(const struct pm_generation *gen);

/* What could not be started is not wanted any more, until somebody waits again: ondemand only. */
void pm_scaling_give_up(struct pm_generation *gen);

/* How many workers it should have now, or first, when it does not serve yet. */
unsigned pm_scaling_wanted(const struct pm_generation *gen);

/* True for ondemand groups that have nothing to do: no worker is wanted and none is left. */
bool pm_scaling_is_cold(const struct pm_generation *gen);

#endif
