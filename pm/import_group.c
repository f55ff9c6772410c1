/* Deals the applications out: one pyfpm group for each process group of mod_wsgi, as far as that goes.
 *
 * pyfpm tells applications of a group apart by their mount alone, so the same mount on two virtual hosts
 * makes two groups; folders of scripts have a group of their own too. Then it names groups and interpreters,
 * and fills in what mod_wsgi took from Apache. Pure. */
#include "pm/import_model.h"

#include <ctype.h>
#include <string.h>

#include "config/config.h"

#define APPLICATIONS_MAX 256 /* of one group; pyfpm's own limit */
#define NAME_BASE_MAX    48  /* leaves room for what makes a name unique */

struct import_group *import_group_find(struct import *i, const char *name)
{
    for (size_t k = 0; k < i->groups.count; k++) {
        struct import_group *g = i->groups.items[k];
        if (strcmp(g->name, name) == 0)
            return g;
    }
    struct import_group *g = pool_take(i->pool, sizeof *g);
    g->name = name;
    pool_list_add(i->pool, &i->groups, g);
    return g;
}

/* What mod_wsgi takes from Apache -------------------------------------------------------------------------
 */

static struct import_setting *add_default(struct import *i, struct import_group *g, const char *key,
                                          const char *value, const char *note)
{
    struct import_setting *s = import_set(i, g, key, value, NULL);
    s->note = note;
    return s;
}

static bool is_root(const char *user)
{
    return strcmp(user, "root") == 0 || strspn(user, "0") == strlen(user);
}

/* pyfpm refuses what mod_wsgi refuses: a group that runs as root. */
static void fill_user(struct import *i, struct import_group *g)
{
    for (size_t k = 0; k < g->settings.count; k++) {
        struct import_setting *s = g->settings.items[k];
        if (strcmp(s->key, "user") != 0)
            continue;
        const char *user = s->values.items[0];
        if (user[0] && !is_root(user))
            return;
        s->is_advice = true;
        s->note = "pyfpm runs no group as root unless it has allow-root: true";
    }
    if (i->user && !is_root(i->user))
        add_default(i, g, "user", i->user, "Apache's User");
    else
        add_default(i, g, "user", "www-data", "a guess: which User Apache runs as is not in the file");
}

static void fill_socket_group(struct import *i, struct import_group *g)
{
    if (i->group)
        add_default(i, g, "listen-group", i->group,
                    "Apache's Group; the web server's, so that it may connect");
    else
        add_default(i, g, "listen-group", "www-data",
                    "put the web server's group here, so that it may connect")
            ->is_advice = true;
}

static void fill(struct import *i, struct import_group *g)
{
    if (g->definition && import_group_has(g, "user") && !import_group_has(g, "chdir"))
        import_note(i, &g->notes, NULL,
                    "mod_wsgi started in the user's home folder; give chdir if the application relies on it");
    fill_user(i, g);
    fill_socket_group(i, g);
    if (!import_group_has(g, "threads"))
        add_default(i, g, "threads", "15", g->name[0] ? "mod_wsgi's default" : "mod_wsgi used Apache's");
    if (!g->name[0])
        add_default(i, g, "processes", "2", "mod_wsgi used Apache's; choose what the machine can bear");
    if (g->name[0] && !g->definition)
        import_note(i, &g->notes, NULL,
                    "no WSGIDaemonProcess of this name is in the file: the rest of its options is missing");
}

/* Splitting -----------------------------------------------------------------------------------------------
 */

static const char *server_of(const struct import_app *app)
{
    return ((const struct import_use *)app->uses.items[0])->server;
}

static struct import_group *split_off(struct import *i, const struct import_group *g, const char *suffix,
                                      const char *why)
{
    struct import_group *split = pool_take(i->pool, sizeof *split);
    *split = (struct import_group){.name = g->name, .definition = g->definition, .suffix = suffix};
    for (size_t k = 0; k < g->settings.count; k++)
        pool_list_add(i->pool, &split->settings, g->settings.items[k]);
    import_note(i, &split->notes, NULL, "%s", why);
    pool_list_add(i->pool, &i->groups, split);
    return split;
}

/* True when the group cannot take one more application with that mount. */
static bool is_closed_to(const struct import_group *g, const char *mount)
{
    if (g->apps.count == APPLICATIONS_MAX)
        return true;
    for (size_t k = 0; k < g->apps.count; k++)
        if (strcmp(((const struct import_app *)g->apps.items[k])->mount, mount) == 0)
            return true;
    return false;
}

static bool is_plain(const struct import_app *app)
{
    const struct import_use *use = app->uses.items[0];
    return !use->is_pattern && strcmp(use->location, app->mount) == 0;
}

/* Applications that are reached at their mount first: the others make way. */
static struct pool_list with_plain_first(struct import *i, const struct pool_list *apps)
{
    struct pool_list sorted = {0};
    for (int wants_plain = 1; wants_plain >= 0; wants_plain--)
        for (size_t k = 0; k < apps->count; k++)
            if (is_plain(apps->items[k]) == (wants_plain == 1))
                pool_list_add(i->pool, &sorted, apps->items[k]);
    return sorted;
}

static void split_mounts(struct import *i, struct import_group *g)
{
    struct pool_list apps = with_plain_first(i, &g->apps), parts = {0};
    g->apps = (struct pool_list){0};
    pool_list_add(i->pool, &parts, g);
    for (size_t k = 0; k < apps.count; k++) {
        struct import_app *app = apps.items[k];
        size_t part = 0;
        while (part < parts.count && is_closed_to(parts.items[part], app->mount))
            part++;
        if (part == parts.count)
            pool_list_add(i->pool, &parts,
                          split_off(i, g, server_of(app) ? server_of(app) : "",
                                    "one process group in mod_wsgi, with this mount twice: pyfpm tells the "
                                    "applications of a group apart by their mounts"));
        pool_list_add(i->pool, &((struct import_group *)parts.items[part])->apps, app);
    }
}

static void split_folders(struct import *i, struct import_group *g)
{
    if (g->script_roots.count == 0 || g->apps.count == 0)
        return;
    struct import_group *split = split_off(
        i, g, "scripts",
        "one process group in mod_wsgi; script-root and other applications exclude each other");
    split->script_roots = g->script_roots;
    g->script_roots = (struct pool_list){0};
}

/* Names ---------------------------------------------------------------------------------------------------
 */

/* Letters, digits and "_.-", as groups and interpreters may be called. */
static const char *legal(struct import *i, const char *text, const char *otherwise)
{
    while (*text && !isalnum((unsigned char)*text) && *text != '_')
        text++;
    size_t length = strlen(text);
    char *name = pool_copy(i->pool, text, length < NAME_BASE_MAX ? length : NAME_BASE_MAX);
    for (char *c = name; *c; c++)
        if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || strchr("_.-", *c)))
            *c = '-';
    return name[0] && isascii((unsigned char)name[0]) ? name : otherwise;
}

/* BASE-2, BASE-3 … With very many of the same base any number will do, so that the search stays short. */
static const char *numbered(struct import *i, const char *base, unsigned attempt)
{
    enum { PRETTY = 20 };
    return pool_format(i->pool, "%s-%u", base, attempt < PRETTY ? attempt + 2 : ++i->number + PRETTY);
}

static bool is_group_name_taken(const struct import *i, const char *name)
{
    for (size_t k = 0; k < i->groups.count; k++) {
        const struct import_group *g = i->groups.items[k];
        if (g->yaml_name && strcmp(g->yaml_name, name) == 0)
            return true;
    }
    return false;
}

static void name_group(struct import *i, struct import_group *g)
{
    const char *base = g->name[0] ? legal(i, g->name, "group") : "embedded";
    if (g->suffix && g->suffix[0])
        base = legal(i, pool_format(i->pool, "%s-%s", base, g->suffix), "group");
    const char *name = base;
    for (unsigned attempt = 0; is_group_name_taken(i, name); attempt++)
        name = numbered(i, base, attempt);
    g->yaml_name = name;
    if (g->name[0] && strcmp(g->name, name) != 0)
        import_note(i, &g->notes, g->definition, "the process group is called %s there", g->name);
}

static const char *application_group_of(const struct import_app *app)
{
    return ((const struct import_use *)app->uses.items[0])->application_group;
}

static bool is_interpreter_taken(const struct import_group *g, const char *name)
{
    if (strcmp(name, "main") == 0)
        return true;
    for (size_t k = 0; k < g->apps.count; k++) {
        const struct import_app *app = g->apps.items[k];
        if (app->interpreter && strcmp(app->interpreter, name) == 0)
            return true;
    }
    return false;
}

static const char *interpreter_name(struct import *i, const struct import_group *g,
                                    const struct import_app *app)
{
    const struct import_use *use = app->uses.items[0];
    for (size_t k = 0; k < g->apps.count; k++) {
        const struct import_app *other = g->apps.items[k];
        if (other->interpreter && strcmp(application_group_of(other), use->application_group) == 0)
            return other->interpreter;
    }
    const char *base = legal(i, use->is_own ? app->mount : use->application_group, "root");
    const char *name = base;
    for (unsigned attempt = 0; is_interpreter_taken(g, name); attempt++)
        name = numbered(i, base, attempt);
    return name;
}

/* Those that mod_wsgi ran in the main interpreter stay there. When nobody did, the first application's
 * interpreter becomes the main one: many extension modules work in no other. */
static void choose_interpreters(struct import *i, struct import_group *g)
{
    const char *main_group = g->apps.count > 0 ? application_group_of(g->apps.items[0]) : "";
    for (size_t k = 0; k < g->apps.count; k++)
        if (application_group_of(g->apps.items[k])[0] == '\0')
            main_group = "";
    for (size_t k = 0; k < g->apps.count; k++) {
        struct import_app *app = g->apps.items[k];
        const struct import_use *use = app->uses.items[0];
        bool is_main = strcmp(use->application_group, main_group) == 0;
        app->interpreter = is_main ? "main" : interpreter_name(i, g, app);
        if (is_main && main_group[0])
            import_note(
                i, &app->notes, use->from,
                "mod_wsgi ran it in a sub-interpreter%s%s; here it has the main one, which many extension "
                "modules need",
                use->is_own ? " of its own, by default" : " called ",
                use->is_own ? "" : use->application_group);
        for (size_t n = 1; n < app->uses.count; n++)
            if (strcmp(((const struct import_use *)app->uses.items[n])->application_group,
                       use->application_group) != 0)
                import_note(i, &app->notes, ((const struct import_use *)app->uses.items[n])->from,
                            "mod_wsgi ran it in an interpreter of its own here; pyfpm has one for all uses");
    }
}

void import_groups_settle(struct import *i)
{
    size_t count = i->groups.count;
    for (size_t k = 0; k < count; k++) {
        fill(i, i->groups.items[k]);
        split_folders(i, i->groups.items[k]);
        split_mounts(i, i->groups.items[k]);
    }
    for (size_t k = 0; k < i->groups.count; k++) {
        name_group(i, i->groups.items[k]);
        choose_interpreters(i, i->groups.items[k]);
    }
}
