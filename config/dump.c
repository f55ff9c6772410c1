/* Writes a configuration back as YAML that reads as the same configuration.
 *
 * Through the rows of the table, key by key, in their order. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/stamp.h"
#include "config/fields.h"
#include "config/quote.h"

/* A comment to YAML. */
#define STAMP_LINE "# pyfpm "

struct dump {
    FILE *out;
    bool doubles_dollars; /* the reader will expand $group and ${NAME} */
    int indent;
    bool *starts_item; /* the next line is the first of a list's item; or NULL */
};

/* Strings ---------------------------------------------------------------------------------------------- */

static void print_string(const struct dump *d, const char *text)
{
    cfg_quote(text, d->doubles_dollars, d->out);
}

/* The name of a variable stands where nothing is expanded. */
static void print_variable_name(const struct dump *d, const char *name)
{
    struct dump literal = *d;
    literal.doubles_dollars = false;
    print_string(&literal, name);
}

/* What stands before a line. */
static void print_indent(const struct dump *d)
{
    bool is_first = d->starts_item != NULL && *d->starts_item;
    fprintf(d->out, "%*s", d->indent, is_first ? "- " : "");
    if (is_first)
        *d->starts_item = false;
}

/* Fields ----------------------------------------------------------------------------------------------- */

static void print_list(const struct dump *d, const char *key, const struct cfg_list *list)
{
    print_indent(d);
    fprintf(d->out, "%s:%s\n", key, list->count == 0 ? " []" : "");
    for (size_t i = 0; i < list->count; i++) {
        fprintf(d->out, "%*s- ", d->indent + 2, "");
        print_string(d, list->items[i]);
        fputc('\n', d->out);
    }
}

static void print_map(const struct dump *d, const char *key, const struct cfg_map *map)
{
    print_indent(d);
    fprintf(d->out, "%s:%s\n", key, map->count == 0 ? " {}" : "");
    for (size_t i = 0; i < map->count; i++) {
        fprintf(d->out, "%*s", d->indent + 2, "");
        print_variable_name(d, map->pairs[i].name);
        fputs(": ", d->out);
        print_string(d, map->pairs[i].value);
        fputc('\n', d->out);
    }
}

static void print_value(const struct dump *d, const char *key, const char *value)
{
    print_indent(d);
    fprintf(d->out, "%s: %s\n", key, value);
}

static void print_note(const struct dump *d, const char *key, const char *note)
{
    fprintf(d->out, "%*s# %s: %s\n", d->indent, "", key, note);
}

static void print_number(const struct dump *d, const struct cfg_directive *row, int64_t number)
{
    char text[CFG_NUMBER_TEXT_MAX];
    cfg_value_format(row->number, number, text);
    if (number == CFG_ID_NONE && row->min > CFG_ID_NONE)
        print_note(d, row->key, "(not given)");
    else
        print_value(d, row->key, text);
}

static void print_fields(const struct dump *d, enum cfg_scope scope, const void *fields);

static void print_tree(const struct dump *d, const char *key, const struct cfg_applications *tree)
{
    if (tree->count == 0) {
        print_note(d, key, "(not given)");
        return;
    }
    print_indent(d);
    fprintf(d->out, "%s:\n", key);
    for (size_t i = 0; i < tree->count; i++) {
        bool starts_item = true;
        struct dump inner = *d;
        inner.indent += 4;
        inner.starts_item = &starts_item;
        print_fields(&inner, CFG_SCOPE_APPLICATION, &tree->items[i]);
    }
}

static void print_field(const struct dump *d, const struct cfg_directive *row, const void *fields)
{
    union cfg_field field = cfg_field_of(row, fields);
    if (row->flags & CFG_NOT_YET) {
        print_note(d, row->key, "(not available in this version of pyfpm)");
        return;
    }
    if (row->flags & CFG_USED_UP) {
        print_note(d, row->key, "(what was included stands below)");
        return;
    }
    switch (row->type) {
    case CFG_TYPE_BOOL:
        print_value(d, row->key, *field.flag ? "true" : "false");
        break;
    case CFG_TYPE_NUMBER:
        print_number(d, row, *field.number);
        break;
    case CFG_TYPE_WORD:
        print_value(d, row->key, row->words[*field.word]);
        break;
    case CFG_TYPE_STRING:
        if (*field.string == NULL) {
            print_note(d, row->key, "(not given)");
            break;
        }
        print_indent(d);
        fprintf(d->out, "%s: ", row->key);
        print_string(d, *field.string);
        fputc('\n', d->out);
        break;
    case CFG_TYPE_LIST:
        print_list(d, row->key, field.list);
        break;
    case CFG_TYPE_MAP:
        print_map(d, row->key, field.map);
        break;
    case CFG_TYPE_TREE:
        print_tree(d, row->key, field.tree);
        break;
    case CFG_TYPE_HEADING:
        break;
    }
}

static void print_fields(const struct dump *d, enum cfg_scope scope, const void *fields)
{
    const struct cfg_directive *row = NULL;
    while ((row = cfg_directive_next(scope, row)) != NULL)
        print_field(d, row, fields);
}

static void print_group(FILE *out, const struct cfg_group *g, bool doubles_dollars)
{
    struct dump d = {.out = out, .doubles_dollars = doubles_dollars, .indent = 4};
    fputs("  ", out);
    print_variable_name(&d, g->name);
    fputs(":\n", out);
    print_fields(&d, CFG_SCOPE_GROUP, g);
}

void cfg_dump(const struct cfg *c, FILE *out)
{
    struct dump d = {.out = out, .doubles_dollars = true, .indent = 2};
    fputs("global:\n", out);
    print_fields(&d, CFG_SCOPE_GLOBAL, &c->global);
    fputs("groups:\n", out);
    for (size_t i = 0; i < c->group_count; i++)
        print_group(out, c->groups[i], true);
}

int cfg_group_write(const struct cfg_group *g, int fd, struct err *e)
{
    char *text = NULL;
    size_t size = 0;
    int status = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return err_set(e, "out of memory");
    fprintf(out, STAMP_LINE "%s\n", stamp_of_build());
    fputs("groups:\n", out);
    print_group(out, g, false);
    if (fclose(out) != 0)
        status = err_set(e, "out of memory");
    else if (fd_write_all(fd, text, size) != 0)
        status = err_errno(e, "the configuration of group %s cannot be written", g->name);
    free(text);
    return status;
}

int cfg_group_check_stamp(int fd, struct err *e)
{
    char line[128];
    const char *stamp = line + sizeof STAMP_LINE - 1;
    ssize_t size = pread(fd, line, sizeof line - 1, 0);
    if (size < 0)
        return err_errno(e, "the group's configuration cannot be read");
    line[size] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, STAMP_LINE, sizeof STAMP_LINE - 1) != 0)
        stamp = "one without a stamp";
    if (strcmp(stamp, stamp_of_build()) == 0)
        return 0;
    return err_set(e, "this host was built from %s, the pyfpm that started it from %s", stamp_of_build(),
                   stamp);
}
