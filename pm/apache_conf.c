/* Reads the syntax of Apache configurations: lines, continuations, sections, variables.
 *
 * Decides what Apache decides while it reads: Define and ${NAME}, IfDefine, IfModule (every module is taken
 * to be there), IfVersion (2.4 is assumed). What is skipped stays in the list, marked, so that whoever
 * converts can say so. Refuses NUL bytes, text that is not UTF-8, and sections that do not close. Pure, from
 * memory. */
#include "pm/apache_conf.h"

#include "base/err.h"
#include "config/text.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct variable {
    const char *name;
    size_t length;
    const char *value; /* NULL: undefined again */
};

/* One file being read. */
struct reader {
    struct apache_conf *conf;
    const char *file;
    const char *at;
    const char *end;
    int line;      /* of the logical line's start, counted */
    int next_line; /* of what follows it */
    int told_line; /* by a mark of httpd -D DUMP_CONFIG; 0: none */
    bool has_marks;
    const struct apache_section *outer; /* what is open around the file */
};

struct apache_conf *apache_conf_new(const struct apache_outside *outside)
{
    static const struct apache_outside nothing;
    struct pool *pool = pool_new();
    struct apache_conf *conf = pool_take(pool, sizeof *conf);
    conf->pool = pool;
    conf->outside = outside ? outside : &nothing;
    return conf;
}

void apache_conf_free(struct apache_conf *conf)
{
    if (conf)
        pool_free(conf->pool);
}

/* Variables -------------------------------------------------------------------------------------------- */

static void set_variable(struct apache_conf *conf, const char *name, const char *value)
{
    struct variable *v = pool_take(conf->pool, sizeof *v);
    v->length = strlen(name);
    v->name = pool_copy(conf->pool, name, v->length);
    v->value = value ? pool_copy(conf->pool, value, strlen(value)) : NULL;
    pool_list_add(conf->pool, &conf->variables, v);
}

void apache_conf_define(struct apache_conf *conf, const char *name, const char *value)
{
    set_variable(conf, name, value ? value : "");
}

/* The last word on it counts. */
static const char *find_defined(const struct apache_conf *conf, const char *name, size_t length)
{
    for (size_t i = conf->variables.count; i-- > 0;) {
        const struct variable *v = conf->variables.items[i];
        if (v->length == length && memcmp(v->name, name, length) == 0)
            return v->value;
    }
    return NULL;
}

static const char *find_variable(const struct apache_conf *conf, const char *name, size_t length)
{
    const char *value = find_defined(conf, name, length);
    if (value || !conf->outside->variable || length >= 256)
        return value;
    char copy[256];
    memcpy(copy, name, length);
    copy[length] = '\0';
    return conf->outside->variable(copy);
}

static int fail(const struct reader *r, struct err *e, const char *sentence)
{
    return err_set(e, "%s:%d: %s", r->file, r->line, sentence);
}

/* Counts what was taken in, so that no chain of Defines can blow up. 0, or -1 with *e. */
static int take_bytes(const struct reader *r, size_t size, struct err *e)
{
    if (size > APACHE_SIZE_MAX - r->conf->taken_bytes)
        return err_set(e, "%s:%d: the configuration has more than %u bytes, variables replaced", r->file,
                       r->line, APACHE_SIZE_MAX);
    r->conf->taken_bytes += size;
    return 0;
}

/* A copy with ${NAME} replaced; what has no value stays, and the first such name goes to *unknown. ${MAP:key}
 * is for mod_rewrite. NULL with *e. */
static const char *replace_variables(const struct reader *r, const char *text, const char **unknown,
                                     struct err *e)
{
    char *replaced = NULL;
    size_t size = 0;
    int status = take_bytes(r, strlen(text), e);
    FILE *out = status == 0 ? open_memstream(&replaced, &size) : NULL;
    if (!out)
        return status == 0 ? (err_set(e, "out of memory"), NULL) : NULL;
    while (status == 0 && *text) {
        const char *end = text[0] == '$' && text[1] == '{' ? strchr(text, '}') : NULL;
        size_t length = end ? (size_t)(end - text) - 2 : 0;
        const char *value = length > 0 ? find_variable(r->conf, text + 2, length) : NULL;
        if (value) {
            status = take_bytes(r, strlen(value), e);
            fputs(value, out);
            text = end + 1;
            continue;
        }
        if (length > 0 && !memchr(text + 2, ':', length) && !*unknown)
            *unknown = pool_copy(r->conf->pool, text + 2, length);
        fputc(*text++, out);
    }
    bool is_whole = fclose(out) == 0;
    const char *copy = is_whole ? pool_copy(r->conf->pool, replaced, size) : NULL;
    free(replaced);
    if (!is_whole)
        err_set(e, "out of memory");
    return status == 0 ? copy : NULL;
}

/* Sections --------------------------------------------------------------------------------------------- */

static enum apache_section_kind kind_of(const char *name, const char *arguments)
{
    static const struct {
        const char *name;
        enum apache_section_kind kind;
    } kinds[] = {
        {"VirtualHost", APACHE_VIRTUAL_HOST},
        {"Directory", APACHE_DIRECTORY},
        {"Files", APACHE_FILES},
        {"Location", APACHE_LOCATION},
        {"DirectoryMatch", APACHE_PATTERN},
        {"FilesMatch", APACHE_PATTERN},
        {"LocationMatch", APACHE_PATTERN},
        {"If", APACHE_CONDITION},
        {"ElseIf", APACHE_CONDITION},
        {"Else", APACHE_CONDITION},
        {"WSGIInterpreterOptions", APACHE_INTERPRETER},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!apache_is(name, kinds[i].name))
            continue;
        bool is_pattern = kinds[i].kind >= APACHE_DIRECTORY && kinds[i].kind <= APACHE_LOCATION &&
                          arguments[0] == '~' && isspace((unsigned char)arguments[1]);
        return is_pattern ? APACHE_PATTERN : kinds[i].kind;
    }
    return APACHE_TRANSPARENT;
}

static const char *why_not_defined(const struct apache_conf *conf, const char *name, bool is_negated)
{
    bool is_defined = find_defined(conf, name, strlen(name)) != NULL;
    if (is_defined != is_negated)
        return NULL;
    return pool_format(conf->pool, is_negated ? "%s is defined" : "%s is not defined (see --define)", name);
}

/* True for "< 2.4" and the like, which Apache 2.4 does not read; patterns are taken to match. */
static bool is_other_version(const char *test)
{
    bool is_negated = test[0] == '!';
    const char *operator= test + is_negated;
    bool is_older = operator[0] == '<';
    return is_older != is_negated && (is_older || operator[0] == '>');
}

/* Why Apache skips what is in this section, or NULL. */
static const char *why_skipped(const struct apache_conf *conf, const char *name, const char *word)
{
    bool is_negated = word[0] == '!';
    if (apache_is(name, "IfDefine"))
        return why_not_defined(conf, word + is_negated, is_negated);
    if (apache_is(name, "IfModule") && is_negated)
        return pool_format(conf->pool, "%s is taken to be there", word + 1);
    if (apache_is(name, "IfVersion") && is_other_version(word))
        return "Apache 2.4 is assumed";
    if ((apache_is(name, "IfFile") || apache_is(name, "IfDirective") || apache_is(name, "IfSection")) &&
        is_negated)
        return pool_format(conf->pool, "%s is taken to be there", word + 1);
    if (apache_is(name, "Macro"))
        return "macros are not expanded";
    return NULL;
}

static int open_section(struct reader *r, const char *name, char *rest, struct err *e)
{
    struct apache_conf *conf = r->conf;
    char *close = strrchr(rest, '>');
    if (!close)
        return err_set(e, "%s:%d: \"<%.60s\" has no closing \">\"", r->file, r->line, name);
    *close = '\0';
    int depth = conf->section ? conf->section->depth + 1 : 0;
    if (depth >= APACHE_DEPTH_MAX)
        return fail(r, e, "there are too many sections within sections");

    struct apache_section *section = pool_take(conf->pool, sizeof *section);
    const char *unknown = NULL;
    const char *arguments = replace_variables(r, rest, &unknown, e);
    if (!arguments)
        return -1;
    const char *at = arguments;
    const char *word = apache_word(conf->pool, &at);
    *section = (struct apache_section){.parent = conf->section,
                                       .kind = kind_of(name, arguments),
                                       .file = r->file,
                                       .line = r->line,
                                       .name = name,
                                       .arguments = arguments,
                                       .word = word ? word : "",
                                       .is_skipped = why_skipped(conf, name, word ? word : ""),
                                       .depth = depth};
    conf->section = section;
    return 0;
}

static int close_section(struct reader *r, const char *name, struct err *e)
{
    const struct apache_section *section = r->conf->section;
    size_t length = strcspn(name, "> \t");
    if (section == r->outer)
        return err_set(e, "%s:%d: </%.*s> closes nothing", r->file, r->line, (int)(length < 60 ? length : 60),
                       name);
    if (strlen(section->name) != length || strncasecmp(section->name, name, length) != 0)
        return err_set(e, "%s:%d: </%.*s> stands where </%.60s> is expected (<%.60s> opens in line %d)",
                       r->file, r->line, (int)(length < 60 ? length : 60), name, section->name, section->name,
                       section->line);
    r->conf->section = section->parent;
    return 0;
}

const struct apache_section *apache_section_of(const struct apache_directive *d,
                                               enum apache_section_kind kind)
{
    const struct apache_section *section = d->section;
    while (section && section->kind != kind)
        section = section->parent;
    return section;
}

static const char *skipped_in(const struct apache_section *section)
{
    const char *why = NULL;
    for (; section; section = section->parent)
        if (section->is_skipped)
            why = section->is_skipped;
    return why;
}

const char *apache_is_skipped(const struct apache_directive *d)
{
    return skipped_in(d->section);
}

/* Lines ------------------------------------------------------------------------------------------------ */

static int define_from(const struct reader *r, const struct apache_directive *d, struct err *e)
{
    struct apache_conf *conf = r->conf;
    const char *at = d->arguments;
    const char *name = apache_word(conf->pool, &at);
    const char *value = apache_word(conf->pool, &at);
    if (conf->variables.count >= APACHE_DEFINES_MAX)
        return fail(r, e, "there are too many Defines");
    if (name && apache_is(d->name, "Define"))
        apache_conf_define(conf, name, value);
    else if (name)
        set_variable(conf, name, NULL);
    return 0;
}

static int add_directive(struct reader *r, const char *name, const char *rest, struct err *e)
{
    struct apache_conf *conf = r->conf;
    struct apache_directive *d = pool_take(conf->pool, sizeof *d);
    *d = (struct apache_directive){.file = r->file, .line = r->line, .name = name, .section = conf->section};
    d->arguments = replace_variables(r, rest, &d->unknown, e);
    if (!d->arguments)
        return -1;
    pool_list_add(conf->pool, &conf->directives, d);
    if (apache_is_skipped(d))
        return 0;
    if (apache_is(name, "Define") || apache_is(name, "UnDefine"))
        return define_from(r, d, e);
    if ((apache_is(name, "Include") || apache_is(name, "IncludeOptional")) && conf->outside->include)
        return conf->outside->include(conf->outside->context, conf, d, e);
    return 0;
}

/* What httpd -D DUMP_CONFIG says between the lines: "# In file: NAME" and "#  12:". */
static void read_mark(struct reader *r, const char *comment)
{
    static const char in_file[] = "# In file: ";
    char *end;
    if (strncmp(comment, in_file, strlen(in_file)) == 0) {
        const char *name = comment + strlen(in_file);
        if (cfg_text_find_invalid(name, strlen(name)) == strlen(name)) {
            r->file = pool_copy(r->conf->pool, name, strlen(name));
            r->has_marks = true;
        }
        return;
    }
    long line = r->has_marks ? strtol(comment + 1, &end, 10) : 0;
    if (line > 0 && line < INT32_MAX && strcmp(end, ":") == 0)
        r->told_line = (int)line;
}

static int read_line(struct reader *r, char *line, struct err *e)
{
    if (line[0] == '#') {
        read_mark(r, line);
        return 0;
    }
    if (r->told_line > 0)
        r->line = r->told_line;
    if (cfg_text_find_invalid(line, strlen(line)) != strlen(line))
        return fail(r, e, "the line is not UTF-8; convert the file first (iconv -f LATIN1 -t UTF-8)");
    if (line[0] == '<' && line[1] == '/')
        return close_section(r, line + 2, e);

    bool is_section = line[0] == '<';
    const char *at = line + is_section;
    size_t length = is_section ? strcspn(at, "> \t\r\v\f") : 0;
    const char *name = is_section ? pool_copy(r->conf->pool, at, length) : apache_word(r->conf->pool, &at);
    if (is_section)
        at += length;
    while (isspace((unsigned char)*at))
        at++;
    if (!is_section)
        r->told_line = 0;
    return is_section ? open_section(r, name, (char *)at, e) : add_directive(r, name, at, e);
}

/* The length of the physical line at that place, without its end. */
static size_t physical_length(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return (size_t)((newline ? newline : end) - at);
}

/* Puts the physical lines that a backslash joins together, without blanks at the ends; NULL with *e. */
static char *take_line(struct reader *r, struct err *e)
{
    char *line = pool_take(r->conf->pool, 1);
    size_t size = 0, room = 1;
    bool continues = true;
    r->line = r->next_line;
    while (continues && r->at < r->end) {
        size_t length = physical_length(r->at, r->end);
        bool has_newline = r->at + length < r->end;
        size_t text = length > 0 && has_newline && r->at[length - 1] == '\r' ? length - 1 : length;
        if (memchr(r->at, '\0', length)) {
            r->line = r->next_line;
            fail(r, e, "there is a NUL byte; the file is no text, or not UTF-8");
            return NULL;
        }
        continues = has_newline && text > 0 && r->at[text - 1] == '\\';
        text -= continues;
        if (size + text + 1 > room) {
            room = (size + text + 1) * 2;
            char *grown = pool_take(r->conf->pool, room);
            memcpy(grown, line, size);
            line = grown;
        }
        memcpy(line + size, r->at, text);
        size += text;
        line[size] = '\0';
        r->at += length + has_newline;
        r->next_line++;
    }
    while (size > 0 && isspace((unsigned char)line[size - 1]))
        line[--size] = '\0';
    while (isspace((unsigned char)*line))
        line++;
    return line;
}

int apache_conf_add(struct apache_conf *conf, const char *file, const char *bytes, size_t size, struct err *e)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    struct reader r = {.conf = conf,
                       .file = pool_copy(conf->pool, file, strlen(file)),
                       .at = bytes,
                       .end = bytes + size,
                       .next_line = 1,
                       .line = 1,
                       .outer = conf->section};
    pool_list_add(conf->pool, &conf->files, (char *)r.file);
    if (take_bytes(&r, size, e) != 0)
        return -1;
    if (size >= 3 && memcmp(bytes, byte_order_mark, 3) == 0)
        r.at += 3;
    while (r.at < r.end) {
        char *line = take_line(&r, e);
        if (!line || (line[0] && read_line(&r, line, e) != 0))
            return -1;
    }
    const struct apache_section *open = conf->section;
    if (open != r.outer)
        return err_set(e, "%s:%d: <%.60s> is never closed", open->file, open->line, open->name);
    return 0;
}
