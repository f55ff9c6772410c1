/* Finds the extension module that refuses a sub-interpreter.
 *
 * What such a module raises mostly does not name it, and an application sees it through whatever its imports
 * make of the exception. So importlib's loader of extension modules is watched while an application is
 * imported: what it raised is remembered with the module's name, and looked for among the causes of what
 * arrives in the end. An exception with a path comes from the dynamic linker (a library is missing, the ABI
 * differs) and would come in every interpreter. On the main thread; an application's own threads may import
 * meanwhile. With the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/refusal.h"

#include "base/err.h"
#include "pyhost/host.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CAUSES_MAX 32 /* a chain may have a circle in it */

/* The loader's methods that run code of the module. */
static const char *const watched_names[] = {"create_module", "exec_module"};
enum { WATCHED_COUNT = sizeof watched_names / sizeof watched_names[0] };

/* All NULL while nothing is watched. */
static struct {
    PyObject *loader;                   /* the class */
    PyObject *failures;                 /* list of (exception, module's name) */
    PyObject *originals[WATCHED_COUNT]; /* the class's own functions */
    PyObject *wrappers[WATCHED_COUNT];
} watch;

/* The name of what was to be loaded: of the spec that create_module() takes, of the module that exec_module()
 * takes. New reference; NULL with an exception. */
static PyObject *name_of(PyObject *spec_or_module)
{
    PyObject *name = PyObject_GetAttrString(spec_or_module, "name");
    if (!name) {
        PyErr_Clear();
        name = PyObject_GetAttrString(spec_or_module, "__name__");
    }
    return name;
}

/* Remembers the current exception, and leaves it set. */
static void note_failure(PyObject *failures, PyObject *arguments)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *name = PyTuple_GET_SIZE(arguments) == 2 ? name_of(PyTuple_GET_ITEM(arguments, 1)) : NULL;
    PyObject *failure = name && value ? PyTuple_Pack(2, value, name) : NULL;
    if (failure)
        PyList_Append(failures, failure);
    Py_XDECREF(failure);
    Py_XDECREF(name);
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

/* self: (original function, list of failures). */
static PyObject *call_watched(PyObject *self, PyObject *arguments)
{
    PyObject *result = PyObject_Call(PyTuple_GET_ITEM(self, 0), arguments, NULL);
    if (!result)
        note_failure(PyTuple_GET_ITEM(self, 1), arguments);
    return result;
}

/* A function of a class that calls original. New reference; NULL with an exception. */
static PyObject *new_wrapper(PyObject *original)
{
    static PyMethodDef method = {"pyfpm_watched", call_watched, METH_VARARGS, NULL};
    PyObject *self = PyTuple_Pack(2, original, watch.failures);
    PyObject *function = self ? PyCFunction_New(&method, self) : NULL;
    PyObject *wrapper = function ? PyInstanceMethod_New(function) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(self);
    return wrapper;
}

static int start(void)
{
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    watch.loader = machinery ? PyObject_GetAttrString(machinery, "ExtensionFileLoader") : NULL;
    watch.failures = PyList_New(0);
    Py_XDECREF(machinery);
    if (!watch.loader || !watch.failures)
        return -1;
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        watch.originals[i] = PyObject_GetAttrString(watch.loader, watched_names[i]);
        watch.wrappers[i] = watch.originals[i] ? new_wrapper(watch.originals[i]) : NULL;
        if (!watch.wrappers[i] ||
            PyObject_SetAttrString(watch.loader, watched_names[i], watch.wrappers[i]) < 0)
            return -1;
    }
    return 0;
}

int host_refusal_watch(struct err *e)
{
    char text[1024];
    if (start() == 0)
        return 0;
    host_pyerr_format(text, sizeof text);
    host_refusal_unwatch();
    return err_set(e, "the loading of extension modules cannot be watched: %s", text);
}

/* What somebody else put in the wrapper's place stays; it calls the original through the wrapper. */
static void restore(size_t i)
{
    PyObject *current = PyObject_GetAttrString(watch.loader, watched_names[i]);
    bool is_ours = current && PyInstanceMethod_Check(watch.wrappers[i]) &&
                   current == PyInstanceMethod_GET_FUNCTION(watch.wrappers[i]);
    if (is_ours)
        PyObject_SetAttrString(watch.loader, watched_names[i], watch.originals[i]);
    Py_XDECREF(current);
    PyErr_Clear();
}

void host_refusal_unwatch(void)
{
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        if (watch.wrappers[i])
            restore(i);
        Py_CLEAR(watch.wrappers[i]);
        Py_CLEAR(watch.originals[i]);
    }
    Py_CLEAR(watch.failures);
    Py_CLEAR(watch.loader);
}

/* ---- explaining ---- */

/* The name of the module that raised this very exception (borrowed), or NULL. */
static PyObject *culprit_of(PyObject *exception)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(watch.failures); i++) {
        PyObject *failure = PyList_GET_ITEM(watch.failures, i);
        if (PyTuple_GET_ITEM(failure, 0) == exception)
            return PyTuple_GET_ITEM(failure, 1);
    }
    return NULL;
}

/* What an exception was raised from or during (new reference), or NULL. */
static PyObject *cause_of(PyObject *exception)
{
    PyObject *cause = PyException_GetCause(exception);
    return cause ? cause : PyException_GetContext(exception);
}

static bool has_path(PyObject *exception)
{
    PyObject *path = PyObject_GetAttrString(exception, "path");
    bool result = path && path != Py_None;
    Py_XDECREF(path);
    PyErr_Clear();
    return result;
}

/* The words of CPython 3.12, PyO3, Cython, numpy and their like. */
static bool speaks_of_interpreters(PyObject *exception)
{
    static const char *const words[] = {"subinterpreter",      "sub-interpreter",      "per interpreter",
                                        "one interpreter per", "interpreter change",   "once per process",
                                        "more than once per",  "multiple interpreters"};
    PyObject *text = PyObject_Str(exception);
    const char *bytes = text ? PyUnicode_AsUTF8(text) : NULL;
    bool result = false;
    for (size_t i = 0; bytes && i < sizeof words / sizeof words[0] && !result; i++)
        result = strcasestr(bytes, words[i]) != NULL;
    Py_XDECREF(text);
    PyErr_Clear();
    return result;
}

static void describe(PyObject *exception, PyObject *name, char text[HOST_REFUSAL_TEXT_MAX])
{
    const char *module = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (!module || has_path(exception))
        return;
    const char *format =
        " (the extension module %.200s failed in this interpreter; if it works in the main one, it "
        "does not support sub-interpreters: give this application interpreter: main)";
    if (speaks_of_interpreters(exception))
        format = " (the extension module %.200s does not support sub-interpreters: give this application "
                 "interpreter: main)";
    snprintf(text, HOST_REFUSAL_TEXT_MAX, format, module);
}

/* Follows the causes of an exception (takes the reference). */
static void explain_chain(PyObject *exception, char text[HOST_REFUSAL_TEXT_MAX])
{
    for (int i = 0; exception && i < CAUSES_MAX; i++) {
        PyObject *name = culprit_of(exception); /* borrowed */
        if (name) {
            describe(exception, name, text);
            break;
        }
        PyObject *cause = cause_of(exception);
        Py_DECREF(exception);
        exception = cause;
    }
    Py_XDECREF(exception);
    PyErr_Clear();
}

void host_refusal_explain(char text[HOST_REFUSAL_TEXT_MAX])
{
    PyObject *type, *value, *trace;
    text[0] = '\0';
    if (!watch.failures || PyList_GET_SIZE(watch.failures) == 0)
        return;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    Py_XINCREF(value);
    explain_chain(value, text);
    PyErr_Restore(type, value, trace);
}
