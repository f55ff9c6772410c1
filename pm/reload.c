/* Reads the file anew and sets the groups moving.
 *
 * Everything that can be refused is refused before anything changes: an error in the file, an unknown name, a
 * log or control socket that cannot be had. What each group makes of it is its own affair (group.c); here is
 * only waited for the last of them, to log the outcome. Runs on the supervisor's only thread, while it
 * settles; blocks for the reading of the file. */
#include "pm/reload.h"

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "pm/control.h"
#include "pm/group.h"
#include "pm/listener.h"
#include "pm/pm.h"
#include "pm/report.h"
#include "pm/supervisor.h"
#include "pm/systemd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plan ---- */

static bool is_named(const struct cfg_list *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return names->count == 0;
}

static int plan_item(struct pm_reload_plan *plan, const char *name, enum pm_reload_fate fate, struct err *e)
{
    struct pm_reload_item *larger = realloc(plan->items, (plan->count + 1) * sizeof *larger);
    if (!larger)
        return err_errno(e, "reload");
    plan->items = larger;
    plan->items[plan->count] = (struct pm_reload_item){.name = strdup(name), .fate = fate};
    return plan->items[plan->count++].name ? 0 : err_errno(e, "reload");
}

static int plan_pending(struct pm_reload_plan *plan, const char *what, struct err *e)
{
    struct cfg_list *list = &plan->pending;
    char **larger = realloc(list->items, (list->count + 1) * sizeof *larger);
    if (!larger)
        return err_errno(e, "reload");
    list->items = larger;
    list->items[list->count] = strdup(what);
    return list->items[list->count++] ? 0 : err_errno(e, "reload");
}

/* A name that neither the file nor a running group has is a slip of whoever asked. */
static int check_names(const struct pm *pm, const struct cfg *cfg, const struct cfg_list *names,
                       struct err *e)
{
    for (size_t i = 0; i < names->count; i++)
        if (!cfg_find_group(cfg, names->items[i]) && !pm_find_group(pm, names->items[i]))
            return err_set(e, "there is no group \"%s\", neither running nor in %s; nothing changed",
                           names->items[i], pm->config_path);
    return 0;
}

static int plan_group_of_file(struct pm *pm, const struct cfg_group *cfg, bool named,
                              struct pm_reload_plan *plan, struct err *e)
{
    const struct pm_group *g = pm_find_group(pm, cfg->name);
    if (named)
        return plan_item(plan, cfg->name, g ? PM_FATE_ROLLS : PM_FATE_STARTS, e);
    return g && pm_group_wants(g, cfg) ? 0 : plan_pending(plan, cfg->name, e);
}

static int make_plan(struct pm *pm, const struct cfg *cfg, const struct cfg_list *names,
                     struct pm_reload_plan *plan, struct err *e)
{
    if (check_names(pm, cfg, names, e) < 0)
        return -1;
    for (size_t i = 0; i < cfg->group_count; i++)
        if (plan_group_of_file(pm, cfg->groups[i], is_named(names, cfg->groups[i]->name), plan, e) < 0)
            return -1;
    for (size_t i = 0; i < pm->group_count; i++) {
        const char *name = pm_group_name(pm->groups[i]);
        if (pm_group_is_ending(pm->groups[i]) || cfg_find_group(cfg, name))
            continue;
        int planned = is_named(names, name) ? plan_item(plan, name, PM_FATE_ENDS, e)
                                            : plan_pending(plan, name, e);
        if (planned < 0)
            return -1;
    }
    if (names->count > 0 && !cfg_global_is_equal(&pm->cfg->global, &cfg->global))
        return plan_pending(plan, "global", e);
    return 0;
}

void pm_reload_plan_free(struct pm_reload_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->items[i].name);
        free(plan->items[i].failure);
    }
    free(plan->items);
    for (size_t i = 0; i < plan->pending.count; i++)
        free(plan->pending.items[i]);
    free(plan->pending.items);
    cfg_report_free(&plan->report);
    *plan = (struct pm_reload_plan){0};
}

/* ---- carrying it out ---- */

static void note_reload_failure(struct pm *pm, const char *name)
{
    size_t used = strlen(pm->reload_failures);
    snprintf(pm->reload_failures + used, sizeof pm->reload_failures - used, " %s", name);
}

static void refuse_item(struct pm *pm, struct pm_reload_item *item, const struct err *why)
{
    struct log_subject subject = {item->name, 0};
    log_write(LOG_LEVEL_ERROR, &subject, "reload failed, nothing changed: %s", why->text);
    note_reload_failure(pm, item->name);
    item->fate = PM_FATE_REFUSED;
    item->failure = strdup(why->text);
}

static void roll_group(struct pm *pm, const struct cfg_group *cfg, struct pm_reload_item *item)
{
    struct err e;
    struct pm_group *g = pm_find_group(pm, item->name);
    struct pm_listener *listener = pm_listener_acquire(cfg, &e);
    if (listener && pm_group_reload(g, cfg, listener, &e) == 0)
        return;
    pm_listener_release(&listener);
    pm_group_refuse_reload(g, e.text);
    refuse_item(pm, item, &e);
}

static void begin_item(struct pm *pm, const struct cfg *cfg, struct pm_reload_item *item)
{
    struct err e;
    bool has_socket;
    const struct cfg_group *group = cfg_find_group(cfg, item->name);
    if (item->fate == PM_FATE_ROLLS)
        roll_group(pm, group, item);
    else if (item->fate == PM_FATE_ENDS)
        pm_group_end(pm_find_group(pm, item->name));
    else if (pm_add_group(pm, group, &has_socket, &e) < 0)
        refuse_item(pm, item, &e);
    if (item->fate == PM_FATE_ROLLS || item->fate == PM_FATE_STARTS)
        item->number = pm_group_reload_number(pm_find_group(pm, item->name));
}

static void warn_about_pid_file(const struct pm *pm, const struct cfg *cfg)
{
    const char *now = pm->cfg->global.pid_file;
    const char *then = cfg->global.pid_file;
    if ((now == NULL) != (then == NULL) || (now && strcmp(now, then) != 0))
        log_write(LOG_LEVEL_WARNING, NULL, "pid-file has changed, which takes effect at the next start");
}

/* What of the file is not a group's. 0, or -1 with *e and nothing changed. */
static int take_global(struct pm *pm, const struct cfg *cfg, struct err *e)
{
    struct pm_listener *door = NULL;
    if (pm_control_open(&cfg->global, &door, e) < 0)
        return -1;
    if (pm_apply_global(cfg, e) < 0 || pm_control_use(pm->control, &door, e) < 0) {
        pm_listener_release(&door);
        return -1;
    }
    warn_about_pid_file(pm, cfg);
    return 0;
}

static int refuse(struct cfg *cfg, const struct err *e)
{
    log_write(LOG_LEVEL_ERROR, NULL, "reload failed: %s", e->text);
    cfg_free(cfg);
    return -1;
}

static void log_beginning(const struct pm *pm, const struct cfg_list *names)
{
    struct err text;
    err_set(&text, "reloading %s", pm->config_path);
    for (size_t i = 0; i < names->count; i++) {
        size_t used = strlen(text.text);
        snprintf(text.text + used, sizeof text.text - used, "%s%s", i == 0 ? ", only group " : ", ",
                 names->items[i]);
    }
    log_write(LOG_LEVEL_NOTICE, NULL, "%s", text.text);
}

int pm_reload(struct pm *pm, const struct cfg_list *names, struct pm_reload_plan *plan, struct err *e)
{
    bool of_everything = names->count == 0;
    struct cfg *cfg = cfg_load(pm->config_path, &plan->report);
    report_to_log(&plan->report);
    if (!cfg) {
        err_set(e, "%s has errors; nothing changed", pm->config_path);
        return refuse(cfg, e);
    }
    if (make_plan(pm, cfg, names, plan, e) < 0)
        return refuse(cfg, e);
    if ((of_everything ? take_global(pm, cfg, e) : pm_raise_file_limit(cfg, e)) < 0) {
        size_t length = strlen(e->text);
        snprintf(e->text + length, sizeof e->text - length, "; nothing changed");
        return refuse(cfg, e);
    }
    log_beginning(pm, names);
    pm_systemd_notify_reloading();
    for (size_t i = 0; i < plan->count; i++)
        begin_item(pm, cfg, &plan->items[i]);
    if (of_everything) {
        cfg_free(pm->cfg);
        pm->cfg = cfg;
    } else {
        cfg_free(cfg); /* the rest of it is still to come */
    }
    pm->reloading = true;
    return 0;
}

/* ---- the outcome ---- */

void pm_settle_reload(struct pm *pm)
{
    for (size_t i = 0; i < pm->group_count; i++)
        if (pm_group_is_reloading(pm->groups[i]))
            return;
    for (size_t i = 0; i < pm->group_count; i++)
        if (pm_group_collect_reload(pm->groups[i]) == PM_RELOAD_FAILED)
            note_reload_failure(pm, pm_group_name(pm->groups[i]));
    if (pm->reloading && pm->reload_failures[0] != '\0')
        log_write(LOG_LEVEL_ERROR, NULL, "reload failed for:%s", pm->reload_failures);
    else if (pm->reloading)
        log_write(LOG_LEVEL_NOTICE, NULL, "reload finished");
    if (pm->reloading && pm->phase == PM_RUNNING)
        pm_tell_manager(pm);
    pm->reloading = false;
    pm->reload_failures[0] = '\0';
}
