/* How often a line that anybody can cause may be logged. */
#ifndef PYHOST_PACE_H
#define PYHOST_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HOST_PACE_WINDOW_MS 30000
#define HOST_PACE_LINES     30 /* in a window */

/* Zeroed at first. Any thread. */
struct host_pace {
    _Atomic int64_t window_ms; /* when the current window began; 0: none did yet */
    _Atomic uint64_t asked;    /* in it */
};

/* True when the line may be logged; then *left_out is how many might not be in the window that has passed:
 * more than 0 with the first line of a window only. */
bool host_pace_allows(struct host_pace *p, int64_t now_ms, uint64_t *left_out);

#endif
