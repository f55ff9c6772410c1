/* The supervisor: one loop, one list of groups, the signals. */
#ifndef PM_SUPERVISOR_H
#define PM_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct cfg;
struct err;
struct pm;
struct pm_group;
struct pm_notify;
struct pm_responder;

/* Runs until it is told to stop; takes cfg. Returns the exit code of pyfpm. */
int pm_run(const char *config_path, struct cfg *cfg);

/* For groups. */
uv_loop_t *pm_loop(struct pm *pm);
uint64_t pm_next_serial(struct pm *pm);
struct pm_responder *pm_responder_of(struct pm *pm);
struct pm_notify *pm_notify_of(struct pm *pm);

/* For the control socket, while it settles. */
const char *pm_config_path(const struct pm *pm);
int64_t pm_started_ms(const struct pm *pm); /* clock_now_ms() */

/* All groups, those that end included: there may be two of one name, of which one ends. */
struct pm_group *const *pm_groups(const struct pm *pm, size_t *count);

/* The group of that name that does not end, or NULL. */
struct pm_group *pm_find_group(const struct pm *pm, const char *name);

/* Finishes requests, then ends; or ends at once. Saying it again changes nothing. */
void pm_stop(struct pm *pm);
void pm_stop_now(struct pm *pm);
bool pm_is_stopping(const struct pm *pm);
bool pm_is_done(const struct pm *pm); /* nothing is left but to leave */

/* Opens the log file anew, and logs that. 0, or -1 with *e. */
int pm_reopen(struct err *e);

/* How many more workers max-workers allows all groups together. */
unsigned pm_room(const struct pm *pm);

/* A worker has gone. */
void pm_offer_room(struct pm *pm);

#endif
