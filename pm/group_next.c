/* The generation that a reload tries, and what happens when it, or a worker, fails.
 *
 * A failed next never touches current: the old workers keep serving, and whoever asked learns why. Failures
 * in a row make the group wait longer and longer. Runs on the supervisor's only thread. */
#include "pm/group_parts.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/score.h"
#include "config/config.h"
#include "pm/backoff.h"
#include "pm/generation.h"
#include "pm/listener.h"
#include "pm/responder_link.h"
#include "pm/supervisor.h"
#include "pm/watch.h"
#include "pm/worker.h"

#include <stdlib.h>
#include <string.h>

void pm_group_wait_before_retry(struct pm_group *g)
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
void pm_group_abandon(struct pm_group *g, struct pm_generation *gen)
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
    pm_group_stop_answering(g);
    pm_listener_release(&g->listener);
    g->listener = pm_listener_hold(g->current->listener);
}

const char *pm_group_tell_once(struct pm_group *g, const char *why)
{
    if (g->last_failure && strcmp(g->last_failure, why) == 0)
        return "the same as before";
    free(g->last_failure);
    g->last_failure = strdup(why);
    return why;
}

void pm_group_forget_failures(struct pm_group *g)
{
    g->failures = 0;
    g->retry_at_ms = 0;
    free(g->last_failure);
    g->last_failure = NULL;
}

void pm_group_fail_next(struct pm_group *g, const char *why)
{
    struct log_subject subject = pm_group_subject(g);
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
        pm_group_abandon(g, g->next);
    pm_record_end(&g->record, PM_RELOAD_FAILED, why);
    if (g->current) {
        want_what_serves(g);
        return;
    }
    pm_group_wait_before_retry(g);
    log_write(LOG_LEVEL_ERROR, &subject, "cannot start (attempt %u, the next in %lld ms): %s", g->failures,
              (long long)(g->retry_at_ms - clock_now_ms()), pm_group_tell_once(g, why));
}

/* A worker of the current generation ended although nobody asked it to. */
static void note_loss(struct pm_group *g, const struct pm_worker *w, int64_t now)
{
    struct log_subject subject = pm_group_subject(g);
    if (w->failure) {
        log_write(LOG_LEVEL_ERROR, &subject, "a worker cannot start: %s", pm_group_tell_once(g, w->failure));
        pm_record_end(&g->record, PM_RELOAD_FAILED,
                      w->failure); /* the old workers stay beside those that could */
    }
    if (w->failure || now - w->born_ms < PM_GROUP_YOUNG_MS)
        pm_group_wait_before_retry(g);
}

void pm_group_note_ends(struct pm_group *g, struct pm_generation *gen, int64_t now)
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
            pm_group_fail_next(g, w->failure ? w->failure : "its first worker died before it was ready");
        else if (gen == g->current)
            note_loss(g, w, now);
    }
}

/* ---- the next generation ---- */

void pm_group_make_next(struct pm_group *g)
{
    struct err e;
    pm_watch_begin(g->watch, g->wanted);
    if (!g->listener)
        g->listener = pm_listener_acquire(g->wanted, &e);
    if (!g->listener) {
        pm_group_fail_next(g, e.text);
        return;
    }
    struct pm_listener *listener = pm_listener_hold(g->listener);
    struct pm_generation *gen = pm_generation_new(g, g->last_number + 1, g->wanted, listener, &e);
    if (!gen) {
        pm_listener_release(&listener);
        pm_group_fail_next(g, e.text);
        return;
    }
    g->last_number = gen->number;
    gen->next = g->generations;
    g->generations = gen;
    g->next = gen;
}

static void promote(struct pm_group *g)
{
    struct log_subject subject = pm_group_subject(g);
    struct pm_generation *old = g->current;
    unsigned inherited = pm_group_count_old_serving(g) +
                         (old ? pm_generation_count(old, PM_WORKER_SERVING) : 0);
    pm_scaling_begin(g->next, inherited, clock_now_ms());
    g->current = g->next;
    g->current->has_served = true;
    g->next = NULL;
    g->is_degraded = false;
    pm_group_forget_failures(g);
    if (old) {
        pm_generation_stop_template(old);
        if (old->listener != g->listener)
            pm_group_close_door(g, old->listener);
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
    return g->next->cfg->pm == CFG_PM_ONDEMAND && was_cold && pm_group_count_old_serving(g) == 0;
}

void pm_group_settle_next(struct pm_group *g, int64_t now)
{
    struct err e;
    if (!g->next && !g->current && now >= g->retry_at_ms)
        pm_group_make_next(g);
    struct pm_generation *gen = g->next;
    if (!gen)
        return;
    if (may_stay_cold(g))
        promote(g);
    else if (gen->failure)
        pm_group_fail_next(g, gen->failure);
    else if (gen->template_deaths > 0)
        pm_group_fail_next(g, "its template died");
    else if (gen->template_state == PM_TEMPLATE_NONE && pm_generation_start_template(gen, &e) < 0)
        pm_group_fail_next(g, e.text);
    else if (pm_generation_count(gen, PM_WORKER_SERVING) > 0)
        promote(g);
    else if (gen->template_state == PM_TEMPLATE_READY && !gen->workers && !pm_generation_spawn(gen, &e))
        pm_group_fail_next(g, e.text);
}
