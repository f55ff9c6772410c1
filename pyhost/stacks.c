/* Takes Python stacks by way of faulthandler's signal handler.
 *
 * Nothing else prints the stack of one chosen thread while it sleeps, loops, or holds the GIL in C code. The
 * handler runs in that very thread, writes to a memfd, and says nothing when it is done; its output is short
 * and comes in one go, so it is complete once the file stops growing. Chaining to a handler of our own would
 * tell, but then system calls of the application would be interrupted (faulthandler sets SA_RESTART only
 * without it). Prepared on the main thread with the GIL, used by the watch thread without. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/stacks.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "pyhost/host.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAIT_MS  500
#define QUIET_MS 10 /* without a further byte: it is done */

static int output = -1; /* memfd */

/* The last but one: applications that use real-time signals count from the first. */
static int stack_signal(void)
{
    return SIGRTMAX - 1;
}

int host_stacks_prepare(struct err *e)
{
    char why[512];
    output = fd_memory("pyfpm-stacks");
    if (output < 0)
        return err_errno(e, "stacks");
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *handle = module ? PyObject_GetAttrString(module, "register") : NULL;
    PyObject *positional = Py_BuildValue("(ii)", stack_signal(), output);
    PyObject *named = Py_BuildValue("{s:O,s:O}", "all_threads", Py_False, "chain", Py_False);
    PyObject *done = handle && positional && named ? PyObject_Call(handle, positional, named) : NULL;
    Py_XDECREF(named);
    Py_XDECREF(positional);
    Py_XDECREF(handle);
    Py_XDECREF(module);
    if (done) {
        Py_DECREF(done);
        return 0;
    }
    host_pyerr_format(why, sizeof why);
    fd_close(&output);
    return err_set(e, "stacks: %s", why);
}

static off_t written(void)
{
    struct stat about;
    return fstat(output, &about) == 0 ? about.st_size : 0;
}

/* True once something was written and no more came for a moment. */
static bool wait_until_written(void)
{
    int64_t now = clock_now_ms(), due = now + WAIT_MS, quiet_due = due;
    off_t size = 0;
    for (; now < due; now = clock_now_ms()) {
        off_t size_now = written();
        if (size_now > 0 && size_now == size && now >= quiet_due)
            return true;
        if (size_now != size)
            quiet_due = now + QUIET_MS;
        size = size_now;
        usleep(1000);
    }
    return size > 0;
}

/* Without the heading, which says "most recent call first" each time, and an empty last line. */
static void read_frames(char *text)
{
    ssize_t size = pread(output, text, HOST_STACK_TEXT_MAX, 0);
    text[size > 0 ? size : 0] = '\0';
    const char *frames = strncmp(text, "Stack (", 7) == 0 ? strchr(text, '\n') : NULL;
    if (frames)
        memmove(text, frames + 1, strlen(frames + 1) + 1);
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
}

int host_stacks_dump(pid_t thread, char *text)
{
    if (output < 0) {
        strcpy(text, "  (no stack: faulthandler is not registered)");
        return -1;
    }
    if (ftruncate(output, 0) < 0 || lseek(output, 0, SEEK_SET) < 0 ||
        syscall(SYS_tgkill, getpid(), thread, stack_signal()) < 0) {
        snprintf(text, HOST_STACK_TEXT_MAX, "  (no stack: %s)", strerror(errno));
        return -1;
    }
    if (!wait_until_written()) {
        strcpy(text, "  (no stack: the thread did not answer)");
        return -1;
    }
    read_frames(text);
    return 0;
}
