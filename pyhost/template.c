/* The template's life: import once, then fork workers on request.
 *
 * A worker is forked twice, so that the supervisor, as subreaper, becomes its parent; it starts only when
 * that has happened. The template never runs Python's exit functions: what they would release (temporary
 * folders, helper processes) belongs to the workers forked from it, which run them when they exit. It dies of
 * SIGTERM whatever handlers the application installed, and when its channel closes. One thread, unless
 * the application's import started some; it holds the GIL except while it waits. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/template.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pyhost/apps.h"
#include "pyhost/explain.h"
#include "pyhost/host.h"
#include "pyhost/leftover.h"
#include "pyhost/scripts.h"
#include "pyhost/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- leaving ------------------------------------------------------------------------------------- */

/* The status that a worker exits with when its exit functions take too long; set before the timer starts. */
static volatile sig_atomic_t overdue_status;

static void leave_overdue(int signal_number)
{
    static const char text[] =
        "the exit took longer than shutdown-timeout (a thread that is no daemon, an exit function, "
        "or a __del__, does not end); leaving without it\n";
    (void)signal_number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit((int)overdue_status);
    _exit((int)overdue_status);
}

void host_template_limit_exit(const struct host *h, int status)
{
    static bool is_running;
    int64_t timeout_ms = h->group->shutdown_timeout_ms;
    overdue_status = status;
    if (timeout_ms <= 0 || is_running)
        return;
    is_running = true;
    struct sigaction action = {.sa_handler = leave_overdue};
    struct itimerval timer = {.it_value = {timeout_ms / 1000, timeout_ms % 1000 * 1000}};
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

void host_template_finalize(const struct host *h, int status)
{
    host_template_limit_exit(h, status);
    host_streams_flush();
    if (!host_apps_have_named(h->apps)) {
        Py_FinalizeEx();
        return;
    }
    host_apps_run_exits(h->apps);
    _exit(status);
}

static _Noreturn void leave_template(int status)
{
    host_streams_flush();
    _exit(status);
}

/* ---- importing ----------------------------------------------------------------------------------- */

/* Puts everything that is alive out of the collector's sight, so that a collection in a worker does not write
 * to, and so copy, the pages it shares with the template. */
static void freeze_objects(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *collected = gc ? PyObject_CallMethod(gc, "collect", NULL) : NULL;
    PyObject *frozen = collected ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    Py_XDECREF(frozen);
    Py_XDECREF(collected);
    Py_XDECREF(gc);
    PyErr_Clear();
}

/* Says in the log what forked workers will share; the import's side effects stay for good. */
static void warn_of_leftovers(const char *leftovers)
{
    log_write(LOG_LEVEL_WARNING, NULL,
              "importing the application left behind: %s; forked workers do not get on with that", leftovers);
}

/* False when this process must exit with *status: the supervisor has been told why. */
static bool preload(struct host *h, int *status)
{
    static struct leftover_before before; /* 8 KiB, main thread only */
    char leftovers[LEFTOVER_TEXT_MAX];
    struct err e;
    host_leftover_note(&before);
    if (host_apps_load_main(h->apps, &e) < 0) {
        host_link_send(h, WIRE_TEMPLATE_FAILED, 0, e.text);
        *status = 1;
        return false;
    }
    if (!host_leftover_find(&before, leftovers))
        return true;
    if (h->group->preload == CFG_PRELOAD_AUTO) {
        host_link_send(h, WIRE_TEMPLATE_UNSAFE, 0, leftovers);
        *status = 0;
        return false;
    }
    warn_of_leftovers(leftovers);
    return true;
}

/* ---- forking ------------------------------------------------------------------------------------- */

/* For children that the application forks; set once by host_template_run(), and gone in such a child. */
static int listen_fd_here = -1;
static bool is_own_fork;

/* They may live on when pyfpm is gone, and would keep its address in use and its clients waiting. */
static void close_listener_in_child(void)
{
    if (!is_own_fork)
        fd_close(&listen_fd_here);
}

/* The only write end of the gate is the template's; it lets the worker pass once the process between them is
 * gone. */
static void wait_at_gate(int gate)
{
    char byte;
    ssize_t size;
    do
        size = read(gate, &byte, 1);
    while (size < 0 && errno == EINTR);
}

/* In the process between: forks the worker and is gone. Returns in the worker only. */
static void fork_worker_and_leave(int gate[2])
{
    pid_t worker = fork();
    if (worker > 0)
        _exit(0);
    if (worker < 0)
        _exit(errno);
    fd_close(&gate[1]);
    wait_at_gate(gate[0]);
    fd_close(&gate[0]);
}

/* Waits until the process between is gone. 0, or the errno of its fork. ECHILD: the application ignores
 * SIGCHLD, or something of its reaps what is not its own; gone is gone. */
static int wait_for_between(pid_t between)
{
    int status = 0;
    pid_t ended;
    Py_BEGIN_ALLOW_THREADS;
    do
        ended = waitpid(between, &status, 0);
    while (ended < 0 && errno == EINTR);
    Py_END_ALLOW_THREADS;
    if (ended < 0)
        return 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

enum fork_outcome { FORK_IS_TEMPLATE, FORK_IS_WORKER, FORK_FAILED };

static enum fork_outcome fork_twice(struct err *e)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0) {
        err_errno(e, "pipe");
        return FORK_FAILED;
    }
    host_streams_flush();
    PyOS_BeforeFork();
    is_own_fork = true;
    pid_t between = fork();
    if (between == 0)
        fork_worker_and_leave(gate);
    is_own_fork = false;
    if (between == 0) {
        PyOS_AfterFork_Child();
        return FORK_IS_WORKER;
    }
    int failure = between < 0 ? errno : 0;
    PyOS_AfterFork_Parent();
    if (between > 0)
        failure = wait_for_between(between);
    /* A byte besides the end of file: some other child of the application may hold a copy of this end. */
    if (failure == 0 && write(gate[1], "g", 1) < 0)
        failure = errno;
    fd_close(&gate[0]);
    fd_close(&gate[1]);
    if (failure == 0)
        return FORK_IS_TEMPLATE;
    errno = failure;
    err_errno(e, "fork");
    return FORK_FAILED;
}

/* ---- the worker ---------------------------------------------------------------------------------- */

/* Puts the worker's own channel and log pipe where the template's are. Takes the message's descriptors. */
static int take_over_descriptors(struct wire_msg *m)
{
    int result = 0;
    if (dup3(m->fds[0], HOST_FD_CHANNEL, O_CLOEXEC) < 0 || dup2(m->fds[1], STDOUT_FILENO) < 0 ||
        dup2(m->fds[1], STDERR_FILENO) < 0)
        result = -1;
    wire_close_fds(m);
    return result;
}

static void unblock_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static int run_worker(struct host *h, struct wire_msg *m)
{
    struct err e;
    h->slot = m->slot;
    h->serial = m->serial;
    h->is_canary = m->flags & WIRE_SPAWN_CANARY;
    if (take_over_descriptors(m) < 0)
        return 1;
    setsid(); /* so that an application's kill(0, …) reaches its own children and no sibling */
    unblock_signals();
    host_link_start(h);
    if (host_link_send(h, WIRE_WORKER_HELLO, 0, "") < 0)
        return 1;
    if (host_apps_load_main(h->apps, &e) < 0 || host_apps_load_named(h->apps, &e) < 0) {
        host_link_send(h, WIRE_WORKER_FAILED, 0, e.text);
        return 1;
    }
    int status = host_serve(h);
    host_template_limit_exit(h, status); /* letting go of an application may run a __del__ of it */
    if (status == 0)
        host_apps_release(h->apps);
    return status;
}

/* ---- the template -------------------------------------------------------------------------------- */

static int receive_without_gil(int channel, struct wire_msg *m)
{
    int received, saved;
    Py_BEGIN_ALLOW_THREADS;
    received = wire_receive(channel, m, true);
    saved = errno;
    Py_END_ALLOW_THREADS;
    errno = saved;
    return received;
}

static void report_spawn_failure(const struct host *h, const struct wire_msg *request, const struct err *e)
{
    struct wire_msg answer;
    wire_init(&answer, WIRE_SPAWN_FAILED);
    answer.slot = request->slot;
    answer.serial = request->serial;
    wire_set_text(&answer, e->text, strlen(e->text));
    wire_send(h->channel, &answer);
}

/* True in the new worker. */
static bool spawn(const struct host *h, struct wire_msg *m)
{
    struct err e;
    enum fork_outcome outcome = FORK_FAILED;
    if (m->fd_count != 2)
        err_set(&e, "a spawn request came with %u descriptors instead of 2", m->fd_count);
    else
        outcome = fork_twice(&e);
    if (outcome == FORK_IS_WORKER)
        return true;
    if (outcome == FORK_FAILED)
        report_spawn_failure(h, m, &e);
    wire_close_fds(m);
    return false;
}

int host_template_run(struct host *h, bool may_preload)
{
    static struct wire_msg m; /* 16 KiB, main thread only */
    int status = 1;
    bool has_scripts = h->group->script_root.count > 0; /* which requests bring: nothing to import now */
    bool preloads = may_preload && h->group->preload != CFG_PRELOAD_FALSE && !has_scripts;
    listen_fd_here = h->listen_fd;
    pthread_atfork(NULL, NULL, close_listener_in_child);
    if (has_scripts)
        host_scripts_warn_about_roots(h->group);
    if (preloads && !preload(h, &status))
        leave_template(status);
    /* What runs in other interpreters is imported anew by every worker. */
    bool has_all = preloads && !host_apps_have_named(h->apps);
    signal(SIGTERM, SIG_DFL);
    freeze_objects();
    if (host_link_send(h, WIRE_TEMPLATE_READY, has_all ? WIRE_PRELOADED : 0, "") < 0)
        leave_template(1);
    for (;;) {
        int received = receive_without_gil(h->channel, &m);
        if (received == 0)
            leave_template(0);
        if (received < 0 && errno != EPROTO)
            leave_template(1);
        if (received < 0)
            continue;
        if (m.type != WIRE_SPAWN)
            wire_close_fds(&m);
        else if (spawn(h, &m))
            return run_worker(h, &m);
    }
}

static int import_for_check(struct host *h)
{
    static struct leftover_before before; /* 8 KiB, main thread only */
    char leftovers[LEFTOVER_TEXT_MAX];
    struct err e;
    host_apps_warn(h->apps);
    host_leftover_note(&before);
    int failed = host_apps_load_main(h->apps, &e);
    if (!failed && h->group->preload != CFG_PRELOAD_FALSE && host_leftover_find(&before, leftovers))
        warn_of_leftovers(leftovers);
    if (!failed)
        failed = host_apps_load_named(h->apps, &e);
    if (!failed)
        failed = host_scripts_check(h->group, &e);
    if (failed) {
        host_link_send(h, WIRE_TEMPLATE_FAILED, 0, e.text);
        return 1;
    }
    host_apps_release(h->apps);
    return host_link_send(h, WIRE_TEMPLATE_READY, WIRE_PRELOADED, "") < 0 ? 1 : 0;
}

int host_template_check(struct host *h)
{
    int status = import_for_check(h);
    host_explain_finish(h);
    return status;
}
