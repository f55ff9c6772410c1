/* The supervisor: one loop, one list of groups, the signals. */
#ifndef PM_SUPERVISOR_H
#define PM_SUPERVISOR_H

#include <stdint.h>
#include <uv.h>

struct cfg;
struct pm;
struct pm_notify;
struct pm_responder;

/* Runs until it is told to stop; takes cfg. Returns the exit code of pyfpm. */
int pm_run(const char *config_path, struct cfg *cfg);

/* For groups. */
uv_loop_t *pm_loop(struct pm *pm);
uint64_t pm_next_serial(struct pm *pm);
struct pm_responder *pm_responder_of(struct pm *pm);
struct pm_notify *pm_notify_of(struct pm *pm);

#endif
