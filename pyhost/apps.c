/* The applications of a group, one or several, and which of them a request is for.
 *
 * A group with a script or an application has one of them, in the main interpreter, and no request is looked
 * at. With applications each has a mount and an interpreter; a request finds its own by its path, before the
 * GIL is taken, since that decides whose thread state takes it. Imported in order, on the main thread;
 * read-only once threads serve. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/apps.h"

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/forks.h"
#include "pyhost/gilstate.h"
#include "pyhost/host.h"
#include "pyhost/interp.h"
#include "pyhost/mounts.h"
#include "pyhost/refusal.h"

#include <stdlib.h>
#include <string.h>

#define MAIN 0 /* index of the main interpreter */

struct app {
    struct host_app_source source;
    const char *mount; /* as in the configuration; NULL for the only application of a group */
    size_t interp;     /* index */
    PyObject *callable;
};

struct host_apps {
    const struct cfg_group *group;
    struct app *apps;
    struct host_mount *mounts; /* of the application with the same index */
    size_t count;
    struct host_interp *interps;
    size_t interp_count;
    struct host_route only; /* application NULL: there are mounts */
};

/* ---- what the group names ---- */

/* The index of the interpreter of that name, which is added when it is new. */
static size_t note_interp(struct host_apps *a, const char *name)
{
    for (size_t i = 0; i < a->interp_count; i++)
        if (strcmp(a->interps[i].name, name) == 0)
            return i;
    a->interps[a->interp_count].name = name;
    return a->interp_count++;
}

/* With script-root there is none: requests name scripts (scripts.c). */
static void list_one(struct host_apps *a)
{
    const struct cfg_group *g = a->group;
    if (g->script_root.count > 0)
        return;
    a->apps[0].source = (struct host_app_source){
        .script = g->script, .callable = g->callable, .application = g->application};
    a->count = 1;
}

static void list_mounted(struct host_apps *a)
{
    const struct cfg_applications *all = &a->group->applications;
    for (a->count = 0; a->count < all->count; a->count++) {
        const struct cfg_application *from = &all->items[a->count];
        a->apps[a->count] = (struct app){.source = {.script = from->script,
                                                    .callable = cfg_callable_of(a->group, from),
                                                    .application = from->application},
                                         .mount = from->mount,
                                         .interp = note_interp(a, from->interpreter)};
        const char *prefix = strcmp(from->mount, "/") == 0 ? "" : from->mount;
        a->mounts[a->count] = (struct host_mount){prefix, strlen(prefix)};
    }
}

struct host_apps *host_apps_new(const struct cfg_group *group, struct err *e)
{
    size_t most = group->applications.count + 1;
    struct host_apps *a = calloc(1, sizeof *a);
    if (a) {
        a->group = group;
        a->apps = calloc(most, sizeof *a->apps);
        a->mounts = calloc(most, sizeof *a->mounts);
        a->interps = calloc(most, sizeof *a->interps);
    }
    if (!a || !a->apps || !a->mounts || !a->interps) {
        err_set(e, "no memory for the list of applications");
        return NULL;
    }
    note_interp(a, CFG_INTERPRETER_MAIN);
    host_interp_adopt(&a->interps[MAIN]);
    if (group->applications.count > 0)
        list_mounted(a);
    else
        list_one(a);
    return a;
}

/* ---- importing ---- */

static int name_failure(const struct app *app, const char *interpreter, struct err *e)
{
    if (!app->mount)
        return -1;
    if (app->interp == MAIN)
        return err_prefix(e, "application at %.200s", app->mount);
    return err_prefix(e, "application at %.200s, interpreter %s", app->mount, interpreter);
}

/* Imports the applications of one interpreter, which is current. */
static int load_into(struct host_apps *a, size_t interp, struct err *e)
{
    for (size_t i = 0; i < a->count; i++) {
        struct app *app = &a->apps[i];
        if (app->interp != interp || app->callable)
            continue;
        app->callable = host_app_load(&app->source, e);
        if (!app->callable)
            return name_failure(app, a->interps[interp].name, e);
    }
    return 0;
}

int host_apps_load_main(struct host_apps *a, struct err *e)
{
    if (load_into(a, MAIN, e) < 0)
        return -1;
    if (a->group->applications.count == 0)
        a->only.application = a->apps[0].callable;
    return 0;
}

static int load_named(struct host_apps *a, size_t interp, struct err *e)
{
    PyThreadState *former = host_interp_enter(&a->interps[interp]);
    int failed = host_refusal_watch(e);
    if (!failed) {
        failed = load_into(a, interp, e);
        host_refusal_unwatch();
    }
    host_interp_leave(former);
    return failed;
}

int host_apps_load_named(struct host_apps *a, struct err *e)
{
    if (!host_apps_have_named(a))
        return 0;
    host_gilstate_init();
    if (host_forks_refuse(e) < 0)
        return -1;
    for (size_t i = MAIN + 1; i < a->interp_count; i++)
        if (host_interp_create(&a->interps[i], a->group, e) < 0 || load_named(a, i, e) < 0)
            return -1;
    return 0;
}

bool host_apps_have_named(const struct host_apps *a)
{
    return a->interp_count > 1;
}

void host_apps_warn(const struct host_apps *a)
{
    if (!host_apps_have_named(a))
        return;
#if PY_VERSION_HEX >= 0x03090000 && PY_VERSION_HEX < 0x030d0000
    if (a->group->threads > 1)
        log_write(LOG_LEVEL_WARNING, NULL,
                  "Python %s does not share the GIL fairly between interpreters: a request that computes can "
                  "hold those of other interpreters of its process for more than a second; threads: 1, or "
                  "Python 3.13 or later, does not have that",
                  HOST_PYTHON_VERSION);
#endif
    log_write(
        LOG_LEVEL_WARNING, NULL,
        "os.fork() does not work in a group with interpreters other than main (nor do multiprocessing's "
        "fork method and preexec_fn); subprocess works");
}

/* ---- serving ---- */

size_t host_apps_interp_count(const struct host_apps *a)
{
    return a->interp_count;
}

const struct host_interp *host_apps_interp(const struct host_apps *a, size_t index)
{
    return &a->interps[index];
}

const struct host_route *host_apps_only(const struct host_apps *a)
{
    return a->only.application ? &a->only : NULL;
}

enum host_found host_apps_find(const struct host_apps *a, const struct fcgi_request *request,
                               struct host_path *path, struct host_route *route, size_t *interp)
{
    int failed = host_path_split(
        fcgi_request_param(request, "SCRIPT_NAME"), fcgi_request_param(request, "PATH_INFO"),
        fcgi_request_param(request, "DOCUMENT_URI"), fcgi_request_param(request, "REQUEST_URI"), path);
    int found = failed ? HOST_MOUNT_NO_MEMORY : host_mount_find(a->mounts, a->count, path);
    if (found < 0)
        return found == HOST_MOUNT_NONE ? HOST_APP_NONE : HOST_APP_NO_MEMORY;
    *interp = a->apps[found].interp;
    *route = (struct host_route){.application = a->apps[found].callable, .path = path};
    return HOST_APP_FOUND;
}

/* ---- the end ---- */

void host_apps_release(struct host_apps *a)
{
    a->only.application = NULL;
    for (size_t i = 0; i < a->count; i++) {
        const struct host_interp *interp = &a->interps[a->apps[i].interp];
        if (!a->apps[i].callable)
            continue;
        PyThreadState *former = host_interp_enter(interp);
        Py_CLEAR(a->apps[i].callable);
        host_interp_leave(former);
    }
}

void host_apps_run_exits(const struct host_apps *a)
{
    for (size_t i = a->interp_count; i > 0; i--)
        if (a->interps[i - 1].state)
            host_interp_run_exits(&a->interps[i - 1]);
}
