/* Time as pyfpm counts it: milliseconds of CLOCK_MONOTONIC, never wall time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Now, in milliseconds since an arbitrary start; the same clock in every process of the machine. */
static inline int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
