/* The parts of a load and how they work together. Private to config/, its tests and its fuzz target.
 *
 * loader.c reads files into trees and walks their top; apply.c fills one group (or the global part, or one of
 * a group's applications) from a mapping; check.c looks at what was filled as a whole. A group is a draft
 * until then: its fields, and where each of them was given. */
#ifndef CONFIG_LOADER_H
#define CONFIG_LOADER_H

#include "config/directives.h"
#include "config/node.h"

/* Under which circumstances bytes are read. */
struct cfg_mode {
    bool is_root;    /* the rules for a supervisor that is root */
    bool is_trusted; /* what cfg_group_write() wrote: values are not expanded, policy is not asked again */
    bool follows_includes; /* bytes without a file have no folder to include from */
};

struct cfg_given {
    struct cfg_place place; /* of the key; line 0: not given */
    bool is_inherited;      /* by defaults, and not by the group itself */
};

struct cfg_draft {
    enum cfg_scope scope;
    void *fields;            /* the struct of the scope */
    struct cfg_group *group; /* the same, owned until the configuration takes it; of an application the group
                                that it is in, which is not its own; NULL for global */
    struct cfg_given given[CFG_DIRECTIVES_MAX]; /* by the index of the row */
};

struct cfg_loading {
    struct cfg *cfg;
    struct cfg_report *report;
    struct cfg_mode mode;
    struct cfg_draft global;
    struct cfg_draft *groups;
    size_t group_count;
    const struct cfg_node *defaults; /* of the main file, or NULL */
};

/* As cfg_load(), from memory; name stands for the file's in messages. */
struct cfg *cfg_load_bytes(const char *name, const char *bytes, size_t size, const struct cfg_mode *mode,
                           struct cfg_report *report);

/* Fills the draft's fields from a mapping (or nothing), reporting what is wrong. */
void cfg_apply(struct cfg_loading *l, struct cfg_draft *draft, const struct cfg_node *mapping,
               bool is_defaults);

/* Reports what is wrong between keys and between groups. */
void cfg_check(struct cfg_loading *l);

/* Reports what is wrong with one application by itself. place: of the entry. */
void cfg_check_application(struct cfg_loading *l, const struct cfg_draft *draft,
                           const struct cfg_place *place);

/* Where the draft's key was given; line 0: nowhere. key must be in the table. */
const struct cfg_given *cfg_draft_given(const struct cfg_draft *draft, const char *key);

#endif
