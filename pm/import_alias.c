/* Finds the applications: WSGIScriptAlias, WSGIScriptAliasMatch, and the wsgi-script handler.
 *
 * An alias names a file (an application), or a folder whose scripts the request picks. Where a deeper
 * <Location> gives another process group, the same application stands in that group too. What cannot be said
 * without a request (environment variables, replacements of a pattern) is left to a comment. Pure. */
#include "pm/import_model.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

struct alias {
    struct apache_directive *from;
    const struct apache_section *host;
    const char *location;
    const char *mount;
    const char *script;
    bool is_pattern;
    const char *process_group; /* options; NULL: not given */
    const char *application_group;
    const char *callable;
    struct pool_list notes;
};

static bool ends_in(const char *text, size_t length, const char *suffix)
{
    size_t size = strlen(suffix);
    return length > size && memcmp(text + length - size, suffix, size) == 0;
}

static bool is_script_name(const char *text, size_t length)
{
    return ends_in(text, length, ".wsgi") || ends_in(text, length, ".py");
}

/* The length of the script in FILE.wsgi/more; all of it without such a part. */
static size_t script_length(const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        if (is_script_name(path, (size_t)(slash - path)))
            return (size_t)(slash - path);
    return strlen(path);
}

static bool is_folder(const struct import *i, const char *path)
{
    size_t length = strlen(path);
    if (i->wishes->is_folder && i->wishes->is_folder(path))
        return true;
    return length > 1 && path[length - 1] == '/' && script_length(path) == length;
}

/* The names of groups ---------------------------------------------------------------------------------- */

/* "" for %{GLOBAL}; NULL for what only a request can say. */
static const char *process_group_name(const char *text)
{
    if (strcmp(text, "%{GLOBAL}") == 0)
        return "";
    return strstr(text, "%{") ? NULL : text;
}

static const char *first_argument(struct import *i, struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *word = apache_word(i->pool, &at);
    return word ? word : "";
}

static struct import_group *find_group(struct import *i, const char *option,
                                       const struct import_target *target, const char **text)
{
    struct apache_directive *d = option ? NULL : import_scope_find(i, IMPORT_PROCESS_GROUP, target);
    *text = option ? option : d ? first_argument(i, d) : "%{GLOBAL}";
    const char *name = process_group_name(*text);
    return name ? import_group_find(i, name) : NULL;
}

static void set_application_group(struct import *i, struct import_use *use, const char *text,
                                  const struct apache_section *host)
{
    const char *server = pool_format(i->pool, "%s%s", use->server ? use->server : "server",
                                     import_scope_port(host));
    use->application_group = text;
    if (strcmp(text, "%{GLOBAL}") == 0)
        use->application_group = "";
    else if (strcmp(text, "%{SERVER}") == 0 || strcmp(text, "%{HOST}") == 0)
        use->application_group = server;
    else if (strcmp(text, "%{RESOURCE}") == 0) {
        use->is_own = true;
        use->application_group = pool_format(i->pool, "%s|%s", server, use->location);
    }
}

/* Placing ---------------------------------------------------------------------------------------------- */

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct import_app *find_app(struct import *i, struct import_group *g, const struct alias *alias,
                                   const char *callable)
{
    for (size_t k = 0; k < g->apps.count; k++) {
        struct import_app *app = g->apps.items[k];
        if (strcmp(app->mount, alias->mount) == 0 && strcmp(app->script, alias->script) == 0 &&
            is_same_text(app->callable, callable))
            return app;
    }
    struct import_app *app = pool_take(i->pool, sizeof *app);
    app->mount = alias->mount;
    app->script = alias->script;
    app->callable = callable;
    pool_list_add(i->pool, &g->apps, app);
    return app;
}

static void note_reloading(struct import *i, struct import_group *g, const struct import_target *target)
{
    struct apache_directive *d = import_scope_find(i, IMPORT_RELOADING, target);
    if (!d)
        return;
    if (apache_is(first_argument(i, d), "On"))
        import_set(i, g, "reload-on-change", "script", d);
    else
        import_note(i, &g->notes, d,
                    "pyfpm reloads when it is told to; a changed script does nothing by itself");
}

/* What the alias says itself, else what the directive that holds says; NULL when nobody says anything. */
static const char *choose(struct import *i, const char *option, enum import_name name,
                          const struct import_target *target)
{
    struct apache_directive *d = option ? NULL : import_scope_find(i, name, target);
    const char *text = d ? first_argument(i, d) : "";
    if (d && !text[0])
        import_note(i, &i->notes, d, "the value is missing");
    return option ? option : text[0] ? text : NULL;
}

/* Puts the application where requests to that location run. */
static void place(struct import *i, const struct alias *alias, const char *location)
{
    const struct import_target target = import_scope_target(i, alias->host, alias->script, location);
    const char *text;
    struct import_group *g = find_group(i, alias->process_group, &target, &text);
    if (!g) {
        import_note(i, &i->notes, alias->from,
                    "the process group is %s, which is known while a request runs only: not converted", text);
        return;
    }
    struct import_use *use = pool_take(i->pool, sizeof *use);
    *use = (struct import_use){.from = alias->from,
                               .server = import_scope_server(i, alias->host),
                               .location = alias->is_pattern ? alias->location : location,
                               .is_pattern = alias->is_pattern};
    const char *application_group = choose(i, alias->application_group, IMPORT_APPLICATION_GROUP, &target);
    set_application_group(i, use, application_group ? application_group : "%{RESOURCE}", alias->host);
    const char *name = choose(i, alias->callable, IMPORT_CALLABLE, &target);
    struct import_app *app = find_app(i, g, alias, name);
    pool_list_add(i->pool, &app->uses, use);
    for (size_t k = 0; k < alias->notes.count; k++)
        pool_list_add(i->pool, &app->notes, alias->notes.items[k]);
    note_reloading(i, g, &target);
    alias->from->is_told = true;
}

/* Parts of an application in another group ------------------------------------------------------------- */

static bool is_closer(const struct alias *one, const struct alias *other, const char *location)
{
    return one != other && (!one->host || one->host == other->host) && !one->is_pattern &&
           strlen(one->location) > strlen(other->location) && import_scope_is_below(location, one->location);
}

static bool is_part(const struct pool_list *aliases, const struct alias *alias, struct apache_directive *d)
{
    const char *location = apache_section_of(d, APACHE_LOCATION)->word;
    const struct apache_section *host = apache_section_of(d, APACHE_VIRTUAL_HOST);
    if (alias->is_pattern || alias->process_group || (host && host != alias->host) ||
        !import_scope_is_below(location, alias->location) ||
        strcmp(import_scope_is_below(alias->location, location) ? location : "", location) == 0)
        return false;
    for (size_t k = 0; k < aliases->count; k++)
        if (is_closer(aliases->items[k], alias, location))
            return false;
    return true;
}

/* Process groups of deeper locations, which no application as a whole has. */
static struct pool_list find_parts(struct import *i)
{
    struct pool_list parts = {0};
    for (size_t k = 0; k < i->named[IMPORT_PROCESS_GROUP].count; k++) {
        struct apache_directive *d = i->named[IMPORT_PROCESS_GROUP].items[k];
        if (!d->is_told && !apache_section_of(d, APACHE_CONDITION) && apache_section_of(d, APACHE_LOCATION))
            pool_list_add(i->pool, &parts, d);
    }
    return parts;
}

static void place_parts(struct import *i, const struct pool_list *aliases)
{
    enum { PAIRS_MAX = 100000 };
    const struct pool_list parts = find_parts(i);
    if (parts.count * aliases->count > PAIRS_MAX)
        return; /* each is then told as holding nowhere */
    for (size_t k = 0; k < parts.count; k++)
        for (size_t j = 0; j < aliases->count; j++)
            if (is_part(aliases, aliases->items[j], parts.items[k]))
                place(i, aliases->items[j],
                      import_scope_trim(i->pool, apache_section_of(parts.items[k], APACHE_LOCATION)->word));
}

/* Reading aliases -------------------------------------------------------------------------------------- */

static void read_alias_options(struct import *i, struct alias *alias, const char *at)
{
    const char *name, *value;
    while (apache_option(i->pool, &at, &name, &value)) {
        if (value && strcmp(name, "process-group") == 0)
            alias->process_group = value;
        else if (value && strcmp(name, "application-group") == 0)
            alias->application_group = value;
        else if (value && strcmp(name, "callable-object") == 0)
            alias->callable = value;
        else if (value && strcmp(name, "pass-authorization") == 0)
            import_note(i, &alias->notes, alias->from,
                        "pass-authorization=%s: nginx always passes the header; Apache needs CGIPassAuth On",
                        value);
        else
            import_note(i, &alias->notes, alias->from, "%s is no option that mod_wsgi knows", name);
    }
}

/* FILE.wsgi/more puts /more in front of what the application sees as its path: with the same end in the
 * location it means that the application lies further up. */
static void split_script(struct import *i, struct alias *alias, const char *path)
{
    size_t length = script_length(path);
    const char *more = import_scope_trim(i->pool, path + length);
    alias->script = pool_copy(i->pool, path, length);
    alias->mount = alias->is_pattern ? "/" : alias->location;
    if (more[0] == '\0' || strcmp(more, "/") == 0 || alias->is_pattern)
        return;
    size_t mount = strlen(alias->mount), end = strlen(more);
    if (mount >= end && strcmp(alias->mount + mount - end, more) == 0)
        alias->mount = mount == end ? "/" : pool_copy(i->pool, alias->mount, mount - end);
    else
        import_note(i, &alias->notes, alias->from,
                    "Apache puts %s in front of the path that the application sees; pyfpm does not", more);
}

static void add_folder(struct import *i, struct alias *alias, const char *path)
{
    const struct import_target target = import_scope_target(
        i, alias->host, pool_format(i->pool, "%s/x.wsgi", import_scope_trim(i->pool, path)), alias->location);
    const char *text;
    struct import_group *g = find_group(i, alias->process_group, &target, &text);
    if (!g) {
        import_note(i, &i->notes, alias->from,
                    "the process group is %s, which is known while a request runs only: not converted", text);
        return;
    }
    struct import_root *root = pool_take(i->pool, sizeof *root);
    *root = (struct import_root){.from = alias->from,
                                 .folder = import_scope_trim(i->pool, path),
                                 .server = import_scope_server(i, alias->host),
                                 .location = alias->location};
    pool_list_add(i->pool, &g->script_roots, root);
    for (size_t k = 0; k < alias->notes.count; k++)
        pool_list_add(i->pool, &g->notes, alias->notes.items[k]);
    alias->from->is_told = true;
}

/* As Apache compares them: slashes that follow each other are one, and none stands at the end. */
static const char *plain_location(struct import *i, const char *location)
{
    char *plain = pool_copy(i->pool, location, strlen(location)), *to = plain;
    for (const char *from = location; *from; from++)
        if (from[0] != '/' || from[1] != '/')
            *to++ = *from;
    *to = '\0';
    return import_scope_trim(i->pool, plain);
}

/* True when a part of the path is "." or "..", which Apache takes out of URLs before it compares. */
static bool has_dots(const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = strcspn(slash + 1, "/");
        if (length > 0 && length <= 2 && strspn(slash + 1, ".") >= length)
            return true;
    }
    return false;
}

/* What is wrong with the alias, as a phrase; NULL: nothing. */
static const char *why_no_alias(struct import *i, const struct alias *alias, const char *path)
{
    if (alias->from->unknown)
        return pool_format(i->pool, "${%s} has no value here (see --define)", alias->from->unknown);
    if (!path || !alias->location || !alias->location[0] || !path[0])
        return "a location and a file are needed";
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return "the file's path is not absolute, or too long";
    if (!alias->is_pattern && alias->location[0] != '/')
        return "the location does not start with a slash";
    if (!alias->is_pattern && has_dots(alias->location))
        return "no request has such a path";
    if (alias->is_pattern && memchr(path, '$', script_length(path)))
        return "the pattern picks the file: name each file in an alias of its own, or its folder in "
               "script-root";
    return NULL;
}

static void read_alias(struct import *i, struct apache_directive *d, struct pool_list *aliases)
{
    struct alias *alias = pool_take(i->pool, sizeof *alias);
    const char *at = d->arguments;
    const char *location = apache_word(i->pool, &at);
    const char *path = apache_word(i->pool, &at);
    *alias = (struct alias){.from = d,
                            .host = apache_section_of(d, APACHE_VIRTUAL_HOST),
                            .is_pattern = apache_is(d->name, "WSGIScriptAliasMatch")};
    alias->location = !location || alias->is_pattern ? location : plain_location(i, location);
    const char *wrong = why_no_alias(i, alias, path);
    if (wrong) {
        import_note(i, &i->notes, d, "%s: not converted", wrong);
        return;
    }
    read_alias_options(i, alias, at);
    if (!alias->is_pattern && is_folder(i, path)) {
        add_folder(i, alias, path);
        return;
    }
    split_script(i, alias, path);
    pool_list_add(i->pool, aliases, alias);
}

/* Apache takes the first alias that fits, a virtual host's own before the server's; pyfpm the longest. */
static void note_hidden(struct import *i, const struct pool_list *aliases, struct alias *alias)
{
    for (size_t k = 0; k < aliases->count; k++) {
        const struct alias *other = aliases->items[k];
        if (other == alias)
            return;
        if (other->host == alias->host && !other->is_pattern && !alias->is_pattern &&
            import_scope_is_below(alias->location, other->location)) {
            import_note(i, &alias->notes, alias->from,
                        "Apache never reaches it, as %s comes first; here it is served",
                        import_place(i, other->from));
            return;
        }
    }
}

void import_aliases(struct import *i)
{
    struct pool_list aliases = {0};
    for (size_t k = 0; k < i->named[IMPORT_SCRIPT_ALIAS].count; k++)
        read_alias(i, i->named[IMPORT_SCRIPT_ALIAS].items[k], &aliases);
    for (size_t k = 0; k < aliases.count; k++)
        note_hidden(i, &aliases, aliases.items[k]);
    for (size_t k = 0; k < aliases.count; k++) {
        const struct alias *alias = aliases.items[k];
        place(i, alias, alias->is_pattern ? "/" : alias->location);
    }
    place_parts(i, &aliases);
}

/* The wsgi-script handler ------------------------------------------------------------------------------ */

/* The folder that an Alias gives a location, or the location that it gives a folder. */
static const char *through_alias(struct import *i, const struct apache_section *host, const char *location,
                                 const char *folder)
{
    for (size_t k = 0; k < i->named[IMPORT_ALIAS].count; k++) {
        struct apache_directive *d = i->named[IMPORT_ALIAS].items[k];
        const struct apache_section *there = apache_section_of(d, APACHE_VIRTUAL_HOST);
        const char *at = d->arguments;
        const char *from = apache_word(i->pool, &at), *to = from ? apache_word(i->pool, &at) : NULL;
        if (!to || (there && there != host))
            continue;
        from = import_scope_trim(i->pool, from);
        to = import_scope_trim(i->pool, to);
        if (location && strcmp(from, import_scope_trim(i->pool, location)) == 0)
            return to;
        if (folder && strcmp(to, folder) == 0)
            return from;
    }
    return NULL;
}

static const char *handler_folder(struct import *i, struct apache_directive *d,
                                  const struct apache_section *host)
{
    const struct apache_section *directory = apache_section_of(d, APACHE_DIRECTORY);
    const struct apache_section *location = apache_section_of(d, APACHE_LOCATION);
    if (apache_section_of(d, APACHE_PATTERN) || apache_section_of(d, APACHE_CONDITION))
        return NULL;
    if (directory)
        return strpbrk(directory->word, "*?[") ? NULL : directory->word;
    if (location)
        return through_alias(i, host, location->word, NULL);
    const struct import_target target = import_scope_target(i, host, NULL, NULL);
    struct apache_directive *root = import_scope_find(i, IMPORT_DOCUMENT_ROOT, &target);
    return root ? first_argument(i, root) : NULL;
}

static void read_handler(struct import *i, struct apache_directive *d)
{
    const struct apache_section *host = apache_section_of(d, APACHE_VIRTUAL_HOST);
    const struct apache_section *location = apache_section_of(d, APACHE_LOCATION);
    const char *folder = handler_folder(i, d, host);
    if (!folder || folder[0] != '/' || d->unknown || strlen(folder) >= PATH_MAX) {
        import_note(i, &i->notes, d,
                    "which folder the scripts lie in cannot be told from here: name it in script-root");
        return;
    }
    folder = import_scope_trim(i->pool, folder);
    const struct import_target target = import_scope_target(
        i, host, pool_format(i->pool, "%s/x.wsgi", folder), location ? location->word : NULL);
    const char *text;
    struct import_group *g = find_group(i, NULL, &target, &text);
    if (!g) {
        import_note(i, &i->notes, d,
                    "the process group is %s, which is known while a request runs only: not converted", text);
        return;
    }
    struct import_root *root = pool_take(i->pool, sizeof *root);
    *root = (struct import_root){.from = d,
                                 .folder = folder,
                                 .server = import_scope_server(i, host),
                                 .location = location ? import_scope_trim(i->pool, location->word)
                                                      : through_alias(i, host, NULL, folder)};
    pool_list_add(i->pool, &g->script_roots, root);
    if (apache_section_of(d, APACHE_FILES))
        import_note(i, &g->notes, d, "holds for <Files %s> only; script-root takes every .wsgi and .py file",
                    apache_section_of(d, APACHE_FILES)->word);
    d->is_told = true;
}

void import_handlers(struct import *i)
{
    for (size_t k = 0; k < i->named[IMPORT_HANDLER].count; k++)
        read_handler(i, i->named[IMPORT_HANDLER].items[k]);
}
