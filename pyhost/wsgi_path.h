/* SCRIPT_NAME and PATH_INFO as WSGI wants them, from what web servers send. */
#ifndef PYHOST_WSGI_PATH_H
#define PYHOST_WSGI_PATH_H

#include <stddef.h>

struct host_path {
    const char *script_name; /* never NULL; point into the arguments or into memory, not NUL-terminated */
    size_t script_name_size;
    const char *path_info;
    size_t path_info_size;
    char *memory; /* the caller frees it; mostly NULL */
};

/* Splits the request's path. Each argument is the parameter's value, or NULL when it was not sent; values
 * other than REQUEST_URI have been percent-decoded by the web server. 0, or -1 without memory. */
int host_path_split(const char *script_name, const char *path_info, const char *document_uri,
                    const char *request_uri, struct host_path *path);

#endif
