/* What the conversion of mod_wsgi's directives holds in its hands. Private to pm/import_*.c.
 *
 * In reading order: import_mod_wsgi.c is the story; import_scope.c says which directive holds for an
 * application; import_alias.c finds the applications; import_option.c turns options into keys; import_group.c
 * deals the applications out; import_write.c and import_guide.c write. Everything lives in the
 * configuration's pool. */
#ifndef PM_IMPORT_MODEL_H
#define PM_IMPORT_MODEL_H

#include "pm/apache_conf.h"
#include "pm/import_mod_wsgi.h"

#include <stdint.h>

/* A sentence that becomes a comment. */
struct import_note {
    struct apache_directive *from; /* NULL: no directive says it */
    const char *text;
};

/* A value of a group's key, as it would be written. What the table of keys refuses becomes a comment. */
struct import_setting {
    const char *key;
    const char *variable;          /* of env: its name */
    struct pool_list values;       /* of char: one, or the items of a list */
    struct apache_directive *from; /* NULL: a default of mod_wsgi's */
    const char *origin;            /* "threads=4"; NULL: the directive as a whole */
    const char *note;              /* a remark, or NULL */
    bool is_advice;                /* near enough to be proposed, not to be done */
};

/* One place where an application is reached. */
struct import_use {
    struct apache_directive *from; /* the alias */
    const char *server;            /* the virtual host's name, or NULL */
    const char *location;          /* "/", "/wiki": what the web server is to pass */
    bool is_pattern;               /* location is a regular expression */
    const char *application_group; /* "" is the main interpreter */
    bool is_own;                   /* by %{RESOURCE}: one for each mount */
};

struct import_app {
    const char *mount; /* "/", "/wiki" */
    const char *script;
    const char *callable;  /* NULL: application */
    struct pool_list uses; /* of struct import_use, at least one */
    struct pool_list python_path;
    const char *interpreter; /* as pyfpm is to call it */
    struct pool_list notes;
};

struct import_group {
    const char *name;                    /* mod_wsgi's; "" is embedded mode */
    const char *suffix;                  /* of a group that was split off; or NULL */
    const char *yaml_name;               /* legal and unique */
    struct apache_directive *definition; /* WSGIDaemonProcess; NULL: there is none */
    struct pool_list settings;
    struct pool_list notes;
    struct pool_list apps;
    struct pool_list script_roots; /* of struct import_root */
};

/* A folder whose scripts the request picks. */
struct import_root {
    struct apache_directive *from;
    const char *folder;
    const char *server;
    const char *location; /* NULL: not known */
};

enum import_name {
    IMPORT_PROCESS_GROUP,
    IMPORT_APPLICATION_GROUP,
    IMPORT_CALLABLE,
    IMPORT_RELOADING,
    IMPORT_SERVER_NAME,
    IMPORT_SCRIPT_ALIAS,
    IMPORT_HANDLER,
    IMPORT_ALIAS, /* Alias, not mod_wsgi's */
    IMPORT_DOCUMENT_ROOT,
    IMPORT_SERVER_WIDE, /* WSGIPythonHome and the like */
    IMPORT_DAEMON,
    IMPORT_IDENTITY, /* User, Group */
    IMPORT_OTHER,    /* every other directive of mod_wsgi */
    IMPORT_ASIDE,    /* Include, SetEnv, PassEnv, Use: worth a remark */
    IMPORT_NAMES
};

struct import {
    struct apache_conf *conf;
    struct pool *pool;
    const struct import_wishes *wishes;
    struct pool_list named[IMPORT_NAMES]; /* those that Apache reads, by name */
    struct pool_list groups;
    struct pool_list notes; /* of no group */
    const char *user;       /* Apache's own; NULL: not in the file */
    const char *group;
    unsigned number; /* of names that would otherwise be the same */
};

/* import_scope.c */

/* What an application is reached by, as far as sections ask for it. */
struct import_target {
    const struct apache_section *host; /* <VirtualHost>, or NULL */
    const char *script;                /* a path, or NULL */
    const char *location;              /* a path, or NULL */
    struct pool_list folders;          /* those around the script */
};
struct import_target import_scope_target(struct import *i, const struct apache_section *host,
                                         const char *script, const char *location);

/* The directive of that name that holds for the target, or NULL. Marks it as told. */
struct apache_directive *import_scope_find(struct import *i, enum import_name name,
                                           const struct import_target *target);

/* True when path is prefix or lies below it. */
bool import_scope_is_below(const char *path, const char *prefix);

/* The name of the virtual host, or of the server when there is none; NULL when nobody says it. */
const char *import_scope_server(struct import *i, const struct apache_section *host);

/* The port of a virtual host when it is not one of those that a URL leaves out; else "". */
const char *import_scope_port(const struct apache_section *host);

/* A path without a slash at its end; "/" stays. */
const char *import_scope_trim(struct pool *pool, const char *path);

/* import_alias.c: the applications and script folders of all directives, each put into its group. */
void import_aliases(struct import *i);
void import_handlers(struct import *i);

/* import_option.c */

void import_daemon_options(struct import *i, struct import_group *g);
void import_server_settings(struct import *i);
/* value may be NULL: the caller adds what there is. The same directive sets a key of a group once. */
struct import_setting *import_set(struct import *i, struct import_group *g, const char *key,
                                  const char *value, struct apache_directive *from);
bool import_group_has(const struct import_group *g, const char *key);
/* Cuts at colons and adds each part. */
void import_add_paths(struct pool *pool, struct pool_list *list, const char *paths);

/* import_remark.c: a note for every directive of mod_wsgi that nobody has told. */
void import_remarks(struct import *i);

/* import_group.c */

/* The group of mod_wsgi's name, made when nobody has defined it. */
struct import_group *import_group_find(struct import *i, const char *name);

/* Splits groups that pyfpm cannot have as one, names groups and interpreters. */
void import_groups_settle(struct import *i);

/* import_write.c */
void import_write_groups(struct import *i, FILE *out, struct import_result *result);
/* Whether the group can run: something in it that pyfpm would serve. */
bool import_group_is_loadable(struct import *i, struct import_group *g);
const char *import_socket(struct import *i, const struct import_group *g);

/* import_guide.c: the comment at the top, with what the web server needs. */
void import_write_guide(struct import *i, FILE *out);

/* Text for a comment: nothing in it ends the line or hides. */
const char *import_comment(struct import *i, const char *text);

/* "line 7", or "site.conf, line 7" when several files were read. */
const char *import_place(struct import *i, const struct apache_directive *from);

/* "line 7, WSGIScriptAlias / /srv/a.wsgi". */
const char *import_quote(struct import *i, const struct apache_directive *from);

void import_note(struct import *i, struct pool_list *notes, struct apache_directive *from, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* Whether this pyfpm has the key already. */
bool import_key_is_available(const char *key);

/* Whether pyfpm takes this value for the key; else *e is a sentence. variable: of env, else NULL. */
bool import_is_taken(const char *key, const char *variable, const char *value, struct err *e);

#endif
