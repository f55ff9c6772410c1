/* A worker's life, seen from the supervisor.
 *
 * Callbacks only record: they move the worker through the table and mark its group dirty; group.c acts
 * after the batch. What a worker says is believed no further than its own life. Supervisor's only thread. */
#include "pm/worker.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/child.h"
#include "pm/generation.h"
#include "pm/group.h"
#include "pm/output.h"
#include "pm/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define RETIRE_REASON_MAX 500

int pm_worker_pid(const struct pm_worker *w)
{
    return w->child ? (int)w->child->pid : 0;
}

static struct log_subject subject_of(const struct pm_worker *w)
{
    return (struct log_subject){w->generation->cfg->name, pm_worker_pid(w)};
}

/* How long the worker may stay in its state; 0: for ever. */
static int64_t patience_ms(const struct pm_worker *w)
{
    const struct cfg_group *cfg = w->generation->cfg;
    switch (w->state) {
    case PM_WORKER_FORKING:
    case PM_WORKER_STARTING:
        return cfg->startup_timeout_ms;
    case PM_WORKER_DRAINING:
        /* shutdown-timeout is what the process may take for its own end once its requests are done. */
        return cfg->graceful_timeout_ms == 0 ? 0 : cfg->graceful_timeout_ms + cfg->shutdown_timeout_ms;
    default:
        return 0;
    }
}

static void start_patience(struct pm_worker *w)
{
    int64_t patience = patience_ms(w);
    w->due_ms = patience > 0 ? clock_now_ms() + patience : 0;
}

void pm_worker_enter(struct pm_worker *w, enum pm_worker_event event)
{
    int next = pm_worker_next(w->state, event);
    struct log_subject subject = subject_of(w);
    if (next == PM_NO_MOVE) {
        log_write(LOG_LEVEL_WARNING, &subject, "event %d makes no sense for a %s worker; ignored", (int)event,
                  pm_worker_state_name(w->state));
        return;
    }
    if ((enum pm_worker_state)next != w->state) {
        w->state = (enum pm_worker_state)next;
        start_patience(w);
    }
    pm_group_mark_dirty(w->generation->group);
}

static void log_end(struct pm_worker *w)
{
    char how[96];
    struct log_subject subject = subject_of(w);
    struct score_view view = score_read(w->generation->score, w->slot);
    pm_child_describe_end(w->child->wait_status, how);
    if (w->state == PM_WORKER_KILLED || (w->expected_end && w->child->wait_status == 0))
        log_write(LOG_LEVEL_DEBUG, &subject, "worker %s", how);
    else if (w->state == PM_WORKER_SERVING || w->expected_end)
        log_write(LOG_LEVEL_WARNING, &subject, "worker %s after %llu requests, %u in flight", how,
                  (unsigned long long)view.requests, view.busy);
    else
        log_write(LOG_LEVEL_WARNING, &subject, "worker %s before it was ready", how);
}

/* A crash leaves no time to say why. */
static void note_early_end(struct pm_worker *w)
{
    char how[96];
    struct err why;
    if (w->state != PM_WORKER_STARTING || w->expected_end || w->failure)
        return;
    err_set(&why, "it %s before it was ready", pm_child_describe_end(w->child->wait_status, how));
    w->failure = strdup(why.text);
}

static void on_ended(struct pm_child *child)
{
    struct pm_worker *w = child->owner;
    pm_output_flush(w->output);
    log_end(w);
    note_early_end(w);
    pm_worker_enter(w, PM_WORKER_EXIT);
}

/* Ends the life of a worker that no process belongs to. */
static void give_up(struct pm_worker *w, const char *why)
{
    if (w->state != PM_WORKER_FORKING)
        return;
    if (!w->failure)
        w->failure = strdup(why);
    pm_worker_enter(w, PM_WORKER_EXIT);
}

static void on_lost(struct pm_child *child)
{
    give_up(child->owner, "it ended before it said hello");
}

static void take_hello(struct pm_worker *w, const struct wire_msg *m)
{
    struct log_subject subject = subject_of(w);
    if (w->state == PM_WORKER_GONE)
        return;
    if (!pm_child_adopt(w->child, m->sender)) {
        log_write(LOG_LEVEL_ALERT, &subject,
                  "a process that is no child of ours (pid %d) said hello; ignored", (int)m->sender);
        give_up(w, "a stranger spoke for it");
        return;
    }
    pm_output_set_pid(w->output, w->child->pid);
    pm_worker_enter(w, PM_WORKER_HELLO);
}

static void take_failure(struct pm_worker *w, const struct wire_msg *m)
{
    if (!w->failure)
        w->failure = strdup(m->text);
}

void pm_worker_retire(struct pm_worker *w, const char *why)
{
    if (w->state != PM_WORKER_SERVING || w->retire_reason)
        return;
    size_t size = strcspn(why, "\n");
    w->retire_reason = strndup(why, size < RETIRE_REASON_MAX ? size : RETIRE_REASON_MAX);
    pm_group_mark_dirty(w->generation->group);
}

static void on_message(struct pm_child *child, const struct wire_msg *m)
{
    struct pm_worker *w = child->owner;
    struct log_subject subject = subject_of(w);
    if (m->type == WIRE_WORKER_HELLO && child->pid == 0) {
        take_hello(w, m);
    } else if (m->type == WIRE_WORKER_READY && child->pid != 0) {
        log_write(LOG_LEVEL_DEBUG, &subject, "worker ready");
        pm_worker_enter(w, PM_WORKER_READY);
    } else if (m->type == WIRE_WORKER_FAILED && child->pid != 0) {
        take_failure(w, m);
    } else if (m->type == WIRE_RETIRE && child->pid != 0) {
        pm_worker_retire(w, m->text);
    } else if (m->type == WIRE_PRESSED && child->pid != 0) {
        pm_scaling_press(w->generation, clock_now_ms());
        pm_group_mark_dirty(w->generation->group);
    } else {
        log_write(LOG_LEVEL_WARNING, &subject, "message %d from a %s worker makes no sense; ignored",
                  (int)m->type, pm_worker_state_name(w->state));
    }
}

static const struct pm_child_kind worker_kind = {"worker", on_message, on_ended, on_lost};

struct pm_worker *pm_worker_new(struct pm_generation *gen, uint32_t slot, uint64_t serial, int *channel_end,
                                int *log_end_fd, struct err *e)
{
    int ours = -1;
    int theirs = -1;
    int log_write_end = -1;
    struct pm_worker *w = calloc(1, sizeof *w);
    if (!w) {
        err_errno(e, "worker");
        return NULL;
    }
    w->generation = gen;
    w->slot = slot;
    w->serial = serial;
    w->born_ms = w->idle_since_ms = clock_now_ms();
    w->state = PM_WORKER_FORKING;
    start_patience(w);
    uv_loop_t *loop = pm_group_loop(gen->group);
    if (wire_pair(&ours, &theirs, e) < 0)
        goto fail;
    w->output = pm_output_new(loop, gen->cfg->name, &log_write_end, e);
    if (!w->output)
        goto fail;
    w->child = pm_child_new(loop, &worker_kind, w, gen->cfg->name, 0, &ours, e);
    if (!w->child)
        goto fail;
    *channel_end = theirs;
    *log_end_fd = log_write_end;
    return w;
fail:
    fd_close(&ours);
    fd_close(&theirs);
    fd_close(&log_write_end);
    pm_worker_free(w);
    return NULL;
}

/* A worker that is not wanted any more is either known by its hello after this, or unable to say it and so to
 * live on unknown. */
static void hear_hello(struct pm_worker *w)
{
    if (w->state == PM_WORKER_FORKING)
        pm_child_hang_up(w->child);
}

void pm_worker_drain(struct pm_worker *w, uint32_t flags)
{
    hear_hello(w);
    w->expected_end = true;
    if (w->state == PM_WORKER_GONE)
        return;
    /* Ends an import at once; once it serves, its own handler takes this as one more request to drain. */
    bool ask_by_signal = w->state == PM_WORKER_STARTING;
    struct wire_msg m;
    wire_init(&m, WIRE_DRAIN);
    m.flags = flags;
    if (pm_child_send(w->child, &m) < 0) {
        struct log_subject subject = subject_of(w);
        log_write(LOG_LEVEL_DEBUG, &subject, "cannot ask the worker to finish: %s", strerror(errno));
        ask_by_signal = true;
    }
    if (ask_by_signal)
        pm_child_signal(w->child, SIGTERM);
    pm_worker_enter(w, PM_WORKER_DRAIN);
}

void pm_worker_kill(struct pm_worker *w)
{
    hear_hello(w);
    w->expected_end = true;
    if (w->state == PM_WORKER_GONE)
        return;
    pm_child_signal(w->child, SIGKILL);
    pm_worker_enter(w, PM_WORKER_KILL);
}

void pm_worker_enforce(struct pm_worker *w, int64_t now_ms)
{
    if (w->due_ms == 0 || now_ms < w->due_ms)
        return;
    struct log_subject subject = subject_of(w);
    if (w->state == PM_WORKER_DRAINING) {
        struct score_view view = score_read(w->generation->score, w->slot);
        log_write(LOG_LEVEL_WARNING, &subject,
                  "worker did not finish within graceful-timeout and shutdown-timeout, %u requests in "
                  "flight: killed",
                  view.busy);
        pm_worker_kill(w);
    } else if (w->state == PM_WORKER_FORKING || w->state == PM_WORKER_STARTING) {
        free(w->failure);
        w->failure = strdup(w->state == PM_WORKER_FORKING
                                ? "its template did not fork it within startup-timeout"
                                : "it did not become ready within startup-timeout");
        pm_worker_kill(w);
        w->expected_end = false;
    }
}

void pm_worker_free(struct pm_worker *w)
{
    pm_child_free(&w->child);
    pm_output_release(&w->output);
    free(w->failure);
    free(w->retire_reason);
    free(w);
}
