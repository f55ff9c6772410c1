/* Turns Python exceptions into text. The only place that formats one.
 *
 * Formatting runs Python code, the application's own __str__ included, so every step may fail and there is
 * always a plainer one behind it; the last needs no memory. Whatever happens, the caller is left without a
 * second exception. Runs with the GIL, on any thread. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/host.h"

#include <stdio.h>
#include <string.h>

#define CUT_MARK "[...]\n"

/* Takes the current exception as its value, traceback attached (new reference, NULL when there is none). */
static PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace && value)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}

static void put_exception_back(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exception);
#else
    PyObject *type = (PyObject *)Py_TYPE(exception);
    Py_INCREF(type);
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
#endif
}

/* Copies bytes, without NULs and the newlines at their end; of what is too long, the end with a mark before
 * it. */
static void copy_tail(char *text, size_t text_size, const char *bytes, size_t size)
{
    while (size > 0 && bytes[size - 1] == '\n')
        size--;
    size_t used = 0;
    if (size >= text_size && text_size > 2 * sizeof CUT_MARK) {
        used = sizeof CUT_MARK - 1;
        memcpy(text, CUT_MARK, used);
        size_t room = text_size - 1 - used;
        const char *tail = bytes + size - room;
        const char *newline = memchr(tail, '\n', room);
        if (newline && newline + 1 < bytes + size)
            tail = newline + 1;
        while (tail < bytes + size && ((unsigned char)*tail & 0xc0) == 0x80)
            tail++;
        size = (size_t)(bytes + size - tail);
        bytes = tail;
    } else if (size >= text_size) {
        size = text_size - 1;
    }
    for (size_t i = 0; i < size; i++)
        text[used + i] = bytes[i] ? bytes[i] : '?';
    text[used + size] = '\0';
}

/* Copies a str; surrogates come out as \udc80 and the like. 0, or -1 with an exception. */
static int copy_string(char *text, size_t text_size, PyObject *string)
{
    PyObject *bytes = PyUnicode_AsEncodedString(string, "utf-8", "backslashreplace");
    if (!bytes)
        return -1;
    copy_tail(text, text_size, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return 0;
}

/* traceback.format_exception(), joined. 0, or -1 with an exception. */
static int format_with_traceback(char *text, size_t text_size, PyObject *exception)
{
    int result = -1;
    PyObject *lines = NULL, *empty = NULL, *joined = NULL;
    PyObject *trace = PyException_GetTraceback(exception);
    PyObject *module = PyImport_ImportModule("traceback");
    if (!module)
        goto out;
    lines = PyObject_CallMethod(module, "format_exception", "OOO", (PyObject *)Py_TYPE(exception), exception,
                                trace ? trace : Py_None);
    empty = PyUnicode_FromString("");
    if (!lines || !empty)
        goto out;
    joined = PyUnicode_Join(empty, lines);
    if (joined)
        result = copy_string(text, text_size, joined);
out:
    Py_XDECREF(joined);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    Py_XDECREF(trace);
    return result;
}

/* "Type: message", or "Type" alone when the message cannot be had. Leaves no exception. */
static void format_plainly(char *text, size_t text_size, PyObject *exception)
{
    const char *type = Py_TYPE(exception)->tp_name;
    size_t used = (size_t)snprintf(text, text_size, "%s: ", type);
    PyObject *message = PyObject_Str(exception);
    if (!message || used >= text_size || PyUnicode_GetLength(message) == 0 ||
        copy_string(text + used, text_size - used, message) < 0)
        snprintf(text, text_size, "%s", type);
    Py_XDECREF(message);
    PyErr_Clear();
}

void host_pyerr_format(char *text, unsigned long text_size)
{
    PyObject *exception = take_exception();
    if (!exception) {
        snprintf(text, text_size, "an error without an exception");
        return;
    }
    if (format_with_traceback(text, text_size, exception) < 0) {
        PyErr_Clear();
        format_plainly(text, text_size, exception);
    }
    Py_DECREF(exception);
    PyErr_Clear();
}

void host_pyerr_summarize(char *text, unsigned long text_size)
{
    PyObject *exception = take_exception();
    if (!exception) {
        snprintf(text, text_size, "an error without an exception");
        return;
    }
    format_plainly(text, text_size, exception);
    char *newline = strchr(text, '\n');
    if (newline)
        *newline = '\0';
    put_exception_back(exception);
}
