/* Fields of the configuration's structs, handled by the rows of the table.
 *
 * The only file that turns a row's offset into a pointer. No policy: what may be set together with what is
 * decided in check.c. */
#include "config/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define ENTRIES_MAX 4096

union cfg_field cfg_field_of(const struct cfg_directive *d, const void *fields)
{
    union cfg_field field = {.flag = NULL};
    void *at = (char *)fields + d->offset;
    switch (d->type) {
    case CFG_TYPE_BOOL:
        field.flag = at;
        break;
    case CFG_TYPE_TREE:
        field.tree = at;
        break;
    case CFG_TYPE_NUMBER:
        field.number = at;
        break;
    case CFG_TYPE_WORD:
        field.word = at;
        break;
    case CFG_TYPE_STRING:
        field.string = at;
        break;
    case CFG_TYPE_LIST:
        field.list = at;
        break;
    case CFG_TYPE_MAP:
        field.map = at;
        break;
    case CFG_TYPE_HEADING:
        break;
    }
    return field;
}

/* Lists ------------------------------------------------------------------------------------------------ */

void cfg_list_free(struct cfg_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct cfg_list){0};
}

int cfg_list_add(struct cfg_list *list, const char *text)
{
    char *copy = strdup(text);
    char **grown = realloc(list->items, (list->count + 2) * sizeof(*grown));
    if (grown != NULL)
        list->items = grown;
    if (copy == NULL || grown == NULL) {
        free(copy);
        return -1;
    }
    grown[list->count++] = copy;
    grown[list->count] = NULL;
    return 0;
}

static int list_copy(struct cfg_list *to, const struct cfg_list *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (cfg_list_add(to, from->items[i]) != 0)
            return -1;
    }
    return 0;
}

static bool lists_are_equal(const struct cfg_list *a, const struct cfg_list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return a->count == b->count;
}

/* Maps ------------------------------------------------------------------------------------------------- */

static void map_free(struct cfg_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->pairs[i].name);
        free(map->pairs[i].value);
    }
    free(map->pairs);
    *map = (struct cfg_map){0};
}

static int map_add(struct cfg_map *map, const char *name, const char *value)
{
    struct cfg_pair pair = {.name = strdup(name), .value = strdup(value)};
    struct cfg_pair *grown = realloc(map->pairs, (map->count + 1) * sizeof(*grown));
    if (grown != NULL)
        map->pairs = grown;
    if (grown == NULL || pair.name == NULL || pair.value == NULL) {
        free(pair.name);
        free(pair.value);
        return -1;
    }
    grown[map->count++] = pair;
    return 0;
}

static int map_set(struct cfg_map *map, const char *name, const char *value)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->pairs[i].name, name) != 0)
            continue;
        char *copy = strdup(value);
        if (copy == NULL)
            return -1;
        free(map->pairs[i].value);
        map->pairs[i].value = copy;
        return 0;
    }
    return map_add(map, name, value);
}

static int map_copy(struct cfg_map *to, const struct cfg_map *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (map_add(to, from->pairs[i].name, from->pairs[i].value) != 0)
            return -1;
    }
    return 0;
}

static bool maps_are_equal(const struct cfg_map *a, const struct cfg_map *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (strcmp(a->pairs[i].name, b->pairs[i].name) != 0 ||
            strcmp(a->pairs[i].value, b->pairs[i].value) != 0)
            return false;
    }
    return a->count == b->count;
}

/* Applications ----------------------------------------------------------------------------------------- */

void cfg_applications_free(struct cfg_applications *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        cfg_fields_free(CFG_SCOPE_APPLICATION, &tree->items[i]);
    free(tree->items);
    *tree = (struct cfg_applications){0};
}

/* A zeroed one, or NULL without memory. */
static struct cfg_application *tree_grow(struct cfg_applications *tree)
{
    struct cfg_application *grown = realloc(tree->items, (tree->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL;
    tree->items = grown;
    grown[tree->count] = (struct cfg_application){.place.file = ""};
    return &grown[tree->count++];
}

static int tree_copy(struct cfg_applications *to, const struct cfg_applications *from)
{
    struct err ignored;
    for (size_t i = 0; i < from->count; i++) {
        struct cfg_application *copy = tree_grow(to);
        if (copy == NULL || cfg_fields_copy(CFG_SCOPE_APPLICATION, copy, &from->items[i], &ignored) != 0)
            return -1;
        copy->place = (struct cfg_place){
            .file = "", .line = from->items[i].place.line, .column = from->items[i].place.column};
    }
    return 0;
}

static bool trees_are_equal(const struct cfg_applications *a, const struct cfg_applications *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (!cfg_fields_are_equal(CFG_SCOPE_APPLICATION, &a->items[i], &b->items[i]))
            return false;
    }
    return a->count == b->count;
}

/* Setting ---------------------------------------------------------------------------------------------- */

static int out_of_memory(struct err *e)
{
    return err_set(e, "out of memory");
}

static int check_string(const struct cfg_directive *d, const char *text, struct err *e)
{
    if (text[0] == '\0')
        return err_set(e, "the value is empty");
    return d->rule == NULL ? 0 : d->rule(text, e);
}

static int set_string(const struct cfg_directive *d, char **string, const char *text, struct err *e)
{
    if (check_string(d, text, e) != 0)
        return -1;
    char *copy = strdup(text);
    if (copy == NULL)
        return out_of_memory(e);
    free(*string);
    *string = copy;
    return 0;
}

static int set_word(const struct cfg_directive *d, int *word, const char *text, struct err *e)
{
    int index;
    if (cfg_value_word(text, d->words, &index, e) != 0)
        return -1;
    if ((size_t)index >= d->words_available)
        return err_set(e, "%s is not available in this version of pyfpm", d->words[index]);
    *word = index;
    return 0;
}

static int add_item(const struct cfg_directive *d, struct cfg_list *list, const char *text, struct err *e)
{
    if (check_string(d, text, e) != 0)
        return -1;
    if (list->count >= ENTRIES_MAX)
        return err_set(e, "there are more than %d entries", ENTRIES_MAX);
    return cfg_list_add(list, text) == 0 ? 0 : out_of_memory(e);
}

int cfg_field_set(const struct cfg_directive *d, void *fields, const char *text, struct err *e)
{
    union cfg_field field = cfg_field_of(d, fields);
    switch (d->type) {
    case CFG_TYPE_BOOL:
        return cfg_value_bool(text, field.flag, e);
    case CFG_TYPE_NUMBER:
        return cfg_value_number(d->number, text, d->min, d->max, field.number, e);
    case CFG_TYPE_WORD:
        return set_word(d, field.word, text, e);
    case CFG_TYPE_STRING:
        return set_string(d, field.string, text, e);
    case CFG_TYPE_LIST:
        return add_item(d, field.list, text, e);
    case CFG_TYPE_MAP:
    case CFG_TYPE_TREE:
    case CFG_TYPE_HEADING:
        break;
    }
    return err_set(e, "a single value cannot stand here");
}

int cfg_field_set_variable(const struct cfg_directive *d, void *fields, const char *name, const char *value,
                           struct err *e)
{
    struct cfg_map *map = cfg_field_of(d, fields).map;
    if (d->rule(name, e) != 0)
        return -1;
    if (map->count >= ENTRIES_MAX)
        return err_set(e, "there are more than %d entries", ENTRIES_MAX);
    return map_set(map, name, value) == 0 ? 0 : out_of_memory(e);
}

/* All fields ------------------------------------------------------------------------------------------- */

static int init_field(const struct cfg_directive *d, void *fields, struct err *e)
{
    if (d->flags & CFG_NOT_YET)
        return 0;
    if (d->type == CFG_TYPE_NUMBER && d->default_text == NULL)
        *cfg_field_of(d, fields).number = CFG_ID_NONE;
    if (d->default_text == NULL || d->type == CFG_TYPE_LIST || d->type == CFG_TYPE_MAP)
        return 0;
    return cfg_field_set(d, fields, d->default_text, e);
}

int cfg_fields_init(enum cfg_scope scope, void *fields, struct err *e)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        if (init_field(d, fields, e) != 0)
            return -1;
    }
    return 0;
}

static void free_field(const struct cfg_directive *d, void *fields)
{
    union cfg_field field = cfg_field_of(d, fields);
    if (d->type == CFG_TYPE_STRING) {
        free(*field.string);
        *field.string = NULL;
    } else if (d->type == CFG_TYPE_LIST) {
        cfg_list_free(field.list);
    } else if (d->type == CFG_TYPE_MAP) {
        map_free(field.map);
    } else if (d->type == CFG_TYPE_TREE) {
        cfg_applications_free(field.tree);
    }
}

void cfg_fields_free(enum cfg_scope scope, void *fields)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL)
        free_field(d, fields);
}

/* 0, or -1 without memory. */
static int copy_field(const struct cfg_directive *d, void *to, const void *from)
{
    union cfg_field target = cfg_field_of(d, to), source = cfg_field_of(d, from);
    switch (d->type) {
    case CFG_TYPE_BOOL:
        *target.flag = *source.flag;
        return 0;
    case CFG_TYPE_TREE:
        return tree_copy(target.tree, source.tree);
    case CFG_TYPE_NUMBER:
        *target.number = *source.number;
        return 0;
    case CFG_TYPE_WORD:
        *target.word = *source.word;
        return 0;
    case CFG_TYPE_STRING:
        *target.string = *source.string == NULL ? NULL : strdup(*source.string);
        return *source.string == NULL || *target.string != NULL ? 0 : -1;
    case CFG_TYPE_LIST:
        return list_copy(target.list, source.list);
    case CFG_TYPE_MAP:
        return map_copy(target.map, source.map);
    case CFG_TYPE_HEADING:
        break;
    }
    return 0;
}

int cfg_fields_copy(enum cfg_scope scope, void *to, const void *from, struct err *e)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        if (copy_field(d, to, from) != 0)
            return out_of_memory(e);
    }
    return 0;
}

static bool strings_are_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool field_is_equal(const struct cfg_directive *d, const void *a, const void *b)
{
    union cfg_field left = cfg_field_of(d, a), right = cfg_field_of(d, b);
    switch (d->type) {
    case CFG_TYPE_BOOL:
        return *left.flag == *right.flag;
    case CFG_TYPE_TREE:
        return trees_are_equal(left.tree, right.tree);
    case CFG_TYPE_NUMBER:
        return *left.number == *right.number;
    case CFG_TYPE_WORD:
        return *left.word == *right.word;
    case CFG_TYPE_STRING:
        return strings_are_equal(*left.string, *right.string);
    case CFG_TYPE_LIST:
        return lists_are_equal(left.list, right.list);
    case CFG_TYPE_MAP:
        return maps_are_equal(left.map, right.map);
    case CFG_TYPE_HEADING:
        break;
    }
    return true;
}

bool cfg_fields_are_equal(enum cfg_scope scope, const void *a, const void *b)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        if (!(d->flags & CFG_USED_UP) && !field_is_equal(d, a, b))
            return false;
    }
    return true;
}

struct cfg_application *cfg_applications_add(struct cfg_applications *tree, struct err *e)
{
    if (tree->count >= CFG_APPLICATIONS_MAX) {
        err_set(e, "there are more than %d applications", CFG_APPLICATIONS_MAX);
        return NULL;
    }
    struct cfg_application *added = tree_grow(tree);
    if (added == NULL)
        out_of_memory(e);
    else if (cfg_fields_init(CFG_SCOPE_APPLICATION, added, e) == 0)
        return added;
    return NULL;
}

/* Groups and whole configurations ---------------------------------------------------------------------- */

void cfg_group_free(struct cfg_group *g)
{
    if (g == NULL)
        return;
    cfg_fields_free(CFG_SCOPE_GROUP, g);
    free(g->name);
    free(g);
}

struct cfg_group *cfg_group_copy(const struct cfg_group *g)
{
    struct err ignored;
    struct cfg_group *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    copy->name = strdup(g->name);
    copy->place = (struct cfg_place){.file = "", .line = g->place.line, .column = g->place.column};
    if (copy->name != NULL && cfg_fields_copy(CFG_SCOPE_GROUP, copy, g, &ignored) == 0)
        return copy;
    cfg_group_free(copy);
    return NULL;
}

const char *cfg_callable_of(const struct cfg_group *g, const struct cfg_application *a)
{
    return a->callable != NULL ? a->callable : g->callable;
}

struct cfg_group *cfg_find_group(const struct cfg *c, const char *name)
{
    for (size_t i = 0; i < c->group_count; i++) {
        if (strcmp(c->groups[i]->name, name) == 0)
            return c->groups[i];
    }
    return NULL;
}

void cfg_free(struct cfg *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->group_count; i++)
        cfg_group_free(c->groups[i]);
    free(c->groups);
    cfg_fields_free(CFG_SCOPE_GLOBAL, &c->global);
    cfg_list_free(&c->files);
    free(c);
}

bool cfg_group_is_equal(const struct cfg_group *a, const struct cfg_group *b)
{
    return strcmp(a->name, b->name) == 0 && cfg_fields_are_equal(CFG_SCOPE_GROUP, a, b);
}

bool cfg_global_is_equal(const struct cfg_global *a, const struct cfg_global *b)
{
    return cfg_fields_are_equal(CFG_SCOPE_GLOBAL, a, b);
}
