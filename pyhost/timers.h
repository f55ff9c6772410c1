/* What happens to requests that take too long: slow log, request-timeout, interrupt-timeout,
 * deadlock-timeout. */
#ifndef PYHOST_TIMERS_H
#define PYHOST_TIMERS_H

#include <stdint.h>

struct err;
struct host_timers;
struct host_worker;

/* For the watch thread of w. NULL without memory. */
struct host_timers *host_timers_new(struct host_worker *w);
void host_timers_free(struct host_timers *s);

/* The shortest of the group's time limits, in milliseconds; INT64_MAX when it has none. A request is looked
 * at no later than that after it began. */
int64_t host_timers_shortest(const struct host_worker *w);

/* Looks at every request that is under way and does what is due: logs stacks, asks for this worker to be
 * replaced, interrupts, or leaves when nobody gets the GIL. Returns when to look again (clock_now_ms()), or
 * INT64_MAX. The watch thread; waits a tenth of a second for a stack at most. */
int64_t host_timers_check(struct host_timers *s, int64_t now_ms);

#endif
