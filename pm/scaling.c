/* Gathers what pm_scale_plan() wants to know about a generation, and keeps its answer.
 *
 * Who is idle is seen by comparing two looks at the scoreboard, in the supervisor's own time: a worker that
 * writes nonsense there is taken for busy or idle, which is all that it can gain. Rounds happen once a
 * second, and at once when somebody waits. Supervisor's only thread. */
#include "pm/scaling.h"

#include "base/score.h"
#include "config/config.h"
#include "pm/generation.h"
#include "pm/retire.h"
#include "pm/scale.h"
#include "pm/worker.h"

#define ROUND_MS         1000
#define ROUND_LEAST_MS   50
#define PRESSED_PAUSE_MS 100 /* between two rounds for those who wait */

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Keys that are not given have values that fit processes. */
static unsigned value_of(int64_t given, unsigned otherwise, const struct cfg_group *cfg)
{
    return smaller(given == CFG_ID_NONE ? otherwise : (unsigned)given, (unsigned)cfg->processes);
}

static struct pm_scale_input input_of(const struct cfg_group *cfg)
{
    unsigned min_spare = value_of(cfg->min_spare, 1, cfg);
    unsigned max_spare = value_of(cfg->max_spare, min_spare + 2, cfg);
    return (struct pm_scale_input){
        .mode = cfg->pm,
        .processes = (unsigned)cfg->processes,
        .min_spare = min_spare,
        .max_spare = max_spare,
        .start = value_of(cfg->start, min_spare + (max_spare - min_spare) / 2, cfg),
    };
}

static int64_t period_ms(const struct cfg_group *cfg)
{
    if (cfg->pm != CFG_PM_ONDEMAND || cfg->idle_timeout_ms / 4 >= ROUND_MS)
        return ROUND_MS;
    return cfg->idle_timeout_ms / 4 > ROUND_LEAST_MS ? cfg->idle_timeout_ms / 4 : ROUND_LEAST_MS;
}

void pm_scaling_begin(struct pm_generation *gen, unsigned inherited, int64_t now_ms)
{
    struct pm_scaling *s = &gen->scaling;
    struct pm_scale_input in = input_of(gen->cfg);
    in.is_first = true;
    in.room = in.processes;
    s->wanted = pm_scale_plan(&in).start;
    unsigned there = pm_generation_count(gen, PM_WORKER_SERVING) + pm_generation_count_coming(gen);
    if (s->wanted < inherited)
        s->wanted = smaller(inherited, in.processes);
    if (s->wanted < there)
        s->wanted = there;
    s->step = 0;
    s->is_pressed = false;
    s->due_ms = gen->cfg->pm == CFG_PM_STATIC ? 0 : now_ms + period_ms(gen->cfg);
}

void pm_scaling_press(struct pm_generation *gen, int64_t now_ms)
{
    struct pm_scaling *s = &gen->scaling;
    if (gen->cfg->pm == CFG_PM_STATIC || s->is_pressed)
        return;
    s->is_pressed = true;
    bool is_rested = s->wanted == 0 || s->due_ms == 0 || s->due_ms - now_ms <= ROUND_MS - PRESSED_PAUSE_MS;
    int64_t due_ms = is_rested ? now_ms : now_ms + PRESSED_PAUSE_MS;
    if (s->due_ms == 0 || due_ms < s->due_ms)
        s->due_ms = due_ms;
}

void pm_scaling_offer_room(struct pm_generation *gen, int64_t now_ms)
{
    if (!gen->scaling.is_short)
        return;
    gen->scaling.is_short = false;
    pm_scaling_press(gen, now_ms);
}

/* Looks at one worker. How many of its threads are free. */
static unsigned look_at(struct pm_worker *w, int64_t now_ms)
{
    struct score_view view = score_read(w->generation->score, w->slot);
    if (view.busy > 0 || view.requests != w->requests_seen)
        w->idle_since_ms = now_ms;
    w->is_idle = view.busy == 0;
    w->requests_seen = view.requests;
    return view.threads > view.busy ? view.threads - view.busy : 0;
}

static void look_at_all(struct pm_generation *gen, struct pm_scale_input *in, int64_t now_ms)
{
    uint64_t free_threads = 0;
    for (struct pm_worker *w = gen->workers; w; w = w->next) {
        if (w->state != PM_WORKER_SERVING)
            continue;
        free_threads += look_at(w, now_ms);
        in->idle += w->is_idle;
        in->expired += w->is_idle && now_ms - w->idle_since_ms >= gen->cfg->idle_timeout_ms;
    }
    in->spare = (unsigned)(free_threads / (uint64_t)gen->cfg->threads);
    in->coming = pm_generation_count_coming(gen);
    in->total = pm_generation_count(gen, PM_WORKER_SERVING) + in->coming;
    if (in->total > 0 && pm_retire_is_going(gen)) /* for a moment there is one too many */
        in->total--;
    /* Wanted, but not forked yet: the template may have to come first. */
    unsigned pending = gen->scaling.wanted > in->total ? gen->scaling.wanted - in->total : 0;
    in->coming += pending;
    in->total += pending;
}

unsigned pm_scaling_round(struct pm_generation *gen, unsigned room, int64_t now_ms)
{
    struct pm_scaling *s = &gen->scaling;
    if (s->due_ms == 0 || now_ms < s->due_ms)
        return 0;
    struct pm_scale_input in = input_of(gen->cfg);
    look_at_all(gen, &in, now_ms);
    in.room = room;
    in.step = s->step;
    in.is_pressed = s->is_pressed;
    struct pm_scale_plan plan = pm_scale_plan(&in);
    s->step = plan.step;
    s->is_pressed = false;
    s->is_short = in.is_pressed && in.coming == 0 && room == 0;
    s->wanted = in.total + plan.start - plan.end;
    s->due_ms = pm_scaling_is_cold(gen) ? 0 : now_ms + period_ms(gen->cfg);
    return plan.end;
}

struct pm_worker *pm_scaling_find_idle(const struct pm_generation *gen)
{
    struct pm_worker *found = NULL;
    for (struct pm_worker *w = gen->workers; w; w = w->next)
        if (w->state == PM_WORKER_SERVING && w->is_idle &&
            (!found || w->idle_since_ms < found->idle_since_ms))
            found = w;
    return found;
}

void pm_scaling_give_up(struct pm_generation *gen)
{
    if (gen->cfg->pm != CFG_PM_ONDEMAND)
        return;
    gen->scaling.wanted = pm_generation_count(gen, PM_WORKER_SERVING) + pm_generation_count_coming(gen);
    gen->scaling.step = 0;
}

unsigned pm_scaling_wanted(const struct pm_generation *gen)
{
    if (gen->has_served)
        return gen->scaling.wanted;
    struct pm_scale_input in = input_of(gen->cfg);
    in.is_first = true;
    in.room = in.processes;
    unsigned first = pm_scale_plan(&in).start;
    return first > 0 ? first : 1; /* the canary */
}

bool pm_scaling_is_cold(const struct pm_generation *gen)
{
    return gen->cfg->pm == CFG_PM_ONDEMAND && gen->scaling.wanted == 0 &&
           pm_generation_count(gen, PM_WORKER_SERVING) + pm_generation_count_coming(gen) == 0;
}
