/* Holds the scripts of a group with script-root: runs each at its first request, and again when its file has
 * changed.
 *
 * A script is a module of its own in the main interpreter. One thread runs it, others that want it wait. A
 * run that fails leaves nothing behind and is tried again by the next request; it never ends the process.
 * After a change the request that notices gets the new script, and the process asks to be replaced
 * (WIRE_RETIRE): what the script had imported may be old as well. The list is kept in order of use, so that
 * its last is the one to drop; running requests keep their application by their own reference.
 *
 * The lock is held for a few instructions at a time, never across a call into Python and never while the GIL
 * is taken, so it may be taken with and without the GIL. Serving threads. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/scripts.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/host.h"
#include "pyhost/wsgi_request.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 60000 /* for another thread's run, when startup-timeout is off */

/* Under the lock, except for a script that is running, which is its runner's. */
struct script {
    char *path;
    PyObject *application;    /* NULL: not run, or the run failed */
    struct host_script_id id; /* of the file that application came from */
    bool is_running;
    int64_t due_ms;    /* running: until when others wait */
    unsigned users;    /* threads that are in host_scripts_take() with it; it stays as long */
    unsigned failures; /* runs that failed, so that waiting threads can tell */
    struct script *next;
};

struct host_scripts {
    const struct host *host;
    struct host_finder *finder;
    pthread_mutex_t lock;
    pthread_cond_t run_ended;
    struct script *list; /* last used first */
    unsigned count;
    bool is_overfull_told;
    bool has_asked_to_retire;
};

struct host_scripts *host_scripts_new(const struct host *h, struct err *e)
{
    pthread_condattr_t monotonic;
    struct host_scripts *s = calloc(1, sizeof *s);
    if (!s) {
        err_errno(e, "script-root");
        return NULL;
    }
    s->host = h;
    s->finder = host_finder_new(&h->group->script_root, e);
    if (!s->finder) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->run_ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

/* ---- which script, and where in it ---- */

static size_t size_of(const char *text)
{
    return text ? strlen(text) : 0;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t size = size_of(text), ending_size = strlen(ending);
    return size > ending_size && strcmp(text + size - ending_size, ending) == 0;
}

/* SCRIPT_NAME names the script, as the web server says. One that does not split sends what follows the script
 * in SCRIPT_NAME as in SCRIPT_FILENAME, and no PATH_INFO. */
static void set_path(struct host_path *path, const char *script_name, const char *path_info, const char *rest)
{
    bool is_split = path_info && *path_info;
    path->script_name = script_name ? script_name : "";
    path->script_name_size = size_of(script_name);
    if (*rest && ends_with(script_name, rest))
        path->script_name_size -= strlen(rest);
    path->path_info = is_split ? path_info : rest;
    path->path_info_size = strlen(path->path_info);
    path->memory = NULL;
}

void host_scripts_pick(struct host_scripts *s, const struct fcgi_request *request,
                       struct host_script_pick *pick)
{
    const char *filename = fcgi_request_param(request, "SCRIPT_FILENAME");
    pick->is_found = host_finder_find(s->finder, filename, &pick->found);
    if (pick->is_found)
        set_path(&pick->path, fcgi_request_param(request, "SCRIPT_NAME"),
                 fcgi_request_param(request, "PATH_INFO"), filename + pick->found.name_size);
}

/* ---- the list ---- */

/* Finds a path and puts it first. */
static struct script *find(struct host_scripts *s, const char *path)
{
    for (struct script **link = &s->list; *link; link = &(*link)->next) {
        struct script *script = *link;
        if (strcmp(script->path, path) != 0)
            continue;
        *link = script->next;
        script->next = s->list;
        s->list = script;
        return script;
    }
    return NULL;
}

/* NULL without memory. */
static struct script *add(struct host_scripts *s, const char *path)
{
    struct script *script = calloc(1, sizeof *script);
    char *own_path = strdup(path);
    if (!script || !own_path) {
        free(script);
        free(own_path);
        return NULL;
    }
    script->path = own_path;
    script->next = s->list;
    s->list = script;
    s->count++;
    return script;
}

/* Takes the least recently used one out that nobody is busy with; NULL when there is room. */
static struct script *take_surplus(struct host_scripts *s)
{
    struct script **last = NULL;
    if (s->count <= HOST_SCRIPTS_MAX)
        return NULL;
    for (struct script **link = &s->list; *link; link = &(*link)->next)
        if ((*link)->users == 0)
            last = link;
    if (!last)
        return NULL;
    struct script *surplus = *last;
    *last = surplus->next;
    s->count--;
    return surplus;
}

/* With the GIL, without the lock; NULL is fine. */
static void drop(struct script *surplus)
{
    if (!surplus)
        return;
    host_app_forget_script(surplus->path);
    Py_XDECREF(surplus->application);
    free(surplus->path);
    free(surplus);
}

/* ---- waiting ---- */

static struct timespec time_of(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* Until the run has ended, or has taken too long: false. Called and left with the GIL and the lock, in an
 * order that never waits for the GIL while the lock is held. */
static bool wait_for_run(struct host_scripts *s, struct script *script)
{
    struct timespec due = time_of(script->due_ms);
    PyThreadState *state = PyEval_SaveThread();
    while (script->is_running && pthread_cond_timedwait(&s->run_ended, &s->lock, &due) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&s->lock);
    PyEval_RestoreThread(state);
    pthread_mutex_lock(&s->lock);
    return !script->is_running;
}

/* ---- running ---- */

static void begin_run(const struct host_scripts *s, struct script *script)
{
    int64_t patience = s->host->group->startup_timeout_ms;
    script->is_running = true;
    script->due_ms = clock_now_ms() + (patience > 0 ? patience : WAIT_MS);
}

/* Once per process, whatever changes. */
static void ask_to_retire(struct host_scripts *s, const char *path)
{
    char why[512];
    pthread_mutex_lock(&s->lock);
    bool has_asked = s->has_asked_to_retire;
    s->has_asked_to_retire = true;
    pthread_mutex_unlock(&s->lock);
    if (has_asked)
        return;
    snprintf(why, sizeof why, "the script %.400s has changed", path);
    PyThreadState *state = PyEval_SaveThread();
    host_link_send(s->host, WIRE_RETIRE, 0, why);
    PyEval_RestoreThread(state);
}

/* The file as it is now: its bytes (the caller frees them) and *id; NULL with *refusal. */
static char *read_source(const char *path, struct host_script_id *id, size_t *size,
                         struct host_script_refusal *refusal)
{
    char *source = NULL;
    PyThreadState *state = PyEval_SaveThread();
    int fd = host_script_open(path, id, &refusal->why);
    if (fd >= 0)
        source = host_script_read(fd, size, &refusal->why);
    fd_close(&fd);
    PyEval_RestoreThread(state);
    refusal->status = "404 Not Found";
    refusal->level = LOG_LEVEL_WARNING;
    return source;
}

/* So that nobody gets the old application any more, whatever becomes of the new one. */
static void give_up_old(struct host_scripts *s, struct script *script)
{
    pthread_mutex_lock(&s->lock);
    PyObject *old = script->application;
    script->application = NULL;
    pthread_mutex_unlock(&s->lock);
    if (!old)
        return;
    ask_to_retire(s, script->path);
    Py_DECREF(old);
}

/* Runs the script unless its file is the very one that was run. By the runner, with the GIL. False with
 * *refusal. */
static bool run(struct host_scripts *s, struct script *script, struct host_script_refusal *refusal)
{
    struct host_script_id id;
    size_t size;
    char *source = read_source(script->path, &id, &size, refusal);
    if (!source)
        return false;
    PyObject *application = NULL;
    bool is_same = script->application && host_script_id_is_equal(&id, &script->id);
    if (!is_same) {
        give_up_old(s, script);
        refusal->status = "500 Internal Server Error";
        refusal->level = LOG_LEVEL_ERROR;
        application = host_app_run_script(script->path, source, size, s->host->group->callable,
                                          &refusal->why);
        host_leave_if_forked();
    }
    free(source);
    if (!application)
        return is_same;
    pthread_mutex_lock(&s->lock);
    script->application = application;
    script->id = id;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* ---- taking ---- */

/* Always NULL. */
static PyObject *refuse(struct host_script_refusal *refusal, const char *status, const char *why)
{
    refusal->status = status;
    refusal->level = LOG_LEVEL_ERROR;
    err_set(&refusal->why, "%s", why);
    return NULL;
}

/* Until nobody runs the script. With the GIL and the lock, both given back meanwhile. False with *refusal. */
static bool wait_for_others(struct host_scripts *s, struct script *script,
                            struct host_script_refusal *refusal)
{
    while (script->is_running) {
        unsigned failures = script->failures;
        if (!wait_for_run(s, script))
            return refuse(refusal, "503 Service Unavailable",
                          "another request has been running the script for longer than startup-timeout");
        if (script->failures != failures)
            return refuse(refusal, "500 Internal Server Error",
                          "the script cannot be run: see the request that tried");
    }
    return true;
}

/* With the GIL and the lock, both given back meanwhile. New reference, or NULL with *refusal. */
static PyObject *take(struct host_scripts *s, struct script *script, const struct host_script_id *id,
                      struct host_script_refusal *refusal)
{
    if (!wait_for_others(s, script, refusal))
        return NULL;
    if (!script->application || !host_script_id_is_equal(id, &script->id)) {
        begin_run(s, script);
        pthread_mutex_unlock(&s->lock);
        bool is_good = run(s, script, refusal);
        pthread_mutex_lock(&s->lock);
        script->is_running = false;
        script->failures += !is_good;
        pthread_cond_broadcast(&s->run_ended);
        if (!is_good)
            return NULL;
    }
    Py_INCREF(script->application);
    return script->application;
}

static void tell_overfull(void)
{
    PyThreadState *state = PyEval_SaveThread();
    log_write(LOG_LEVEL_WARNING, NULL,
              "this process has run %d scripts, the most that one holds: from now on the least recently "
              "used one is dropped for each new one, and run again when it is asked for (said once)",
              HOST_SCRIPTS_MAX);
    PyEval_RestoreThread(state);
}

/* Drops one script when there are too many. Called and left with the GIL and the lock. */
static void make_room(struct host_scripts *s)
{
    struct script *surplus = take_surplus(s);
    if (!surplus)
        return;
    bool is_first = !s->is_overfull_told;
    s->is_overfull_told = true;
    pthread_mutex_unlock(&s->lock);
    drop(surplus);
    if (is_first)
        tell_overfull();
    pthread_mutex_lock(&s->lock);
}

PyObject *host_scripts_take(struct host_scripts *s, const struct host_script_pick *pick,
                            struct host_script_refusal *refusal)
{
    PyObject *application = NULL;
    if (pick->found.has_moved)
        ask_to_retire(s, pick->found.path);
    pthread_mutex_lock(&s->lock);
    struct script *script = find(s, pick->found.path);
    if (!script)
        script = add(s, pick->found.path);
    if (script) {
        script->users++;
        make_room(s);
        application = take(s, script, &pick->found.id, refusal);
        script->users--;
    }
    pthread_mutex_unlock(&s->lock);
    return script ? application : refuse(refusal, "503 Service Unavailable", "no memory for a script");
}
