/* All applications that a process serves, and the interpreters they run in. */
#ifndef PYHOST_APPS_H
#define PYHOST_APPS_H

#include "pyhost/wsgi.h"
#include "pyhost/wsgi_path.h"

#include <stdbool.h>
#include <stddef.h>

struct cfg_group;
struct err;
struct fcgi_request;
struct host_apps;
struct host_interp;

/* Lists what the group names; imports nothing yet. NULL with *e. Lives as long as the process. */
struct host_apps *host_apps_new(const struct cfg_group *group, struct err *e);

/* Imports what belongs to the main interpreter, unless it was imported already. On the main thread, with the
 * GIL. 0, or -1 with *e: one sentence, which names the mount when there are several, then the traceback. */
int host_apps_load_main(struct host_apps *a, struct err *e);

/* Makes the named interpreters, if there are any, and imports what belongs to them. Not in a process that is
 * to fork workers. Otherwise as host_apps_load_main(). */
int host_apps_load_named(struct host_apps *a, struct err *e);

/* True when some application runs in an interpreter other than the main one. */
bool host_apps_have_named(const struct host_apps *a);

/* Warns in the log of what CPython cannot do with this group's interpreters. */
void host_apps_warn(const struct host_apps *a);

/* The interpreters that applications run in, the main one first and always there. */
size_t host_apps_interp_count(const struct host_apps *a);
const struct host_interp *host_apps_interp(const struct host_apps *a, size_t index);

/* The route of every request of a group that has one application, which runs in the main interpreter; NULL in
 * a group with mounts. */
const struct host_route *host_apps_only(const struct host_apps *a);

/* Finds the application that a request is for. Without the GIL; any thread. *interp is the index of its
 * interpreter; route->path is *path, whose memory the caller frees in every case. */
enum host_found { HOST_APP_FOUND, HOST_APP_NONE, HOST_APP_NO_MEMORY };
enum host_found host_apps_find(const struct host_apps *a, const struct fcgi_request *request,
                               struct host_path *path, struct host_route *route, size_t *interp);

/* Lets go of the applications, when no request is served any more. On the main thread, with the GIL. */
void host_apps_release(struct host_apps *a);

/* Runs the exit functions of every interpreter, the main one's last. On the main thread, with the GIL. */
void host_apps_run_exits(const struct host_apps *a);

#endif
