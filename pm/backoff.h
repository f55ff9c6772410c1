/* How long to wait before trying again. Pure arithmetic, tested as a table. */
#ifndef PM_BACKOFF_H
#define PM_BACKOFF_H

#include <stdint.h>

/* The pause in milliseconds after the failures-th failure in a row (from 1): base doubled each time, at most
 * max, less up to a quarter of it by the random number, so that groups that failed together don't come
 * back together. 0 for no failures. */
int64_t pm_backoff_delay_ms(unsigned failures, int64_t base_ms, int64_t max_ms, uint32_t random);

#endif
