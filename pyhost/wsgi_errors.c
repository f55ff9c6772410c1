/* wsgi.errors: a text stream whose lines become log records.
 *
 * Whole lines leave at once, several of one write() as one record, so that a traceback stays together; the
 * start of a line waits for its end, flush(), or the end of the request. It needs no request and outlives all
 * of them. With the GIL, which is given back while a record is sent. */
#include "pyhost/wsgi_request.h"

#include "base/log.h"

#include <string.h>

#define LINE_MAX_BYTES 8192 /* a longer line is logged in pieces */

struct errors {
    PyObject_HEAD pthread_mutex_t lock; /* around the line; never held across anything that waits */
    size_t size;
    char line[LINE_MAX_BYTES]; /* what was written since the last line end */
};

static size_t last_line_end(const char *text, size_t size)
{
    const char *newline = memrchr(text, '\n', size);
    return newline ? (size_t)(newline - text) + 1 : 0;
}

/* Without the GIL. */
static void log_lines(const char *text, size_t size)
{
    if (size > 0)
        log_write_text(LOG_LEVEL_ERROR, NULL, NULL, text, size);
}

/* Takes the started line out, at most LINE_MAX_BYTES. */
static size_t take_line(struct errors *e, char *line)
{
    pthread_mutex_lock(&e->lock);
    size_t size = e->size;
    memcpy(line, e->line, size);
    e->size = 0;
    pthread_mutex_unlock(&e->lock);
    return size;
}

/* Appends to the started line; false when it does not fit. */
static bool add_to_line(struct errors *e, const char *text, size_t size)
{
    pthread_mutex_lock(&e->lock);
    bool fits = size <= sizeof e->line - e->size;
    if (fits) {
        memcpy(e->line + e->size, text, size);
        e->size += size;
    }
    pthread_mutex_unlock(&e->lock);
    return fits;
}

/* Without the GIL. */
static void write_text(struct errors *e, const char *text, size_t size)
{
    char line[LINE_MAX_BYTES];
    size_t whole = last_line_end(text, size);
    if (whole == 0 && add_to_line(e, text, size))
        return;
    size_t started = take_line(e, line);
    if (whole == 0) { /* too long to wait for its end */
        log_lines(line, started);
        if (!add_to_line(e, text, size))
            log_lines(text, size);
        return;
    }
    const char *first_end = memchr(text, '\n', size);
    size_t first = (size_t)(first_end - text) + 1;
    if (started > 0 && first <= sizeof line - started) {
        memcpy(line + started, text, first);
        log_lines(line, started + first);
    } else {
        log_lines(line, started);
        first = 0;
    }
    log_lines(text + first, whole - first);
    if (!add_to_line(e, text + whole, size - whole))
        log_lines(text + whole, size - whole);
}

static bool write_object(struct errors *e, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "wsgi.errors takes str, not %.100s", Py_TYPE(text)->tp_name);
        return false;
    }
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!encoded)
        return false;
    const char *bytes = PyBytes_AS_STRING(encoded);
    size_t size = (size_t)PyBytes_GET_SIZE(encoded);
    if (size > 0) {
        Py_BEGIN_ALLOW_THREADS write_text(e, bytes, size);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(encoded);
    return true;
}

static PyObject *errors_write(PyObject *self, PyObject *text)
{
    if (!write_object((struct errors *)self, text))
        return NULL;
    return PyLong_FromSsize_t(PyUnicode_GetLength(text));
}

static PyObject *errors_writelines(PyObject *self, PyObject *lines)
{
    PyObject *iterator = PyObject_GetIter(lines);
    PyObject *line;
    if (!iterator)
        return NULL;
    bool is_fine = true;
    while (is_fine && (line = PyIter_Next(iterator))) {
        is_fine = write_object((struct errors *)self, line);
        Py_DECREF(line);
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

void host_errors_end_line(PyObject *self)
{
    struct errors *e = (struct errors *)self;
    char line[LINE_MAX_BYTES];
    size_t size = take_line(e, line);
    if (size == 0)
        return;
    Py_BEGIN_ALLOW_THREADS log_lines(line, size);
    Py_END_ALLOW_THREADS
}

static PyObject *errors_flush(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    host_errors_end_line(self);
    Py_RETURN_NONE;
}

static void errors_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    host_errors_end_line(self);
    pthread_mutex_destroy(&((struct errors *)self)->lock);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyTypeObject *host_errors_type_new(void)
{
    static PyMethodDef methods[] = {
        {"write", errors_write, METH_O, "write(text): whole lines go to the log at once."},
        {"writelines", errors_writelines, METH_O, "writelines(lines)"},
        {"flush", errors_flush, METH_NOARGS, "Logs a line that has no end yet."},
        {NULL, NULL, 0, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, errors_dealloc},
        {Py_tp_methods, methods},
        {Py_tp_doc, "A text stream into pyfpm's log."},
        {0, NULL},
    };
    static PyType_Spec spec = {"pyfpm.errors", sizeof(struct errors), 0, Py_TPFLAGS_DEFAULT, slots};
    return host_type_new(&spec);
}

PyObject *host_errors_new(struct host_wsgi *s)
{
    struct errors *e = PyObject_New(struct errors, s->errors_type);
    if (!e)
        return NULL;
    pthread_mutex_init(&e->lock, NULL);
    e->size = 0;
    return (PyObject *)e;
}
