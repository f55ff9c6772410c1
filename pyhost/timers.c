/* Keeps the time of requests.
 *
 * Looks at what each serving thread is at (busy.c) and never at Python itself: stacks come through a signal
 * (stacks.c), and whatever needs the GIL is asked of another thread (probe.c), because the watch thread must
 * not wait for a GIL that nobody gives back. A request is told of once for each limit that it passes; the
 * numbers of requests tell one from the next on the same thread. Runs on the watch thread. */
#include "pyhost/timers.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pyhost/busy.h"
#include "pyhost/host.h"
#include "pyhost/probe.h"
#include "pyhost/serve.h"
#include "pyhost/stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOW_MOST 4 /* the slow log speaks at once, twice and four times the limit */

/* Of the request that a thread is at. */
struct timing {
    uint64_t number;
    int64_t slow_factor; /* at which multiple of slowlog-timeout it speaks next; beyond SLOW_MOST: no more */
    bool is_overdue;     /* request-timeout has been dealt with */
    bool is_interrupted; /* interrupt-timeout has been dealt with */
};

struct host_timers {
    struct host_worker *w;
    struct timing *timings; /* one for each thread */
    struct host_busy_view view;
    char stack[HOST_STACK_TEXT_MAX + 1];
};

static const struct cfg_group *group_of(const struct host_worker *w)
{
    return w->host->group;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct host_timers *host_timers_new(struct host_worker *w)
{
    struct host_timers *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->w = w;
    s->timings = calloc(w->threads, sizeof *s->timings);
    if (s->timings)
        return s;
    free(s);
    return NULL;
}

void host_timers_free(struct host_timers *s)
{
    if (s)
        free(s->timings);
    free(s);
}

int64_t host_timers_shortest(const struct host_worker *w)
{
    const struct cfg_group *group = group_of(w);
    const int64_t limits[] = {group->slowlog_timeout_ms, group->request_timeout_ms,
                              group->interrupt_timeout_ms, group->deadlock_timeout_ms};
    int64_t shortest = INT64_MAX;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i] > 0)
            shortest = earlier(shortest, limits[i]);
    return shortest;
}

/* ---- telling ---- */

/* The stack belongs to the request only while the thread is still at it. */
static const char *take_stack(struct host_timers *s, uint32_t thread)
{
    host_stacks_dump(s->view.thread, s->stack);
    return host_busy_is(&s->w->at_work[thread], s->view.number) ? s->stack : "  (it has ended meanwhile)";
}

static void tell(struct host_timers *s, uint32_t thread, enum log_level level, const char *what,
                 int64_t age_ms)
{
    const char *stack = take_stack(s, thread);
    log_write(level, NULL,
              "%s: %s has taken %lld.%03lld s (request %llu of this worker, thread %u), now at\n%s", what,
              s->view.text, (long long)(age_ms / 1000), (long long)(age_ms % 1000),
              (unsigned long long)s->view.number, thread + 1, stack);
}

/* ---- the limits, one function each: what is due, and when to look again ---- */

static int64_t keep_slow_log(struct host_timers *s, uint32_t thread, int64_t age_ms)
{
    struct timing *t = &s->timings[thread];
    int64_t limit_ms = group_of(s->w)->slowlog_timeout_ms;
    if (limit_ms <= 0)
        return INT64_MAX;
    if (t->slow_factor <= SLOW_MOST && age_ms >= t->slow_factor * limit_ms) {
        tell(s, thread, LOG_LEVEL_WARNING, "slow", age_ms);
        while (t->slow_factor <= SLOW_MOST && age_ms >= t->slow_factor * limit_ms)
            t->slow_factor *= 2;
    }
    return t->slow_factor <= SLOW_MOST ? t->slow_factor * limit_ms : INT64_MAX;
}

static int64_t keep_request_timeout(struct host_timers *s, uint32_t thread, int64_t age_ms)
{
    struct timing *t = &s->timings[thread];
    int64_t limit_ms = group_of(s->w)->request_timeout_ms;
    if (limit_ms <= 0 || t->is_overdue)
        return INT64_MAX;
    if (age_ms < limit_ms)
        return limit_ms;
    t->is_overdue = true;
    tell(s, thread, LOG_LEVEL_ERROR, "request-timeout, this worker is to be replaced", age_ms);
    char why[HOST_BUSY_TEXT_MAX + 64];
    snprintf(why, sizeof why, "request-timeout of %s", s->view.text);
    host_link_send(s->w->host, WIRE_RETIRE, 0, why);
    return INT64_MAX;
}

static int64_t keep_interrupt_timeout(struct host_timers *s, uint32_t thread, int64_t age_ms)
{
    struct timing *t = &s->timings[thread];
    int64_t limit_ms = group_of(s->w)->interrupt_timeout_ms;
    if (limit_ms <= 0 || t->is_interrupted)
        return INT64_MAX;
    if (age_ms < limit_ms)
        return limit_ms;
    t->is_interrupted = true;
    host_probe_interrupt(s->w->probe, thread, s->view.number);
    return INT64_MAX;
}

/* A request that takes long may be stuck in code that holds the GIL: then the question for it stays
 * unanswered. */
static int64_t keep_deadlock_timeout(struct host_timers *s, int64_t age_ms)
{
    int64_t limit_ms = group_of(s->w)->deadlock_timeout_ms;
    if (limit_ms <= 0)
        return INT64_MAX;
    int64_t asked_ms = limit_ms / 4;
    if (age_ms < asked_ms)
        return asked_ms;
    host_probe_ask(s->w->probe);
    return age_ms + asked_ms;
}

static void tell_all(struct host_timers *s, int64_t now_ms)
{
    for (uint32_t i = 0; i < s->w->threads; i++)
        if (host_busy_read(&s->w->at_work[i], &s->view))
            tell(s, i, LOG_LEVEL_ERROR, "deadlock-timeout", now_ms - s->view.since_ms);
}

/* When the question for the GIL has to be answered; leaves the process when it was not. */
static int64_t enforce_deadlock_timeout(struct host_timers *s, int64_t now_ms)
{
    int64_t limit_ms = group_of(s->w)->deadlock_timeout_ms;
    int64_t asked_ms = host_probe_asked_ms(s->w->probe);
    if (limit_ms <= 0 || asked_ms == 0)
        return INT64_MAX;
    if (now_ms < asked_ms + limit_ms)
        return asked_ms + limit_ms;
    tell_all(s, now_ms);
    log_write(LOG_LEVEL_ERROR, NULL,
              "deadlock-timeout: nobody has got the interpreter lock for %lld ms; leaving",
              (long long)(now_ms - asked_ms));
    _exit(EXIT_FAILURE);
}

int64_t host_timers_check(struct host_timers *s, int64_t now_ms)
{
    int64_t due = enforce_deadlock_timeout(s, now_ms);
    for (uint32_t i = 0; i < s->w->threads; i++) {
        if (!host_busy_read(&s->w->at_work[i], &s->view))
            continue;
        if (s->timings[i].number != s->view.number)
            s->timings[i] = (struct timing){.number = s->view.number, .slow_factor = 1};
        int64_t age_ms = now_ms - s->view.since_ms;
        int64_t next = keep_interrupt_timeout(s, i, age_ms);
        next = earlier(next, keep_slow_log(s, i, age_ms));
        next = earlier(next, keep_request_timeout(s, i, age_ms));
        next = earlier(next, keep_deadlock_timeout(s, age_ms));
        if (next != INT64_MAX)
            due = earlier(due, s->view.since_ms + next);
    }
    return due;
}
