/* Recycling: max-requests, max-lifetime, max-rss. */
#ifndef PYHOST_RECYCLE_H
#define PYHOST_RECYCLE_H

#include <stdint.h>

struct host_recycle;
struct host_worker;

/* For the watch thread of w; sets w->retire_at. NULL without memory. */
struct host_recycle *host_recycle_new(struct host_worker *w, int64_t now_ms);
void host_recycle_free(struct host_recycle *r);

/* Asks the supervisor to replace this worker once a limit is reached: the limit goes with the wish, and for
 * max-rss the requests during which memory grew. Leaves the process at twice max-rss. The watch thread. */
void host_recycle_check(struct host_recycle *r, int64_t now_ms);

/* When to look again (clock_now_ms()), or INT64_MAX. */
int64_t host_recycle_due(const struct host_recycle *r);

#endif
