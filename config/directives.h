/* The table of directives, and what can be done with a row. Private to config/.
 *
 * A row says everything about a key: where it may stand, which field it fills, its type, default and range,
 * how its strings must look, and the sentence that documents it. Adding a key is adding a row (and a field);
 * only rules between keys live elsewhere (check.c). */
#ifndef CONFIG_DIRECTIVES_H
#define CONFIG_DIRECTIVES_H

#include "config/config.h"
#include "config/rules.h"
#include "config/value.h"

/* An application is an entry of a group's list of applications. */
enum cfg_scope { CFG_SCOPE_GLOBAL, CFG_SCOPE_GROUP, CFG_SCOPE_APPLICATION };

enum cfg_type {
    CFG_TYPE_HEADING, /* no key: a title in the documents */
    CFG_TYPE_BOOL,    /* bool */
    CFG_TYPE_NUMBER,  /* int64_t; CFG_ID_NONE without a default */
    CFG_TYPE_WORD,    /* int: the index of one of the words */
    CFG_TYPE_STRING,  /* char *; NULL without a default */
    CFG_TYPE_LIST,    /* struct cfg_list; in the file a list, or a single string */
    CFG_TYPE_MAP,     /* struct cfg_map of environment variables */
    CFG_TYPE_TREE     /* struct cfg_applications; in the file a list of mappings with keys of that scope */
};

enum cfg_flag {
    CFG_REQUIRED = 1 << 0,
    CFG_NOT_YET = 1 << 1,         /* known, but an error that says so; its field stays zero */
    CFG_ROOT_ONLY = 1 << 2,       /* without root: a warning that it is ignored */
    CFG_UNIX_ONLY = 1 << 3,       /* means nothing for a TCP socket */
    CFG_TCP_ONLY = 1 << 4,        /* means nothing for a unix socket */
    CFG_USED_UP = 1 << 5,         /* acted on while reading, so a dump must not repeat it */
    CFG_APPLICATION = 1 << 6,     /* one of those of which a group, or an application, has exactly one */
    CFG_IN_EXAMPLE = 1 << 7,      /* set, not commented out, in the example file */
    CFG_ALWAYS_ABSOLUTE = 1 << 8, /* documented as a path */
};

struct cfg_directive {
    enum cfg_scope scope;
    enum cfg_type type;
    const char *key; /* of a heading: the title */
    size_t offset;
    const char *default_text; /* as it would stand in the file; NULL: none */
    const char *example;      /* likewise; NULL: the default serves */
    const char *sentence;
    unsigned flags;
    enum cfg_number number;
    int64_t min, max;
    const char *const *words; /* ends with NULL */
    size_t words_available;   /* those behind the first so many are not available */
    cfg_rule *rule;           /* for every string; NULL: any that is not empty */
};

/* All rows, in the order of the documents, headings included. */
const struct cfg_directive *cfg_directives(size_t *count);

/* More than there are rows; checked where the table is. */
#define CFG_DIRECTIVES_MAX 128

/* Walks the keys of a scope, without headings: start with NULL, ends with NULL. */
const struct cfg_directive *cfg_directive_next(enum cfg_scope scope, const struct cfg_directive *d);

/* NULL when there is none. */
const struct cfg_directive *cfg_directive_find(enum cfg_scope scope, const char *key);

/* The key that was probably meant, or NULL. */
const char *cfg_directive_suggest(enum cfg_scope scope, const char *key);

/* Its index in the table. */
size_t cfg_directive_index(const struct cfg_directive *d);

#endif
