/* Asks what a group's environment is now: a host started with --fingerprint, which answers and ends. */
#ifndef PM_ASK_H
#define PM_ASK_H

#include <stdbool.h>
#include <uv.h>

#include "pm/fingerprint.h"

struct cfg_group;
struct err;
struct pm_ask;

/* What the asker reads once is_over. */
struct pm_ask {
    bool is_over;
    struct pm_fingerprint answer; /* known, unless failure says why not */
    char *failure;                /* one sentence; owned */

    /* private to ask.c */
    void (*over)(void *context);
    void *context;
    struct pm_child *child;
    uv_timer_t timer;
    char group[65];
    bool has_place; /* among those that may run at once */
};

/* True when another may be started: many groups may share an environment that changes. */
bool pm_ask_has_room(void);

/* Starts program, a host, for the group. Later over(context) is called, once, from the loop; it only records.
 * NULL with *e. */
struct pm_ask *pm_ask_start(uv_loop_t *loop, const char *program, const struct cfg_group *group,
                            void (*over)(void *context), void *context, struct err *e);

/* Ends it, answered or not, without calling over. *ask becomes NULL; NULL is fine. */
void pm_ask_free(struct pm_ask **ask);

#endif
