/* What every field can do, by the rows of the table: take a text, its default, be copied, compared, freed.
 * Private to config/.
 *
 * fields is the struct that the scope's offsets are for: struct cfg_global, struct cfg_group or struct
 * cfg_application. */
#ifndef CONFIG_FIELDS_H
#define CONFIG_FIELDS_H

#include "config/directives.h"

struct err;

/* A field as what its row says it is. */
union cfg_field {
    bool *flag;
    int64_t *number;
    int *word;
    char **string;
    struct cfg_list *list;
    struct cfg_map *map;
    struct cfg_applications *tree;
};
union cfg_field cfg_field_of(const struct cfg_directive *d, const void *fields);

/* Gives every field of zeroed fields its default. 0, or -1 with *e. */
int cfg_fields_init(enum cfg_scope scope, void *fields, struct err *e);

/* Frees what the fields own and leaves nothing behind. */
void cfg_fields_free(enum cfg_scope scope, void *fields);

/* Copies every field into zeroed fields. 0, or -1 with *e; free them in both cases. */
int cfg_fields_copy(enum cfg_scope scope, void *to, const void *from, struct err *e);

/* True when a dump of one would read as the other. */
bool cfg_fields_are_equal(enum cfg_scope scope, const void *a, const void *b);

/* Reads one value (of a list: one more item) from its text, after the checks of its row. Not for maps.
 * 0, or -1 with *e: a sentence without key or place. */
int cfg_field_set(const struct cfg_directive *d, void *fields, const char *text, struct err *e);

/* Adds a variable to a map, or replaces its value. 0, or -1 with *e as above. */
int cfg_field_set_variable(const struct cfg_directive *d, void *fields, const char *name, const char *value,
                           struct err *e);

/* Adds an application with its defaults, to be filled. NULL with *e: there are too many, or no memory. */
struct cfg_application *cfg_applications_add(struct cfg_applications *tree, struct err *e);

/* Empties it, so that it can be filled anew. */
void cfg_applications_free(struct cfg_applications *tree);

/* Empties a list, so that its items can be set anew. */
void cfg_list_free(struct cfg_list *list);

/* Adds a copy of the text. 0, or -1 without memory. */
int cfg_list_add(struct cfg_list *list, const char *text);

#endif
