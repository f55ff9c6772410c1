/* A YAML file as a tree in which every node knows its place. Private to config/. */
#ifndef CONFIG_NODE_H
#define CONFIG_NODE_H

#include "config/config.h"

enum cfg_node_kind { CFG_NODE_SCALAR, CFG_NODE_LIST, CFG_NODE_MAPPING };

/* Belongs to its tree. An alias is the same node once more, so a node may have several parents. */
struct cfg_node {
    enum cfg_node_kind kind;
    struct cfg_place place;
    size_t weight; /* nodes in this subtree, aliases expanded */

    char *text;    /* of a scalar: NUL-terminated, without NUL bytes in it */
    bool is_plain; /* not quoted */

    struct cfg_node **keys;  /* of a mapping: scalars, each text once */
    struct cfg_node **items; /* of a list its items, of a mapping its values */
    size_t count;

    struct cfg_node *next; /* in the tree's list of all nodes */
};

struct cfg_tree {
    struct cfg_node *root; /* NULL for a file that holds nothing */
    struct cfg_node *nodes;
};

/* Parses bytes. file must outlive the tree. NULL when the YAML is broken, which is then reported. */
struct cfg_tree *cfg_tree_parse(const char *file, const char *bytes, size_t size, struct cfg_report *report);

/* NULL is fine. */
void cfg_tree_free(struct cfg_tree *tree);

/* True for nothing at all, "~" and "null". */
bool cfg_node_is_null(const struct cfg_node *node);

/* "a single value", "a list", "a mapping": for messages. */
const char *cfg_node_kind_name(const struct cfg_node *node);

#endif
