/* Exponential back-off with jitter. No clock, no state: the caller keeps the count and the due time. */
#include "pm/backoff.h"

int64_t pm_backoff_delay_ms(unsigned failures, int64_t base_ms, int64_t max_ms, uint32_t random)
{
    if (failures == 0)
        return 0;
    int64_t delay = base_ms;
    for (unsigned i = 1; i < failures && delay < max_ms; i++)
        delay *= 2;
    if (delay > max_ms)
        delay = max_ms;
    return delay - (delay / 4) * (int64_t)(random % 1024) / 1024;
}
