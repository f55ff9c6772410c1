/* Turns what an Apache configuration says to mod_wsgi into groups of pyfpm: the story, and its comments.
 *
 * Finds the directives, makes a group for each WSGIDaemonProcess, puts the applications into groups, adds
 * what holds for the whole server, splits what pyfpm cannot have in one group, and writes. Nothing of
 * mod_wsgi's is dropped: what no step has told gets a remark. Pure: reads no file, asks no clock. */
#include "pm/import_mod_wsgi.h"

#include "base/err.h"
#include "config/config.h"
#include "config/text.h"
#include "pm/import_model.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIRECTIVES_MAX 20000 /* of those looked at; more is no configuration of one server */
#define GROUPS_MAX     4096  /* pyfpm's own limit */
#define COMMENT_MAX    1000  /* bytes of one quotation */

/* Comments ------------------------------------------------------------------------------------------------
 */

const char *import_comment(struct import *i, const char *text)
{
    const char *shown = text;
    if (strlen(text) > COMMENT_MAX) {
        size_t length = COMMENT_MAX;
        while ((text[length] & 0xc0) == 0x80)
            length--;
        shown = pool_format(i->pool, "%.*s...", (int)length, text);
    }
    char *escaped = cfg_text_escape(shown);
    const char *copy = escaped ? pool_copy(i->pool, escaped, strlen(escaped)) : "";
    free(escaped);
    return copy;
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

/* The file's name without its folder, unless several files are called so. */
static const char *short_name(const struct import *i, const char *file)
{
    for (size_t k = 0; k < i->conf->files.count; k++) {
        const char *other = i->conf->files.items[k];
        if (strcmp(base_name(other), base_name(file)) == 0 && strcmp(other, file) != 0)
            return file;
    }
    return base_name(file);
}

const char *import_place(struct import *i, const struct apache_directive *from)
{
    if (i->conf->files.count == 1 && strcmp(i->conf->files.items[0], from->file) == 0)
        return pool_format(i->pool, "line %d", from->line);
    return pool_format(i->pool, "%s:%d", import_comment(i, short_name(i, from->file)), from->line);
}

/* Without the blanks that continued lines leave. */
static const char *squeeze(struct import *i, const char *text)
{
    char *squeezed = pool_copy(i->pool, text, strlen(text)), *to = squeezed;
    for (const char *from = text; *from; from++)
        if (!isspace((unsigned char)*from) || !isspace((unsigned char)from[1]))
            *to++ = isspace((unsigned char)*from) ? ' ' : *from;
    *to = '\0';
    return squeezed;
}

const char *import_quote(struct import *i, const struct apache_directive *from)
{
    return pool_format(i->pool, "%s, %s%s%s", import_place(i, from), import_comment(i, from->name),
                       from->arguments[0] ? " " : "", import_comment(i, squeeze(i, from->arguments)));
}

void import_note(struct import *i, struct pool_list *notes, struct apache_directive *from, const char *format,
                 ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        return;
    const char *shown = import_comment(i, text);
    free(text);
    if (from)
        from->is_told = true;
    for (size_t k = 0; k < notes->count; k++) {
        const struct import_note *note = notes->items[k];
        if (note->from == from && strcmp(note->text, shown) == 0)
            return;
    }
    struct import_note *note = pool_take(i->pool, sizeof *note);
    *note = (struct import_note){.from = from, .text = shown};
    pool_list_add(i->pool, notes, note);
}

/* Finding -------------------------------------------------------------------------------------------------
 */

static enum import_name name_of(const char *name)
{
    static const struct {
        const char *name;
        enum import_name is;
    } names[] = {
        {"WSGIProcessGroup", IMPORT_PROCESS_GROUP},
        {"WSGIApplicationGroup", IMPORT_APPLICATION_GROUP},
        {"WSGICallableObject", IMPORT_CALLABLE},
        {"WSGIScriptReloading", IMPORT_RELOADING},
        {"WSGIScriptAlias", IMPORT_SCRIPT_ALIAS},
        {"WSGIScriptAliasMatch", IMPORT_SCRIPT_ALIAS},
        {"WSGIDaemonProcess", IMPORT_DAEMON},
        {"WSGIPythonHome", IMPORT_SERVER_WIDE},
        {"WSGIPythonPath", IMPORT_SERVER_WIDE},
        {"WSGIPythonEggs", IMPORT_SERVER_WIDE},
        {"WSGIPythonOptimize", IMPORT_SERVER_WIDE},
        {"WSGIPythonWarnings", IMPORT_SERVER_WIDE},
        {"WSGISlowRequests", IMPORT_SERVER_WIDE},
        {"ServerName", IMPORT_SERVER_NAME},
        {"Alias", IMPORT_ALIAS},
        {"DocumentRoot", IMPORT_DOCUMENT_ROOT},
        {"SetHandler", IMPORT_HANDLER},
        {"AddHandler", IMPORT_HANDLER},
        {"User", IMPORT_IDENTITY},
        {"Group", IMPORT_IDENTITY},
        {"Include", IMPORT_ASIDE},
        {"IncludeOptional", IMPORT_ASIDE},
        {"SetEnv", IMPORT_ASIDE},
        {"PassEnv", IMPORT_ASIDE},
        {"Use", IMPORT_ASIDE},
    };
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (apache_is(name, names[k].name))
            return names[k].is;
    return strncasecmp(name, "WSGI", 4) == 0 ? IMPORT_OTHER : IMPORT_NAMES;
}

static bool is_wsgi_handler(struct import *i, const struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *word = apache_word(i->pool, &at);
    return word && apache_is(word, "wsgi-script");
}

/* Sorts the directives by their names; 0, or -1 with *e. */
static int sort(struct import *i, struct err *e)
{
    size_t count = 0;
    for (size_t k = 0; k < i->conf->directives.count; k++) {
        struct apache_directive *d = i->conf->directives.items[k];
        enum import_name name = name_of(d->name);
        if (name == IMPORT_NAMES || (name == IMPORT_HANDLER && !is_wsgi_handler(i, d)))
            continue;
        if (++count > DIRECTIVES_MAX)
            return err_set(e, "%s:%d: there are more than %d directives that concern mod_wsgi", d->file,
                           d->line, DIRECTIVES_MAX);
        if (!apache_is_skipped(d))
            pool_list_add(i->pool, &i->named[name], d);
    }
    return 0;
}

/* Apache's own User and Group, outside of virtual hosts; "#33" is a number. */
static void find_identity(struct import *i)
{
    for (size_t k = 0; k < i->named[IMPORT_IDENTITY].count; k++) {
        struct apache_directive *d = i->named[IMPORT_IDENTITY].items[k];
        const char *at = d->arguments;
        const char *word = apache_word(i->pool, &at);
        if (!word || !word[0] || d->unknown || apache_section_of(d, APACHE_VIRTUAL_HOST))
            continue;
        *(apache_is(d->name, "User") ? &i->user : &i->group) = word[0] == '#' ? word + 1 : word;
    }
}

static void add_daemon(struct import *i, struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *name = apache_word(i->pool, &at);
    if (!name || !name[0]) {
        import_note(i, &i->notes, d, "a name is needed");
        return;
    }
    struct import_group *g = import_group_find(i, name);
    if (g->definition) {
        import_note(i, &i->notes, d, "%s is defined already (%s), which mod_wsgi refuses: not converted",
                    name, import_place(i, g->definition));
        return;
    }
    g->definition = d;
    d->is_told = true;
    import_daemon_options(i, g);
}

int import_mod_wsgi(struct apache_conf *conf, const struct import_wishes *wishes, FILE *out,
                    struct import_result *result, struct err *e)
{
    struct import i = {.conf = conf, .pool = conf->pool, .wishes = wishes};
    *result = (struct import_result){0};
    if (sort(&i, e) != 0)
        return -1;
    find_identity(&i);
    for (size_t k = 0; k < i.named[IMPORT_DAEMON].count; k++)
        add_daemon(&i, i.named[IMPORT_DAEMON].items[k]);
    import_aliases(&i);
    import_handlers(&i);
    import_server_settings(&i);
    import_remarks(&i);
    import_groups_settle(&i);
    if (i.groups.count > GROUPS_MAX)
        return err_set(e, "%zu groups would come out; pyfpm can have %d", i.groups.count, GROUPS_MAX);
    import_write_guide(&i, out);
    import_write_groups(&i, out, result);
    return 0;
}
