/* A worker's serving life: its Python threads, from the first accept to the last answer.
 *
 * Each thread waits in epoll_wait(2) on the one ready set, without the GIL, and takes one connection at a
 * time. It gets one only when a whole request header waits there, so neither a silent nor a slow client
 * ever holds a thread. The main thread is one of them; each has a Python thread state in every interpreter
 * that applications run in. Everything that needs no Python is in intake.c and watch.c. */
#include "pyhost/serve.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/apps.h"
#include "pyhost/busy.h"
#include "pyhost/canary.h"
#include "pyhost/clients.h"
#include "pyhost/conns.h"
#include "pyhost/crash.h"
#include "pyhost/gilstate.h"
#include "pyhost/host.h"
#include "pyhost/intake.h"
#include "pyhost/interp.h"
#include "pyhost/probe.h"
#include "pyhost/queue.h"
#include "pyhost/scripts.h"
#include "pyhost/stacks.h"
#include "pyhost/template.h"
#include "pyhost/watch.h"
#include "pyhost/wsgi.h"
#include "pyhost/wsgi_path.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A serving thread's part in one interpreter. */
struct serve_lane {
    struct host_wsgi_thread *wsgi;
    PyThreadState *state; /* the main thread's is the interpreter's own, else made by the thread */
};

/* One serving thread. */
struct serve_thread {
    struct host_worker *worker;
    const struct host_apps *apps;
    const struct host_route *only; /* NULL: the path decides, or the script's name */
    struct host_scripts *scripts;  /* NULL without script-root */
    struct host_script_pick *pick; /* of the current request, with scripts */
    struct serve_lane *lanes;      /* by the index of the interpreter */
    struct fcgi_request *request;
    struct host_busy *at_work;
    pid_t task;   /* gettid(2) */
    pthread_t id; /* not the main thread's */
};

/* ---- one request ---- */

static void enter_busy(struct host_worker *w)
{
    uint32_t busy = atomic_fetch_add(&w->busy, 1) + 1;
    if (busy == 1)
        atomic_store(&w->slot->busy_since_ms, clock_now_ms());
    atomic_fetch_add(&w->slot->busy, 1);
    if (busy < w->threads)
        return;
    atomic_store(&w->is_saturated, true);
    if (atomic_load(&w->sleep) != HOST_AWAKE)
        host_intake_wake_watch(w);
}

static void leave_busy(struct host_worker *w)
{
    bool is_limit = atomic_fetch_add(&w->finished, 1) + 1 == atomic_load(&w->retire_at);
    if (is_limit || (atomic_load(&w->samples_memory) && atomic_load(&w->sleep) == HOST_SLEEP_FOREVER))
        host_intake_wake_watch(w);
    atomic_fetch_add(&w->slot->requests, 1);
    atomic_fetch_sub(&w->busy, 1);
    atomic_fetch_sub(&w->slot->busy, 1);
}

/* Finds the application by the request's path, and with it the interpreter. */
static int serve_by_path(struct serve_thread *t, uint64_t number, bool *lingers)
{
    struct host_path path;
    struct host_route route;
    size_t interp = 0;
    int fd = -1;
    switch (host_apps_find(t->apps, t->request, &path, &route, &interp)) {
    case HOST_APP_FOUND:
        host_gilstate_bind(t->lanes[interp].state);
        fd = host_wsgi_serve(t->lanes[interp].wsgi, t->lanes[interp].state, t->request, &route, number,
                             lingers);
        break;
    case HOST_APP_NONE:
        fd = host_wsgi_refuse(t->lanes[0].wsgi, t->request, number, "404 Not Found", LOG_LEVEL_NOTICE,
                              "no application is mounted there", lingers);
        break;
    case HOST_APP_NO_MEMORY:
        fd = host_wsgi_refuse(t->lanes[0].wsgi, t->request, number, "500 Internal Server Error",
                              LOG_LEVEL_NOTICE, "no memory for the path", lingers);
        break;
    }
    free(path.memory);
    return fd;
}

/* Finds the script by the file that the web server names. */
static int serve_script(struct serve_thread *t, uint64_t number, bool *lingers)
{
    host_scripts_pick(t->scripts, t->request, t->pick);
    if (!t->pick->is_found)
        return host_wsgi_refuse(t->lanes[0].wsgi, t->request, number, "404 Not Found", LOG_LEVEL_WARNING,
                                t->pick->found.why, lingers);
    struct host_route route = {.scripts = t->scripts, .pick = t->pick, .path = &t->pick->path};
    return host_wsgi_serve(t->lanes[0].wsgi, t->lanes[0].state, t->request, &route, number, lingers);
}

/* The request's number in this process. */
static uint64_t begin_work(struct serve_thread *t)
{
    uint64_t number = atomic_fetch_add(&t->worker->begun, 1) + 1;
    host_busy_begin(t->at_work, number, clock_now_ms(), t->task,
                    fcgi_request_param(t->request, "REQUEST_METHOD"),
                    fcgi_request_param(t->request, "REQUEST_URI"));
    return number;
}

static int serve_request(struct serve_thread *t, uint64_t number, bool *lingers)
{
    char why[HOST_QUEUE_TEXT_MAX];
    if (host_queue_is_over(t->worker, t->request, why))
        return host_wsgi_refuse(t->lanes[0].wsgi, t->request, number, "503 Service Unavailable",
                                LOG_LEVEL_NOTICE, why, lingers);
    if (t->scripts)
        return serve_script(t, number, lingers);
    if (!t->only)
        return serve_by_path(t, number, lingers);
    return host_wsgi_serve(t->lanes[0].wsgi, t->lanes[0].state, t->request, t->only, number, lingers);
}

/* Serves one request; the connection if it is kept and has to be served again at once, else NULL. */
static struct host_conn *serve_one(struct serve_thread *t, struct host_conn *c)
{
    struct host_worker *w = t->worker;
    bool lingers = false;
    enter_busy(w);
    if (fcgi_request_begin(t->request, &c->fd)) {
        c->fd = serve_request(t, begin_work(t), &lingers);
        host_busy_end(t->at_work);
    }
    leave_busy(w);
    if (lingers) {
        host_intake_linger(w, c);
        return NULL;
    }
    if (c->fd >= 0)
        return host_intake_keep(w, c);
    host_intake_close(w, c);
    return NULL;
}

/* Without the GIL. */
static void serve_until_end(struct serve_thread *t)
{
    struct host_worker *w = t->worker;
    t->task = gettid();
    while (!atomic_load(&w->is_ending)) {
        struct epoll_event event;
        int count = epoll_wait(w->ready_set, &event, 1, -1);
        if (count < 0 && errno != EINTR)
            host_intake_give_up("the set of connections", errno);
        struct host_conn *c = count == 1 ? host_intake_take(w, event.data.u64) : NULL;
        while (c)
            c = serve_one(t, c);
    }
}

/* ---- threads ---- */

/* Ends what the thread has in its interpreters, from the last to the main one. */
static void delete_states(struct serve_thread *t)
{
    for (size_t i = host_apps_interp_count(t->apps); i > 0; i--) {
        if (!t->lanes[i - 1].state)
            continue;
        host_gilstate_bind(t->lanes[i - 1].state);
        PyEval_RestoreThread(t->lanes[i - 1].state);
        PyThreadState_Clear(t->lanes[i - 1].state);
        PyThreadState_DeleteCurrent();
    }
}

static bool make_states(struct serve_thread *t)
{
    for (size_t i = 0; i < host_apps_interp_count(t->apps); i++) {
        t->lanes[i].state = PyThreadState_New(host_apps_interp(t->apps, i)->interpreter);
        if (!t->lanes[i].state)
            return false;
    }
    return true;
}

static void *thread_main(void *argument)
{
    struct serve_thread *t = argument;
    if (make_states(t))
        serve_until_end(t);
    else
        log_write(LOG_LEVEL_ALERT, NULL, "no memory for the Python state of a serving thread");
    delete_states(t);
    return NULL;
}

static int start_threads(struct serve_thread *threads, uint32_t count, struct err *e)
{
    for (uint32_t i = 1; i < count; i++) {
        errno = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]);
        if (errno != 0)
            return err_errno(e, "cannot start thread %u of %u", i + 1, count);
        pthread_setname_np(threads[i].id, "pyfpm-serve");
    }
    return 0;
}

static struct serve_thread *make_threads(struct host_worker *w, struct host *h, struct err *e)
{
    size_t interp_count = host_apps_interp_count(h->apps);
    struct serve_thread *threads = calloc(w->threads, sizeof *threads);
    for (uint32_t i = 0; threads && i < w->threads; i++) {
        threads[i].worker = w;
        threads[i].apps = h->apps;
        threads[i].at_work = &w->at_work[i];
        threads[i].only = host_apps_only(h->apps);
        threads[i].lanes = calloc(interp_count, sizeof *threads[i].lanes);
        threads[i].request = fcgi_request_new();
        if (threads[i].lanes && threads[i].request)
            continue;
        err_set(e, "no memory for thread %u", i + 1);
        return NULL;
    }
    if (!threads)
        err_errno(e, "threads");
    return threads;
}

/* Gives every thread its part in one interpreter, which is current. */
static int make_lanes(struct serve_thread *threads, size_t interp, const struct cfg_group *group,
                      struct err *e)
{
    struct host_wsgi *wsgi = host_wsgi_new(group->threads > 1, group->processes > 1, e);
    if (!wsgi)
        return -1;
    for (int64_t i = 0; i < group->threads; i++) {
        threads[i].lanes[interp].wsgi = host_wsgi_thread_new(wsgi, e);
        if (!threads[i].lanes[interp].wsgi)
            return -1;
    }
    threads[0].lanes[interp].state = PyThreadState_Get();
    return 0;
}

static int give_scripts(struct serve_thread *threads, const struct host *h, struct err *e)
{
    struct host_scripts *scripts = host_scripts_new(h, e);
    if (!scripts)
        return -1;
    for (int64_t i = 0; i < h->group->threads; i++) {
        threads[i].scripts = scripts;
        threads[i].pick = calloc(1, sizeof *threads[i].pick);
        if (!threads[i].pick)
            return err_errno(e, "script-root");
    }
    return 0;
}

/* With the GIL, on the main thread. */
static int make_all_lanes(struct serve_thread *threads, const struct host *h, struct err *e)
{
    for (size_t i = 0; i < host_apps_interp_count(h->apps); i++) {
        PyThreadState *former = host_interp_enter(host_apps_interp(h->apps, i));
        int failed = make_lanes(threads, i, h->group, e);
        host_interp_leave(former);
        if (failed)
            return -1;
    }
    return 0;
}

/* With the GIL, on the main thread. */
static void end_threads(struct serve_thread *threads, uint32_t count, const struct host_apps *apps)
{
    for (size_t i = 0; i < host_apps_interp_count(apps); i++) {
        PyThreadState *former = host_interp_enter(host_apps_interp(apps, i));
        for (uint32_t j = 0; j < count; j++)
            host_wsgi_thread_end(threads[j].lanes[i].wsgi);
        host_interp_leave(former);
    }
    for (uint32_t j = 0; j < count; j++) {
        fcgi_request_free(threads[j].request);
        free(threads[j].pick);
        free(threads[j].lanes);
    }
    free(threads);
}

/* ---- the worker ---- */

static int open_worker(struct host_worker *w, struct host *h, struct err *e)
{
    w->host = h;
    w->slot = score_slot(h->score, h->slot);
    w->threads = (uint32_t)h->group->threads;
    w->conns = host_conns_new(HOST_CONNS_MAX);
    w->at_work = calloc(w->threads, sizeof *w->at_work);
    w->ready_set = epoll_create1(EPOLL_CLOEXEC);
    w->watch_set = epoll_create1(EPOLL_CLOEXEC);
    w->end_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->wake_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->doors_lock, NULL);
    if (!w->conns || !w->at_work || w->ready_set < 0 || w->watch_set < 0 || w->end_event < 0 ||
        w->wake_event < 0)
        return err_errno(e, "cannot set up the worker");
    struct epoll_event end = {.events = EPOLLIN, .data.u64 = HOST_TOKEN_END};
    if (epoll_ctl(w->ready_set, EPOLL_CTL_ADD, w->end_event, &end) < 0)
        return err_errno(e, "cannot set up the worker");
    w->clients = host_clients_new(&h->group->allowed_clients, e);
    return w->clients ? 0 : -1;
}

static void close_worker(struct host_worker *w)
{
    fd_close(&w->ready_set);
    fd_close(&w->watch_set);
    fd_close(&w->end_event);
    /* wake_event stays open: a signal handler may still write to it. */
    host_clients_free(w->clients);
    host_conns_free(w->conns);
    free(w->at_work);
    pthread_mutex_destroy(&w->doors_lock);
}

static void serve_canary(void *context, int *fd)
{
    struct serve_thread *t = context;
    bool lingers = false;
    enter_busy(t->worker);
    if (fcgi_request_begin(t->request, fd)) {
        *fd = serve_request(t, begin_work(t), &lingers);
        host_busy_end(t->at_work);
    }
    leave_busy(t->worker);
}

static int try_canary(struct serve_thread *main_thread, struct err *e)
{
    const struct host *h = main_thread->worker->host;
    main_thread->task = gettid();
    if (!h->is_canary || !h->group->canary_request)
        return 0;
    return host_canary_ask(h->group->canary_request, serve_canary, main_thread, e);
}

static void show_serving(struct host_worker *w)
{
    atomic_store(&w->slot->threads, w->threads);
    atomic_store(&w->slot->busy, 0);
    atomic_store(&w->slot->kept, 0);
    atomic_store(&w->slot->state, SCORE_SERVING);
}

/* Without the GIL; the main thread serves here until the end, then waits for the others. */
static int serve(struct host_worker *w, struct serve_thread *threads, struct err *e)
{
    pthread_t watch;
    if (start_threads(threads, w->threads, e) < 0 || host_watch_start(w, &watch, e) < 0)
        return -1;
    if (try_canary(&threads[0], e) < 0) {
        host_link_send(w->host, WIRE_WORKER_FAILED, 0, e->text);
        _exit(EXIT_FAILURE); /* the other threads wait for connections, and nobody has been served */
    }
    show_serving(w);
    if (host_intake_open(w, e) < 0)
        return -1;
    host_link_send(w->host, WIRE_WORKER_READY, 0, "");
    serve_until_end(&threads[0]);
    host_template_limit_exit(w->host,
                             0); /* the end of a thread runs the __del__ of its thread-local objects */
    for (uint32_t i = 1; i < w->threads; i++)
        pthread_join(threads[i].id, NULL);
    pthread_join(watch, NULL);
    host_probe_end(w->probe);
    return 0;
}

/* For the probe, which runs while the threads do. */
static struct host_wsgi_thread *find_lane(void *context, uint32_t thread, uint32_t interp)
{
    const struct serve_thread *threads = context;
    return threads[thread].lanes[interp].wsgi;
}

static struct serve_thread *prepare(struct host_worker *w, struct host *h, struct err *e)
{
    if (fcgi_init(e) < 0 || open_worker(w, h, e) < 0)
        return NULL;
    host_watch_catch_signals(w);
    struct serve_thread *threads = make_threads(w, h, e);
    if (!threads || (h->group->script_root.count > 0 && give_scripts(threads, h, e) < 0) ||
        make_all_lanes(threads, h, e) < 0 || host_stacks_prepare(e) < 0 || host_crash_prepare(w, e) < 0)
        return NULL;
    w->probe = host_probe_new(h->apps, find_lane, threads);
    if (w->probe)
        return threads;
    err_set(e, "no memory for the probe");
    return NULL;
}

/* After a failure threads may be running, which the exit of the process ends: nothing is taken apart. */
int host_serve(struct host *h)
{
    static struct host_worker worker;
    struct err e;
    struct host_worker *w = &worker;
    struct serve_thread *threads = prepare(w, h, &e);
    int failed = threads ? 0 : -1;
    if (!failed) {
        PyThreadState *state = PyEval_SaveThread();
        failed = serve(w, threads, &e);
        PyEval_RestoreThread(state);
    }
    if (failed) {
        log_write(LOG_LEVEL_ERROR, NULL, "%s", e.text);
        return 1;
    }
    end_threads(threads, w->threads, h->apps);
    close_worker(w);
    return 0;
}
