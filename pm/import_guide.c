/* The comment at the top of what was converted: how to go on, the web server's lines, and what has no
 * counterpart.
 *
 * Pure. */
#include "pm/import_model.h"

#include <stdlib.h>
#include <string.h>

static const char steps[] =
    "#\n"
    "# This loads as it is. Lines such as \"# key: value\" hold what this version of pyfpm does not take.\n"
    "# How to go on:\n"
    "#  1. Save it as /etc/pyfpm/pyfpm.yaml, read the comments, and try it: pyfpm check\n"
    "#  2. Start pyfpm; each group then listens on its own socket (listen).\n"
    "#  3. Let the web server pass requests to the sockets, and take mod_wsgi out of Apache.\n"
    "# A changed script is loaded by itself, as mod_wsgi does by default, only where reload-on-change says "
    "so;\n"
    "# elsewhere: pyfpm reload GROUP.\n";

/* Where the requests of one application come from. */
struct way {
    const char *location;
    const char *script_name; /* what the web server has to say; NULL: nothing */
    const char *socket;
    bool is_pattern;
};

static const char *with_slash(struct import *i, const char *location)
{
    size_t length = strlen(location);
    return length > 0 && location[length - 1] == '/' ? location : pool_format(i->pool, "%s/", location);
}

/* A location of nginx: quoted where a bare one would mean something. */
static const char *nginx_location(struct import *i, const struct way *way)
{
    const char *path = way->is_pattern ? way->location : with_slash(i, way->location);
    bool is_bare = strpbrk(path, " \t\"'{};\\#$") == NULL;
    return pool_format(i->pool, "%s%s%s%s", way->is_pattern ? "~ " : "", is_bare ? "" : "\"",
                       import_comment(i, path), is_bare ? "" : "\"");
}

static void print_nginx(struct import *i, const struct way *way, FILE *out)
{
    fprintf(out,
            "#     location %s { include pyfpm_params; %s%s%sfastcgi_keep_conn on; fastcgi_pass unix:%s; }\n",
            nginx_location(i, way), way->script_name ? "fastcgi_param SCRIPT_NAME \"" : "",
            way->script_name ? import_comment(i, way->script_name) : "", way->script_name ? "\"; " : "",
            import_comment(i, way->socket));
}

/* Apache sends the whole path as SCRIPT_NAME, which pyfpm sorts out; a mount that the group does not know has
 * to be said. */
static void print_apache(struct import *i, const struct way *way, const char *name, FILE *out)
{
    const char *location = import_comment(i, with_slash(i, way->location));
    const char *socket = import_comment(i, way->socket);
    if (way->is_pattern)
        fprintf(out, "#     ProxyPassMatch \"%s\" \"unix:%s|fcgi://%s/\"\n", import_comment(i, way->location),
                socket, name);
    else if (way->script_name)
        fprintf(out,
                "#     <Location \"%s\">\n"
                "#         ProxyPass \"unix:%s|fcgi://%s%s\"\n"
                "#         ProxyFCGISetEnvIf true SCRIPT_NAME \"%s\"\n"
                "#     </Location>\n",
                location, socket, name, location, import_comment(i, way->script_name));
    else
        fprintf(out, "#     ProxyPass \"%s\" \"unix:%s|fcgi://%s%s\"\n", location, socket, name, location);
}

static struct way way_of(struct import *i, const struct import_group *g, const struct import_app *app,
                         const struct import_use *use)
{
    bool says_mount = g->apps.count == 1 && strcmp(app->mount, "/") != 0 &&
                      !import_key_is_available("applications");
    return (struct way){.location = use->location,
                        .script_name = says_mount ? app->mount : NULL,
                        .socket = import_socket(i, g),
                        .is_pattern = use->is_pattern};
}

typedef void print_way(struct import *i, const struct way *way, const char *name, FILE *out);

static void print_nginx_way(struct import *i, const struct way *way, const char *name, FILE *out)
{
    (void)name;
    print_nginx(i, way, out);
}

/* One line of a web server's configuration, still to be sorted by server. */
struct line {
    const char *server;
    const struct import_group *group;
    const struct import_app *app;
    const struct import_use *use;
    size_t index;
};

static struct pool_list collect_lines(struct import *i)
{
    struct pool_list lines = {0};
    for (size_t k = 0; k < i->groups.count; k++) {
        const struct import_group *g = i->groups.items[k];
        for (size_t j = 0; j < g->apps.count; j++) {
            const struct import_app *app = g->apps.items[j];
            for (size_t n = 0; n < app->uses.count; n++) {
                const struct import_use *use = app->uses.items[n];
                struct line *line = pool_take(i->pool, sizeof *line);
                *line = (struct line){use->server ? use->server : "(any server)", g, app, use, lines.count};
                pool_list_add(i->pool, &lines, line);
            }
        }
    }
    return lines;
}

/* The longest location first: Apache takes the first that fits. */
static int compare_lines(const void *a, const void *b)
{
    const struct line *left = *(struct line *const *)a, *right = *(struct line *const *)b;
    size_t left_length = strlen(left->use->location), right_length = strlen(right->use->location);
    if (left_length != right_length)
        return left_length > right_length ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

/* Takes one server's lines out of all, sorted. */
static struct pool_list take_server(struct import *i, struct pool_list *lines, const char *server)
{
    struct pool_list taken = {0};
    for (size_t k = 0; k < lines->count; k++) {
        struct line *line = lines->items[k];
        if (!line || strcmp(line->server, server) != 0)
            continue;
        pool_list_add(i->pool, &taken, line);
        lines->items[k] = NULL;
    }
    qsort(taken.items, taken.count, sizeof taken.items[0], compare_lines);
    return taken;
}

/* Servers in the order of the file; two uses at one place are one line. */
static void print_ways(struct import *i, print_way *print, FILE *out)
{
    struct pool_list lines = collect_lines(i);
    for (size_t k = 0; k < lines.count; k++) {
        if (!lines.items[k])
            continue;
        const char *server = ((const struct line *)lines.items[k])->server;
        const struct pool_list taken = take_server(i, &lines, server);
        fprintf(out, "#   %s\n", import_comment(i, server));
        for (size_t n = 0; n < taken.count; n++) {
            const struct line *line = taken.items[n], *last = n > 0 ? taken.items[n - 1] : NULL;
            if (last && last->app == line->app && strcmp(last->use->location, line->use->location) == 0)
                continue;
            const struct way way = way_of(i, line->group, line->app, line->use);
            print(i, &way, line->group->yaml_name, out);
        }
    }
}

static void print_roots(struct import *i, FILE *out)
{
    bool is_first = true;
    for (size_t k = 0; k < i->groups.count; k++) {
        const struct import_group *g = i->groups.items[k];
        for (size_t n = 0; n < g->script_roots.count; n++) {
            const struct import_root *root = g->script_roots.items[n];
            bool is_at_top = !root->location || strcmp(root->location, "/") == 0;
            const char *location = is_at_top ? "" : import_comment(i, root->location);
            fputs(is_first ? "# Folders of scripts: the web server says which one (SCRIPT_FILENAME); nginx:\n"
                           : "",
                  out);
            is_first = false;
            fprintf(out,
                    "#     location ~ ^%s/(?<script>[^/]+)(?<rest>/.*)?$ { include pyfpm_params; "
                    "fastcgi_param SCRIPT_FILENAME \"%s/$script\"; fastcgi_param SCRIPT_NAME \"%s/$script\"; "
                    "fastcgi_param PATH_INFO $rest; fastcgi_keep_conn on; fastcgi_pass unix:%s; }\n",
                    location, import_comment(i, root->folder), location,
                    import_comment(i, import_socket(i, g)));
        }
    }
}

static void print_notes(struct import *i, FILE *out)
{
    if (i->notes.count > 0)
        fputs("#\n# Without a counterpart, or not converted:\n", out);
    for (size_t k = 0; k < i->notes.count; k++) {
        const struct import_note *note = i->notes.items[k];
        fprintf(out, "#   %s: %s\n", import_quote(i, note->from), note->text);
    }
}

static bool has_apps(const struct import *i)
{
    for (size_t k = 0; k < i->groups.count; k++)
        if (((const struct import_group *)i->groups.items[k])->apps.count > 0)
            return true;
    return false;
}

void import_write_guide(struct import *i, FILE *out)
{
    fputs("# Made by pyfpm import mod_wsgi from", out);
    for (size_t k = 0; k < i->conf->files.count && k < 20; k++)
        fprintf(out, "%s %s", k > 0 ? "," : "", import_comment(i, i->conf->files.items[k]));
    fputs(i->conf->files.count > 20 ? " and more\n" : "\n", out);
    fputs(steps, out);
    if (has_apps(i)) {
        fputs("#\n# nginx, with pyfpm's pyfpm_params in /etc/nginx:\n", out);
        print_ways(i, print_nginx_way, out);
        fputs("# Apache without mod_wsgi, with mod_proxy_fcgi:\n", out);
        print_ways(i, print_apache, out);
    }
    print_roots(i, out);
    print_notes(i, out);
    fputc('\n', out);
}
