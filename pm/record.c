/* Keeps a group's record of starts and reloads. Decides nothing; group.c says what happens. Supervisor's only
 * thread.
 */
#include "pm/record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void pm_record_begin(struct pm_record *r)
{
    r->number++;
    r->state = r->outcome = PM_RELOAD_GOING;
    r->ended_at_s = 0;
    free(r->failure);
    r->failure = NULL;
}

static void write_down(struct pm_record *r, enum pm_reload_state outcome, const char *why)
{
    char *copy = why ? strdup(why) : NULL; /* why may be the one that is kept */
    free(r->failure);
    r->failure = copy;
    r->outcome = outcome;
    r->ended_at_s = (int64_t)time(NULL);
}

void pm_record_end(struct pm_record *r, enum pm_reload_state outcome, const char *why)
{
    if (r->state != PM_RELOAD_GOING)
        return;
    r->state = outcome;
    write_down(r, outcome, why);
    if (r->number == 1) /* the start */
        return;
    if (outcome == PM_RELOAD_DONE)
        r->good++;
    else
        r->failed++;
}

void pm_record_refuse(struct pm_record *r, const char *why)
{
    r->failed++;
    if (r->state == PM_RELOAD_GOING)
        return;
    r->number++;
    write_down(r, PM_RELOAD_FAILED, why);
}

enum pm_reload_state pm_record_collect(struct pm_record *r)
{
    enum pm_reload_state state = r->state;
    if (state == PM_RELOAD_DONE || state == PM_RELOAD_FAILED)
        r->state = PM_RELOAD_NONE;
    return state;
}

void pm_record_clear(struct pm_record *r)
{
    free(r->failure);
    *r = (struct pm_record){0};
}
