/* Takes the GIL on behalf of the watch thread, which must never wait for it.
 *
 * One thread, started when it is first needed: most workers never have a request that takes long. It has a
 * Python thread state for each interpreter that it had to enter. A GIL that does not come shows in the time
 * of the open question, which the watch thread reads. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/probe.h"

#include "base/clock.h"
#include "base/log.h"
#include "pyhost/apps.h"
#include "pyhost/interp.h"
#include "pyhost/wsgi.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 64

struct wish {
    uint32_t thread;
    uint64_t number;
};

struct host_probe {
    const struct host_apps *apps;
    host_probe_find *find;
    void *context;
    PyThreadState **states; /* by interpreter; the probe thread's own */

    pthread_mutex_t lock; /* around the rest */
    pthread_cond_t changed;
    bool is_started, is_ending;
    pthread_t thread;
    int64_t asked_ms;
    struct wish queue[QUEUE_MAX];
    uint32_t queued;
};

struct host_probe *host_probe_new(const struct host_apps *apps, host_probe_find *find, void *context)
{
    struct host_probe *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->apps = apps;
    p->find = find;
    p->context = context;
    p->states = calloc(host_apps_interp_count(apps), sizeof *p->states);
    if (!p->states) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    return p;
}

/* ---- the thread ---- */

/* With the GIL afterwards; NULL without memory. */
static PyThreadState *enter(struct host_probe *p, uint32_t interp)
{
    if (!p->states[interp])
        p->states[interp] = PyThreadState_New(host_apps_interp(p->apps, interp)->interpreter);
    if (p->states[interp])
        PyEval_RestoreThread(p->states[interp]);
    return p->states[interp];
}

/* The request is in one interpreter; which one only its own lane knows. */
static void interrupt(struct host_probe *p, const struct wish *wish)
{
    for (uint32_t i = 0; i < host_apps_interp_count(p->apps); i++) {
        if (!enter(p, i))
            return;
        bool is_done = host_wsgi_interrupt(p->find(p->context, wish->thread, i), wish->number);
        PyEval_SaveThread();
        if (is_done)
            return;
    }
}

static void take_gil_once(struct host_probe *p)
{
    if (enter(p, 0))
        PyEval_SaveThread();
}

static void *probe_main(void *argument)
{
    struct host_probe *p = argument;
    pthread_mutex_lock(&p->lock);
    while (!p->is_ending) {
        if (p->queued > 0) {
            struct wish wish = p->queue[0];
            memmove(p->queue, p->queue + 1, --p->queued * sizeof *p->queue);
            pthread_mutex_unlock(&p->lock);
            interrupt(p, &wish);
            pthread_mutex_lock(&p->lock);
        } else if (p->asked_ms != 0) {
            pthread_mutex_unlock(&p->lock);
            take_gil_once(p);
            pthread_mutex_lock(&p->lock);
            p->asked_ms = 0;
        } else {
            pthread_cond_wait(&p->changed, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = host_apps_interp_count(p->apps); i > 0; i--) {
        if (!p->states[i - 1])
            continue;
        PyEval_RestoreThread(p->states[i - 1]);
        PyThreadState_Clear(p->states[i - 1]);
        PyThreadState_DeleteCurrent();
    }
    return NULL;
}

/* Inside the lock. */
static void start(struct host_probe *p)
{
    if (p->is_started)
        return;
    int failed = pthread_create(&p->thread, NULL, probe_main, p);
    if (failed != 0) {
        p->asked_ms = 0;
        p->queued = 0;
        log_write(LOG_LEVEL_ERROR, NULL, "cannot start the thread that waits for the interpreter lock: %s",
                  strerror(failed));
        return;
    }
    pthread_setname_np(p->thread, "pyfpm-probe");
    p->is_started = true;
}

/* ---- what the watch thread asks ---- */

void host_probe_ask(struct host_probe *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->asked_ms == 0) {
        p->asked_ms = clock_now_ms();
        start(p);
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
}

int64_t host_probe_asked_ms(struct host_probe *p)
{
    pthread_mutex_lock(&p->lock);
    int64_t asked_ms = p->asked_ms;
    pthread_mutex_unlock(&p->lock);
    return asked_ms;
}

void host_probe_interrupt(struct host_probe *p, uint32_t thread, uint64_t number)
{
    bool has_room;
    pthread_mutex_lock(&p->lock);
    has_room = p->queued < QUEUE_MAX;
    if (has_room) {
        p->queue[p->queued++] = (struct wish){thread, number};
        start(p);
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    if (!has_room)
        log_write(LOG_LEVEL_WARNING, NULL,
                  "interrupt-timeout: request %llu is not interrupted, too many wait for it",
                  (unsigned long long)number);
}

void host_probe_end(struct host_probe *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_ending = true;
    bool is_started = p->is_started;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (is_started)
        pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->states);
    free(p);
}
