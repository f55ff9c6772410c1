/* Decides, for one group, what has to happen next, and has it done: pm_group_settle() is the table of
 * contents.
 *
 * Roles: "current" is the generation whose workers are wanted; "next" is being tried by a reload (its
 * first worker is the canary); every other generation in the list is old and only finishes. A failed next
 * never touches current. Runs on the supervisor's only thread, after each batch of events. */
#include "pm/group_parts.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/generation.h"
#include "pm/listener.h"
#include "pm/responder_link.h"
#include "pm/supervisor.h"
#include "pm/watch.h"
#include "pm/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for some thousand connections on their way to a sibling; the kernel's default holds 278, measured. */
#define HANDOVER_BYTES (2 * 1024 * 1024)

static void on_timer(uv_timer_t *timer)
{
    pm_group_mark_dirty(timer->data);
}

static void on_watch(void *context)
{
    pm_group_mark_dirty(context);
}

struct log_subject pm_group_subject(const struct pm_group *g)
{
    return (struct log_subject){g->name, 0};
}

static int open_handover(struct pm_group *g, struct err *e)
{
    int pair[2];
    int size = HANDOVER_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return err_errno(e, "cannot make the hand-over socket");
    /* Only root passes wmem_max. */
    if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    g->handover_rx = pair[0];
    g->handover_tx = pair[1];
    return 0;
}

struct pm_group *pm_group_new(struct pm *pm, const struct cfg_group *cfg, struct pm_listener *listener,
                              struct err *e)
{
    static uint32_t last_id;
    struct pm_group *g = calloc(1, sizeof *g);
    if (!g) {
        err_errno(e, "group");
        return NULL;
    }
    g->pm = pm;
    g->id = ++last_id;
    g->handover_rx = g->handover_tx = -1;
    g->name = strdup(cfg->name);
    g->wanted = cfg_group_copy(cfg);
    g->watch = g->name ? pm_watch_new(pm_loop(pm), pm_notify_of(pm), g->name, on_watch, g, e) : NULL;
    if (!g->watch || !g->wanted || open_handover(g, e) < 0) {
        pm_watch_free(g->watch);
        free(g->name);
        cfg_group_free(g->wanted);
        free(g);
        return NULL;
    }
    g->listener = listener;
    pm_record_begin(&g->record);
    uv_timer_init(pm_loop(pm), &g->timer);
    g->timer.data = g;
    pm_group_mark_dirty(g);
    return g;
}

static void free_when_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void pm_group_free(struct pm_group *g)
{
    while (g->generations) {
        struct pm_generation *gen = g->generations;
        g->generations = gen->next;
        pm_generation_free(gen);
    }
    pm_watch_free(g->watch);
    pm_listener_release(&g->listener);
    fd_close(&g->handover_rx);
    fd_close(&g->handover_tx);
    cfg_group_free(g->wanted);
    free(g->last_failure);
    pm_record_clear(&g->record);
    free(g->name);
    uv_close((uv_handle_t *)&g->timer, free_when_closed);
}

/* ---- for the other parts ---- */

bool pm_group_ask_responder(struct pm_group *g, struct pm_responder *r)
{
    return pm_responder_answer(r, g->id, pm_listener_fd(g->listener), g->handover_rx, g->handover_tx);
}

void pm_group_stop_answering(struct pm_group *g)
{
    if (g->answered || g->watched)
        pm_responder_release(pm_responder_of(g->pm), g->id, g->ending);
    g->answered = g->watched = false;
}

/* Another group may have taken the address over in the same reload. */
bool pm_group_holds_alone(const struct pm_group *g, const struct pm_listener *l)
{
    unsigned ours = g->listener == l;
    if (!l)
        return false;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        ours += gen->listener == l;
    return pm_listener_holders(l) == ours;
}

void pm_group_close_door(const struct pm_group *g, struct pm_listener *l)
{
    if (pm_group_holds_alone(g, l))
        pm_listener_close_door(l);
}

unsigned pm_group_count_old_serving(const struct pm_group *g)
{
    unsigned count = 0;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        if (gen != g->current && gen != g->next)
            count += pm_generation_count(gen, PM_WORKER_SERVING);
    return count;
}

uint32_t pm_group_drain_flags(const struct pm_group *g, const struct pm_generation *gen)
{
    uint32_t flags = g->ending ? WIRE_DRAIN_LAST : 0;
    bool socket_lives_on = !g->ending && gen->listener == g->listener;
    if (!socket_lives_on && pm_group_holds_alone(g, gen->listener))
        flags |= WIRE_DRAIN_BACKLOG;
    return flags;
}

/* ---- the end ---- */

static void settle_end(struct pm_group *g)
{
    bool empty = true;
    g->current = g->next = NULL;
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        pm_generation_stop_template(gen);
        for (struct pm_worker *w = gen->workers; w; w = w->next)
            if (w->state < PM_WORKER_DRAINING)
                pm_worker_drain(w, pm_group_drain_flags(g, gen));
        empty = empty && pm_generation_is_empty(gen);
    }
    if (!empty || g->gone)
        return;
    /* What came between the last accept and now is answered, not reset. */
    struct pm_responder *r = pm_responder_of(g->pm);
    if (!g->answered && pm_group_holds_alone(g, g->listener))
        g->answered = r && pm_group_ask_responder(g, r);
    pm_group_stop_answering(g);
    g->gone = true;
}

/* ---- the responder ---- */

static void settle_answering(struct pm_group *g, int64_t now)
{
    struct pm_responder *r = pm_responder_of(g->pm);
    unsigned serving = pm_group_count_old_serving(g) +
                       (g->current ? pm_generation_count(g->current, PM_WORKER_SERVING) : 0);
    bool is_cold = g->current && !g->next && pm_scaling_is_cold(g->current) && serving == 0 && g->listener;
    bool watched = is_cold && now >= g->retry_at_ms;
    bool answered = g->failures > 0 && serving == 0 && g->listener && !watched;
    if (g->ending || !r || (watched == g->watched && answered == g->answered))
        return;
    pm_group_stop_answering(g);
    if (answered)
        g->answered = pm_group_ask_responder(g, r);
    else if (watched)
        g->watched = pm_responder_watch(r, g->id, pm_listener_fd(g->listener), g->handover_rx,
                                        g->handover_tx);
}

/* ---- changes on disk ---- */

/* With the configuration that serves: nobody said that the file is meant to be read. */
static void reload_for(struct pm_group *g, const char *reason)
{
    struct err e;
    struct log_subject subject = pm_group_subject(g);
    if (!g->current) {
        log_write(LOG_LEVEL_NOTICE, &subject, "trying again: %s", reason);
        g->retry_at_ms = 0;
        pm_group_mark_dirty(g);
        return;
    }
    struct pm_listener *listener = pm_listener_hold(g->current->listener);
    log_write(LOG_LEVEL_NOTICE, &subject, "reloading: %s", reason);
    if (pm_group_reload(g, g->current->cfg, listener, &e) < 0) {
        log_write(LOG_LEVEL_ERROR, &subject, "reload failed, nothing changed: %s", e.text);
        pm_listener_release(&listener);
    }
}

static void settle_watch(struct pm_group *g)
{
    const struct pm_generation *newest = g->next ? g->next : g->current;
    struct pm_watch_situation situation = {
        .cfg = g->wanted,
        .serving = g->current ? &g->current->fingerprint : NULL,
        .generation = g->current ? g->current->number : 0,
        .newest = newest ? &newest->fingerprint : NULL,
        .newest_generation = newest ? newest->number : 0,
        .is_busy = g->next || g->record.state == PM_RELOAD_GOING,
    };
    const char *reason = pm_watch_settle(g->watch, &situation);
    if (reason)
        reload_for(g, reason);
}

/* ---- settling ---- */

static void sweep(struct pm_group *g)
{
    struct pm_generation **link = &g->generations;
    while (*link) {
        struct pm_generation *gen = *link;
        pm_generation_sweep(gen);
        if (gen == g->current || gen == g->next || !pm_generation_is_empty(gen)) {
            link = &gen->next;
            continue;
        }
        *link = gen->next;
        pm_generation_free(gen);
    }
}

static void consider(int64_t *due, int64_t candidate)
{
    if (candidate != 0 && (*due == 0 || candidate < *due))
        *due = candidate;
}

static void arm_timer(struct pm_group *g, int64_t now)
{
    int64_t due = 0;
    if (g->retry_at_ms > now && !g->ending)
        consider(&due, g->retry_at_ms);
    if (g->failures > 0 && g->retry_at_ms + PM_GROUP_YOUNG_MS > now && !g->ending)
        consider(&due, g->retry_at_ms + PM_GROUP_YOUNG_MS);
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        consider(&due, gen->template_due_ms);
        if (gen == g->current)
            consider(&due, gen->scaling.due_ms);
        if (gen == g->current && gen->idle_since_ms != 0 && gen->template_state == PM_TEMPLATE_READY)
            consider(&due, gen->idle_since_ms + gen->cfg->template_idle_timeout_ms);
        for (const struct pm_worker *w = gen->workers; w; w = w->next)
            consider(&due, w->due_ms);
    }
    if (due == 0) {
        uv_timer_stop(&g->timer);
        return;
    }
    uv_update_time(pm_loop(g->pm));
    uv_timer_start(&g->timer, on_timer, due > now ? (uint64_t)(due - now) : 0, 0);
}

void pm_group_settle(struct pm_group *g)
{
    int64_t now = clock_now_ms();
    g->dirty = false;
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        pm_generation_enforce(gen, now);
        pm_group_note_ends(g, gen, now);
    }
    sweep(g);
    if (g->ending) {
        settle_end(g);
    } else {
        pm_group_settle_next(g, now);
        pm_group_settle_current(g, now);
        pm_group_settle_retiring(g, now);
        pm_group_settle_old(g);
        settle_answering(g, now);
        settle_watch(g);
        sweep(g); /* a next that failed when its template was gone already: no event will come for it */
    }
    arm_timer(g, now);
}

/* ---- what others ask ---- */

int pm_group_reload(struct pm_group *g, const struct cfg_group *cfg, struct pm_listener *listener,
                    struct err *e)
{
    struct cfg_group *copy = cfg_group_copy(cfg);
    if (!copy)
        return err_errno(e, "group");
    if (g->next)
        pm_group_abandon(g, g->next);
    cfg_group_free(g->wanted);
    g->wanted = copy;
    pm_listener_release(&g->listener);
    g->listener = listener;
    pm_group_stop_answering(g); /* perhaps on another socket */
    pm_record_begin(&g->record);
    g->retry_at_ms = 0;
    free(g->last_failure);
    g->last_failure = NULL;
    pm_group_make_next(g);
    pm_group_mark_dirty(g);
    return 0;
}

void pm_group_end(struct pm_group *g)
{
    pm_group_stop_answering(g); /* what was watched goes back into the queue, to be answered at the end */
    g->ending = true;
    pm_watch_free(g->watch);
    g->watch = NULL;
    pm_group_close_door(g, g->listener);
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        pm_group_close_door(g, gen->listener);
        for (struct pm_worker *w = gen->workers; w; w = w->next)
            if (w->state == PM_WORKER_DRAINING) /* it need not look for heirs any more */
                pm_worker_drain(w, pm_group_drain_flags(g, gen));
    }
    pm_group_mark_dirty(g);
}

void pm_group_kill(struct pm_group *g)
{
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        pm_generation_kill_template(gen);
        for (struct pm_worker *w = gen->workers; w; w = w->next)
            if (w->state != PM_WORKER_GONE)
                pm_worker_kill(w);
    }
}

void pm_group_fail_start(struct pm_group *g, const char *why)
{
    pm_group_fail_next(g, why);
}

bool pm_group_is_gone(const struct pm_group *g)
{
    return g->gone;
}

bool pm_group_is_ending(const struct pm_group *g)
{
    return g->ending;
}

bool pm_group_is_dirty(const struct pm_group *g)
{
    return g->dirty;
}

void pm_group_mark_dirty(struct pm_group *g)
{
    g->dirty = true;
}

void pm_group_ring(struct pm_group *g, uint32_t id)
{
    if (g->id != id || !g->watched)
        return;
    g->has_rung = true;
    pm_group_mark_dirty(g);
}

void pm_group_forget_responder(struct pm_group *g)
{
    g->answered = g->watched = false;
    pm_group_mark_dirty(g);
}

bool pm_group_is_decided(const struct pm_group *g, bool *serving)
{
    *serving = g->current != NULL;
    return g->failures > 0 || g->wants_room ||
           (g->current && pm_generation_count(g->current, PM_WORKER_SERVING) >= g->current->scaling.wanted);
}

bool pm_group_is_reloading(const struct pm_group *g)
{
    return g->record.state == PM_RELOAD_GOING && !g->ending;
}

enum pm_reload_state pm_group_collect_reload(struct pm_group *g)
{
    return pm_record_collect(&g->record);
}

void pm_group_refuse_reload(struct pm_group *g, const char *why)
{
    pm_record_refuse(&g->record, why);
}

bool pm_group_wants(const struct pm_group *g, const struct cfg_group *cfg)
{
    return cfg_group_is_equal(g->wanted, cfg);
}

unsigned pm_group_reload_number(const struct pm_group *g)
{
    return g->record.number;
}

struct pm_group_view pm_group_view(const struct pm_group *g)
{
    return (struct pm_group_view){
        .id = g->id,
        .name = g->name,
        .cfg = g->current ? g->current->cfg : g->wanted,
        .generations = g->generations,
        .current = g->current,
        .next = g->next,
        .is_ending = g->ending,
        .is_degraded = g->is_degraded,
        .failures = g->failures,
        .last_failure = g->last_failure,
        .retry_at_ms = g->retry_at_ms,
        .requests_past = g->requests_past,
        .restarts = g->restarts,
        .record = &g->record,
    };
}

const char *const *pm_group_stale(const struct pm_group *g, size_t *count)
{
    *count = 0;
    return g->watch ? pm_watch_stale(g->watch, count) : NULL;
}

const char *pm_group_name(const struct pm_group *g)
{
    return g->name;
}

uv_loop_t *pm_group_loop(const struct pm_group *g)
{
    return pm_loop(g->pm);
}

unsigned pm_group_count_workers(const struct pm_group *g)
{
    unsigned count = 0;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        for (const struct pm_worker *w = gen->workers; w; w = w->next)
            count += w->state != PM_WORKER_GONE;
    return count;
}

void pm_group_offer_room(struct pm_group *g)
{
    bool is_short = g->current && g->current->scaling.is_short;
    if (is_short)
        pm_scaling_offer_room(g->current, clock_now_ms());
    if (g->wants_room || is_short)
        pm_group_mark_dirty(g);
}

uint64_t pm_group_next_serial(struct pm_group *g)
{
    return pm_next_serial(g->pm);
}

void pm_group_handover(const struct pm_group *g, int *rx, int *tx)
{
    *rx = g->handover_rx;
    *tx = g->handover_tx;
}
