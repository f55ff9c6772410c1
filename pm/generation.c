/* Starts and stops one generation's template and has it fork workers.
 *
 * Knows nothing of other generations and decides nothing; group.c does. Runs on the supervisor's only
 * thread; nothing here waits. */
#include "pm/generation.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/child.h"
#include "pm/group.h"
#include "pm/hosts.h"
#include "pm/listener.h"
#include "pm/output.h"
#include "pm/spawn.h"
#include "pm/supervisor.h"
#include "pm/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct log_subject template_subject(const struct pm_generation *gen)
{
    return (struct log_subject){gen->cfg->name, gen->template_child ? (int)gen->template_child->pid : 0};
}

/* How long the template may stay in its state; 0: for ever. */
static int64_t template_patience_ms(const struct pm_generation *gen)
{
    if (gen->template_state == PM_TEMPLATE_STARTING)
        return gen->cfg->startup_timeout_ms;
    return gen->template_state == PM_TEMPLATE_ENDING ? gen->cfg->shutdown_timeout_ms : 0;
}

/* The only door between a template's states. */
static void enter(struct pm_generation *gen, enum pm_template_event event)
{
    int next = pm_template_next(gen->template_state, event);
    if (next == PM_NO_MOVE) {
        struct log_subject subject = template_subject(gen);
        log_write(LOG_LEVEL_WARNING, &subject, "event %d makes no sense for a %s template; ignored",
                  (int)event, pm_template_state_name(gen->template_state));
        return;
    }
    gen->template_state = (enum pm_template_state)next;
    int64_t patience = template_patience_ms(gen);
    gen->template_due_ms = patience > 0 ? clock_now_ms() + patience : 0;
    pm_group_mark_dirty(gen->group);
}

static void set_failure(struct pm_generation *gen, const char *why)
{
    if (!gen->failure)
        gen->failure = strdup(why);
}

static void fail_spawn(struct pm_generation *gen, const struct wire_msg *m)
{
    for (struct pm_worker *w = gen->workers; w; w = w->next) {
        if (w->serial != m->serial || w->end_noted ||
            (w->state != PM_WORKER_FORKING && w->state != PM_WORKER_GONE))
            continue;
        free(w->failure); /* its channel may have closed before this came */
        w->failure = strdup(m->text);
        if (w->state == PM_WORKER_FORKING)
            pm_worker_enter(w, PM_WORKER_EXIT);
    }
}

static void take_refusal(struct pm_generation *gen, const struct wire_msg *m)
{
    if (gen->template_state == PM_TEMPLATE_STARTING) {
        if (m->type == WIRE_TEMPLATE_FAILED)
            set_failure(gen, m->text);
        else if (gen->preload)
            gen->preload = false; /* the next start imports in each worker; the template has logged why */
        else
            set_failure(gen, "its template complains of a preload that it was not to do");
    }
    enter(gen, PM_TEMPLATE_REFUSES);
}

static void on_message(struct pm_child *child, const struct wire_msg *m)
{
    struct pm_generation *gen = child->owner;
    /* What was on its way when we killed it changes nothing any more; only workers it could not fork count.
     */
    if (gen->template_state == PM_TEMPLATE_ENDING && m->type != WIRE_SPAWN_FAILED)
        return;
    switch (m->type) {
    case WIRE_TEMPLATE_READY:
        gen->preloaded = m->flags & WIRE_PRELOADED;
        enter(gen, PM_TEMPLATE_IS_UP);
        break;
    case WIRE_TEMPLATE_FAILED:
    case WIRE_TEMPLATE_UNSAFE:
        take_refusal(gen, m);
        break;
    case WIRE_SPAWN_FAILED:
        fail_spawn(gen, m);
        break;
    case WIRE_FINGERPRINT: /* a later template's is ignored: what serves may still be the first one's */
        if (gen->template_state == PM_TEMPLATE_STARTING)
            pm_fingerprint_take(&gen->fingerprint, m);
        pm_group_mark_dirty(gen->group);
        break;
    default: {
        struct log_subject subject = template_subject(gen);
        log_write(LOG_LEVEL_WARNING, &subject, "message %d from a template makes no sense; ignored",
                  (int)m->type);
    }
    }
}

/* The channel of a worker that was not forked yet closes with the template; one that was forked comes all the
 * same. */
static void on_ended(struct pm_child *child)
{
    struct pm_generation *gen = child->owner;
    char how[96];
    struct log_subject subject = template_subject(gen);
    pm_output_flush(gen->template_output);
    pm_child_describe_end(child->wait_status, how);
    if (gen->template_state == PM_TEMPLATE_STARTING) {
        struct err why;
        if (!pm_hosts_explain_end(child->wait_status, &why))
            err_set(&why, "its template %s before it was ready", how);
        set_failure(gen, why.text);
    } else if (gen->template_state == PM_TEMPLATE_READY) {
        log_write(LOG_LEVEL_WARNING, &subject, "template %s", how);
        gen->template_deaths++;
    } else {
        log_write(LOG_LEVEL_DEBUG, &subject, "template %s", how);
    }
    enter(gen, PM_TEMPLATE_EXIT);
}

static const struct pm_child_kind template_kind = {"template", on_message, on_ended, NULL};

/* Twice the workers: during a roll each may have a successor, and drained ones take their time. */
static uint32_t slots_for(const struct cfg_group *cfg)
{
    uint32_t slots = (uint32_t)cfg->processes * 2 + 8;
    return slots < SCORE_SLOTS_MAX ? slots : SCORE_SLOTS_MAX;
}

struct pm_generation *pm_generation_new(struct pm_group *group, unsigned number, const struct cfg_group *cfg,
                                        struct pm_listener *listener, struct err *e)
{
    struct pm_generation *gen = calloc(1, sizeof *gen);
    if (!gen) {
        err_errno(e, "generation");
        return NULL;
    }
    gen->score_fd = -1;
    gen->group = group;
    gen->number = number;
    gen->preload = cfg->preload != CFG_PRELOAD_FALSE;
    gen->cfg = cfg_group_copy(cfg);
    gen->slot_taken = calloc(slots_for(cfg), sizeof *gen->slot_taken);
    if (!gen->cfg || !gen->slot_taken) {
        err_errno(e, "generation");
        pm_generation_free(gen);
        return NULL;
    }
    gen->score = score_create(cfg->name, slots_for(cfg), &gen->score_fd, e);
    if (!gen->score) {
        pm_generation_free(gen);
        return NULL;
    }
    gen->listener = listener;
    return gen;
}

void pm_generation_free(struct pm_generation *gen)
{
    while (gen->workers) {
        struct pm_worker *w = gen->workers;
        gen->workers = w->next;
        pm_worker_free(w);
    }
    pm_child_free(&gen->template_child);
    pm_output_release(&gen->template_output);
    pm_listener_release(&gen->listener);
    score_free(gen->score);
    fd_close(&gen->score_fd);
    pm_fingerprint_clear(&gen->fingerprint);
    cfg_group_free(gen->cfg);
    free(gen->slot_taken);
    free(gen->failure);
    free(gen);
}

static int open_null(struct err *e)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        err_errno(e, "/dev/null");
    return fd;
}

/* A process whose output nobody wants writes to /dev/null; its log pipe closes at once. */
static int choose_output(const struct cfg_group *cfg, int *log_end, struct err *e)
{
    if (cfg->catch_output)
        return 0;
    fd_close(log_end);
    *log_end = open_null(e);
    return *log_end < 0 ? -1 : 0;
}

/* A host's name says what it embeds: …/host-3.11. */
static void note_python(struct pm_generation *gen, const char *program)
{
    const char *dash = strrchr(program, '-');
    snprintf(gen->python, sizeof gen->python, "%s", dash ? dash + 1 : "");
}

static pid_t exec_template(struct pm_generation *gen, int channel, int config, int output, struct err *e)
{
    char program[4096];
    if (pm_hosts_choose(gen->cfg, program, sizeof program, e) < 0)
        return -1;
    note_python(gen, program);
    int handover_rx;
    int handover_tx;
    pm_group_handover(gen->group, &handover_rx, &handover_tx);
    int fds[PM_SPAWN_FDS_MAX] = {[0] = -1,
                                 [1] = output,
                                 [2] = output,
                                 [HOST_FD_CHANNEL] = channel,
                                 [HOST_FD_CONFIG] = config,
                                 [HOST_FD_SCORE] = gen->score_fd,
                                 [HOST_FD_LISTEN] = pm_listener_fd(gen->listener),
                                 [HOST_FD_HANDOVER_RX] = handover_rx,
                                 [HOST_FD_HANDOVER_TX] = handover_tx};
    char title[CFG_NAME_MAX + 16]; /* what ps(1) shows of the template and its workers */
    snprintf(title, sizeof title, "pyfpm: group %s", gen->cfg->name);
    char *argv[] = {title, gen->preload ? NULL : (char *)"--no-preload", NULL};
    return pm_spawn(program, argv, fds, e);
}

int pm_generation_start_template(struct pm_generation *gen, struct err *e)
{
    int result = -1;
    int ours = -1;
    int theirs = -1;
    int output = -1;
    pid_t pid = -1;
    uv_loop_t *loop = pm_group_loop(gen->group);
    pm_child_free(&gen->template_child);
    pm_output_release(&gen->template_output);
    if (!gen->fingerprint.complete)
        pm_fingerprint_clear(&gen->fingerprint);

    int config = fd_memory("pyfpm-group");
    if (config < 0) {
        err_errno(e, "memfd_create");
        goto out;
    }
    if (cfg_group_write(gen->cfg, config, e) < 0 || wire_pair(&ours, &theirs, e) < 0)
        goto out;
    gen->template_output = pm_output_new(loop, gen->cfg->name, &output, e);
    if (!gen->template_output || choose_output(gen->cfg, &output, e) < 0)
        goto out;
    pid = exec_template(gen, theirs, config, output, e);
    if (pid < 0)
        goto out;
    pm_output_set_pid(gen->template_output, pid);
    gen->template_child = pm_child_new(loop, &template_kind, gen, gen->cfg->name, pid, &ours, e);
    if (!gen->template_child) {
        kill(pid, SIGKILL); /* our own unreaped child: the number cannot be anybody else's */
        goto out;
    }
    enter(gen, PM_TEMPLATE_START);
    result = 0;
out:
    fd_close(&config);
    fd_close(&ours);
    fd_close(&theirs);
    fd_close(&output);
    return result;
}

void pm_generation_stop_template(struct pm_generation *gen)
{
    if (gen->template_state != PM_TEMPLATE_ENDING)
        pm_generation_kill_template(gen);
}

void pm_generation_kill_template(struct pm_generation *gen)
{
    if (gen->template_state == PM_TEMPLATE_NONE)
        return;
    pm_child_signal(gen->template_child, SIGKILL);
    if (gen->template_state != PM_TEMPLATE_ENDING)
        enter(gen, PM_TEMPLATE_STOP);
    gen->template_due_ms = 0;
}

void pm_generation_forget_template(struct pm_generation *gen)
{
    if (gen->template_state != PM_TEMPLATE_NONE)
        return;
    pm_child_free(&gen->template_child);
    pm_output_release(&gen->template_output);
}

static bool is_overdue(int64_t due_ms, int64_t now_ms)
{
    return due_ms != 0 && now_ms >= due_ms;
}

void pm_generation_enforce(struct pm_generation *gen, int64_t now_ms)
{
    if (is_overdue(gen->template_due_ms, now_ms)) {
        if (gen->template_state == PM_TEMPLATE_STARTING)
            set_failure(gen, "its template did not become ready within startup-timeout");
        pm_generation_kill_template(gen);
    }
    for (struct pm_worker *w = gen->workers; w; w = w->next) {
        if (w->state == PM_WORKER_FORKING && is_overdue(w->due_ms, now_ms))
            pm_generation_stop_template(gen); /* it is stuck, and would be with the next worker */
        pm_worker_enforce(w, now_ms);
    }
}

static int take_slot(struct pm_generation *gen)
{
    for (uint32_t slot = 0; slot < score_slot_count(gen->score); slot++)
        if (!gen->slot_taken[slot]) {
            gen->slot_taken[slot] = true;
            score_clear(gen->score, slot);
            return (int)slot;
        }
    return -1;
}

static int send_spawn(struct pm_generation *gen, struct pm_worker *w, int channel_end, int log_end,
                      struct err *e)
{
    struct wire_msg m;
    wire_init(&m, WIRE_SPAWN);
    m.slot = w->slot;
    m.serial = w->serial;
    m.flags = gen->has_served ? 0 : WIRE_SPAWN_CANARY;
    m.fds[0] = channel_end;
    m.fds[1] = log_end;
    m.fd_count = 2;
    if (pm_child_send(gen->template_child, &m) < 0)
        return err_errno(e, "cannot ask the template for a worker");
    return 0;
}

struct pm_worker *pm_generation_spawn(struct pm_generation *gen, struct err *e)
{
    int channel_end = -1;
    int log_end = -1;
    struct pm_worker *w = NULL;
    int slot = take_slot(gen);
    if (slot < 0) {
        err_set(e, "all %u slots of the scoreboard are taken by workers that have not ended yet",
                score_slot_count(gen->score));
        return NULL;
    }
    w = pm_worker_new(gen, (uint32_t)slot, pm_group_next_serial(gen->group), &channel_end, &log_end, e);
    if (w && (choose_output(gen->cfg, &log_end, e) < 0 || send_spawn(gen, w, channel_end, log_end, e) < 0)) {
        pm_worker_free(w);
        w = NULL;
    }
    fd_close(&channel_end);
    fd_close(&log_end);
    if (!w) {
        gen->slot_taken[slot] = false;
        return NULL;
    }
    w->next = gen->workers;
    gen->workers = w;
    return w;
}

unsigned pm_generation_count(const struct pm_generation *gen, enum pm_worker_state state)
{
    unsigned count = 0;
    for (const struct pm_worker *w = gen->workers; w; w = w->next)
        count += w->state == state;
    return count;
}

unsigned pm_generation_count_coming(const struct pm_generation *gen)
{
    return pm_generation_count(gen, PM_WORKER_FORKING) + pm_generation_count(gen, PM_WORKER_STARTING);
}

void pm_generation_sweep(struct pm_generation *gen)
{
    struct pm_worker **link = &gen->workers;
    while (*link) {
        struct pm_worker *w = *link;
        if (w->state != PM_WORKER_GONE) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        gen->slot_taken[w->slot] = false;
        pm_worker_free(w);
    }
}

bool pm_generation_is_empty(const struct pm_generation *gen)
{
    return gen->template_state == PM_TEMPLATE_NONE && !gen->workers;
}
