/* Writes the groups as YAML that loads.
 *
 * Every value is tried on the table of keys first; what it refuses, or does not have yet, stands there as a
 * comment with the reason. A group with nothing to serve is commented out as a whole. Keys come in the
 * table's order. */
#include "pm/import_model.h"

#include "base/err.h"
#include "config/directives.h"
#include "config/fields.h"
#include "config/quote.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 65536 /* bytes; the file's own limit is higher */

bool import_key_is_available(const char *key)
{
    const struct cfg_directive *row = cfg_directive_find(CFG_SCOPE_GROUP, key);
    return row && !(row->flags & CFG_NOT_YET);
}

bool import_is_taken(const char *key, const char *variable, const char *value, struct err *e)
{
    const struct cfg_directive *row = cfg_directive_find(CFG_SCOPE_GROUP, key);
    if (!row)
        return err_set(e, "pyfpm has no such key") == 0;
    if (row->flags & CFG_NOT_YET)
        return err_set(e, "not available in this version of pyfpm") == 0;
    if (strlen(value) > VALUE_MAX)
        return err_set(e, "the value is too long") == 0;
    struct cfg_group scratch = {0};
    bool is_taken = (variable ? cfg_field_set_variable(row, &scratch, variable, value, e)
                              : cfg_field_set(row, &scratch, value, e)) == 0;
    cfg_fields_free(CFG_SCOPE_GROUP, &scratch);
    return is_taken;
}

const char *import_socket(struct import *i, const struct import_group *g)
{
    return pool_format(i->pool, "%s/%s.sock", i->wishes->socket_folder, g->yaml_name);
}

/* Comments ------------------------------------------------------------------------------------------------
 */

static const char *with_quotes(struct import *i, const char *value)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return "";
    cfg_quote(value, true, out);
    fclose(out);
    const char *copy = pool_copy(i->pool, text, size);
    free(text);
    return copy;
}

/* A number stands as it is; anything else as a string. */
static const char *as_scalar(struct import *i, const char *key, const char *value)
{
    static const char plain[] = "-0123456789hmsKMG";
    const struct cfg_directive *row = cfg_directive_find(CFG_SCOPE_GROUP, key);
    bool is_number = row && row->type == CFG_TYPE_NUMBER && value[0] && strspn(value, plain) == strlen(value);
    return is_number ? value : with_quotes(i, value);
}

/* "line 3, threads=4: note"; empty when there is nothing to say. */
static const char *origin_of(struct import *i, const struct import_setting *s, const char *note)
{
    const char *place = s->from ? import_place(i, s->from) : "";
    const char *origin = s->origin ? import_comment(i, s->origin) : "";
    return pool_format(i->pool, "%s%s%s%s%s", place, place[0] && origin[0] ? ", " : "", origin,
                       note && (place[0] || origin[0]) ? ": " : "", note ? note : "");
}

static void print_notes(struct import *i, const struct pool_list *notes, const char *lead, FILE *out)
{
    for (size_t k = 0; k < notes->count; k++) {
        const struct import_note *note = notes->items[k];
        fprintf(out, "%s# %s%s%s\n", lead, note->from ? import_place(i, note->from) : "",
                note->from ? ": " : "", note->text);
    }
}

/* Settings ------------------------------------------------------------------------------------------------
 */

/* "key: value", or "# key: value", with where it comes from and why. inside: blanks between the "#" and lead.
 */
static void print_value(struct import *i, const char *inside, const char *lead,
                        const struct import_setting *s, const char *value, FILE *out)
{
    struct err e;
    bool is_taken = import_is_taken(s->key, s->variable, value, &e);
    const char *note = s->note;
    if (!is_taken)
        note = pool_format(i->pool, "%s%s%s", import_comment(i, e.text), s->note ? "; " : "",
                           s->note ? s->note : "");
    const char *origin = origin_of(i, s, note);
    fprintf(out, "    %s%s%s%s%s%s\n", is_taken && !s->is_advice ? "" : "# ", inside, lead,
            as_scalar(i, s->key, value), origin[0] ? "  # " : "", origin);
}

static bool is_used(const struct import_setting *s)
{
    struct err ignored;
    for (size_t k = 0; k < s->values.count; k++)
        if (!s->is_advice && import_is_taken(s->key, s->variable, s->values.items[k], &ignored))
            return true;
    return false;
}

static struct pool_list settings_of(struct import *i, const struct import_group *g, const char *key)
{
    struct pool_list list = {0};
    for (size_t k = 0; k < g->settings.count; k++)
        if (strcmp(((const struct import_setting *)g->settings.items[k])->key, key) == 0)
            pool_list_add(i->pool, &list, g->settings.items[k]);
    return list;
}

/* Of settings that say the same the last one counts, as in Apache. */
static void mark_overridden(const struct pool_list *settings)
{
    for (size_t k = 0; k < settings->count; k++) {
        struct import_setting *s = settings->items[k];
        for (size_t n = k + 1; n < settings->count && !s->is_advice; n++) {
            const struct import_setting *later = settings->items[n];
            bool is_same = !s->variable || strcmp(s->variable, later->variable) == 0;
            if (!is_same || later->is_advice)
                continue;
            s->is_advice = true;
            s->note = "overridden below";
        }
    }
}

static void print_scalar(struct import *i, const struct cfg_directive *row, const struct pool_list *settings,
                         FILE *out)
{
    mark_overridden(settings);
    for (size_t k = 0; k < settings->count; k++) {
        const struct import_setting *s = settings->items[k];
        print_value(i, "", pool_format(i->pool, "%s: ", row->key), s, s->values.items[0], out);
    }
}

static void print_list(struct import *i, const struct cfg_directive *row, const struct pool_list *settings,
                       FILE *out)
{
    bool is_path = strcmp(row->key, "python-path") == 0; /* later layers lie above earlier ones */
    bool has_any = false;
    for (size_t k = 0; k < settings->count; k++)
        has_any = has_any || is_used(settings->items[k]);
    if (settings->count > 0)
        fprintf(out, "    %s%s:\n", has_any ? "" : "# ", row->key);
    for (size_t k = 0; k < settings->count; k++) {
        const struct import_setting *s = settings->items[is_path ? settings->count - 1 - k : k];
        for (size_t n = 0; n < s->values.count; n++)
            print_value(i, "  ", "- ", s, s->values.items[n], out);
    }
}

static void print_map(struct import *i, const struct cfg_directive *row, const struct pool_list *settings,
                      FILE *out)
{
    bool has_any = false;
    mark_overridden(settings);
    for (size_t k = 0; k < settings->count; k++)
        has_any = has_any || is_used(settings->items[k]);
    if (settings->count > 0)
        fprintf(out, "    %s%s:\n", has_any ? "" : "# ", row->key);
    for (size_t k = 0; k < settings->count; k++) {
        const struct import_setting *s = settings->items[k];
        print_value(i, "  ", pool_format(i->pool, "%s: ", s->variable), s, s->values.items[0], out);
    }
}

/* Applications --------------------------------------------------------------------------------------------
 */

static bool is_single(const struct import_group *g)
{
    return g->apps.count == 1;
}

static bool has_applications(const struct import_group *g)
{
    return g->apps.count > 1 ||
           (is_single(g) && strcmp(((struct import_app *)g->apps.items[0])->mount, "/") != 0);
}

static bool is_servable(const struct import_app *app)
{
    struct err ignored;
    return import_is_taken("script", NULL, app->script, &ignored);
}

bool import_group_is_loadable(struct import *i, struct import_group *g)
{
    struct err ignored;
    (void)i;
    for (size_t k = 0; k < g->apps.count; k++)
        if (is_servable(g->apps.items[k]))
            return true;
    for (size_t k = 0; k < g->script_roots.count; k++)
        if (import_is_taken("script-root", NULL, ((struct import_root *)g->script_roots.items[k])->folder,
                            &ignored))
            return true;
    return false;
}

static const struct import_app *first_servable(const struct import_group *g)
{
    for (size_t k = 0; k < g->apps.count; k++)
        if (is_servable(g->apps.items[k]))
            return g->apps.items[k];
    return g->apps.count > 0 ? g->apps.items[0] : NULL;
}

static const char *uses_of(struct import *i, const struct import_app *app)
{
    const char *text = "";
    for (size_t k = 0; k < app->uses.count; k++) {
        const struct import_use *use = app->uses.items[k];
        text = pool_format(i->pool, "%s%s%s", text, k > 0 ? ", " : "", import_place(i, use->from));
    }
    return text;
}

static void print_callable(struct import *i, const struct import_app *app, const char *lead, FILE *out)
{
    struct err e;
    if (!app->callable)
        return;
    bool is_taken = import_is_taken("callable", NULL, app->callable, &e);
    fprintf(out, "%s%scallable: %s%s%s\n", lead, is_taken ? "" : "# ", with_quotes(i, app->callable),
            is_taken ? "" : "  # ", is_taken ? "" : import_comment(i, e.text));
}

static void print_script(struct import *i, const struct import_app *app, FILE *out)
{
    fprintf(out, "    script: %s  # %s\n", with_quotes(i, app->script), uses_of(i, app));
    print_callable(i, app, "    ", out);
}

static void print_own_path(struct import *i, const struct import_app *app, const char *lead, FILE *out)
{
    const struct import_setting path = {.key = "python-path", .values = app->python_path};
    struct err e;
    if (app->python_path.count > 0)
        fprintf(out, "%s    %spython-path:\n", lead, is_used(&path) ? "" : "# ");
    for (size_t k = 0; k < app->python_path.count; k++) {
        bool is_taken = import_is_taken("python-path", NULL, app->python_path.items[k], &e);
        fprintf(out, "%s      %s- %s%s%s\n", lead, is_taken ? "" : "# ",
                with_quotes(i, app->python_path.items[k]), is_taken ? "" : "  # ",
                is_taken ? "" : import_comment(i, e.text));
    }
}

/* lead: "    ", or "    # " where it is a comment. */
static void print_application(struct import *i, const struct import_app *app, const char *lead, FILE *out)
{
    if (!is_servable(app))
        lead = "    # ";
    print_notes(i, &app->notes, pool_format(i->pool, "%s  ", lead), out);
    fprintf(out, "%s  - mount: %s  # %s\n", lead, with_quotes(i, app->mount), uses_of(i, app));
    fprintf(out, "%s    script: %s\n", lead, with_quotes(i, app->script));
    print_callable(i, app, pool_format(i->pool, "%s    ", lead), out);
    fprintf(out, "%s    interpreter: %s\n", lead, with_quotes(i, app->interpreter));
    print_own_path(i, app, lead, out);
}

static void print_applications(struct import *i, const struct import_group *g, FILE *out)
{
    bool is_available = import_key_is_available("applications");
    const char *lead = is_available ? "    " : "    # ";
    if (!is_available && first_servable(g)) {
        print_script(i, first_servable(g), out);
        fprintf(out, "    # %s\n",
                is_single(g)
                    ? "applications is not available in this version of pyfpm: the web server has to say "
                      "the mount (SCRIPT_NAME, see the top)"
                    : "applications is not available in this version of pyfpm: until it is, only the "
                      "first is served, and the others need groups of their own");
    }
    fprintf(out, "%sapplications:\n", lead);
    for (size_t k = 0; k < g->apps.count; k++)
        print_application(i, g->apps.items[k], lead, out);
}

static void print_script_roots(struct import *i, const struct import_group *g, FILE *out)
{
    struct err e;
    if (g->script_roots.count == 0)
        return;
    fputs("    script-root:\n", out);
    for (size_t k = 0; k < g->script_roots.count; k++) {
        const struct import_root *root = g->script_roots.items[k];
        bool is_taken = import_is_taken("script-root", NULL, root->folder, &e);
        bool is_double = false;
        for (size_t n = 0; n < k && !is_double; n++)
            is_double = strcmp(((struct import_root *)g->script_roots.items[n])->folder, root->folder) == 0;
        fprintf(out, "      %s- %s  # %s%s%s\n", is_taken && !is_double ? "" : "# ",
                with_quotes(i, root->folder), import_place(i, root->from), is_taken ? "" : ": ",
                is_taken ? "" : import_comment(i, e.text));
    }
}

/* Groups --------------------------------------------------------------------------------------------------
 */

/* A single application's own path is the group's. */
static void join_python_path(struct import *i, struct import_group *g)
{
    struct import_app *app = is_single(g) ? g->apps.items[0] : NULL;
    if (!app || has_applications(g) || app->python_path.count == 0)
        return;
    struct import_setting *s = pool_take(i->pool, sizeof *s);
    *s = (struct import_setting){.key = "python-path", .values = app->python_path};
    pool_list_add(i->pool, &g->settings, s);
}

static void print_key(struct import *i, struct import_group *g, const struct cfg_directive *row, FILE *out)
{
    struct pool_list settings = settings_of(i, g, row->key);
    if (strcmp(row->key, "listen") == 0)
        fprintf(out, "    listen: %s\n", with_quotes(i, import_socket(i, g)));
    else if (strcmp(row->key, "script") == 0 && is_single(g) && !has_applications(g))
        print_script(i, g->apps.items[0], out);
    else if (strcmp(row->key, "applications") == 0 && has_applications(g))
        print_applications(i, g, out);
    else if (strcmp(row->key, "script-root") == 0)
        print_script_roots(i, g, out);
    else if (row->type == CFG_TYPE_LIST)
        print_list(i, row, &settings, out);
    else if (row->type == CFG_TYPE_MAP)
        print_map(i, row, &settings, out);
    else
        print_scalar(i, row, &settings, out);
}

static void print_group(struct import *i, struct import_group *g, FILE *out)
{
    join_python_path(i, g);
    if (g->definition)
        fprintf(out, "  # %s\n", import_quote(i, g->definition));
    else if (!g->name[0])
        fputs("  # what Apache's own processes ran (embedded mode)\n", out);
    print_notes(i, &g->notes, "  ", out);
    if (is_single(g) && !has_applications(g))
        print_notes(i, &((struct import_app *)g->apps.items[0])->notes, "  ", out);
    fprintf(out, "  %s:\n", with_quotes(i, g->yaml_name));
    const struct cfg_directive *row = NULL;
    while ((row = cfg_directive_next(CFG_SCOPE_GROUP, row)) != NULL)
        print_key(i, g, row, out);
}

static void print_commented(const char *text, FILE *out)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        fprintf(out, "#%.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static void print_not_loaded(struct import *i, struct import_group *g, FILE *out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return;
    print_group(i, g, memory);
    fclose(memory);
    fprintf(out, "\n  # %s\n",
            g->apps.count + g->script_roots.count == 0
                ? "Nothing in the file runs in this group: give it a script, or leave it out."
                : "Nothing that this version of pyfpm could serve: the group is commented out.");
    print_commented(text, out);
    free(text);
}

void import_write_groups(struct import *i, FILE *out, struct import_result *result)
{
    for (size_t k = 0; k < i->groups.count; k++)
        result->groups += import_group_is_loadable(i, i->groups.items[k]);
    result->not_loaded = i->groups.count - result->groups;
    fputs(result->groups > 0 ? "groups:\n" : "# groups:\n", out);
    for (size_t k = 0; k < i->groups.count; k++) {
        struct import_group *g = i->groups.items[k];
        if (!import_group_is_loadable(i, g)) {
            print_not_loaded(i, g, out);
            continue;
        }
        fputs(k > 0 ? "\n" : "", out);
        print_group(i, g, out);
    }
}
