/* The supervisor's side of the responder: the process that answers 503 for groups that cannot. */
#ifndef PM_RESPONDER_LINK_H
#define PM_RESPONDER_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct err;
struct pm_responder;

/* ended is called when the process is gone, by itself or after pm_responder_finish(); pressed, when somebody
 * waits for a group that is watched: the id is what the process says, and may be anything. NULL with *e. */
struct pm_responder *pm_responder_start(uv_loop_t *loop, void (*ended)(void *context),
                                        void (*pressed)(void *context, uint32_t id), void *context,
                                        struct err *e);

/* Has it answer on a group's listening socket and hand-over queue. id names the group in the release.
 * false when it cannot be reached. The descriptors stay the caller's. */
bool pm_responder_answer(struct pm_responder *r, uint32_t id, int listen_fd, int handover_rx,
                         int handover_tx);

/* Has it watch them and answer nobody: pressed tells when somebody waits. Otherwise the same. */
bool pm_responder_watch(struct pm_responder *r, uint32_t id, int listen_fd, int handover_rx, int handover_tx);

/* Has it let go: its connections go to the group's workers; or, when the group ends, what is queued is
 * answered. r may be NULL. */
void pm_responder_release(struct pm_responder *r, uint32_t id, bool is_last);

/* Has it end after what is queued; "ended" tells when. */
void pm_responder_finish(struct pm_responder *r);

/* Kills it, if it still runs. */
void pm_responder_kill(struct pm_responder *r);

/* NULL is fine. The process must have ended. */
void pm_responder_free(struct pm_responder *r);

#endif
