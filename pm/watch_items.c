/* Keeps the list of a group's places in step with its configuration and its environment.
 *
 * A list is marked, what is wanted is found in it or added, and what stays marked is dropped: so a place that
 * two configurations share never stops being watched and keeps the stamp it had. Runs on the supervisor's
 * only thread. */
#include "pm/watch_items.h"

#include "base/log.h"
#include "config/config.h"
#include "pm/place.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A host names what its environment consists of; more than this it has no reason to. */
#define LEARNED_MAX 128

enum origin { FROM_CONFIGURATION, FROM_FINGERPRINT };

struct watch_item {
    struct pm_place *place;
    enum pm_place_kind kind;
    enum watch_role role;
    enum origin origin;
    bool is_outside; /* of the chroot */
    bool is_wanted;
    bool has_warned; /* that it is too large */
    struct watch_item *next;
    char path[];
};

void watch_items_init(struct pm_watch_items *items, struct pm_notify *notify, void (*stirred)(void *context),
                      void *context)
{
    *items = (struct pm_watch_items){.notify = notify, .stirred = stirred, .context = context};
}

static void free_item(struct watch_item *item)
{
    pm_place_free(item->place);
    free(item);
}

void watch_items_free(struct pm_watch_items *items)
{
    while (items->list) {
        struct watch_item *item = items->list;
        items->list = item->next;
        free_item(item);
    }
    free(items->chroot);
    items->chroot = NULL;
}

/* ---- keeping in step --------------------------------------------------------------------------------- */

static void unmark(struct pm_watch_items *items, enum origin origin)
{
    for (struct watch_item *item = items->list; item; item = item->next)
        if (item->origin == origin)
            item->is_wanted = false;
}

static void drop_unwanted(struct pm_watch_items *items)
{
    struct watch_item **link = &items->list;
    while (*link) {
        struct watch_item *item = *link;
        if (item->is_wanted) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        free_item(item);
    }
}

static void warn_if_cut(struct watch_item *item)
{
    if (item->has_warned || !pm_place_is_cut(item->place))
        return;
    item->has_warned = true;
    log_write(LOG_LEVEL_WARNING, NULL,
              "reload-on-change: %s has more than %d folders or %d files below it; the rest is not watched",
              item->path, PM_PLACE_FOLDERS_MAX, PM_PLACE_FILES_MAX);
}

/* The item, found or made; NULL without memory. */
static struct watch_item *want(struct pm_watch_items *items, enum origin origin, enum pm_place_kind kind,
                               enum watch_role role, const char *path, bool is_outside)
{
    for (struct watch_item *item = items->list; item; item = item->next)
        if (item->origin == origin && item->kind == kind && item->role == role &&
            item->is_outside == is_outside && strcmp(item->path, path) == 0) {
            item->is_wanted = true;
            return item;
        }
    size_t size = strlen(path) + 1;
    struct watch_item *item = malloc(sizeof *item + size);
    if (!item)
        return NULL;
    *item = (struct watch_item){
        .kind = kind, .role = role, .origin = origin, .is_outside = is_outside, .is_wanted = true};
    memcpy(item->path, path, size);
    item->place = pm_place_new(items->notify, kind, is_outside ? NULL : items->chroot, path, items->stirred,
                               items->context);
    if (!item->place) {
        free(item);
        return NULL;
    }
    item->next = items->list;
    items->list = item;
    warn_if_cut(item);
    return item;
}

/* ---- configuration ----------------------------------------------------------------------------------- */

/* The item itself and, with it, its pyvenv.cfg, which may come, change and go. */
static bool want_root(struct pm_watch_items *items, const char *root)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/pyvenv.cfg", root);
    if (size < 0 || (size_t)size >= sizeof path)
        return true; /* it cannot exist */
    return want(items, FROM_CONFIGURATION, PM_PLACE_FILE, WATCH_ENVIRONMENT, path, false);
}

static bool want_roots(struct pm_watch_items *items, const struct cfg_list *roots)
{
    bool fine = true;
    for (size_t i = 0; i < roots->count; i++)
        fine = want_root(items, roots->items[i]) && fine;
    return fine;
}

static bool want_script(struct pm_watch_items *items, const char *script)
{
    return !script || want(items, FROM_CONFIGURATION, PM_PLACE_FILE, WATCH_FILES, script, false);
}

static bool want_scripts(struct pm_watch_items *items, const struct cfg_group *cfg)
{
    bool fine = want_script(items, cfg->script);
    for (size_t i = 0; i < cfg->applications.count; i++)
        fine = want_script(items, cfg->applications.items[i].script) && fine;
    return fine;
}

static bool want_files(struct pm_watch_items *items, const struct cfg_group *cfg)
{
    bool fine = true;
    items->wants_environment = false;
    for (size_t i = 0; i < cfg->reload_on_change.count; i++) {
        const char *entry = cfg->reload_on_change.items[i];
        if (strcmp(entry, CFG_WATCH_ENVIRONMENT) == 0)
            items->wants_environment = true;
        else if (strcmp(entry, CFG_WATCH_SCRIPT) == 0)
            fine = want_scripts(items, cfg) && fine;
        else
            fine = want(items, FROM_CONFIGURATION, PM_PLACE_TREE, WATCH_FILES, entry, false) && fine;
    }
    return fine;
}

/* Behind another root every path is another one. */
static bool take_chroot(struct pm_watch_items *items, const char *chroot)
{
    if (items->chroot ? chroot && strcmp(items->chroot, chroot) == 0 : !chroot)
        return true;
    watch_items_free(items);
    items->chroot = chroot ? strdup(chroot) : NULL;
    return !chroot || items->chroot;
}

bool watch_items_configure(struct pm_watch_items *items, const struct cfg_group *cfg)
{
    if (!take_chroot(items, cfg->chroot))
        return false;
    unmark(items, FROM_CONFIGURATION);
    bool fine = !cfg->python_home || want_root(items, cfg->python_home);
    fine = want_roots(items, &cfg->python_path) && fine;
    for (size_t i = 0; i < cfg->applications.count; i++)
        fine = want_roots(items, &cfg->applications.items[i].python_path) && fine;
    fine = want_files(items, cfg) && fine;
    drop_unwanted(items);
    return fine;
}

/* ---- fingerprints ------------------------------------------------------------------------------------ */

/* Escaped paths are left out with those that hide something: nobody has a backslash in a path of Python's. */
static bool is_sane(const char *path)
{
    return path && path[0] == '/' && strlen(path) < PATH_MAX && !strchr(path, '\\') && !strstr(path, "/../");
}

static const char *skip_fields(const char *line, unsigned count)
{
    while (line && count-- > 0) {
        line = strchr(line, ' ');
        line = line ? line + 1 : NULL;
    }
    return line;
}

/* False when the line names a folder that is not as it says any more. *room: how many may still be learnt. */
static bool learn_line(struct pm_watch_items *items, const char *line, unsigned *room)
{
    bool is_folder = strncmp(line, "folder ", 7) == 0;
    bool is_library = strncmp(line, "python ", 7) == 0;
    bool is_file = strncmp(line, "file ", 5) == 0;
    const char *path = is_library ? skip_fields(line, 3) : is_folder || is_file ? skip_fields(line, 2) : NULL;
    if (!is_sane(path))
        return true;
    const char *name = strrchr(path, '/');
    if (*room == 0 || (is_file && strcmp(name, "/pyvenv.cfg") != 0)) /* a .pth lies in a folder of the list */
        return true;
    --*room;
    struct watch_item *item = want(items, FROM_FINGERPRINT,
                                   is_folder ? PM_PLACE_DISTRIBUTIONS : PM_PLACE_FILE, WATCH_ENVIRONMENT,
                                   path, is_library);
    if (!item || !is_folder)
        return true;
    char time[48];
    snprintf(time, sizeof time, "%.*s", (int)strcspn(line + 7, " "), line + 7);
    return pm_place_is_from(item->place, time);
}

bool watch_items_learn(struct pm_watch_items *items, const char *fingerprint)
{
    unsigned room = LEARNED_MAX;
    bool is_current = true;
    unmark(items, FROM_FINGERPRINT);
    for (const char *at = fingerprint; *at;) {
        char line[PATH_MAX + 256];
        size_t length = strcspn(at, "\n");
        bool is_about_places = strncmp(at, "dist ", 5) != 0;
        if (is_about_places && length < sizeof line) {
            memcpy(line, at, length);
            line[length] = '\0';
            is_current = learn_line(items, line, &room) && is_current;
        }
        at += length + (at[length] == '\n');
    }
    drop_unwanted(items);
    return is_current;
}

/* ---- looking ----------------------------------------------------------------------------------------- */

char *watch_items_look(struct pm_watch_items *items, enum watch_role role)
{
    char *changed = NULL;
    for (struct watch_item *item = items->list; item; item = item->next) {
        if (item->role != role || !pm_place_look(item->place))
            continue;
        warn_if_cut(item);
        if (!changed && asprintf(&changed, "%s changed", pm_place_name(item->place)) < 0)
            changed = NULL;
    }
    return changed;
}
