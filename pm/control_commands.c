/* The verbs of the control socket.
 *
 * Each is a row of one table: its name, the members that its request may have, and how it begins. What takes
 * time is a job: it looks at the groups each time the supervisor has settled, says what has changed, and
 * holds no pointer to any of them in between. Runs on the supervisor's only thread; nothing here waits. */
#include "pm/control.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/control_reload.h"
#include "pm/group.h"
#include "pm/status.h"
#include "pm/supervisor.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading a request ---- */

static int take_bool(const json_t *request, const char *member, bool *value, struct err *e)
{
    const json_t *given = json_object_get(request, member);
    *value = json_is_true(given);
    if (given && !json_is_boolean(given))
        return err_set(e, "\"%s\" must be true or false", member);
    return 0;
}

/* The strings stay the request's; free names->items. */
static int take_groups(const json_t *request, struct cfg_list *names, struct err *e)
{
    const json_t *given = json_object_get(request, "groups");
    size_t count = json_array_size(given);
    if (given && !json_is_array(given))
        return err_set(e, "\"groups\" must be a list of names");
    if (given && count == 0) /* whoever computed it means none, not all */
        return err_set(e, "\"groups\" names no group; every group is meant without it");
    names->items = calloc(count + 1, sizeof *names->items);
    if (!names->items)
        return err_errno(e, "groups");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(given, i));
        if (!name)
            return err_set(e, "\"groups\" must be a list of names");
        names->items[names->count++] = (char *)name;
    }
    return 0;
}

/* The same file under whatever names; one that cannot be found any more is known by the name it was given. */
static bool is_same_file(const char *ours, const char *theirs)
{
    char *resolved = realpath(ours, NULL);
    bool same = strcmp(resolved ? resolved : ours, theirs) == 0;
    free(resolved);
    return same;
}

/* Whoever means another pyfpm shall not stop this one: two may have been told of the same socket. */
static int check_config(const struct pm *pm, const json_t *request, struct err *e)
{
    const json_t *given = json_object_get(request, "config");
    if (!given)
        return 0;
    if (!json_is_string(given))
        return err_set(e, "\"config\" must be the path of a file");
    if (is_same_file(pm_config_path(pm), json_string_value(given)))
        return 0;
    return err_set(e, "the pyfpm at this control socket runs %.1000s, not %.1000s", pm_config_path(pm),
                   json_string_value(given));
}

/* ---- status ---- */

struct status_job {
    struct pm_job job; /* first */
    bool with_processes;
    bool said_supervisor;
    size_t next, count;
    uint32_t ids[];
};

static const struct pm_group *find_by_id(const struct pm *pm, uint32_t id)
{
    size_t count;
    struct pm_group *const *groups = pm_groups(pm, &count);
    for (size_t i = 0; i < count; i++)
        if (pm_group_view(groups[i]).id == id)
            return groups[i];
    return NULL;
}

static enum pm_job_step say_status(struct pm_job *job, struct pm *pm, struct pm_caller *caller)
{
    struct status_job *status = (struct status_job *)job;
    if (!status->said_supervisor) {
        status->said_supervisor = true;
        pm_caller_say(caller, pm_status_supervisor(pm));
        return PM_JOB_MORE;
    }
    while (status->next < status->count) {
        const struct pm_group *g = find_by_id(pm, status->ids[status->next++]);
        if (!g)
            continue; /* it has ended since */
        pm_caller_say(caller, pm_status_group(g, status->with_processes));
        return PM_JOB_MORE;
    }
    pm_caller_say(caller, pm_control_last_line(NULL));
    return PM_JOB_DONE;
}

static void free_status(struct pm_job *job)
{
    free(job);
}

static bool is_asked_for(const struct cfg_list *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return names->count == 0;
}

static int check_running(const struct pm *pm, const struct cfg_list *names, struct err *e)
{
    size_t count;
    struct pm_group *const *groups = pm_groups(pm, &count);
    for (size_t n = 0; n < names->count; n++) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = strcmp(pm_group_name(groups[i]), names->items[n]) == 0;
        if (!found)
            return err_set(e, "no group \"%.200s\" is running", names->items[n]);
    }
    return 0;
}

static struct pm_job *begin_status(struct pm *pm, const json_t *request, struct err *e)
{
    size_t count;
    struct cfg_list names = {0};
    struct status_job *status = NULL;
    bool with_processes;
    struct pm_group *const *groups = pm_groups(pm, &count);
    if (take_bool(request, "processes", &with_processes, e) < 0 || take_groups(request, &names, e) < 0 ||
        check_running(pm, &names, e) < 0)
        goto out;
    status = calloc(1, sizeof *status + count * sizeof status->ids[0]);
    if (!status) {
        err_errno(e, "status");
        goto out;
    }
    status->job = (struct pm_job){say_status, free_status};
    status->with_processes = with_processes;
    for (size_t i = 0; i < count; i++)
        if (is_asked_for(&names, pm_group_name(groups[i])))
            status->ids[status->count++] = pm_group_view(groups[i]).id;
out:
    free(names.items);
    return status ? &status->job : NULL;
}

/* ---- reload ---- */

static struct pm_job *begin_reload(struct pm *pm, const json_t *request, struct err *e)
{
    struct cfg_list names = {0};
    struct pm_job *job = NULL;
    if (pm_is_stopping(pm))
        err_set(e, "pyfpm is stopping; nothing changed");
    else if (take_groups(request, &names, e) == 0)
        job = pm_control_reload(pm, &names, e);
    free(names.items);
    return job;
}

/* ---- stop ---- */

struct stop_job {
    struct pm_job job; /* first */
    unsigned workers;  /* as last said */
    size_t groups;
};

static enum pm_job_step say_what_is_left(struct pm_job *job, struct pm *pm, struct pm_caller *caller)
{
    struct stop_job *stop = (struct stop_job *)job;
    size_t count;
    unsigned workers = 0;
    struct pm_group *const *groups = pm_groups(pm, &count);
    if (pm_is_done(pm)) {
        pm_caller_say(caller, pm_control_last_line(NULL));
        return PM_JOB_DONE;
    }
    for (size_t i = 0; i < count; i++)
        workers += pm_status_count(groups[i], -1);
    if (workers == stop->workers && count == stop->groups)
        return PM_JOB_WAITS;
    stop->workers = workers;
    stop->groups = count;
    pm_caller_say(caller, json_pack("{s:s, s:i, s:I}", "kind", "progress", "workers", (int)workers, "groups",
                                    (json_int_t)count));
    return PM_JOB_WAITS;
}

static void free_stop(struct pm_job *job)
{
    free(job);
}

static struct pm_job *begin_stop(struct pm *pm, const json_t *request, struct err *e)
{
    bool now;
    if (take_bool(request, "now", &now, e) < 0)
        return NULL;
    struct stop_job *stop = calloc(1, sizeof *stop);
    if (!stop) {
        err_errno(e, "stop");
        return NULL;
    }
    stop->job = (struct pm_job){say_what_is_left, free_stop};
    if (now)
        pm_stop_now(pm);
    else
        pm_stop(pm);
    return &stop->job;
}

/* ---- reopen ---- */

static enum pm_job_step say_done(struct pm_job *job, struct pm *pm, struct pm_caller *caller)
{
    (void)job;
    (void)pm;
    pm_caller_say(caller, pm_control_last_line(NULL));
    return PM_JOB_DONE;
}

static void free_nothing(struct pm_job *job)
{
    (void)job;
}

static struct pm_job *begin_reopen(struct pm *pm, const json_t *request, struct err *e)
{
    static struct pm_job done = {say_done, free_nothing};
    (void)pm;
    (void)request;
    return pm_reopen(e) == 0 ? &done : NULL;
}

/* ---- the table ---- */

static const struct verb {
    const char *name;
    const char *members[3]; /* besides "verb" and "config" */
    struct pm_job *(*begin)(struct pm *pm, const json_t *request, struct err *e);
} verbs[] = {
    {"status", {"groups", "processes"}, begin_status},
    {"reload", {"groups"}, begin_reload},
    {"stop", {"now"}, begin_stop},
    {"reopen", {NULL}, begin_reopen},
};

static const struct verb *find_verb(const char *name, struct err *e)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    err_set(e, "there is no verb \"%.100s\"; those that there are: status, reload, stop, reopen", name);
    return NULL;
}

static bool has_member(const struct verb *verb, const char *name)
{
    if (strcmp(name, "verb") == 0 || strcmp(name, "config") == 0)
        return true;
    for (size_t i = 0; i < sizeof verb->members / sizeof verb->members[0] && verb->members[i]; i++)
        if (strcmp(verb->members[i], name) == 0)
            return true;
    return false;
}

struct pm_job *pm_control_begin(struct pm *pm, const json_t *request, struct err *e)
{
    const char *name;
    const json_t *value;
    const char *asked = json_string_value(json_object_get(request, "verb"));
    if (!asked) {
        err_set(e, "a request is an object with a verb, such as {\"verb\": \"status\"}");
        return NULL;
    }
    const struct verb *verb = find_verb(asked, e);
    if (!verb || check_config(pm, request, e) < 0)
        return NULL;
    json_object_foreach((json_t *)request, name, value) if (!has_member(verb, name))
    {
        err_set(e, "the verb %s has no member \"%.100s\"", verb->name, name);
        return NULL;
    }
    return verb->begin(pm, request, e);
}
