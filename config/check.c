/* The rules between keys of a group, between groups, and about who the supervisor is.
 *
 * Reads drafts and reports; changes nothing and looks at nothing outside: whether files and users exist is
 * for pyfpm check and the hosts to find out. */
#include <string.h>

#include "base/err.h"
#include "config/config.h"
#include "config/fields.h"
#include "config/loader.h"
#include "config/report.h"

static bool is_given(const struct cfg_draft *draft, const char *key)
{
    return cfg_draft_given(draft, key)->place.line != 0;
}

/* The key's place, or the group's when the key is not given. */
static const struct cfg_place *place_of(const struct cfg_draft *draft, const char *key)
{
    return is_given(draft, key) ? &cfg_draft_given(draft, key)->place : &draft->group->place;
}

static void check_required(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        if ((d->flags & CFG_REQUIRED) && !is_given(draft, d->key))
            cfg_report_error(l->report, &draft->group->place, "group \"%s\": %s is missing",
                             draft->group->name, d->key);
    }
}

/* An empty script-root, as a dump has it, names none. */
static bool names_application(const struct cfg_draft *draft, const struct cfg_directive *d)
{
    bool is_empty = strcmp(d->key, "script-root") == 0 && draft->group->script_root.count == 0;
    return (d->flags & CFG_APPLICATION) && is_given(draft, d->key) && !is_empty;
}

/* Exactly one of the keys that name an application. One that is not available counts: it has its error. */
static void check_application(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_group *g = draft->group;
    const struct cfg_directive *d = NULL, *first = NULL;
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        if (!names_application(draft, d))
            continue;
        if (first != NULL)
            cfg_report_error(l->report, place_of(draft, d->key), "group \"%s\": %s and %s exclude each other",
                             g->name, first->key, d->key);
        first = d;
    }
    if (first == NULL)
        cfg_report_error(l->report, &g->place,
                         "group \"%s\": no application is named; give script, application, script-root or "
                         "applications",
                         g->name);
}

/* Also of one that comes from defaults, where no group's place would help. */
void cfg_check_application(struct cfg_loading *l, const struct cfg_draft *draft,
                           const struct cfg_place *place)
{
    const struct cfg_directive *d = NULL, *first = NULL;
    while ((d = cfg_directive_next(CFG_SCOPE_APPLICATION, d)) != NULL) {
        if ((d->flags & CFG_REQUIRED) && !is_given(draft, d->key))
            cfg_report_error(l->report, place, "applications: %s is missing", d->key);
        if (!(d->flags & CFG_APPLICATION) || !is_given(draft, d->key))
            continue;
        if (first != NULL)
            cfg_report_error(l->report, &cfg_draft_given(draft, d->key)->place,
                             "applications: %s and %s exclude each other", first->key, d->key);
        first = d;
    }
    if (first == NULL)
        cfg_report_error(l->report, place,
                         "applications: nothing is named to serve; give script or application");
    else if (is_given(draft, "callable") && !is_given(draft, "script") && !l->mode.is_trusted)
        cfg_report_warning(l->report, &cfg_draft_given(draft, "callable")->place,
                           "callable means nothing here: application names its callable itself");
}

static void check_mounts_are_unique(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_applications *all = &draft->group->applications;
    for (size_t i = 0; i < all->count; i++) {
        const struct cfg_application *one = &all->items[i], *other = all->items;
        while (one->mount != NULL && other < one &&
               (other->mount == NULL || strcmp(other->mount, one->mount) != 0))
            other++;
        if (one->mount != NULL && other < one)
            cfg_report_error(l->report, &one->place,
                             "mount: %s is given to an application already (%s:%d:%d)", one->mount,
                             other->place.file, other->place.line, other->place.column);
    }
}

static void warn_about_callable(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_given *callable = cfg_draft_given(draft, "callable");
    if (callable->place.line != 0 && !callable->is_inherited && is_given(draft, "application"))
        cfg_report_warning(l->report, &callable->place,
                           "callable means nothing here: application names its callable itself");
}

static void warn_about_watched_script(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_group *g = draft->group;
    const struct cfg_given *watched = cfg_draft_given(draft, "reload-on-change");
    bool has_script = is_given(draft, "script");
    for (size_t i = 0; i < g->applications.count; i++)
        has_script = has_script || g->applications.items[i].script;
    if (watched->place.line == 0 || watched->is_inherited || has_script)
        return;
    const char *why =
        is_given(draft, "script-root")
            ? "script means nothing with script-root: a changed script replaces its worker anyway"
            : "script means nothing without the key script: which files an application consists of "
              "only Python finds out; name their folder instead";
    for (size_t i = 0; i < g->reload_on_change.count; i++)
        if (strcmp(g->reload_on_change.items[i], CFG_WATCH_SCRIPT) == 0)
            cfg_report_warning(l->report, &watched->place, "reload-on-change: %s", why);
}

static void check_restart_delay(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_group *g = draft->group;
    if (g->restart_delay_ms <= g->restart_delay_max_ms)
        return;
    char delay[CFG_NUMBER_TEXT_MAX], most[CFG_NUMBER_TEXT_MAX];
    cfg_value_format(CFG_NUMBER_DURATION, g->restart_delay_ms, delay);
    cfg_value_format(CFG_NUMBER_DURATION, g->restart_delay_max_ms, most);
    cfg_report_error(
        l->report, place_of(draft, is_given(draft, "restart-delay") ? "restart-delay" : "restart-delay-max"),
        "group \"%s\": restart-delay (%s) is longer than restart-delay-max (%s)", g->name, delay, most);
}

/* Of pm: dynamic. What is not given fits itself to processes. */
static void check_spares(struct cfg_loading *l, const struct cfg_draft *draft)
{
    static const char *const keys[] = {"start", "min-spare", "max-spare"};
    const struct cfg_group *g = draft->group;
    const int64_t values[] = {g->start, g->min_spare, g->max_spare};
    for (size_t i = 0; i < 3; i++) {
        if (g->pm == CFG_PM_DYNAMIC && values[i] > g->processes)
            cfg_report_error(l->report, place_of(draft, keys[i]),
                             "group \"%s\": %s (%lld) is more than processes (%lld)", g->name, keys[i],
                             (long long)values[i], (long long)g->processes);
        const struct cfg_given *given = cfg_draft_given(draft, keys[i]);
        if (g->pm != CFG_PM_DYNAMIC && given->place.line != 0 && !given->is_inherited && !l->mode.is_trusted)
            cfg_report_warning(l->report, &given->place, "%s means nothing without pm: dynamic", keys[i]);
    }
    if (g->pm == CFG_PM_DYNAMIC && g->min_spare != CFG_ID_NONE && g->max_spare != CFG_ID_NONE &&
        g->min_spare > g->max_spare)
        cfg_report_error(l->report, place_of(draft, "min-spare"),
                         "group \"%s\": min-spare (%lld) is more than max-spare (%lld)", g->name,
                         (long long)g->min_spare, (long long)g->max_spare);
}

/* "root" by name, or zero by number. Other names of uid 0 are found by the host, when it looks them up. */
static bool is_root_user(const char *user)
{
    return strcmp(user, "root") == 0 || strspn(user, "0") == strlen(user);
}

static void check_user_as_root(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_group *g = draft->group;
    if (g->allow_root)
        return;
    if (!is_given(draft, "user"))
        cfg_report_error(
            l->report, &g->place,
            "group \"%s\" has no user, and pyfpm is started as root: give user, or allow-root: true if "
            "the group is to run as root",
            g->name);
    else if (g->user != NULL && is_root_user(g->user))
        cfg_report_error(
            l->report, place_of(draft, "user"),
            "user: \"%s\" is root: give another user, or allow-root: true if the group is to run as root",
            g->user);
}

static void check_without_root(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        if ((d->flags & CFG_ROOT_ONLY) && is_given(draft, d->key))
            cfg_report_warning(l->report, place_of(draft, d->key),
                               "%s is ignored: pyfpm is not started as root", d->key);
    }
    if (draft->group->nice < 0)
        cfg_report_warning(
            l->report, place_of(draft, "nice"),
            "nice is ignored: only root can raise a priority, and pyfpm is not started as root");
    if (is_given(draft, "chroot"))
        cfg_report_error(l->report, place_of(draft, "chroot"),
                         "chroot: only root can change the root folder, and pyfpm is not started as root");
}

/* Keys that say nothing for the kind of socket which the group has; not those that come from defaults. */
static void warn_about_socket_keys(struct cfg_loading *l, const struct cfg_draft *draft)
{
    struct cfg_address address;
    struct err ignored;
    if (draft->group->listen == NULL || cfg_parse_address(draft->group->listen, &address, &ignored) != 0)
        return;
    static const char *const kinds[] = {"a unix socket", "a TCP socket", "a socket that systemd makes"};
    static const unsigned meaningless[] = {CFG_TCP_ONLY, CFG_UNIX_ONLY, CFG_UNIX_ONLY};
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        const struct cfg_given *given = cfg_draft_given(draft, d->key);
        if (given->place.line == 0 || given->is_inherited || !(d->flags & meaningless[address.kind]))
            continue;
        if (d->type == CFG_TYPE_LIST && cfg_field_of(d, draft->group).list->count == 0)
            continue; /* an empty one is what a dump writes */
        cfg_report_warning(l->report, &given->place, "%s means nothing for %s", d->key, kinds[address.kind]);
    }
}

static bool addresses_are_equal(const char *a, const char *b)
{
    struct cfg_address left, right;
    struct err ignored;
    return cfg_parse_address(a, &left, &ignored) == 0 && cfg_parse_address(b, &right, &ignored) == 0 &&
           left.kind == right.kind && strcmp(left.path, right.path) == 0 &&
           strcmp(left.host, right.host) == 0 && strcmp(left.port, right.port) == 0;
}

static void check_listen_is_unique(struct cfg_loading *l, size_t index)
{
    const struct cfg_draft *draft = &l->groups[index];
    if (draft->group->listen == NULL)
        return;
    for (size_t i = 0; i < index; i++) {
        const struct cfg_draft *other = &l->groups[i];
        if (other->group->listen == NULL || !addresses_are_equal(other->group->listen, draft->group->listen))
            continue;
        const struct cfg_place *there = place_of(other, "listen");
        cfg_report_error(l->report, place_of(draft, "listen"),
                         "listen: group \"%s\" listens on %s already (%s:%d:%d)", other->group->name,
                         draft->group->listen, there->file, there->line, there->column);
        return;
    }
}

static void check_listen_is_not_control(struct cfg_loading *l, const struct cfg_draft *draft)
{
    const char *control = l->cfg->global.control;
    if (draft->group->listen != NULL && control != NULL && strcmp(draft->group->listen, control) == 0)
        cfg_report_error(l->report, place_of(draft, "listen"), "listen: %s is the control socket", control);
}

static void check_group(struct cfg_loading *l, size_t index)
{
    const struct cfg_draft *draft = &l->groups[index];
    check_required(l, draft);
    check_application(l, draft);
    check_mounts_are_unique(l, draft);
    check_restart_delay(l, draft);
    check_spares(l, draft);
    check_listen_is_unique(l, index);
    check_listen_is_not_control(l, draft);
    if (l->mode.is_trusted)
        return;
    warn_about_callable(l, draft);
    warn_about_watched_script(l, draft);
    warn_about_socket_keys(l, draft);
    if (l->mode.is_root)
        check_user_as_root(l, draft);
    else
        check_without_root(l, draft);
}

void cfg_check(struct cfg_loading *l)
{
    if (l->group_count == 0) {
        struct cfg_place whole_file = {.file = l->cfg->files.items[0]};
        cfg_report_error(l->report, &whole_file, "there are no groups: nothing would be served");
    }
    for (size_t i = 0; i < l->group_count; i++)
        check_group(l, i);
}
