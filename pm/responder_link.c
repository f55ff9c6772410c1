/* Starts the responder and tells it what to answer for. Supervisor's only thread; never waits. */
#include "pm/responder_link.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "pm/child.h"
#include "pm/hosts.h"
#include "pm/spawn.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pm_responder {
    struct pm_child *child;
    void (*ended)(void *context);
    void (*pressed)(void *context, uint32_t id);
    void *context;
};

static void on_message(struct pm_child *child, const struct wire_msg *m)
{
    struct pm_responder *r = child->owner;
    struct log_subject subject = {NULL, child->pid};
    if (m->type == WIRE_PRESSED) {
        r->pressed(r->context, m->slot);
        return;
    }
    log_write(LOG_LEVEL_WARNING, &subject, "message %d from the responder makes no sense; ignored",
              (int)m->type);
}

static void on_ended(struct pm_child *child)
{
    struct pm_responder *r = child->owner;
    char how[96];
    struct log_subject subject = {NULL, child->pid};
    if (child->wait_status != 0)
        log_write(LOG_LEVEL_WARNING, &subject, "responder %s",
                  pm_child_describe_end(child->wait_status, how));
    r->ended(r->context);
}

static const struct pm_child_kind responder_kind = {"responder", on_message, on_ended, NULL};

struct pm_responder *pm_responder_start(uv_loop_t *loop, void (*ended)(void *context),
                                        void (*pressed)(void *context, uint32_t id), void *context,
                                        struct err *e)
{
    int ours = -1;
    int theirs = -1;
    char program[PATH_MAX];
    struct pm_responder *r = calloc(1, sizeof *r);
    if (!r) {
        err_errno(e, "responder");
        return NULL;
    }
    r->ended = ended;
    r->pressed = pressed;
    r->context = context;
    if (pm_hosts_libexec("responder", program, sizeof program, e) < 0 || wire_pair(&ours, &theirs, e) < 0)
        goto fail;
    int fds[PM_SPAWN_FDS_MAX] = {-1, -1, STDERR_FILENO, theirs, -1, -1, -1, -1, -1};
    char *argv[] = {program, NULL};
    pid_t pid = pm_spawn(program, argv, fds, e);
    if (pid < 0)
        goto fail;
    r->child = pm_child_new(loop, &responder_kind, r, NULL, pid, &ours, e);
    if (!r->child) {
        kill(pid, SIGKILL); /* our own unreaped child: the number cannot be anybody else's */
        goto fail;
    }
    fd_close(&theirs);
    return r;
fail:
    fd_close(&ours);
    fd_close(&theirs);
    free(r);
    return NULL;
}

static bool tell(struct pm_responder *r, const struct wire_msg *m)
{
    return !r->child->reaped && pm_child_send(r->child, m) == 0;
}

static bool hand_in(struct pm_responder *r, uint32_t id, uint32_t flags, int listen_fd, int handover_rx,
                    int handover_tx)
{
    struct wire_msg m;
    wire_init(&m, WIRE_ANSWER);
    m.flags = flags;
    m.slot = id;
    m.fds[0] = listen_fd;
    m.fds[1] = handover_rx;
    m.fds[2] = handover_tx;
    m.fd_count = 3;
    return tell(r, &m);
}

bool pm_responder_answer(struct pm_responder *r, uint32_t id, int listen_fd, int handover_rx, int handover_tx)
{
    return hand_in(r, id, 0, listen_fd, handover_rx, handover_tx);
}

bool pm_responder_watch(struct pm_responder *r, uint32_t id, int listen_fd, int handover_rx, int handover_tx)
{
    return hand_in(r, id, WIRE_ANSWER_WATCH, listen_fd, handover_rx, handover_tx);
}

void pm_responder_release(struct pm_responder *r, uint32_t id, bool is_last)
{
    struct wire_msg m;
    wire_init(&m, WIRE_RELEASE);
    m.flags = is_last ? WIRE_RELEASE_LAST : 0;
    m.slot = id;
    if (r)
        tell(r, &m); /* when it is gone, so are its sockets */
}

void pm_responder_finish(struct pm_responder *r)
{
    struct wire_msg m;
    wire_init(&m, WIRE_FINISH);
    if (!tell(r, &m))
        pm_responder_kill(r);
}

void pm_responder_kill(struct pm_responder *r)
{
    pm_child_signal(r->child, SIGKILL);
}

void pm_responder_free(struct pm_responder *r)
{
    if (!r)
        return;
    pm_child_free(&r->child);
    free(r);
}
