/* Says which worker is replaced next, and what has to happen for it. Pure: looks at a generation's list of
 * workers and changes nothing; group.c acts. Supervisor's only thread. */
#include "pm/retire.h"

#include "config/config.h"
#include "pm/generation.h"
#include "pm/worker.h"

#include <stddef.h>

/* The worker that was started in its place, while it comes or serves; else NULL. */
static const struct pm_worker *find_successor(const struct pm_generation *gen, const struct pm_worker *w)
{
    for (const struct pm_worker *other = gen->workers; other && w->successor != 0; other = other->next)
        if (other->serial == w->successor)
            return other->state <= PM_WORKER_SERVING ? other : NULL;
    return NULL;
}

struct pm_worker *pm_retire_find(const struct pm_generation *gen)
{
    struct pm_worker *oldest = NULL;
    for (struct pm_worker *w = gen->workers; w; w = w->next) {
        if (w->state != PM_WORKER_SERVING || !w->retire_reason)
            continue;
        if (find_successor(gen, w))
            return w;
        if (!oldest || w->serial < oldest->serial)
            oldest = w;
    }
    return oldest;
}

enum pm_retire_step pm_retire_step(const struct pm_generation *gen, const struct pm_worker *w, bool is_paused)
{
    if (!w)
        return PM_RETIRE_REST;
    const struct pm_worker *successor = find_successor(gen, w);
    if (successor)
        return successor->state == PM_WORKER_SERVING ? PM_RETIRE_DRAIN : PM_RETIRE_REST;
    bool is_complete = pm_generation_count(gen, PM_WORKER_SERVING) >= gen->scaling.wanted &&
                       pm_generation_count_coming(gen) == 0;
    bool can_fork = gen->template_state == PM_TEMPLATE_READY;
    return is_paused || !is_complete || !can_fork ? PM_RETIRE_REST : PM_RETIRE_START;
}

bool pm_retire_is_going(const struct pm_generation *gen)
{
    const struct pm_worker *w = pm_retire_find(gen);
    return w && find_successor(gen, w);
}
