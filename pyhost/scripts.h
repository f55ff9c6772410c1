/* The scripts that a process of a group with script-root holds, and which of them a request is for. */
#ifndef PYHOST_SCRIPTS_H
#define PYHOST_SCRIPTS_H

#include "base/err.h"
#include "pyhost/script_find.h"
#include "pyhost/wsgi_path.h"

#include <stdbool.h>

typedef struct _object PyObject;

struct cfg_group;
struct fcgi_request;
struct host;
struct host_scripts;

/* How many scripts one process holds; with one more, the least recently used is dropped. */
#define HOST_SCRIPTS_MAX 256

/* What was found out about a request before it took the GIL. */
struct host_script_pick {
    bool is_found; /* else found.why */
    struct host_script_found found;
    struct host_path path; /* points into the request's parameters */
};

/* Why there is no application. */
struct host_script_refusal {
    const char *status; /* of the answer */
    int level;          /* enum log_level */
    struct err why;
};

/* One per process; h stays the caller's for as long. NULL with *e. */
struct host_scripts *host_scripts_new(const struct host *h, struct err *e);

/* Finds a request's script. Any thread, without the GIL. */
void host_scripts_pick(struct host_scripts *s, const struct fcgi_request *request,
                       struct host_script_pick *pick);

/* The application of that script (new reference), run now if this process has not, or if its file has
 * changed; while another thread runs it, waits for that, no longer than startup-timeout. NULL with *refusal,
 * no exception set. With the GIL, which is given back meanwhile. */
PyObject *host_scripts_take(struct host_scripts *s, const struct host_script_pick *pick,
                            struct host_script_refusal *refusal);

/* pyfpm check: the roots, which must be there, and the scripts right inside them, which are compiled and not
 * run; a script that is broken is a warning. 0, or -1 with *e. With the GIL. */
int host_scripts_check(const struct cfg_group *group, struct err *e);

/* Logs a warning for each root that cannot be entered now. */
void host_scripts_warn_about_roots(const struct cfg_group *group);

#endif
