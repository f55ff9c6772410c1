/* Decides, for one group, what has to happen next, and does it.
 *
 * Roles: "current" is the generation whose workers are wanted; "next" is being tried by a reload (its
 * first worker is the canary); every other generation in the list is old and only finishes. A failed next
 * never touches current. Runs on the supervisor's only thread, after each batch of events. */
#include "pm/group.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/backoff.h"
#include "pm/generation.h"
#include "pm/listener.h"
#include "pm/responder_link.h"
#include "pm/retire.h"
#include "pm/supervisor.h"
#include "pm/watch.h"
#include "pm/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A worker that ends by itself, or asks to be replaced, sooner than this has died young, and its successor
 * waits. */
#define YOUNG_MS 10000

/* Room for some thousand connections on their way to a sibling; the kernel's default holds 278, measured. */
#define HANDOVER_BYTES (2 * 1024 * 1024)

struct pm_group {
    struct pm *pm;
    uint32_t id;
    char *name;
    bool dirty;
    bool ending;
    bool gone;

    struct cfg_group *wanted;     /* what the file says, for the next try */
    struct pm_listener *listener; /* NULL until the address can be had */
    int handover_rx;              /* lives across generations */
    int handover_tx;

    struct pm_generation *generations; /* all, newest first */
    struct pm_generation *current;
    struct pm_generation *next;
    unsigned last_number;

    unsigned failures;       /* in a row */
    char *last_failure;      /* why it could not start, as logged in full; owned */
    int64_t retry_at_ms;     /* nothing is started before */
    bool answered;           /* the responder has our socket */
    bool watched;            /* the responder has it, to say when somebody comes: no worker is there */
    bool has_rung;           /* it said so */
    bool wants_room;         /* not all workers could be started, because of max-workers */
    bool is_degraded;        /* current runs code that is no longer on disk, and no template holds it */
    struct pm_record record; /* of its start and reloads */

    uint64_t requests_past; /* of workers that have ended; see struct pm_group_view */
    unsigned restarts;
    struct pm_watch *watch;

    uv_timer_t timer;
};

static void on_timer(uv_timer_t *timer)
{
    pm_group_mark_dirty(timer->data);
}

static void on_watch(void *context)
{
    pm_group_mark_dirty(context);
}

static struct log_subject subject_of(const struct pm_group *g)
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

/* ---- failing and waiting ---- */

static void wait_before_retry(struct pm_group *g)
{
    const struct cfg_group *cfg = g->current ? g->current->cfg : g->wanted;
    if (g->retry_at_ms > clock_now_ms()) /* several that fail together count once */
        return;
    g->failures++;
    int64_t delay = pm_backoff_delay_ms(g->failures, cfg->restart_delay_ms, cfg->restart_delay_max_ms,
                                        (uint32_t)random());
    g->retry_at_ms = clock_now_ms() + delay;
}

/* Takes its roles from a generation: template and workers that do not serve yet are killed. */
static void abandon(struct pm_group *g, struct pm_generation *gen)
{
    pm_generation_stop_template(gen);
    for (struct pm_worker *w = gen->workers; w; w = w->next)
        if (w->state == PM_WORKER_FORKING || w->state == PM_WORKER_STARTING)
            pm_worker_kill(w);
    if (g->next == gen)
        g->next = NULL;
    if (g->current == gen)
        g->current = NULL;
}

static bool ask_responder(struct pm_group *g, struct pm_responder *r)
{
    return pm_responder_answer(r, g->id, pm_listener_fd(g->listener), g->handover_rx, g->handover_tx);
}

static void stop_answering(struct pm_group *g)
{
    if (g->answered || g->watched)
        pm_responder_release(pm_responder_of(g->pm), g->id, g->ending);
    g->answered = g->watched = false;
}

/* After a failed reload the socket and the configuration that work are wanted again. */
static void want_what_serves(struct pm_group *g)
{
    struct cfg_group *copy = cfg_group_copy(g->current->cfg);
    if (copy) {
        cfg_group_free(g->wanted);
        g->wanted = copy;
        pm_watch_configure(g->watch, copy);
    }
    if (g->listener == g->current->listener)
        return;
    stop_answering(g);
    pm_listener_release(&g->listener);
    g->listener = pm_listener_hold(g->current->listener);
}

/* A reason is logged in full once, not at every attempt. */
static const char *tell_once(struct pm_group *g, const char *why)
{
    if (g->last_failure && strcmp(g->last_failure, why) == 0)
        return "the same as before";
    free(g->last_failure);
    g->last_failure = strdup(why);
    return why;
}

static void forget_failures(struct pm_group *g)
{
    g->failures = 0;
    g->retry_at_ms = 0;
    free(g->last_failure);
    g->last_failure = NULL;
}

static void fail_next(struct pm_group *g, const char *why)
{
    struct log_subject subject = subject_of(g);
    if (g->current) {
        log_write(LOG_LEVEL_ERROR, &subject, "reload failed, generation %u keeps serving: %s",
                  g->current->number, why);
        /* With script-root every worker runs what is on disk, whatever it was forked from. */
        g->is_degraded = !g->current->preloaded && g->current->cfg->script_root.count == 0;
        if (g->is_degraded)
            log_write(LOG_LEVEL_WARNING, &subject,
                      "degraded: cannot respawn old code: without preload a new worker imports what is on "
                      "disk now");
    }
    if (g->next)
        abandon(g, g->next);
    pm_record_end(&g->record, PM_RELOAD_FAILED, why);
    if (g->current) {
        want_what_serves(g);
        return;
    }
    wait_before_retry(g);
    log_write(LOG_LEVEL_ERROR, &subject, "cannot start (attempt %u, the next in %lld ms): %s", g->failures,
              (long long)(g->retry_at_ms - clock_now_ms()), tell_once(g, why));
}

/* A worker of the current generation ended although nobody asked it to. */
static void note_loss(struct pm_group *g, const struct pm_worker *w, int64_t now)
{
    struct log_subject subject = subject_of(g);
    if (w->failure) {
        log_write(LOG_LEVEL_ERROR, &subject, "a worker cannot start: %s", tell_once(g, w->failure));
        pm_record_end(&g->record, PM_RELOAD_FAILED,
                      w->failure); /* the old workers stay beside those that could */
    }
    if (w->failure || now - w->born_ms < YOUNG_MS)
        wait_before_retry(g);
}

static void note_ends(struct pm_group *g, struct pm_generation *gen, int64_t now)
{
    for (struct pm_worker *w = gen->workers; w; w = w->next) {
        if (w->state != PM_WORKER_GONE || w->end_noted)
            continue;
        w->end_noted = true;
        g->requests_past += score_read(gen->score, w->slot).requests;
        g->restarts += !w->expected_end && gen != g->next; /* a canary is its reload's affair */
        pm_offer_room(g->pm);
        if (w->expected_end || g->ending)
            continue;
        if (gen == g->next)
            fail_next(g, w->failure ? w->failure : "its first worker died before it was ready");
        else if (gen == g->current)
            note_loss(g, w, now);
    }
}

/* ---- the next generation ---- */

static void make_next(struct pm_group *g)
{
    struct err e;
    pm_watch_begin(g->watch, g->wanted);
    if (!g->listener)
        g->listener = pm_listener_acquire(g->wanted, &e);
    if (!g->listener) {
        fail_next(g, e.text);
        return;
    }
    struct pm_listener *listener = pm_listener_hold(g->listener);
    struct pm_generation *gen = pm_generation_new(g, g->last_number + 1, g->wanted, listener, &e);
    if (!gen) {
        pm_listener_release(&listener);
        fail_next(g, e.text);
        return;
    }
    g->last_number = gen->number;
    gen->next = g->generations;
    g->generations = gen;
    g->next = gen;
}

/* Another group may have taken the address over in the same reload. */
static bool is_ours_alone(const struct pm_group *g, const struct pm_listener *l)
{
    unsigned ours = g->listener == l;
    if (!l)
        return false;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        ours += gen->listener == l;
    return pm_listener_holders(l) == ours;
}

static void close_door(const struct pm_group *g, struct pm_listener *l)
{
    if (is_ours_alone(g, l))
        pm_listener_close_door(l);
}

static unsigned count_old_serving(const struct pm_group *g)
{
    unsigned count = 0;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        if (gen != g->current && gen != g->next)
            count += pm_generation_count(gen, PM_WORKER_SERVING);
    return count;
}

static void promote(struct pm_group *g)
{
    struct log_subject subject = subject_of(g);
    struct pm_generation *old = g->current;
    unsigned inherited = count_old_serving(g) + (old ? pm_generation_count(old, PM_WORKER_SERVING) : 0);
    pm_scaling_begin(g->next, inherited, clock_now_ms());
    g->current = g->next;
    g->current->has_served = true;
    g->next = NULL;
    g->is_degraded = false;
    forget_failures(g);
    if (old) {
        pm_generation_stop_template(old);
        if (old->listener != g->listener)
            close_door(g, old->listener);
    }
    log_write(LOG_LEVEL_NOTICE, &subject, "generation %u is serving%s", g->current->number,
              pm_scaling_is_cold(g->current) ? " when somebody comes"
              : g->current->preloaded        ? ", preloaded"
                                             : "");
}

/* An ondemand group without workers has nobody to move over, and starts nothing for a reload either. */
static bool may_stay_cold(const struct pm_group *g)
{
    bool was_cold = !g->current || pm_scaling_is_cold(g->current);
    return g->next->cfg->pm == CFG_PM_ONDEMAND && was_cold && count_old_serving(g) == 0;
}

static void settle_next(struct pm_group *g, int64_t now)
{
    struct err e;
    if (!g->next && !g->current && now >= g->retry_at_ms)
        make_next(g);
    struct pm_generation *gen = g->next;
    if (!gen)
        return;
    if (may_stay_cold(g))
        promote(g);
    else if (gen->failure)
        fail_next(g, gen->failure);
    else if (gen->template_deaths > 0)
        fail_next(g, "its template died");
    else if (gen->template_state == PM_TEMPLATE_NONE && pm_generation_start_template(gen, &e) < 0)
        fail_next(g, e.text);
    else if (pm_generation_count(gen, PM_WORKER_SERVING) > 0)
        promote(g);
    else if (gen->template_state == PM_TEMPLATE_READY && !gen->workers && !pm_generation_spawn(gen, &e))
        fail_next(g, e.text);
}

/* ---- the current generation ---- */

static void note_template_failure(struct pm_group *g, const char *why)
{
    struct log_subject subject = subject_of(g);
    wait_before_retry(g);
    log_write(LOG_LEVEL_ERROR, &subject, "the template cannot be started again (the next try in %lld ms): %s",
              (long long)(g->retry_at_ms - clock_now_ms()), why);
    pm_scaling_give_up(g->current);
}

static void keep_template(struct pm_group *g, int64_t now)
{
    struct err e;
    struct pm_generation *gen = g->current;
    if (gen->template_deaths > 0) {
        gen->template_deaths = 0;
        wait_before_retry(g);
    }
    if (gen->failure) {
        note_template_failure(g, gen->failure);
        free(gen->failure);
        gen->failure = NULL;
    }
    if (gen->template_state == PM_TEMPLATE_NONE && now >= g->retry_at_ms && !pm_scaling_is_cold(gen) &&
        pm_generation_start_template(gen, &e) < 0)
        note_template_failure(g, e.text);
}

/* The template of an ondemand group outlives its last worker for a while, so that the next comes at once. */
static void let_template_go(struct pm_group *g, int64_t now)
{
    struct pm_generation *gen = g->current;
    bool is_cold = pm_scaling_is_cold(gen);
    if (!is_cold)
        gen->idle_since_ms = 0;
    else if (gen->idle_since_ms == 0)
        gen->idle_since_ms = now;
    if (is_cold && gen->template_state == PM_TEMPLATE_READY &&
        now - gen->idle_since_ms >= gen->cfg->template_idle_timeout_ms)
        pm_generation_stop_template(gen);
    if (is_cold)
        pm_generation_forget_template(gen);
}

/* The responder said that somebody waits. */
static void take_ring(struct pm_group *g, int64_t now)
{
    if (g->has_rung && pm_scaling_is_cold(g->current))
        pm_scaling_press(g->current, now);
    g->has_rung = false;
}

static uint32_t drain_flags(const struct pm_group *g, const struct pm_generation *gen);

static void scale(struct pm_group *g, int64_t now)
{
    unsigned ended = pm_scaling_round(g->current, pm_room(g->pm), now);
    for (struct pm_worker *w; ended > 0 && (w = pm_scaling_find_idle(g->current)); ended--)
        pm_worker_drain(w, drain_flags(g, g->current));
}

/* A successor takes the place of one that goes, so it needs no room of its own. */
static unsigned limit_to_room(struct pm_group *g, unsigned missing)
{
    unsigned room = pm_room(g->pm);
    g->wants_room = missing > room;
    return missing < room ? missing : room;
}

/* Nothing has failed for long enough. One worker that goes on serving is not enough: another may die again
 * and again beside it. */
static void forgive_old_failures(struct pm_group *g, int64_t now)
{
    if (now - g->retry_at_ms >= YOUNG_MS && pm_generation_count(g->current, PM_WORKER_SERVING) > 0)
        g->failures = 0;
}

static void settle_current(struct pm_group *g, int64_t now)
{
    struct err e;
    struct pm_generation *gen = g->current;
    if (!gen)
        return;
    forgive_old_failures(g, now);
    take_ring(g, now);
    scale(g, now);
    keep_template(g, now);
    let_template_go(g, now);
    unsigned serving = pm_generation_count(gen, PM_WORKER_SERVING);
    unsigned coming = pm_generation_count_coming(gen);
    unsigned wanted = gen->scaling.wanted + (pm_retire_is_going(gen) ? 1 : 0);
    g->wants_room = false;
    if (gen->template_state != PM_TEMPLATE_READY || now < g->retry_at_ms || serving + coming >= wanted)
        return;
    unsigned missing = wanted - serving - coming;
    if (count_old_serving(g) > 0) /* one at a time while moving over */
        missing = coming == 0 ? 1 : 0;
    else
        missing = limit_to_room(g, missing);
    while (missing-- > 0)
        if (!pm_generation_spawn(gen, &e)) {
            struct log_subject subject = subject_of(g);
            wait_before_retry(g);
            log_write(LOG_LEVEL_ERROR, &subject, "cannot start a worker: %s", e.text);
            return;
        }
}

/* ---- old generations ---- */

static uint32_t drain_flags(const struct pm_group *g, const struct pm_generation *gen)
{
    uint32_t flags = g->ending ? WIRE_DRAIN_LAST : 0;
    bool socket_lives_on = !g->ending && gen->listener == g->listener;
    if (!socket_lives_on && is_ours_alone(g, gen->listener))
        flags |= WIRE_DRAIN_BACKLOG;
    return flags;
}

static struct pm_worker *find_oldest(const struct pm_group *g)
{
    struct pm_worker *oldest = NULL;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        for (struct pm_worker *w = gen->workers; w && gen != g->current && gen != g->next; w = w->next)
            if (w->state == PM_WORKER_SERVING && (!oldest || w->serial < oldest->serial))
                oldest = w;
    return oldest;
}

static void settle_old(struct pm_group *g)
{
    if (!g->current)
        return;
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next)
        for (struct pm_worker *w = gen->workers; w && gen != g->current && gen != g->next; w = w->next)
            if (w->state == PM_WORKER_FORKING || w->state == PM_WORKER_STARTING)
                pm_worker_drain(w, drain_flags(g, gen));

    unsigned serving = pm_generation_count(g->current, PM_WORKER_SERVING);
    unsigned wanted = g->current->scaling.wanted;
    unsigned allowed = serving < wanted ? wanted - serving : 0;
    for (unsigned old = count_old_serving(g); old > allowed; old--) {
        struct pm_worker *w = find_oldest(g);
        pm_worker_drain(w, drain_flags(g, w->generation));
    }
    if (g->record.state == PM_RELOAD_GOING && !g->next && serving >= wanted && count_old_serving(g) == 0)
        pm_record_end(&g->record, PM_RELOAD_DONE, NULL);
}

/* ---- retiring workers ---- */

/* One that asks again and again, and each successor of it, costs as much as one that dies again and again. */
static void note_wishes(struct pm_group *g, int64_t now)
{
    for (struct pm_worker *w = g->current->workers; w; w = w->next) {
        if (!w->retire_reason || w->retire_noted)
            continue;
        w->retire_noted = true;
        if (now - w->born_ms < YOUNG_MS)
            wait_before_retry(g);
    }
}

static void start_successor(struct pm_group *g, struct pm_worker *w)
{
    struct err e;
    struct log_subject subject = subject_of(g);
    struct pm_worker *successor = pm_generation_spawn(g->current, &e);
    if (!successor) {
        wait_before_retry(g);
        log_write(LOG_LEVEL_ERROR, &subject, "cannot start the successor of worker %d: %s", pm_worker_pid(w),
                  e.text);
        return;
    }
    if (w->successor == 0)
        log_write(LOG_LEVEL_NOTICE, &subject, "worker %d is being replaced: %s", pm_worker_pid(w),
                  w->retire_reason);
    w->successor = successor->serial;
}

static void settle_retiring(struct pm_group *g, int64_t now)
{
    if (!g->current)
        return;
    note_wishes(g, now);
    bool is_moot = g->next || count_old_serving(g) > 0; /* every worker is on its way out */
    struct pm_worker *w = pm_retire_find(g->current);
    switch (pm_retire_step(g->current, w, is_moot || g->is_degraded || now < g->retry_at_ms)) {
    case PM_RETIRE_START:
        start_successor(g, w);
        break;
    case PM_RETIRE_DRAIN:
        pm_worker_drain(w, drain_flags(g, g->current));
        break;
    case PM_RETIRE_REST:
        break;
    }
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
                pm_worker_drain(w, drain_flags(g, gen));
        empty = empty && pm_generation_is_empty(gen);
    }
    if (!empty || g->gone)
        return;
    /* What came between the last accept and now is answered, not reset. */
    struct pm_responder *r = pm_responder_of(g->pm);
    if (!g->answered && is_ours_alone(g, g->listener))
        g->answered = r && ask_responder(g, r);
    stop_answering(g);
    g->gone = true;
}

/* ---- the responder ---- */

static void settle_answering(struct pm_group *g, int64_t now)
{
    struct pm_responder *r = pm_responder_of(g->pm);
    unsigned serving = count_old_serving(g) +
                       (g->current ? pm_generation_count(g->current, PM_WORKER_SERVING) : 0);
    bool is_cold = g->current && !g->next && pm_scaling_is_cold(g->current) && serving == 0 && g->listener;
    bool watched = is_cold && now >= g->retry_at_ms;
    bool answered = g->failures > 0 && serving == 0 && g->listener && !watched;
    if (g->ending || !r || (watched == g->watched && answered == g->answered))
        return;
    stop_answering(g);
    if (answered)
        g->answered = ask_responder(g, r);
    else if (watched)
        g->watched = pm_responder_watch(r, g->id, pm_listener_fd(g->listener), g->handover_rx,
                                        g->handover_tx);
}

/* ---- changes on disk ---- */

/* With the configuration that serves: nobody said that the file is meant to be read. */
static void reload_for(struct pm_group *g, const char *reason)
{
    struct err e;
    struct log_subject subject = subject_of(g);
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
    if (g->failures > 0 && g->retry_at_ms + YOUNG_MS > now && !g->ending)
        consider(&due, g->retry_at_ms + YOUNG_MS);
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
        note_ends(g, gen, now);
    }
    sweep(g);
    if (g->ending) {
        settle_end(g);
    } else {
        settle_next(g, now);
        settle_current(g, now);
        settle_retiring(g, now);
        settle_old(g);
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
        abandon(g, g->next);
    cfg_group_free(g->wanted);
    g->wanted = copy;
    pm_listener_release(&g->listener);
    g->listener = listener;
    stop_answering(g); /* perhaps on another socket */
    pm_record_begin(&g->record);
    g->retry_at_ms = 0;
    free(g->last_failure);
    g->last_failure = NULL;
    make_next(g);
    pm_group_mark_dirty(g);
    return 0;
}

void pm_group_end(struct pm_group *g)
{
    stop_answering(g); /* what was watched goes back into the queue, to be answered at the end */
    g->ending = true;
    pm_watch_free(g->watch);
    g->watch = NULL;
    close_door(g, g->listener);
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next) {
        close_door(g, gen->listener);
        for (struct pm_worker *w = gen->workers; w; w = w->next)
            if (w->state == PM_WORKER_DRAINING) /* it need not look for heirs any more */
                pm_worker_drain(w, drain_flags(g, gen));
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
    fail_next(g, why);
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
