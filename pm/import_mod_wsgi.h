/* The WSGI part of an Apache configuration as pyfpm's YAML. */
#ifndef PM_IMPORT_MOD_WSGI_H
#define PM_IMPORT_MOD_WSGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct apache_conf;
struct err;

struct import_wishes {
    const char *socket_folder; /* where the groups' sockets are to be; an absolute path of at most
                                  IMPORT_SOCKET_FOLDER_MAX bytes */
    /* Whether a path is a folder on this machine; NULL asks nobody, and goes by the path's last slash. */
    bool (*is_folder)(const char *path);
};

#define IMPORT_SOCKET_FOLDER_MAX 32

/* What came out. */
struct import_result {
    size_t groups;     /* that stand in the output and can run */
    size_t not_loaded; /* that stand there as comments only */
};

/* Writes the YAML to out: it loads with this very pyfpm, unless result->groups is 0. Every directive of
 * mod_wsgi in conf ends up in it, converted or in a comment with its place; their is_told is set. 0, or -1
 * with *e for what cannot be converted at all. */
int import_mod_wsgi(struct apache_conf *conf, const struct import_wishes *wishes, FILE *out,
                    struct import_result *result, struct err *e);

#endif
