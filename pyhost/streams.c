/* The standard streams of an interpreter: how they are buffered, and that nothing stays behind in them.
 *
 * Each interpreter has streams of its own over the same two descriptors. On the main thread, with the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/streams.h"

#include "base/err.h"
#include "pyhost/host.h"

#include <stdio.h>

/* A line at a time costs what a terminal costs, and only those who print. */
static int make_line_buffered(const char *name, struct err *e)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    PyObject *reconfigure = stream ? PyObject_GetAttrString(stream, "reconfigure") : NULL;
    PyObject *none = PyTuple_New(0);
    PyObject *options = Py_BuildValue("{s:O}", "line_buffering", Py_True);
    PyObject *done = reconfigure && none && options ? PyObject_Call(reconfigure, none, options) : NULL;
    Py_XDECREF(options);
    Py_XDECREF(none);
    Py_XDECREF(reconfigure);
    if (done) {
        Py_DECREF(done);
        return 0;
    }
    char text[1024];
    host_pyerr_format(text, sizeof text);
    return err_set(e, "sys.%s cannot be made line-buffered: %s", name, text);
}

int host_streams_buffer_lines(struct err *e)
{
    return make_line_buffered("stdout", e) < 0 ? -1 : make_line_buffered("stderr", e);
}

static void flush_stream(const char *name)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    PyObject *done = stream && stream != Py_None ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
    Py_XDECREF(done);
    PyErr_Clear();
}

void host_streams_flush(void)
{
    flush_stream("stdout");
    flush_stream("stderr");
    fflush(NULL);
}
