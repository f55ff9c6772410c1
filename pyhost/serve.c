/* A worker's serving life: its Python threads, from the first accept to the last answer.
 *
 * Each thread waits in epoll_wait(2) on the one ready set, without the GIL, and takes one connection at a
 * time. It gets one only when a whole request header waits there, so neither a silent nor a slow client
 * ever holds a thread. The main thread is one of them; the others have Python thread states of their own.
 * Everything that needs no Python is in intake.c and watch.c. */
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
#include "pyhost/clients.h"
#include "pyhost/conns.h"
#include "pyhost/host.h"
#include "pyhost/intake.h"
#include "pyhost/watch.h"
#include "pyhost/wsgi.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* One serving thread. */
struct serve_thread {
    struct host_worker *worker;
    const struct host_route *route;
    struct host_wsgi_thread *wsgi;
    struct fcgi_request *request;
    PyThreadState *state; /* the main thread's own, else made by the thread */
    PyInterpreterState *interpreter;
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
    atomic_fetch_add(&w->finished, 1);
    atomic_fetch_add(&w->slot->requests, 1);
    atomic_fetch_sub(&w->busy, 1);
    atomic_fetch_sub(&w->slot->busy, 1);
}

/* Serves one request; the connection if it is kept and has to be served again at once, else NULL. */
static struct host_conn *serve_one(struct serve_thread *t, struct host_conn *c)
{
    struct host_worker *w = t->worker;
    bool lingers = false;
    enter_busy(w);
    if (fcgi_request_begin(t->request, &c->fd))
        c->fd = host_wsgi_serve(t->wsgi, t->state, t->request, t->route, &lingers);
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

static void *thread_main(void *argument)
{
    struct serve_thread *t = argument;
    t->state = PyThreadState_New(t->interpreter);
    if (!t->state) {
        log_write(LOG_LEVEL_ALERT, NULL, "no memory for the Python state of a serving thread");
        return NULL;
    }
    serve_until_end(t);
    PyEval_RestoreThread(t->state);
    PyThreadState_Clear(t->state);
    PyThreadState_DeleteCurrent();
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

/* With the GIL. */
static struct serve_thread *make_threads(struct host_worker *w, struct host_wsgi *wsgi,
                                         const struct host_route *route, struct err *e)
{
    struct serve_thread *threads = calloc(w->threads, sizeof *threads);
    if (!threads) {
        err_errno(e, "threads");
        return NULL;
    }
    for (uint32_t i = 0; i < w->threads; i++) {
        threads[i].worker = w;
        threads[i].route = route;
        threads[i].interpreter = PyThreadState_Get()->interp;
        threads[i].request = fcgi_request_new();
        threads[i].wsgi = host_wsgi_thread_new(wsgi, e);
        if (!threads[i].request)
            err_set(e, "no memory for thread %u", i + 1);
        if (!threads[i].request || !threads[i].wsgi)
            return NULL;
    }
    return threads;
}

static void end_threads(struct serve_thread *threads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        host_wsgi_thread_end(threads[i].wsgi);
        fcgi_request_free(threads[i].request);
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
    w->ready_set = epoll_create1(EPOLL_CLOEXEC);
    w->watch_set = epoll_create1(EPOLL_CLOEXEC);
    w->end_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->wake_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->doors_lock, NULL);
    if (!w->conns || w->ready_set < 0 || w->watch_set < 0 || w->end_event < 0 || w->wake_event < 0)
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
    pthread_mutex_destroy(&w->doors_lock);
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
    show_serving(w);
    if (host_intake_open(w, e) < 0)
        return -1;
    host_link_send(w->host, WIRE_WORKER_READY, 0, "");
    serve_until_end(&threads[0]);
    for (uint32_t i = 1; i < w->threads; i++)
        pthread_join(threads[i].id, NULL);
    pthread_join(watch, NULL);
    return 0;
}

static struct serve_thread *prepare(struct host_worker *w, struct host *h, const struct host_route *route,
                                    struct err *e)
{
    if (fcgi_init(e) < 0 || open_worker(w, h, e) < 0)
        return NULL;
    host_watch_catch_signals(w);
    struct host_wsgi *wsgi = host_wsgi_new(h->group->threads > 1, h->group->processes > 1, e);
    return wsgi ? make_threads(w, wsgi, route, e) : NULL;
}

/* After a failure threads may be running, which the exit of the process ends: nothing is taken apart. */
int host_serve(struct host *h, PyObject *application)
{
    static struct host_worker worker;
    const struct host_route route = {.application = application};
    struct err e;
    struct host_worker *w = &worker;
    struct serve_thread *threads = prepare(w, h, &route, &e);
    int failed = threads ? 0 : -1;
    if (!failed) {
        threads[0].state = PyThreadState_Get();
        PyEval_SaveThread();
        failed = serve(w, threads, &e);
        PyEval_RestoreThread(threads[0].state);
    }
    if (failed) {
        log_write(LOG_LEVEL_ERROR, NULL, "%s", e.text);
        return 1;
    }
    end_threads(threads, w->threads);
    close_worker(w);
    return 0;
}
