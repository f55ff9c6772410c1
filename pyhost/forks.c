/* Refuses forks that CPython does not survive.
 *
 * In a process with a second interpreter PyOS_AfterFork_Child() hangs in the child (3.8 to 3.11) or ends it
 * by a signal (3.12, 3.13), whichever interpreter forks: measured for os.fork(), os.forkpty() and a
 * preexec_fn. The parent then waits for a child that never ends. CPython itself refuses in interpreters other
 * than main only. A program that is started without Python code in between, as subprocess and
 * multiprocessing's spawn and forkserver methods do it, is all right. The hook runs on whatever thread forks,
 * with the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/forks.h"

#include "base/err.h"

#include <stdbool.h>
#include <string.h>

#define REMEDY "or have no application with an interpreter other than main in this group"

static int refuse(const char *what, const char *instead)
{
    PyErr_Format(PyExc_RuntimeError, "%s does not work in a process with several interpreters: %s, " REMEDY,
                 what, instead);
    return -1;
}

/* The event does not say: the caller's frame does, subprocess.Popen._execute_child() on every version. */
static bool has_preexec_fn(void)
{
    PyObject *frame = (PyObject *)PyEval_GetFrame(); /* borrowed */
    PyObject *locals = frame ? PyObject_GetAttrString(frame, "f_locals") : NULL;
    PyObject *function = locals ? PyMapping_GetItemString(locals, "preexec_fn") : NULL;
    bool is_given = function && function != Py_None;
    Py_XDECREF(function);
    Py_XDECREF(locals);
    PyErr_Clear();
    return is_given;
}

static int on_event(const char *event, PyObject *arguments, void *ignored)
{
    (void)arguments;
    (void)ignored;
    if (strcmp(event, "os.fork") == 0 || strcmp(event, "os.forkpty") == 0)
        return refuse("os.fork()", "use subprocess, or multiprocessing's spawn or forkserver method");
    if (strcmp(event, "subprocess.Popen") == 0 && has_preexec_fn())
        return refuse("preexec_fn", "use subprocess's other parameters, such as start_new_session");
    return 0;
}

int host_forks_refuse(struct err *e)
{
    if (PySys_AddAuditHook(on_event, NULL) == 0)
        return 0;
    PyErr_Clear();
    return err_set(e, "forks cannot be refused: a hook that is already there objects, or memory is short");
}
