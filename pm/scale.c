/* Decides how many workers a group should have.
 *
 * Pure arithmetic: no clock, no system calls, no struct pm. The supervisor gathers the numbers and acts on
 * the answer. A round starts one worker more than before, then twice as many as the last round, as long as
 * need lasts: a burst is met within a few rounds, and a single request does not bring up all processes.
 * Workers that are coming count as free already, or a slow import would be answered by a herd. */
#include "pm/scale.h"

#include "config/config.h"

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned beyond(unsigned a, unsigned b)
{
    return a > b ? a - b : 0;
}

/* Starts wanted workers, as far as the group and all groups together may have them. */
static struct pm_scale_plan start_at_once(const struct pm_scale_input *in, unsigned wanted)
{
    unsigned allowed = smaller(beyond(in->processes, in->total), in->room);
    return (struct pm_scale_plan){.start = smaller(wanted, allowed)};
}

/* The same, in rounds that double. */
static struct pm_scale_plan start_by_steps(const struct pm_scale_input *in, unsigned wanted)
{
    unsigned step = in->step == 0 ? 1 : smaller(2 * in->step, PM_SCALE_STEP_MAX);
    struct pm_scale_plan plan = start_at_once(in, smaller(wanted, step));
    plan.step = step;
    return plan;
}

static struct pm_scale_plan plan_dynamic(const struct pm_scale_input *in)
{
    unsigned spare = in->spare + in->coming;
    if (in->is_first)
        return start_at_once(in, beyond(in->start, in->total));
    if (spare < in->min_spare)
        return start_by_steps(in, in->min_spare - spare);
    if (in->is_pressed && in->coming == 0)
        return start_by_steps(in, 1);
    unsigned least = in->min_spare > 0 ? in->min_spare : 1;
    bool is_too_many = in->spare > in->max_spare && in->idle > 0 && in->total > least;
    return (struct pm_scale_plan){.end = is_too_many ? 1 : 0};
}

static struct pm_scale_plan plan_ondemand(const struct pm_scale_input *in)
{
    if (in->is_pressed && in->coming == 0)
        return start_by_steps(in, in->processes);
    return (struct pm_scale_plan){.end = in->is_pressed ? 0 : in->expired};
}

struct pm_scale_plan pm_scale_plan(const struct pm_scale_input *in)
{
    switch (in->mode) {
    case CFG_PM_DYNAMIC:
        return plan_dynamic(in);
    case CFG_PM_ONDEMAND:
        return plan_ondemand(in);
    default:
        return start_at_once(in, in->processes);
    }
}
