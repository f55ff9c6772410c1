/* An Apache configuration as a list of directives, each with its place and the sections around it.
 *
 * Knows Apache's syntax and what Apache decides while it reads (Define, IfDefine, IfModule …), and nothing
 * of what the directives mean. Opens no file: includes are left to whoever asks. */
#ifndef PM_APACHE_CONF_H
#define PM_APACHE_CONF_H

#include "pm/pool.h"

#include <stdbool.h>

struct err;

enum apache_section_kind {
    APACHE_TRANSPARENT, /* says nothing about where its directives hold */
    APACHE_VIRTUAL_HOST,
    APACHE_DIRECTORY,
    APACHE_FILES,
    APACHE_LOCATION,
    APACHE_PATTERN,    /* DirectoryMatch, FilesMatch, LocationMatch and <Directory ~ …> */
    APACHE_CONDITION,  /* If, ElseIf, Else: decided for each request */
    APACHE_INTERPRETER /* WSGIInterpreterOptions */
};

/* Belongs to the configuration, as everything below. */
struct apache_section {
    const struct apache_section *parent; /* NULL at the top */
    enum apache_section_kind kind;
    const char *file;
    int line;
    const char *name;       /* "VirtualHost", as written */
    const char *arguments;  /* what stands behind it, before the ">" */
    const char *word;       /* the first of the arguments, without quotes; "" when there is none */
    const char *is_skipped; /* why Apache does not read what is inside, as a phrase; or NULL */
    int depth;              /* how many sections are around it */
};

struct apache_directive {
    const char *file;
    int line;
    const char *name;                     /* as written */
    const char *arguments;                /* variables replaced, no blanks at the ends */
    const char *unknown;                  /* the first variable in it that has no value; or NULL */
    const struct apache_section *section; /* the innermost around it, or NULL */
    bool is_told;                         /* for the reader's caller: what it says has reached the output */
};

struct apache_conf {
    struct pool *pool;
    struct pool_list directives; /* of struct apache_directive */
    struct pool_list files;      /* of char: the names of what was read, in order */
    /* The rest is for apache_conf_add(). */
    const struct apache_outside *outside;
    const struct apache_section *section;
    struct pool_list variables;
    size_t taken_bytes;
};

/* What reading asks of the outside; each may be NULL. */
struct apache_outside {
    /* The value of a variable that no Define gives: an environment variable, for Apache. NULL: none. */
    const char *(*variable)(const char *name);
    /* Called for each Include and IncludeOptional that holds; may apache_conf_add() files to the same
     * configuration. 0, or -1 with *e. */
    int (*include)(void *context, struct apache_conf *conf, struct apache_directive *d, struct err *e);
    void *context;
};

#define APACHE_SIZE_MAX    (8u << 20) /* bytes of all files, variables replaced */
#define APACHE_DEPTH_MAX   32         /* sections within sections */
#define APACHE_DEFINES_MAX 1000

/* outside may be NULL and must outlive the configuration. Free with apache_conf_free(). */
struct apache_conf *apache_conf_new(const struct apache_outside *outside);
void apache_conf_free(struct apache_conf *conf); /* NULL is fine */

/* As httpd's -D: defines a variable, with an empty value when value is NULL. */
void apache_conf_define(struct apache_conf *conf, const char *name, const char *value);

/* Reads one file's bytes; file stands for its name. 0, or -1 with *e: "file:line: sentence". */
int apache_conf_add(struct apache_conf *conf, const char *file, const char *bytes, size_t size,
                    struct err *e);

/* Takes the next word off *at, without its quotes; NULL at the end. */
const char *apache_word(struct pool *pool, const char **at);

/* Takes the next NAME=VALUE off *at, as mod_wsgi reads them: quotes stand around the value. False at the end.
 * *value is NULL when the next word is no such thing; *name is then the word. */
bool apache_option(struct pool *pool, const char **at, const char **name, const char **value);

/* The innermost section of that kind around the directive, or NULL. */
const struct apache_section *apache_section_of(const struct apache_directive *d,
                                               enum apache_section_kind kind);

/* Why Apache does not read the directive (the outermost such section's phrase); NULL when it does. */
const char *apache_is_skipped(const struct apache_directive *d);

/* Names of directives and sections, whose case means nothing. */
bool apache_is(const char *name, const char *wanted);

#endif
