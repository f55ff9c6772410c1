/* Keeps peers from filling the log: a line a second on the average, some at once, and word of the rest.
 *
 * A window begins with the first line after the last one. Knows no clock. Without a lock: threads that meet
 * at the border of two windows may be a line out. */
#include "pyhost/pace.h"

static bool begins_window(struct host_pace *p, int64_t now_ms)
{
    int64_t began = atomic_load(&p->window_ms);
    return (began == 0 || now_ms - began >= HOST_PACE_WINDOW_MS) &&
           atomic_compare_exchange_strong(&p->window_ms, &began, now_ms);
}

bool host_pace_allows(struct host_pace *p, int64_t now_ms, uint64_t *left_out)
{
    *left_out = 0;
    if (!begins_window(p, now_ms))
        return atomic_fetch_add(&p->asked, 1) < HOST_PACE_LINES;
    uint64_t asked = atomic_exchange(&p->asked, 1);
    *left_out = asked > HOST_PACE_LINES ? asked - HOST_PACE_LINES : 0;
    return true;
}
