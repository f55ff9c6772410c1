/* The supervisor's state as JSON, for the control socket. docs/pyfpm-control.7 says what each member means.
 */
#ifndef PM_STATUS_H
#define PM_STATUS_H

#include <jansson.h>
#include <stdbool.h>

struct pm;
struct pm_group;

/* Both: a new object, NULL without memory. */
json_t *pm_status_supervisor(const struct pm *pm);
json_t *pm_status_group(const struct pm_group *g, bool with_processes);

/* How many workers of the group are in the state, in all generations; -1: in any but gone. */
unsigned pm_status_count(const struct pm_group *g, int state);

#endif
