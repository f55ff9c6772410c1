/* The generation that serves: as many workers as are wanted, its template kept or let go, one worker replaced
 * by another; and the old ones that only finish.
 *
 * A successor comes before whoever goes, in a roll as in a replacement, so that capacity never dips. Runs on
 * the supervisor's only thread. */
#include "pm/group_parts.h"

#include "base/clock.h"
#include "base/err.h"
#include "config/config.h"
#include "pm/generation.h"
#include "pm/retire.h"
#include "pm/supervisor.h"
#include "pm/worker.h"

#include <stdlib.h>

static void note_template_failure(struct pm_group *g, const char *why)
{
    struct log_subject subject = pm_group_subject(g);
    pm_group_wait_before_retry(g);
    log_write(LOG_LEVEL_ERROR, &subject, "the template cannot be started again (the next try in %lld ms): %s",
              (long long)(g->retry_at_ms - clock_now_ms()), pm_group_tell_once(g, why));
    pm_scaling_give_up(g->current);
}

static void keep_template(struct pm_group *g, int64_t now)
{
    struct err e;
    struct pm_generation *gen = g->current;
    if (gen->template_deaths > 0) {
        gen->template_deaths = 0;
        pm_group_wait_before_retry(g);
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

static void scale(struct pm_group *g, int64_t now)
{
    unsigned ended = pm_scaling_round(g->current, pm_room(g->pm), now);
    for (struct pm_worker *w; ended > 0 && (w = pm_scaling_find_idle(g->current)); ended--)
        pm_worker_drain(w, pm_group_drain_flags(g, g->current));
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
    if (g->failures > 0 && now - g->retry_at_ms >= PM_GROUP_YOUNG_MS &&
        pm_generation_count(g->current, PM_WORKER_SERVING) > 0)
        pm_group_forget_failures(g);
}

void pm_group_settle_current(struct pm_group *g, int64_t now)
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
    if (pm_group_count_old_serving(g) > 0) /* one at a time while moving over */
        missing = coming == 0 ? 1 : 0;
    else
        missing = limit_to_room(g, missing);
    while (missing-- > 0)
        if (!pm_generation_spawn(gen, &e)) {
            struct log_subject subject = pm_group_subject(g);
            pm_group_wait_before_retry(g);
            log_write(LOG_LEVEL_ERROR, &subject, "cannot start a worker: %s", e.text);
            return;
        }
}

/* ---- old generations ---- */

static struct pm_worker *find_oldest(const struct pm_group *g)
{
    struct pm_worker *oldest = NULL;
    for (const struct pm_generation *gen = g->generations; gen; gen = gen->next)
        for (struct pm_worker *w = gen->workers; w && gen != g->current && gen != g->next; w = w->next)
            if (w->state == PM_WORKER_SERVING && (!oldest || w->serial < oldest->serial))
                oldest = w;
    return oldest;
}

void pm_group_settle_old(struct pm_group *g)
{
    if (!g->current)
        return;
    for (struct pm_generation *gen = g->generations; gen; gen = gen->next)
        for (struct pm_worker *w = gen->workers; w && gen != g->current && gen != g->next; w = w->next)
            if (w->state == PM_WORKER_FORKING || w->state == PM_WORKER_STARTING)
                pm_worker_drain(w, pm_group_drain_flags(g, gen));

    unsigned serving = pm_generation_count(g->current, PM_WORKER_SERVING);
    unsigned wanted = g->current->scaling.wanted;
    unsigned allowed = serving < wanted ? wanted - serving : 0;
    for (unsigned old = pm_group_count_old_serving(g); old > allowed; old--) {
        struct pm_worker *w = find_oldest(g);
        pm_worker_drain(w, pm_group_drain_flags(g, w->generation));
    }
    if (g->record.state == PM_RELOAD_GOING && !g->next && serving >= wanted &&
        pm_group_count_old_serving(g) == 0)
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
        if (now - w->born_ms < PM_GROUP_YOUNG_MS)
            pm_group_wait_before_retry(g);
    }
}

static void start_successor(struct pm_group *g, struct pm_worker *w)
{
    struct err e;
    struct log_subject subject = pm_group_subject(g);
    struct pm_worker *successor = pm_generation_spawn(g->current, &e);
    if (!successor) {
        pm_group_wait_before_retry(g);
        log_write(LOG_LEVEL_ERROR, &subject, "cannot start the successor of worker %d: %s", pm_worker_pid(w),
                  e.text);
        return;
    }
    if (w->successor == 0)
        log_write(LOG_LEVEL_NOTICE, &subject, "worker %d is being replaced: %s", pm_worker_pid(w),
                  w->retire_reason);
    w->successor = successor->serial;
}

void pm_group_settle_retiring(struct pm_group *g, int64_t now)
{
    if (!g->current)
        return;
    note_wishes(g, now);
    bool is_moot = g->next || pm_group_count_old_serving(g) > 0; /* every worker is on its way out */
    struct pm_worker *w = pm_retire_find(g->current);
    switch (pm_retire_step(g->current, w, is_moot || g->is_degraded || now < g->retry_at_ms)) {
    case PM_RETIRE_START:
        start_successor(g, w);
        break;
    case PM_RETIRE_DRAIN:
        pm_worker_drain(w, pm_group_drain_flags(g, g->current));
        break;
    case PM_RETIRE_REST:
        break;
    }
}
