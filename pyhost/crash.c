/* Says what a worker was at when it crashes, and then lets it die of the very signal.
 *
 * faulthandler's handler runs first and writes the Python stack to standard error, which is the log pipe; it
 * then puts back what was there before, this handler, and raises the signal again. This one sends one
 * record to the supervisor and dies, with a core where rlimit-core allows. Only async-signal-safe calls
 * (signal-safety(7)), on faulthandler's alternate stack, so that a stack overflow is told of, too. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/crash.h"

#include "base/err.h"
#include "base/log.h"
#include "base/wire.h"
#include "pyhost/busy.h"
#include "pyhost/host.h"
#include "pyhost/serve.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static struct host_worker *worker;
static pid_t worker_pid; /* a child that the application forked has the handler too, and its own story */
static struct wire_msg message; /* too large for a signal's stack; whoever crashes first has it */
static struct host_busy_view view;
static atomic_flag is_crashing = ATOMIC_FLAG_INIT;

static void append(const char *text)
{
    size_t size = strlen(text);
    if (size > WIRE_TEXT_MAX - message.text_size)
        size = WIRE_TEXT_MAX - message.text_size;
    memcpy(message.text + message.text_size, text, size);
    message.text_size += size;
}

static void append_number(uint64_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    append(digits + at);
}

/* No thread writes its own entry while it crashes, except in the very copying of a URI: then the copy of the
 * entry would never be whole, and is left out. */
static bool find_request(void)
{
    pid_t self = gettid();
    for (uint32_t i = 0; i < worker->threads; i++) {
        struct host_busy *b = &worker->at_work[i];
        if (atomic_load(&b->thread) == self && atomic_load(&b->sequence) % 2 == 0)
            return host_busy_read(b, &view);
    }
    return false;
}

static void on_crash(int signal_number)
{
    if (getpid() == worker_pid && !atomic_flag_test_and_set(&is_crashing)) {
        wire_init(&message, WIRE_LOG);
        message.flags = LOG_LEVEL_ERROR;
        append("crashed with signal ");
        append_number((uint64_t)signal_number);
        if (find_request()) {
            append(" while serving ");
            append(view.text);
            append(" (request ");
            append_number(view.number);
            append(" of this worker)");
        } else {
            append(" in a thread that served no request");
        }
        message.text[message.text_size] = '\0';
        wire_try_send(worker->host->channel, &message);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Takes the result of a call. */
static int check(PyObject *done, struct err *e)
{
    char why[512];
    if (done) {
        Py_DECREF(done);
        return 0;
    }
    host_pyerr_format(why, sizeof why);
    return err_set(e, "faulthandler: %s", why);
}

static int catch_signals(struct err *e)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], &action, NULL) < 0)
            return err_errno(e, "signal handlers");
    return 0;
}

int host_crash_prepare(struct host_worker *w, struct err *e)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    int result = -1;
    worker = w;
    worker_pid = getpid();
    if (!module)
        return check(NULL, e);
    /* Development mode, or the application, may have enabled it: its handler has to come on top of ours. */
    if (check(PyObject_CallMethod(module, "disable", NULL), e) == 0 && catch_signals(e) == 0)
        result = check(PyObject_CallMethod(module, "enable", "iO", STDERR_FILENO, Py_False), e);
    Py_DECREF(module);
    return result;
}
