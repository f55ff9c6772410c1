/* Makes named interpreters, moves the main thread between them, and runs their exit functions.
 *
 * They share the GIL and the process, and nothing else that is Python's: modules, types and objects belong to
 * one of them. Extension modules are loaded as for the main interpreter, single-phase ones included, as
 * mod_wsgi does it. They are made after the fork of a worker: on every version tried, a fork with a second
 * interpreter hangs or dies in PyOS_AfterFork_Child. And they are never taken down: Py_EndInterpreter()
 * aborts while any thread has a state in one, as threads of an application do, and so does Py_FinalizeEx() up
 * to 3.11 when one is left. The process leaves with _exit(2) instead, after the exit functions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/interp.h"

#include "base/err.h"
#include "config/config.h"
#include "pyhost/gilstate.h"
#include "pyhost/host.h"
#include "pyhost/main_module.h"
#include "pyhost/overlay.h"
#include "pyhost/streams.h"

void host_interp_adopt(struct host_interp *i)
{
    i->state = PyThreadState_Get();
    i->interpreter = i->state->interp;
}

PyThreadState *host_interp_enter(const struct host_interp *i)
{
    host_gilstate_bind(i->state);
    return PyThreadState_Swap(i->state);
}

void host_interp_leave(PyThreadState *former)
{
    host_gilstate_bind(former);
    PyThreadState_Swap(former);
}

/* The new interpreter's state, which is current then. NULL with *e; the former one is current again. */
static PyThreadState *new_interpreter(PyThreadState *former, struct err *e)
{
    PyThreadState *state = NULL;
#if PY_VERSION_HEX >= 0x030c0000
    const PyInterpreterConfig config = {
        .use_main_obmalloc = 1,
        .allow_fork = 0, /* a RuntimeError; the forked child would die of a fatal error */
        .allow_exec = 1,
        .allow_threads = 1,
        .allow_daemon_threads = 1,
#ifdef Py_GIL_DISABLED
        .check_multi_interp_extensions = 1, /* required there */
#endif
        .gil = PyInterpreterConfig_SHARED_GIL,
    };
    PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
    if (PyStatus_Exception(status))
        err_set(e, "it cannot be made: %s", status.err_msg ? status.err_msg : "no reason given");
#else
    state = Py_NewInterpreter();
    if (!state)
        err_set(e, "it cannot be made");
#endif
    if (!state)
        PyThreadState_Swap(former);
    return state;
}

/* The thread that imports threading first is the main thread to it: not one that happens to serve a request.
 */
static int import_threading(struct err *e)
{
    PyObject *module = PyImport_ImportModule("threading");
    if (module) {
        Py_DECREF(module);
        return 0;
    }
    char text[1024];
    host_pyerr_format(text, sizeof text);
    return err_set(e, "threading cannot be imported: %s", text);
}

int host_interp_create(struct host_interp *i, const struct cfg_group *group, struct err *e)
{
    PyThreadState *former = PyThreadState_Get();
    i->state = new_interpreter(former, e);
    if (!i->state)
        return err_prefix(e, "interpreter %s", i->name);
    host_gilstate_bind(i->state);
    i->interpreter = i->state->interp;
    int failed = import_threading(e);
    if (!failed)
        failed = host_streams_buffer_lines(e);
    if (!failed)
        failed = host_overlay_apply(group, i->name, e);
    if (!failed)
        failed = host_main_module_prepare(group, i->name, e);
    host_interp_leave(former);
    return failed ? err_prefix(e, "interpreter %s", i->name) : 0;
}

static void wait_for_threads(void)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL; /* new; NULL when nobody imported it */
    PyObject *done = threading ? PyObject_CallMethod(threading, "_shutdown", NULL) : NULL;
    if (threading && !done)
        PyErr_WriteUnraisable(threading);
    Py_XDECREF(done);
    Py_XDECREF(threading);
    Py_XDECREF(name);
    PyErr_Clear();
}

/* Each that raises an exception is told of on stderr by atexit itself; the last one's comes out as well up to
 * 3.9. */
static void call_exit_functions(void)
{
    PyObject *module = PyImport_ImportModule("atexit");
    PyObject *done = module ? PyObject_CallMethod(module, "_run_exitfuncs", NULL) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(module);
    PyErr_Clear();
}

/* It fails for closed ones; what cannot be written is lost as quietly as when CPython lets go of a file. */
static void flush_files_of(PyObject *objects, PyObject *type)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects); i++) {
        PyObject *object = PyList_GET_ITEM(objects, i); /* borrowed */
        if (!PyObject_TypeCheck(object, (PyTypeObject *)type))
            continue;
        PyObject *done = PyObject_CallMethod(object, "flush", NULL);
        Py_XDECREF(done);
        PyErr_Clear();
    }
}

/* What CPython does by letting go of all objects: files that nobody closed are written out. The collector
 * does not list what the template froze. */
static void flush_files(void)
{
    static const char *const names[] = {"TextIOWrapper", "BufferedWriter", "BufferedRandom"};
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *io = gc ? PyImport_ImportModule("io") : NULL;
    PyObject *unfrozen = io ? PyObject_CallMethod(gc, "unfreeze", NULL) : NULL;
    PyObject *objects = unfrozen ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
    for (size_t i = 0; objects && i < sizeof names / sizeof names[0]; i++) {
        PyObject *type = PyObject_GetAttrString(io, names[i]);
        if (type && PyType_Check(type))
            flush_files_of(objects, type);
        Py_XDECREF(type);
    }
    Py_XDECREF(objects);
    Py_XDECREF(unfrozen);
    Py_XDECREF(io);
    Py_XDECREF(gc);
    PyErr_Clear();
}

void host_interp_run_exits(const struct host_interp *i)
{
    PyThreadState *former = host_interp_enter(i);
    wait_for_threads();
    call_exit_functions();
    flush_files();
    host_streams_flush();
    host_interp_leave(former);
}
