/* Reading the file anew, and what becomes of each group by it. */
#ifndef PM_RELOAD_H
#define PM_RELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

struct err;
struct pm;

/* What a reload did to a group. */
struct pm_reload_item {
    char *name;
    enum pm_reload_fate {
        PM_FATE_ROLLS,   /* a new generation starts beside the old one */
        PM_FATE_STARTS,  /* the group is new */
        PM_FATE_ENDS,    /* the file has it no more */
        PM_FATE_REFUSED, /* nothing was begun */
    } fate;
    unsigned number; /* of the reload, in its group (struct pm_record); 0: not begun */
    char *failure;   /* why it was refused */
};

struct pm_reload_plan {
    struct pm_reload_item *items;
    size_t count;
    struct cfg_list pending;  /* what the file changes besides, in a reload of named groups only */
    struct cfg_report report; /* what reading the file found */
};

/* Reads the file and begins what it asks for: of the groups with these names (which may be running, or in the
 * file, or both), or of everything, the global part too, when there is no name. Fills *plan, which must be
 * zeroed; free it with pm_reload_plan_free() in any case. Logs what it does and why it cannot, since a signal
 * has nobody to answer to. 0, or -1 with *e for whoever asked, and nothing changed. */
int pm_reload(struct pm *pm, const struct cfg_list *names, struct pm_reload_plan *plan, struct err *e);

void pm_reload_plan_free(struct pm_reload_plan *plan);

#endif
