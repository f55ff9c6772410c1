/* Fills one group, the global part, or one of a group's applications from a mapping of keys and values.
 *
 * Says what is wrong with each key by itself: unknown, not available yet, of the wrong type, out of range.
 * Goes on after an error, so that one run shows them all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/expand.h"
#include "config/fields.h"
#include "config/loader.h"
#include "config/report.h"

/* One mapping being applied. */
struct apply {
    struct cfg_loading *loading;
    struct cfg_draft *draft;
    bool is_defaults;
};

const struct cfg_given *cfg_draft_given(const struct cfg_draft *draft, const char *key)
{
    return &draft->given[cfg_directive_index(cfg_directive_find(draft->scope, key))];
}

static const char *group_name(const struct apply *a)
{
    return a->draft->group == NULL ? NULL : a->draft->group->name;
}

#define SCOPE_TEXT_MAX (CFG_NAME_MAX + 48)

/* "in global", "in defaults", "in group \"shop\"", "in an application of group \"shop\"". */
static void describe_scope(const struct apply *a, char *text, size_t size)
{
    const char *in = a->draft->scope == CFG_SCOPE_APPLICATION ? "in an application of" : "in";
    if (a->is_defaults || a->draft->group == NULL)
        snprintf(text, size, "%s %s", in, a->is_defaults ? "defaults" : "global");
    else
        snprintf(text, size, "%s group \"%s\"", in, a->draft->group->name);
}

/* Where a key of another scope belongs; NULL when no scope knows it. */
static const char *home_of(const char *key)
{
    if (cfg_directive_find(CFG_SCOPE_GROUP, key) != NULL)
        return "a group";
    if (cfg_directive_find(CFG_SCOPE_GLOBAL, key) != NULL)
        return "global";
    return cfg_directive_find(CFG_SCOPE_APPLICATION, key) != NULL ? "an entry of applications" : NULL;
}

static void report_unknown(const struct apply *a, const struct cfg_node *key)
{
    char scope[SCOPE_TEXT_MAX];
    struct cfg_report *report = a->loading->report;
    const char *home = home_of(key->text);
    const char *meant = cfg_directive_suggest(a->draft->scope, key->text);
    describe_scope(a, scope, sizeof(scope));
    if (home != NULL)
        cfg_report_error(report, &key->place, "unknown key \"%s\" %s (it belongs in %s)", key->text, scope,
                         home);
    else if (meant != NULL)
        cfg_report_error(report, &key->place, "unknown key \"%.120s\" %s (did you mean \"%s\"?)", key->text,
                         scope, meant);
    else
        cfg_report_error(report, &key->place, "unknown key \"%.120s\" %s", key->text, scope);
}

static void report_value(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value,
                         const char *sentence)
{
    cfg_report_error(a->loading->report, &value->place, "%s: %s", d->key, sentence);
}

static void report_kind(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value,
                        const char *wanted)
{
    cfg_report_error(a->loading->report, &value->place, "%s: %s is expected here, not %s", d->key, wanted,
                     cfg_node_kind_name(value));
}

/* A scalar's text, expanded; the caller frees it. NULL: reported. */
static char *take_text(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value)
{
    struct err e;
    if (value->kind != CFG_NODE_SCALAR) {
        report_kind(a, d, value, "a single value");
        return NULL;
    }
    if (cfg_node_is_null(value)) {
        report_value(a, d, value,
                     value->text[0] == '\0' ? "the value is missing"
                                            : "null is no value here; quote it if it is meant as text");
        return NULL;
    }
    char *text = NULL;
    if (!a->loading->mode.is_trusted)
        text = cfg_expand(value->text, group_name(a), &e);
    else if ((text = strdup(value->text)) == NULL)
        err_set(&e, "out of memory");
    if (text == NULL)
        report_value(a, d, value, e.text);
    return text;
}

static void apply_text(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value)
{
    struct err e;
    char *text = take_text(a, d, value);
    if (text != NULL && cfg_field_set(d, a->draft->fields, text, &e) != 0)
        report_value(a, d, value, e.text);
    free(text);
}

static void apply_list(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value)
{
    cfg_list_free(cfg_field_of(d, a->draft->fields).list);
    if (value->kind == CFG_NODE_SCALAR) {
        apply_text(a, d, value);
        return;
    }
    if (value->kind != CFG_NODE_LIST) {
        report_kind(a, d, value, "a list");
        return;
    }
    for (size_t i = 0; i < value->count; i++)
        apply_text(a, d, value->items[i]);
}

static void apply_map(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value)
{
    struct err e;
    if (value->kind != CFG_NODE_MAPPING) {
        report_kind(a, d, value, "a mapping of names and values");
        return;
    }
    for (size_t i = 0; i < value->count; i++) {
        char *text = take_text(a, d, value->items[i]);
        if (text != NULL && cfg_field_set_variable(d, a->draft->fields, value->keys[i]->text, text, &e) != 0)
            report_value(a, d, value->keys[i], e.text);
        free(text);
    }
}

static void apply_mapping(const struct apply *a, const struct cfg_node *mapping);

/* One entry of the list. Its defaults are the table's: a group's applications replace those of defaults. */
static void apply_application(const struct apply *a, const struct cfg_directive *d,
                              struct cfg_applications *tree, const struct cfg_node *entry)
{
    struct err e;
    if (entry->kind != CFG_NODE_MAPPING) {
        report_kind(a, d, entry, "a mapping with mount and script or application");
        return;
    }
    struct cfg_application *fields = cfg_applications_add(tree, &e);
    if (fields == NULL) {
        report_value(a, d, entry, e.text);
        return;
    }
    struct cfg_draft draft = {.scope = CFG_SCOPE_APPLICATION, .fields = fields, .group = a->draft->group};
    struct apply inner = {.loading = a->loading, .draft = &draft, .is_defaults = a->is_defaults};
    apply_mapping(&inner, entry);
    const struct cfg_place *mount = &cfg_draft_given(&draft, "mount")->place;
    fields->place = mount->line != 0 ? *mount : entry->place;
    cfg_check_application(a->loading, &draft, &entry->place);
}

static void apply_tree(const struct apply *a, const struct cfg_directive *d, const struct cfg_node *value)
{
    struct cfg_applications *tree = cfg_field_of(d, a->draft->fields).tree;
    cfg_applications_free(tree);
    if (value->kind != CFG_NODE_LIST) {
        report_kind(a, d, value, "a list of mappings");
        return;
    }
    if (value->count == 0)
        report_value(a, d, value, "the list is empty: nothing would be served");
    for (size_t i = 0; i < value->count && i <= CFG_APPLICATIONS_MAX; i++)
        apply_application(a, d, tree, value->items[i]);
}

static void apply_pair(const struct apply *a, const struct cfg_node *key, const struct cfg_node *value)
{
    struct cfg_report *report = a->loading->report;
    const struct cfg_directive *d = cfg_directive_find(a->draft->scope, key->text);
    if (d == NULL) {
        report_unknown(a, key);
        return;
    }
    a->draft->given[cfg_directive_index(d)] = (struct cfg_given){.place = key->place,
                                                                 .is_inherited = a->is_defaults};
    if (d->flags & CFG_NOT_YET)
        cfg_report_error(report, &key->place, "%s is not available in this version of pyfpm", d->key);
    else if (d->type == CFG_TYPE_LIST)
        apply_list(a, d, value);
    else if (d->type == CFG_TYPE_MAP)
        apply_map(a, d, value);
    else if (d->type == CFG_TYPE_TREE)
        apply_tree(a, d, value);
    else
        apply_text(a, d, value);
}

static void apply_mapping(const struct apply *a, const struct cfg_node *mapping)
{
    for (size_t i = 0; i < mapping->count; i++)
        apply_pair(a, mapping->keys[i], mapping->items[i]);
}

void cfg_apply(struct cfg_loading *l, struct cfg_draft *draft, const struct cfg_node *mapping,
               bool is_defaults)
{
    struct apply a = {.loading = l, .draft = draft, .is_defaults = is_defaults};
    if (mapping == NULL || cfg_node_is_null(mapping))
        return;
    if (mapping->kind != CFG_NODE_MAPPING) {
        char scope[SCOPE_TEXT_MAX];
        describe_scope(&a, scope, sizeof(scope));
        cfg_report_error(l->report, &mapping->place, "a mapping of keys and values is expected %s, not %s",
                         scope, cfg_node_kind_name(mapping));
        return;
    }
    apply_mapping(&a, mapping);
}
