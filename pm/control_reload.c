/* Follows a reload for the caller who asked for it.
 *
 * Looks at each group after it has settled and says what has changed since: starting, so many workers moved,
 * the outcome. A reload that comes later takes the groups over; then that one's outcome is told. Runs on the
 * supervisor's only thread. */
#include "pm/control_reload.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/control.h"
#include "pm/generation.h"
#include "pm/group.h"
#include "pm/reload.h"
#include "pm/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING_SAID (-1)

struct reload_job {
    struct pm_job job; /* first */
    char *error;       /* nothing was begun */
    struct pm_reload_plan plan;
    size_t messages_said, pending_said;
    struct follow {
        int moved; /* as last said, or NOTHING_SAID */
        bool is_over;
        bool is_good;
    } * follows; /* one for each item of the plan */
};

/* ---- lines about one group ---- */

static void say_progress(struct pm_caller *caller, const struct pm_group_view *view, int moved)
{
    const struct pm_generation *gen = view->next ? view->next : view->current;
    pm_caller_say(caller, json_pack("{s:s, s:o, s:i, s:i, s:i}", "kind", "progress", "group",
                                    pm_json_text(view->name), "generation", gen ? (int)gen->number : 0,
                                    "moved", moved, "of", gen ? (int)pm_scaling_wanted(gen) : 0));
}

/* generation: which one serves now; 0 for none. failure NULL: it went well. */
static void say_outcome(struct pm_caller *caller, struct follow *follow, const char *name,
                        unsigned generation, const char *failure)
{
    follow->is_over = true;
    follow->is_good = !failure;
    pm_caller_say(caller,
                  json_pack("{s:s, s:o, s:b, s:i, s:o}", "kind", "outcome", "group", pm_json_text(name), "ok",
                            !failure, "generation", (int)generation, "failure", pm_json_text(failure)));
}

static int count_moved(const struct pm_group_view *view)
{
    return view->current && !view->next ? (int)pm_generation_count(view->current, PM_WORKER_SERVING) : 0;
}

/* True when it said anything. */
static bool follow_group(struct pm *pm, struct pm_caller *caller, struct pm_reload_item *item,
                         struct follow *follow)
{
    const struct pm_group *g = pm_find_group(pm, item->name);
    if (!g) {
        say_outcome(caller, follow, item->name, 0,
                    pm_is_stopping(pm) ? "pyfpm is stopping" : "a later reload has ended the group");
        return true;
    }
    struct pm_group_view view = pm_group_view(g);
    if (view.record->number != item->number) { /* a later reload took over */
        item->number = view.record->number;
        follow->moved = NOTHING_SAID;
    }
    int moved = count_moved(&view);
    if (moved != follow->moved && view.record->outcome != PM_RELOAD_FAILED) {
        follow->moved = moved;
        say_progress(caller, &view, moved);
        return true;
    }
    if (view.record->outcome == PM_RELOAD_GOING)
        return false;
    const char *failure = view.record->failure ? view.record->failure : "for want of memory to say why";
    say_outcome(caller, follow, item->name, view.current ? view.current->number : 0,
                view.record->outcome == PM_RELOAD_DONE ? NULL : failure);
    return true;
}

static bool follow_item(struct pm *pm, struct pm_caller *caller, struct pm_reload_item *item,
                        struct follow *follow)
{
    if (item->fate == PM_FATE_ENDS) {
        follow->is_over = follow->is_good = true;
        pm_caller_say(caller, json_pack("{s:s, s:o, s:b, s:b}", "kind", "outcome", "group",
                                        pm_json_text(item->name), "ok", 1, "ends", 1));
        return true;
    }
    if (item->fate != PM_FATE_REFUSED)
        return follow_group(pm, caller, item, follow);
    const struct pm_group *g = pm_find_group(pm, item->name);
    const struct pm_generation *serving = g ? pm_group_view(g).current : NULL;
    say_outcome(caller, follow, item->name, serving ? serving->number : 0,
                item->failure ? item->failure : "for want of memory to say why");
    return true;
}

/* ---- the job ---- */

static bool say_next_message(struct reload_job *reload, struct pm_caller *caller)
{
    const struct cfg_report *report = &reload->plan.report;
    if (reload->messages_said < report->count) {
        const struct cfg_message *m = &report->messages[reload->messages_said++];
        pm_caller_say(caller, json_pack("{s:s, s:s, s:o}", "kind", "message", "severity",
                                        m->severity == CFG_ERROR ? "error" : "warning", "text",
                                        pm_json_text(m->text)));
        return true;
    }
    if (reload->error || reload->pending_said == reload->plan.pending.count)
        return false;
    const char *name = reload->plan.pending.items[reload->pending_said++];
    pm_caller_say(caller, json_pack("{s:s, s:o}", "kind", "pending", "group", pm_json_text(name)));
    return true;
}

static void append(struct err *e, const char *text)
{
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, "%s", text);
}

static enum pm_job_step say_end(const struct reload_job *reload, struct pm_caller *caller)
{
    struct err e;
    bool all_good = true;
    err_set(&e, "reload failed for:");
    for (size_t i = 0; i < reload->plan.count; i++)
        if (!reload->follows[i].is_good) {
            append(&e, all_good ? " " : ", ");
            append(&e, reload->plan.items[i].name);
            all_good = false;
        }
    pm_caller_say(caller, pm_control_last_line(reload->error ? reload->error : all_good ? NULL : e.text));
    return PM_JOB_DONE;
}

static enum pm_job_step step_reload(struct pm_job *job, struct pm *pm, struct pm_caller *caller)
{
    struct reload_job *reload = (struct reload_job *)job;
    bool all_over = true;
    if (say_next_message(reload, caller))
        return PM_JOB_MORE;
    for (size_t i = 0; !reload->error && i < reload->plan.count; i++) {
        struct follow *follow = &reload->follows[i];
        if (!follow->is_over && follow_item(pm, caller, &reload->plan.items[i], follow))
            return PM_JOB_MORE;
        all_over = all_over && follow->is_over;
    }
    return all_over ? say_end(reload, caller) : PM_JOB_WAITS;
}

static void free_reload(struct pm_job *job)
{
    struct reload_job *reload = (struct reload_job *)job;
    pm_reload_plan_free(&reload->plan);
    free(reload->follows);
    free(reload->error);
    free(reload);
}

struct pm_job *pm_control_reload(struct pm *pm, const struct cfg_list *names, struct err *e)
{
    struct reload_job *reload = calloc(1, sizeof *reload);
    if (!reload) {
        err_errno(e, "reload");
        return NULL;
    }
    reload->job = (struct pm_job){step_reload, free_reload};
    bool has_begun = pm_reload(pm, names, &reload->plan, e) == 0;
    reload->error = has_begun ? NULL : strdup(e->text);
    reload->follows = calloc(reload->plan.count + 1, sizeof *reload->follows);
    if (!reload->follows || (!has_begun && !reload->error)) {
        err_set(e, "out of memory to tell how the reload goes; the log has it");
        free_reload(&reload->job);
        return NULL;
    }
    for (size_t i = 0; i < reload->plan.count; i++)
        reload->follows[i].moved = NOTHING_SAID;
    return &reload->job;
}
