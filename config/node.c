/* Turns libyaml's events into a tree of located nodes.
 *
 * Refuses what a configuration has no use for and an attacker or a mistake could hide in: bytes that are not
 * UTF-8, several documents, explicit tags, merge keys, NUL bytes, keys that are not words, keys given twice,
 * and trees that are too deep or, with their aliases expanded, too large. Knows nothing of directives. */
#include "config/node.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/report.h"
#include "config/text.h"

#define DEPTH_MAX 32
#define NODES_MAX 1000000

struct anchor {
    char *name;
    struct cfg_node *node;
};

struct parse {
    yaml_parser_t yaml;
    const char *file;
    const char *bytes;
    size_t size;
    struct cfg_report *report;
    struct cfg_tree *tree;
    struct anchor *anchors;
    size_t anchor_count;
    size_t weight; /* nodes so far, aliases expanded */
};

static struct cfg_node *parse_node(struct parse *p, const yaml_event_t *event, int depth);

static struct cfg_place place_of_mark(const struct parse *p, yaml_mark_t mark)
{
    return (struct cfg_place){.file = p->file, .line = (int)mark.line + 1, .column = (int)mark.column + 1};
}

static struct cfg_place place_of_offset(const struct parse *p, size_t offset)
{
    struct cfg_place place = {.file = p->file, .line = 1, .column = 1};
    for (size_t i = 0; i < offset && i < p->size; i++) {
        if (p->bytes[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)p->bytes[i] & 0xc0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

static bool is_tab_at(const struct parse *p, yaml_mark_t mark)
{
    const char *at = p->bytes, *end = p->bytes + p->size;
    for (size_t line = 0; line < mark.line && at != NULL; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at == NULL ? NULL : at + 1;
    }
    for (size_t column = 0; at != NULL && at < end && column < mark.column; column++) {
        uint32_t ignored;
        at += cfg_text_decode(at, (size_t)(end - at), &ignored);
    }
    return at != NULL && at < end && *at == '\t';
}

/* Says in a sentence what libyaml found wrong. */
static void report_yaml_error(struct parse *p)
{
    const yaml_parser_t *y = &p->yaml;
    if (y->error == YAML_MEMORY_ERROR) {
        cfg_report_error(p->report, &(struct cfg_place){.file = p->file}, "out of memory");
        return;
    }
    if (y->error == YAML_READER_ERROR) {
        struct cfg_place place = place_of_offset(p, y->problem_offset);
        cfg_report_error(p->report, &place, "not valid YAML: %s (0x%02x)", y->problem,
                         (unsigned)y->problem_value);
        return;
    }
    struct cfg_place place = place_of_mark(p, y->problem_mark);
    if (is_tab_at(p, y->problem_mark))
        cfg_report_error(p->report, &place,
                         "not valid YAML: a tab stands here; indentation is made of spaces");
    else if (y->context != NULL)
        cfg_report_error(p->report, &place, "not valid YAML: %s (%s that starts in line %d)", y->problem,
                         y->context, (int)y->context_mark.line + 1);
    else
        cfg_report_error(p->report, &place, "not valid YAML: %s", y->problem);
}

/* Fetches an event, which the caller deletes. False when there is none: reported. */
static bool next_event(struct parse *p, yaml_event_t *event)
{
    if (yaml_parser_parse(&p->yaml, event))
        return true;
    report_yaml_error(p);
    return false;
}

static struct cfg_node *fail(struct parse *p, const struct cfg_place *place, const char *sentence)
{
    cfg_report_error(p->report, place, "%s", sentence);
    return NULL;
}

static bool count_nodes(struct parse *p, size_t weight, const struct cfg_place *place)
{
    p->weight += weight;
    if (p->weight <= NODES_MAX)
        return true;
    cfg_report_error(p->report, place,
                     "the file is too large once its aliases are expanded (more than %d values)", NODES_MAX);
    return false;
}

static struct cfg_node *new_node(struct parse *p, enum cfg_node_kind kind, yaml_mark_t mark)
{
    struct cfg_place place = place_of_mark(p, mark);
    if (!count_nodes(p, 1, &place))
        return NULL;
    struct cfg_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return fail(p, &place, "out of memory");
    *node = (struct cfg_node){.kind = kind, .place = place, .weight = 1, .next = p->tree->nodes};
    p->tree->nodes = node;
    return node;
}

static struct cfg_node *parse_scalar(struct parse *p, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    struct cfg_node *node = new_node(p, CFG_NODE_SCALAR, event->start_mark);
    if (node == NULL)
        return NULL;
    if (memchr(value, '\0', size) != NULL)
        return fail(p, &node->place, "a NUL byte cannot be part of a value");
    node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = strndup(value, size);
    return node->text != NULL ? node : fail(p, &node->place, "out of memory");
}

static struct cfg_node *parse_alias(struct parse *p, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    struct cfg_place place = place_of_mark(p, event->start_mark);
    for (size_t i = p->anchor_count; i > 0; i--) {
        struct anchor *a = &p->anchors[i - 1];
        if (strcmp(a->name, name) == 0)
            return count_nodes(p, a->node->weight, &place) ? a->node : NULL;
    }
    cfg_report_error(
        p->report, &place,
        "the alias *%s stands before the end of the value that &%s marks, or nothing is marked so", name,
        name);
    return NULL;
}

static bool remember_anchor(struct parse *p, const yaml_char_t *name, struct cfg_node *node)
{
    if (name == NULL)
        return true;
    struct anchor *grown = realloc(p->anchors, (p->anchor_count + 1) * sizeof(*grown));
    if (grown != NULL) {
        p->anchors = grown;
        grown[p->anchor_count].node = node;
        grown[p->anchor_count].name = strdup((const char *)name);
    }
    if (grown == NULL || grown[p->anchor_count].name == NULL)
        return fail(p, &node->place, "out of memory") != NULL;
    p->anchor_count++;
    return true;
}

/* Makes room for one more child; capacities are powers of two. */
static bool grow_children(struct parse *p, struct cfg_node *parent)
{
    if ((parent->count & (parent->count - 1)) != 0)
        return true;
    size_t bytes = (parent->count == 0 ? 1 : parent->count * 2) * sizeof(struct cfg_node *);
    struct cfg_node **items = realloc(parent->items, bytes);
    if (items != NULL)
        parent->items = items;
    struct cfg_node **keys = NULL;
    if (parent->kind == CFG_NODE_MAPPING) {
        keys = realloc(parent->keys, bytes);
        if (keys != NULL)
            parent->keys = keys;
    }
    if (items != NULL && (keys != NULL || parent->kind == CFG_NODE_LIST))
        return true;
    return fail(p, &parent->place, "out of memory") != NULL;
}

static bool add_child(struct parse *p, struct cfg_node *parent, struct cfg_node *key, struct cfg_node *value)
{
    if (!grow_children(p, parent))
        return false;
    if (key != NULL)
        parent->keys[parent->count] = key;
    parent->items[parent->count++] = value;
    parent->weight += value->weight + (key != NULL);
    return true;
}

static struct cfg_node *parse_list(struct parse *p, const yaml_event_t *start, int depth)
{
    struct cfg_node *list = new_node(p, CFG_NODE_LIST, start->start_mark);
    bool is_open = list != NULL;
    while (is_open) {
        yaml_event_t event;
        if (!next_event(p, &event))
            return NULL;
        is_open = event.type != YAML_SEQUENCE_END_EVENT;
        struct cfg_node *item = is_open ? parse_node(p, &event, depth + 1) : NULL;
        yaml_event_delete(&event);
        if (is_open && (item == NULL || !add_child(p, list, NULL, item)))
            return NULL;
    }
    return list;
}

static bool check_key(struct parse *p, const struct cfg_node *key)
{
    if (key->kind != CFG_NODE_SCALAR)
        return fail(p, &key->place, "a key must be a word, not a list or a mapping") != NULL;
    if (key->is_plain && strcmp(key->text, "<<") == 0)
        return fail(p, &key->place,
                    "merge keys (<<) are not supported: put what groups share under defaults") != NULL;
    return true;
}

/* Reads the value that belongs to a key whose event was fetched, and adds both. */
static bool parse_pair(struct parse *p, struct cfg_node *mapping, const yaml_event_t *key_event, int depth)
{
    struct cfg_node *key = parse_node(p, key_event, depth + 1);
    if (key == NULL || !check_key(p, key))
        return false;
    yaml_event_t event;
    if (!next_event(p, &event))
        return false;
    struct cfg_node *value = parse_node(p, &event, depth + 1);
    yaml_event_delete(&event);
    return value != NULL && add_child(p, mapping, key, value);
}

static int compare_keys(const void *a, const void *b)
{
    const struct cfg_node *left = *(struct cfg_node *const *)a, *right = *(struct cfg_node *const *)b;
    int order = strcmp(left->text, right->text);
    if (order != 0)
        return order;
    if (left->place.line != right->place.line)
        return left->place.line < right->place.line ? -1 : 1;
    return left->place.column - right->place.column;
}

static void report_duplicates(struct parse *p, const struct cfg_node *mapping)
{
    if (mapping->count < 2)
        return;
    struct cfg_node **sorted = malloc(mapping->count * sizeof(struct cfg_node *));
    if (sorted == NULL) {
        fail(p, &mapping->place, "out of memory");
        return;
    }
    memcpy(sorted, mapping->keys, mapping->count * sizeof(struct cfg_node *));
    qsort(sorted, mapping->count, sizeof(struct cfg_node *), compare_keys);
    for (size_t i = 1; i < mapping->count; i++) {
        const struct cfg_node *first = sorted[i - 1], *again = sorted[i];
        if (strcmp(first->text, again->text) == 0)
            cfg_report_error(p->report, &again->place, "key \"%.120s\" is given twice (first in line %d)",
                             again->text, first->place.line);
    }
    free(sorted);
}

static struct cfg_node *parse_mapping(struct parse *p, const yaml_event_t *start, int depth)
{
    struct cfg_node *mapping = new_node(p, CFG_NODE_MAPPING, start->start_mark);
    bool is_open = mapping != NULL;
    while (is_open) {
        yaml_event_t event;
        if (!next_event(p, &event))
            return NULL;
        is_open = event.type != YAML_MAPPING_END_EVENT;
        bool is_well = !is_open || parse_pair(p, mapping, &event, depth);
        yaml_event_delete(&event);
        if (!is_well)
            return NULL;
    }
    if (mapping != NULL)
        report_duplicates(p, mapping);
    return mapping;
}

static bool check_tag(struct parse *p, const yaml_event_t *event, const yaml_char_t *tag)
{
    if (tag == NULL)
        return true;
    struct cfg_place place = place_of_mark(p, event->start_mark);
    cfg_report_error(p->report, &place, "tags (%.120s) are not supported", (const char *)tag);
    return false;
}

/* Builds the node that an event starts, and what is in it. NULL: reported. */
static struct cfg_node *parse_node(struct parse *p, const yaml_event_t *event, int depth)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    struct cfg_node *node = NULL;
    if (depth > DEPTH_MAX) {
        struct cfg_place place = place_of_mark(p, event->start_mark);
        return fail(p, &place, "lists and mappings are nested too deeply");
    }
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return parse_alias(p, event);
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        node = check_tag(p, event, tag) ? parse_scalar(p, event) : NULL;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        node = check_tag(p, event, tag) ? parse_list(p, event, depth) : NULL;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        node = check_tag(p, event, tag) ? parse_mapping(p, event, depth) : NULL;
        break;
    default:
        break;
    }
    return node != NULL && remember_anchor(p, anchor, node) ? node : NULL;
}

/* The stream: at most one document. False: reported. */
static bool parse_stream(struct parse *p)
{
    bool is_well = true, is_open = true;
    int documents = 0;
    while (is_well && is_open) {
        yaml_event_t event;
        if (!next_event(p, &event))
            return false;
        if (event.type == YAML_STREAM_END_EVENT) {
            is_open = false;
        } else if (event.type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            struct cfg_place place = place_of_mark(p, event.start_mark);
            is_well = fail(p, &place, "a second document starts here; a file holds only one") != NULL;
        } else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
                   event.type != YAML_DOCUMENT_END_EVENT) {
            p->tree->root = parse_node(p, &event, 1);
            is_well = p->tree->root != NULL;
        }
        yaml_event_delete(&event);
    }
    return is_well;
}

static bool check_encoding(struct parse *p)
{
    size_t invalid = cfg_text_find_invalid(p->bytes, p->size);
    if (invalid == p->size)
        return true;
    struct cfg_place place = place_of_offset(p, invalid);
    cfg_report_error(p->report, &place, "the file is not UTF-8 (byte 0x%02x)",
                     (unsigned char)p->bytes[invalid]);
    return false;
}

struct cfg_tree *cfg_tree_parse(const char *file, const char *bytes, size_t size, struct cfg_report *report)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (size >= 3 && memcmp(bytes, byte_order_mark, 3) == 0) {
        bytes += 3;
        size -= 3;
    }
    struct parse p = {.file = file, .bytes = bytes, .size = size, .report = report};
    if (!check_encoding(&p))
        return NULL;

    bool is_well = false;
    p.tree = calloc(1, sizeof(*p.tree));
    if (p.tree == NULL || !yaml_parser_initialize(&p.yaml)) {
        fail(&p, &(struct cfg_place){.file = file}, "out of memory");
        free(p.tree);
        return NULL;
    }
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, (const unsigned char *)bytes, size);
    is_well = parse_stream(&p);
    yaml_parser_delete(&p.yaml);
    for (size_t i = 0; i < p.anchor_count; i++)
        free(p.anchors[i].name);
    free(p.anchors);
    if (is_well)
        return p.tree;
    cfg_tree_free(p.tree);
    return NULL;
}

void cfg_tree_free(struct cfg_tree *tree)
{
    if (tree == NULL)
        return;
    for (struct cfg_node *node = tree->nodes, *next; node != NULL; node = next) {
        next = node->next;
        free(node->text);
        free(node->keys);
        free(node->items);
        free(node);
    }
    free(tree);
}

bool cfg_node_is_null(const struct cfg_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != CFG_NODE_SCALAR || !node->is_plain)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(node->text, words[i]) == 0)
            return true;
    }
    return false;
}

const char *cfg_node_kind_name(const struct cfg_node *node)
{
    static const char *const names[] = {"a single value", "a list", "a mapping"};
    return names[node->kind];
}
