/* From hints to sentences: waits until changes have settled, looks, asks, compares, tells.
 *
 * Events arrive by the thousand while something is installed. They only start a timer; after a second of
 * quiet (or half a minute without one) each place is looked at, and when one of the environment has changed,
 * a host is asked for the environment's fingerprint. While files below it are still being written the answer
 * does not count and the question is put again. Only an answer that differs from the serving generation's
 * makes the group stale, and only one that differs from the answer before makes a reload: what failed once is
 * not tried again until something changes. Runs on the supervisor's only thread. */
#include "pm/watch.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "pm/ask.h"
#include "pm/drift.h"
#include "pm/fingerprint.h"
#include "pm/hosts.h"
#include "pm/notify.h"
#include "pm/watch_items.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_MS 1000  /* without a hint: settled */
#define MOST_MS  30000 /* looked at all the same */

/* An installer may write for longer; asking again costs a process each time. */
#define WRITING_MOST_MS      300000
#define WRITING_PAUSE_MS     1000
#define WRITING_PAUSE_MAX_MS 8000

/* For a place among the hosts that may be asked at once. */
#define CROWD_PAUSE_MS 200

/* Before asking again when nobody could answer: it may have been for want of memory or time. */
#define FAILURE_PAUSE_MS     5000
#define FAILURE_PAUSE_MAX_MS 600000

struct pm_watch {
    uv_loop_t *loop;
    const char *group;
    void (*wake)(void *context);
    void *context;
    struct pm_watch_items items;
    uv_timer_t timer;

    bool is_stirred; /* hints came, and nobody has looked since */
    int64_t first_hint_ms;
    int64_t last_hint_ms;

    bool must_ask; /* the environment may have changed */
    int64_t ask_at_ms;
    int64_t writing_since_ms; /* 0: nobody was seen writing */
    int64_t writing_pause_ms;
    struct pm_ask *ask;
    int64_t ask_again_ms; /* after a failure, which holds nothing else up; 0: no need */
    int64_t failure_pause_ms;

    unsigned learned_generation; /* whose fingerprint said what to watch */
    unsigned generation;         /* that the next three are about */
    struct pm_fingerprint now;   /* the last answer */
    struct pm_drift drift;       /* from the generation's to now */
    char *told;                  /* the drift as it was logged, joined; NULL: none */
    char *told_failure;          /* why nobody could be asked, as it was logged */

    char *files_reason; /* for a reload, until it is given */
    char *environment_reason;
    char *given;
};

static struct log_subject subject_of(const struct pm_watch *w)
{
    return (struct log_subject){w->group, 0};
}

static void replace(char **text, char *with)
{
    free(*text);
    *text = with;
}

/* ---- time -------------------------------------------------------------------------------------------- */

static int64_t settle_due_ms(const struct pm_watch *w)
{
    int64_t quiet = w->last_hint_ms + QUIET_MS;
    int64_t most = w->first_hint_ms + MOST_MS;
    return quiet < most ? quiet : most;
}

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct pm_watch *w)
{
    int64_t due = w->is_stirred ? settle_due_ms(w) : INT64_MAX;
    if (w->must_ask && !w->ask && w->ask_at_ms < due)
        due = w->ask_at_ms;
    if (w->ask_again_ms != 0 && w->ask_again_ms < due)
        due = w->ask_again_ms;
    if (due == INT64_MAX) {
        uv_timer_stop(&w->timer);
        return;
    }
    int64_t left = due - clock_now_ms();
    uv_update_time(w->loop);
    uv_timer_start(&w->timer, on_timer, left > 0 ? (uint64_t)left : 0, 0);
}

/* Hints that came meanwhile only moved the moment. */
static void on_timer(uv_timer_t *timer)
{
    struct pm_watch *w = timer->data;
    int64_t now = clock_now_ms();
    bool may_ask = (w->must_ask && !w->ask && now >= w->ask_at_ms) ||
                   (w->ask_again_ms != 0 && now >= w->ask_again_ms);
    if (may_ask || (w->is_stirred && now >= settle_due_ms(w)))
        w->wake(w->context);
    else
        arm_timer(w);
}

static void on_stirred(void *context)
{
    struct pm_watch *w = context;
    w->last_hint_ms = clock_now_ms();
    if (w->is_stirred)
        return;
    w->is_stirred = true;
    w->first_hint_ms = w->last_hint_ms;
    arm_timer(w);
}

/* ---- life -------------------------------------------------------------------------------------------- */

struct pm_watch *pm_watch_new(uv_loop_t *loop, struct pm_notify *notify, const char *group,
                              void (*wake)(void *context), void *context, struct err *e)
{
    struct pm_watch *w = calloc(1, sizeof *w);
    if (!w) {
        err_errno(e, "watch");
        return NULL;
    }
    w->loop = loop;
    w->group = group;
    w->wake = wake;
    w->context = context;
    watch_items_init(&w->items, notify, on_stirred, w);
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    return w;
}

static void free_when_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void pm_watch_free(struct pm_watch *w)
{
    if (!w)
        return;
    watch_items_free(&w->items);
    pm_ask_free(&w->ask);
    pm_fingerprint_clear(&w->now);
    pm_drift_clear(&w->drift);
    free(w->told);
    free(w->told_failure);
    free(w->files_reason);
    free(w->environment_reason);
    free(w->given);
    uv_close((uv_handle_t *)&w->timer, free_when_closed);
}

void pm_watch_configure(struct pm_watch *w, const struct cfg_group *cfg)
{
    struct log_subject subject = subject_of(w);
    if (!watch_items_configure(&w->items, cfg))
        log_write(LOG_LEVEL_ERROR, &subject, "no memory to watch everything that reload-on-change names");
}

void pm_watch_begin(struct pm_watch *w, const struct cfg_group *cfg)
{
    pm_watch_configure(w, cfg);
    replace(&w->files_reason, watch_items_look(&w->items, WATCH_FILES));
    replace(&w->files_reason, NULL);
    replace(&w->environment_reason, NULL);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

static void look(struct pm_watch *w)
{
    w->is_stirred = false;
    char *files = watch_items_look(&w->items, WATCH_FILES);
    char *environment = watch_items_look(&w->items, WATCH_ENVIRONMENT);
    if (files)
        replace(&w->files_reason, files);
    if (environment) {
        w->must_ask = true;
        w->ask_at_ms = clock_now_ms();
    }
    free(environment);
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void on_answered(void *context)
{
    struct pm_watch *w = context;
    w->wake(w->context);
}

/* Told once, until something can be asked again. */
static void note_failure(struct pm_watch *w, const char *why)
{
    struct log_subject subject = subject_of(w);
    int64_t pause = w->failure_pause_ms > 0 ? w->failure_pause_ms : FAILURE_PAUSE_MS;
    w->ask_again_ms = clock_now_ms() + pause;
    w->failure_pause_ms = pause * 2 < FAILURE_PAUSE_MAX_MS ? pause * 2 : FAILURE_PAUSE_MAX_MS;
    if (w->told_failure && strcmp(w->told_failure, why) == 0)
        return;
    replace(&w->told_failure, strdup(why));
    log_write(LOG_LEVEL_WARNING, &subject, "cannot tell whether the environment has changed: %s", why);
}

static void tell_drift(struct pm_watch *w, bool will_reload)
{
    struct log_subject subject = subject_of(w);
    char *text = w->drift.count > 0 ? pm_drift_join(&w->drift) : NULL;
    if (!text && w->told)
        log_write(LOG_LEVEL_NOTICE, &subject, "environment is again as it was when generation %u started",
                  w->generation);
    if (text && (!w->told || strcmp(w->told, text) != 0) && !will_reload)
        log_write(LOG_LEVEL_WARNING, &subject, "environment has changed since generation %u started: %s",
                  w->generation, text);
    replace(&w->told, text);
}

static void ask(struct pm_watch *w, const struct pm_watch_situation *s)
{
    struct err e;
    char program[PATH_MAX];
    if (clock_now_ms() < w->ask_at_ms)
        return;
    if (!pm_ask_has_room()) {
        w->ask_at_ms = clock_now_ms() + CROWD_PAUSE_MS;
        return;
    }
    w->must_ask = false;
    if (pm_hosts_choose(s->cfg, program, sizeof program, &e) < 0) {
        pm_fingerprint_clear(&w->now);
        pm_drift_say(&w->drift, e.text);
        if (s->serving)
            tell_drift(w, false);
        return;
    }
    w->ask = pm_ask_start(w->loop, program, s->cfg, on_answered, w, &e);
    if (!w->ask)
        note_failure(w, e.text);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static bool differ(const struct pm_fingerprint *a, const struct pm_fingerprint *b)
{
    struct pm_drift difference = {.count = 0};
    if (!pm_fingerprint_is_known(a))
        return true;
    bool known = pm_drift_compare(a->text, b->text, &difference);
    bool result = !known || difference.count > 0;
    pm_drift_clear(&difference);
    return result;
}

/* True when the answer is to be had again, because the environment is still being written. */
static bool wait_for_writers(struct pm_watch *w, const struct pm_fingerprint *answer)
{
    int64_t now = clock_now_ms();
    struct log_subject subject = subject_of(w);
    if (!answer->is_hot || (w->writing_since_ms != 0 && now - w->writing_since_ms >= WRITING_MOST_MS)) {
        w->writing_since_ms = 0;
        return false;
    }
    if (w->writing_since_ms == 0) {
        w->writing_since_ms = now;
        w->writing_pause_ms = WRITING_PAUSE_MS;
    }
    log_write(LOG_LEVEL_DEBUG, &subject, "environment is still being written; looking again in %lld ms",
              (long long)w->writing_pause_ms);
    w->must_ask = true;
    w->ask_at_ms = now + w->writing_pause_ms;
    if (w->writing_pause_ms < WRITING_PAUSE_MAX_MS)
        w->writing_pause_ms *= 2;
    return true;
}

static void judge(struct pm_watch *w, const struct pm_watch_situation *s, bool is_news)
{
    bool may_start = is_news && w->items.wants_environment && !pm_fingerprint_has_gaps(&w->now);
    if (!s->serving) {
        if (may_start)
            replace(&w->environment_reason, strdup("the environment has changed"));
        return;
    }
    if (!pm_fingerprint_is_known(s->serving) || !pm_drift_compare(s->serving->text, w->now.text, &w->drift))
        return;
    bool will_reload = may_start && w->drift.count > 0;
    tell_drift(w, will_reload);
    if (will_reload)
        replace(&w->environment_reason, pm_drift_join(&w->drift));
}

static void take_answer(struct pm_watch *w, const struct pm_watch_situation *s)
{
    struct pm_fingerprint answer = {.text = NULL};
    struct log_subject subject = subject_of(w);
    char *failure = w->ask->failure;
    w->ask->failure = NULL;
    pm_fingerprint_move(&answer, &w->ask->answer);
    pm_ask_free(&w->ask);
    if (s->is_busy) { /* it may be older than the generation that is on its way */
        w->must_ask = true;
        w->ask_at_ms = 0;
    } else if (failure || !pm_fingerprint_is_known(&answer)) {
        note_failure(w, failure ? failure : "host --fingerprint sent more than it may");
    } else if (!wait_for_writers(w, &answer)) {
        bool is_news = differ(&w->now, &answer);
        if (!is_news)
            log_write(LOG_LEVEL_DEBUG, &subject, "looked at the environment: nothing new");
        replace(&w->told_failure, NULL);
        w->failure_pause_ms = 0;
        watch_items_learn(&w->items, answer.text);
        pm_fingerprint_move(&w->now, &answer);
        judge(w, s, is_news);
    }
    pm_fingerprint_clear(&answer);
    free(failure);
}

/* ---- settling ------------------------------------------------------------------------------------------ */

/* Another generation serves, so what was said of its predecessor is over. */
static void note_generation(struct pm_watch *w, const struct pm_watch_situation *s)
{
    if (w->generation == s->generation)
        return;
    w->generation = s->generation;
    pm_fingerprint_clear(&w->now);
    pm_drift_clear(&w->drift);
    replace(&w->told, NULL);
    replace(&w->environment_reason, NULL);
}

/* Where the distributions are that this environment consists of, only a host can tell. */
static void learn(struct pm_watch *w, const struct pm_watch_situation *s)
{
    if (!s->newest || !pm_fingerprint_is_known(s->newest) || s->newest_generation == w->learned_generation)
        return;
    bool is_fresh = s->newest_generation > w->learned_generation; /* not the one that a failed reload left */
    w->learned_generation = s->newest_generation;
    if (watch_items_learn(&w->items, s->newest->text) || !is_fresh)
        return;
    w->must_ask = true; /* something changed between the host's look and ours */
    w->ask_at_ms = clock_now_ms() + QUIET_MS;
}

static const char *give_reason(struct pm_watch *w)
{
    const char *files = w->files_reason;
    const char *environment = w->environment_reason;
    if (!files && !environment)
        return NULL;
    char *both = NULL;
    if (asprintf(&both, "%s%s%s", files ? files : "", files && environment ? ", " : "",
                 environment ? environment : "") < 0)
        both = NULL;
    replace(&w->given, both);
    replace(&w->files_reason, NULL);
    replace(&w->environment_reason, NULL);
    return both;
}

const char *pm_watch_settle(struct pm_watch *w, const struct pm_watch_situation *s)
{
    const char *reason = NULL;
    note_generation(w, s);
    learn(w, s);
    if (w->ask && w->ask->is_over)
        take_answer(w, s);
    if (s->is_busy)
        return NULL; /* its end brings us here again */
    if (w->is_stirred && clock_now_ms() >= settle_due_ms(w))
        look(w);
    if (w->ask_again_ms != 0 && clock_now_ms() >= w->ask_again_ms) {
        w->must_ask = true;
        w->ask_at_ms = w->ask_again_ms;
        w->ask_again_ms = 0;
    }
    if (w->must_ask && !w->ask)
        ask(w, s);
    if (!w->ask && !w->must_ask &&
        !w->is_stirred) /* a deployment may change files and environment: one reload */
        reason = give_reason(w);
    arm_timer(w);
    return reason;
}

const char *const *pm_watch_stale(const struct pm_watch *w, size_t *count)
{
    *count = w->drift.count;
    return (const char *const *)w->drift.sentences;
}
