/* Describes the supervisor and its groups.
 *
 * Reads only: the supervisor's own records, copies out of the scoreboards, which workers may have scribbled
 * on, and /proc/PID/statm. Whatever a worker wrote of itself is shown, and nothing else is made of it. Runs
 * on the supervisor's only thread, while it settles. */
#include "pm/status.h"

#include "base/clock.h"
#include "base/score.h"
#include "config/config.h"
#include "pm/child.h"
#include "pm/control.h"
#include "pm/generation.h"
#include "pm/group.h"
#include "pm/supervisor.h"
#include "pm/worker.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- text ---- */

/* The length of the UTF-8 sequence at text, or 0. jansson refuses what else is wrong with it. */
static size_t sequence_length(const char *text)
{
    unsigned char first = (unsigned char)text[0];
    size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    for (size_t i = 1; i < length; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    json_t *valid = length > 1 ? json_stringn(text, length) : NULL;
    if (length > 1 && !valid)
        return 0;
    json_decref(valid);
    return length;
}

json_t *pm_json_text(const char *text)
{
    static const char unknown[] = "\xef\xbf\xbd"; /* U+FFFD */
    if (!text)
        return json_null();
    json_t *string = json_string(text);
    char *fixed = string ? NULL : malloc(strlen(text) * 3 + 1);
    if (!fixed)
        return string;
    char *out = fixed;
    while (*text) {
        size_t length = sequence_length(text);
        memcpy(out, length > 0 ? text : unknown, length > 0 ? length : 3);
        out += length > 0 ? length : 3;
        text += length > 0 ? length : 1;
    }
    *out = '\0';
    string = json_string(fixed);
    free(fixed);
    return string;
}

/* ---- processes ---- */

/* Resident memory, from the second number of /proc/PID/statm; 0 when it cannot be known. */
static int64_t read_rss_bytes(pid_t pid)
{
    char path[64];
    unsigned long long size, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static bool is_living(const struct pm_worker *w)
{
    return w->state != PM_WORKER_GONE;
}

/* Its slot, or all zero while the worker cannot have written there. */
static struct score_view view_of(const struct pm_generation *gen, const struct pm_worker *w)
{
    struct score_view nothing = {0};
    bool writes = w->state == PM_WORKER_SERVING || w->state == PM_WORKER_DRAINING ||
                  w->state == PM_WORKER_KILLED;
    return writes ? score_read(gen->score, w->slot) : nothing;
}

static json_t *describe_worker(const struct pm_generation *gen, const struct pm_worker *w)
{
    struct score_view view = view_of(gen, w);
    pid_t pid = w->child ? w->child->pid : 0;
    return json_pack("{s:s, s:i, s:s, s:i, s:I, s:I, s:i, s:i, s:i, s:I}", "role", "worker", "pid", (int)pid,
                     "state", pm_worker_state_name(w->state), "generation", (int)gen->number, "age_ms",
                     (json_int_t)(clock_now_ms() - w->born_ms), "requests", (json_int_t)view.requests, "busy",
                     (int)view.busy, "threads", (int)view.threads, "kept", (int)view.kept, "rss_bytes",
                     (json_int_t)(pid > 0 ? read_rss_bytes(pid) : 0));
}

static json_t *describe_template(const struct pm_generation *gen)
{
    pid_t pid = gen->template_child ? gen->template_child->pid : 0;
    return json_pack("{s:s, s:i, s:s, s:i, s:b, s:I}", "role", "template", "pid", (int)pid, "state",
                     pm_template_state_name(gen->template_state), "generation", (int)gen->number, "preloaded",
                     gen->preloaded, "rss_bytes", (json_int_t)read_rss_bytes(pid));
}

static json_t *describe_processes(const struct pm_group_view *view)
{
    json_t *list = json_array();
    for (const struct pm_generation *gen = view->generations; gen; gen = gen->next) {
        if (gen->template_state != PM_TEMPLATE_NONE)
            json_array_append_new(list, describe_template(gen));
        for (const struct pm_worker *w = gen->workers; w; w = w->next)
            if (is_living(w))
                json_array_append_new(list, describe_worker(gen, w));
    }
    return list;
}

/* ---- a group ---- */

struct sums {
    unsigned serving, starting, draining, busy;
    uint64_t threads, threads_busy, kept, requests;
};

static struct sums sum_up(const struct pm_group_view *view)
{
    struct sums sums = {.requests = view->requests_past};
    for (const struct pm_generation *gen = view->generations; gen; gen = gen->next) {
        for (const struct pm_worker *w = gen->workers; w; w = w->next) {
            struct score_view slot = view_of(gen, w);
            sums.serving += w->state == PM_WORKER_SERVING;
            sums.starting += w->state == PM_WORKER_FORKING || w->state == PM_WORKER_STARTING;
            sums.draining += w->state == PM_WORKER_DRAINING || w->state == PM_WORKER_KILLED;
            sums.busy += slot.busy > 0;
            sums.threads += slot.threads;
            sums.threads_busy += slot.busy;
            sums.kept += slot.kept;
            sums.requests += slot.requests;
        }
    }
    if (sums.requests > SCORE_REQUESTS_MAX)
        sums.requests = SCORE_REQUESTS_MAX;
    return sums;
}

static const char *state_of(const struct pm_group_view *view, const struct sums *sums)
{
    if (view->is_ending)
        return "stopping";
    if (sums->serving > 0)
        return "serving";
    if (view->failures == 0 && view->current && pm_scaling_is_cold(view->current))
        return "idle";
    if (view->failures == 0)
        return "starting";
    return view->current ? "backoff" : "failed";
}

static json_t *describe_reload(const struct pm_group_view *view)
{
    static const char *const outcomes[] = {"none", "going", "done", "failed"};
    const struct pm_record *record = view->record;
    json_t *object = json_pack("{s:b, s:s}", "is_start", record->number == 1, "outcome",
                               outcomes[record->outcome]);
    if (!object)
        return NULL;
    json_object_set_new(object, "ended_at",
                        record->ended_at_s ? json_integer((json_int_t)record->ended_at_s) : json_null());
    json_object_set_new(object, "failure", pm_json_text(record->failure));
    return object;
}

static json_t *describe_stale(const struct pm_group *g)
{
    size_t count;
    json_t *list = json_array();
    const char *const *sentences = pm_group_stale(g, &count);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, pm_json_text(sentences[i]));
    return list;
}

static json_t *describe_retry(const struct pm_group_view *view)
{
    int64_t left_ms = view->retry_at_ms - clock_now_ms();
    if (view->failures == 0)
        return json_null();
    return json_integer(left_ms > 0 ? (json_int_t)left_ms : 0);
}

static json_t *describe_counts(const struct pm_group_view *view, const struct sums *sums)
{
    const struct pm_generation *gen = view->current ? view->current : view->next;
    unsigned wanted = gen ? pm_scaling_wanted(gen) : (unsigned)view->cfg->processes;
    return json_pack("{s:i, s:i, s:i, s:i, s:i}", "wanted", view->is_ending ? 0 : (int)wanted, "serving",
                     (int)sums->serving, "busy", (int)sums->busy, "starting", (int)sums->starting, "draining",
                     (int)sums->draining);
}

json_t *pm_status_group(const struct pm_group *g, bool with_processes)
{
    struct pm_group_view view = pm_group_view(g);
    struct sums sums = sum_up(&view);
    const struct pm_generation *shown = view.current ? view.current : view.next;
    json_t *object = json_pack(
        "{s:s, s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:I, s:{s:I, s:I}, s:I, s:i, s:{s:i, s:i}, s:o, s:o, s:i, "
        "s:o, "
        "s:b, s:o}",
        "kind", "group", "group", pm_json_text(view.name), "state", state_of(&view, &sums), "generation",
        view.current ? (int)view.current->number : 0, "listen", pm_json_text(view.cfg->listen), "python",
        pm_json_text(shown && shown->python[0] ? shown->python : NULL), "python_home",
        pm_json_text(view.cfg->python_home), "workers", describe_counts(&view, &sums), "requests",
        (json_int_t)sums.requests, "threads", "all", (json_int_t)sums.threads, "busy",
        (json_int_t)sums.threads_busy, "kept", (json_int_t)sums.kept, "restarts", (int)view.restarts,
        "reloads", "good", (int)view.record->good, "failed", (int)view.record->failed, "last_reload",
        describe_reload(&view), "failure", pm_json_text(view.last_failure), "failures", (int)view.failures,
        "retry_in_ms", describe_retry(&view), "degraded", view.is_degraded, "stale", describe_stale(g));
    if (object && with_processes)
        json_object_set_new(object, "processes", describe_processes(&view));
    return object;
}

unsigned pm_status_count(const struct pm_group *g, int state)
{
    unsigned count = 0;
    struct pm_group_view view = pm_group_view(g);
    for (const struct pm_generation *gen = view.generations; gen; gen = gen->next)
        for (const struct pm_worker *w = gen->workers; w; w = w->next)
            count += state < 0 ? is_living(w) : w->state == (enum pm_worker_state)state;
    return count;
}

/* ---- the supervisor ---- */

json_t *pm_status_supervisor(const struct pm *pm)
{
    const char *config = pm_config_path(pm);
    char *resolved = realpath(config, NULL); /* the command that asks may be in another folder */
    json_t *object = json_pack("{s:s, s:s, s:i, s:I, s:o, s:b}", "kind", "supervisor", "version",
                               PYFPM_VERSION, "pid", (int)getpid(), "uptime_ms",
                               (json_int_t)(clock_now_ms() - pm_started_ms(pm)), "config",
                               pm_json_text(resolved ? resolved : config), "stopping", pm_is_stopping(pm));
    free(resolved);
    return object;
}
