/* One generation of a group: a configuration, the template that was started from it, and its workers.
 *
 * A reload makes a new generation beside the old one; group.c decides which of them lives. Here are only
 * the facts about one, and the means: start the template, ask it for a worker, retire. */
#ifndef PM_GENERATION_H
#define PM_GENERATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pm/fingerprint.h"
#include "pm/scaling.h"
#include "pm/states.h"

struct cfg_group;
struct err;
struct pm_child;
struct pm_generation;
struct pm_group;
struct pm_listener;
struct pm_output;
struct pm_worker;
struct score;

/* What a generation needs of its group and the supervisor. */
struct pm_generation {
    struct pm_group *group;
    unsigned number;       /* counts from 1 in each group */
    struct cfg_group *cfg; /* owned copy */
    struct pm_listener *listener;
    struct score *score;
    int score_fd;
    bool *slot_taken; /* one for each slot of the scoreboard */
    char python[16];  /* X.Y of the host that was chosen last; "" before */

    enum pm_template_state template_state; /* changed by one door in generation.c */
    struct pm_child *template_child;
    struct pm_output *template_output;
    int64_t template_due_ms;  /* when patience with its state runs out; 0: never */
    unsigned template_deaths; /* by itself while ready, not counted by group.c yet */
    bool preload;             /* import in the template */
    bool preloaded;           /* the template said that it did */
    bool has_served;          /* its canary was ready: promoted by group.c */

    struct pm_fingerprint fingerprint; /* of the environment when its first template started */

    struct pm_scaling scaling; /* how many workers it should have */
    int64_t idle_since_ms;     /* ondemand: since when it has had no worker; 0: it has */

    struct pm_worker *workers;  /* list */
    struct pm_generation *next; /* in the group's list, newest first */

    char *failure; /* why the template cannot be, once it failed; owned */
};

/* Takes the listener over. Copies cfg. Starts nothing. NULL with *e (the listener stays the caller's). */
struct pm_generation *pm_generation_new(struct pm_group *group, unsigned number, const struct cfg_group *cfg,
                                        struct pm_listener *listener, struct err *e);

/* Frees it with everything it holds. Nothing of it may be running any more. */
void pm_generation_free(struct pm_generation *gen);

/* Execs the template. 0, or -1 with *e. State NONE before. */
int pm_generation_start_template(struct pm_generation *gen, struct err *e);

/* Ends the template; what it forked is not touched. Fine in every state: one that is ending already is left
 * to it, within shutdown-timeout. */
void pm_generation_stop_template(struct pm_generation *gen);

/* Lets go of what is left of a template that has ended; it may be started again. Nothing while it lives. */
void pm_generation_forget_template(struct pm_generation *gen);

/* Kills the template, ending or not. */
void pm_generation_kill_template(struct pm_generation *gen);

/* Acts on patience that ran out: a template that starts, ends or forks for too long is killed, and the
 * workers as pm_worker_enforce() says. */
void pm_generation_enforce(struct pm_generation *gen, int64_t now_ms);

/* Asks the ready template for a worker. The new worker, in the list; NULL with *e. */
struct pm_worker *pm_generation_spawn(struct pm_generation *gen, struct err *e);

/* How many of its workers are in a state; how many are on the way to serving (forking or starting). */
unsigned pm_generation_count(const struct pm_generation *gen, enum pm_worker_state state);
unsigned pm_generation_count_coming(const struct pm_generation *gen);

/* Removes workers that are gone, returning their slots. */
void pm_generation_sweep(struct pm_generation *gen);

/* True when neither template nor workers are left. */
bool pm_generation_is_empty(const struct pm_generation *gen);

#endif
