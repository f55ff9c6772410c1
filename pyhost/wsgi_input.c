/* wsgi.input: the request's body as a binary stream.
 *
 * read() and the line methods share a small buffer of what was read ahead. Memory grows with what came, never
 * with what CONTENT_LENGTH claims. A body that breaks off raises OSError, so that half an upload cannot pass
 * for a whole one. The object stays safe after its request: see host_gate_enter(). With the GIL, which is
 * given back while waiting for bytes. */
#include "pyhost/wsgi_request.h"

#include "fcgi/fcgi.h"

#include <errno.h>
#include <string.h>

#define FIRST_SIZE (64 * 1024)        /* what a read allocates before bytes came */
#define GROW_MOST  (16 * 1024 * 1024) /* how much more it allocates at a time */

struct input {
    PyObject_HEAD struct host_wsgi_thread *t;
    uint64_t number;
};

/* Bytes that are being put together. */
struct gathering {
    PyObject *bytes; /* a bytes object not shared yet; NULL after it could not grow */
    size_t size;     /* filled */
};

/* ---- inside the gate ---- */

static size_t take_buffered(struct host_wsgi_thread *t, void *out, size_t size)
{
    size_t there = t->input_end - t->input_start;
    size_t taken = size < there ? size : there;
    memcpy(out, t->input + t->input_start, taken);
    t->input_start += taken;
    return taken;
}

/* Reads until size bytes are there or the body ends. The bytes read, or -1 with errno. */
static ssize_t read_fully(struct host_wsgi_thread *t, char *out, size_t size)
{
    size_t filled = take_buffered(t, out, size);
    ssize_t got = 1;
    if (filled == size)
        return (ssize_t)filled;
    Py_BEGIN_ALLOW_THREADS while (filled < size &&
                                  (got = fcgi_request_read(t->request, out + filled, size - filled)) > 0)
        filled += (size_t)got;
    Py_END_ALLOW_THREADS return got < 0 ? -1 : (ssize_t)filled;
}

/* One read's worth: what is buffered, else what comes first. */
static ssize_t read_some(struct host_wsgi_thread *t, char *out, size_t size)
{
    ssize_t got = (ssize_t)take_buffered(t, out, size);
    if (got > 0 || size == 0)
        return got;
    Py_BEGIN_ALLOW_THREADS got = fcgi_request_read(t->request, out, size);
    Py_END_ALLOW_THREADS return got;
}

/* Fills the empty buffer. 0 at the end of the body, -1 with errno. */
static ssize_t read_ahead(struct host_wsgi_thread *t)
{
    ssize_t got;
    Py_BEGIN_ALLOW_THREADS got = fcgi_request_read(t->request, t->input, sizeof t->input);
    Py_END_ALLOW_THREADS t->input_start = 0;
    t->input_end = got > 0 ? (size_t)got : 0;
    return got;
}

/* Makes room for more than is filled, up to limit bytes. */
static bool grow(struct gathering *g, size_t limit)
{
    size_t size = (size_t)PyBytes_GET_SIZE(g->bytes);
    size_t more = size < GROW_MOST ? size : GROW_MOST;
    size_t wanted = size + (more > FIRST_SIZE ? more : FIRST_SIZE);
    return _PyBytes_Resize(&g->bytes, (Py_ssize_t)(wanted < limit ? wanted : limit)) == 0;
}

/* Makes room for a piece of a line. */
static bool reserve(struct gathering *g, size_t size)
{
    size_t capacity = (size_t)PyBytes_GET_SIZE(g->bytes);
    if (capacity - g->size >= size)
        return true;
    size_t wanted = g->size + size > 2 * capacity ? g->size + size : 2 * capacity;
    return _PyBytes_Resize(&g->bytes, (Py_ssize_t)wanted) == 0;
}

/* 0, or -1 with errno; without memory bytes is NULL. */
static int gather(struct host_wsgi_thread *t, struct gathering *g, size_t limit)
{
    for (;;) {
        size_t room = (size_t)PyBytes_GET_SIZE(g->bytes) - g->size;
        ssize_t got = read_fully(t, PyBytes_AS_STRING(g->bytes) + g->size, room);
        if (got < 0)
            return -1;
        g->size += (size_t)got;
        if ((size_t)got < room || g->size == limit)
            return 0;
        if (!grow(g, limit))
            return 0;
    }
}

static int gather_line(struct host_wsgi_thread *t, struct gathering *g, size_t limit)
{
    while (g->size < limit) {
        if (t->input_start == t->input_end) {
            ssize_t got = read_ahead(t);
            if (got <= 0)
                return (int)got;
        }
        const char *start = t->input + t->input_start;
        size_t there = t->input_end - t->input_start;
        size_t size = there < limit - g->size ? there : limit - g->size;
        const char *newline = memchr(start, '\n', size);
        if (newline)
            size = (size_t)(newline - start) + 1;
        if (!reserve(g, size))
            return 0;
        g->size += take_buffered(t, PyBytes_AS_STRING(g->bytes) + g->size, size);
        if (newline)
            return 0;
    }
    return 0;
}

/* ---- outside ---- */

static void raise_broken(int error)
{
    if (error == ETIMEDOUT || error == EAGAIN)
        host_raise_lost(ECONNABORTED, "the client sent nothing of the request's body for io-timeout");
    else
        host_raise_lost(ECONNRESET, "the client went away before it sent the whole request body");
}

typedef int gatherer(struct host_wsgi_thread *t, struct gathering *g, size_t limit);

static PyObject *gathered(struct input *in, gatherer *how, Py_ssize_t first_size, Py_ssize_t limit)
{
    struct gathering g = {PyBytes_FromStringAndSize(NULL, limit < first_size ? limit : first_size), 0};
    if (!g.bytes)
        return NULL;
    if (!host_gate_enter(in->t, in->number)) {
        Py_DECREF(g.bytes);
        return NULL;
    }
    int failed = how(in->t, &g, (size_t)limit);
    int error = errno;
    host_gate_leave(in->t);
    if (!g.bytes)
        return PyErr_NoMemory();
    if (failed) {
        Py_DECREF(g.bytes);
        raise_broken(error);
        return NULL;
    }
    if (_PyBytes_Resize(&g.bytes, (Py_ssize_t)g.size) < 0)
        return NULL;
    return g.bytes;
}

/* An optional size: absent, None and negative mean no limit. false with an exception. */
static bool take_limit(PyObject *arguments, const char *format, Py_ssize_t *limit)
{
    PyObject *given = Py_None;
    if (!PyArg_ParseTuple(arguments, format, &given))
        return false;
    *limit = PY_SSIZE_T_MAX;
    if (given == Py_None)
        return true;
    Py_ssize_t value = PyNumber_AsSsize_t(given, PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred())
        return false;
    if (value >= 0)
        *limit = value;
    return true;
}

static PyObject *input_read(PyObject *self, PyObject *arguments)
{
    Py_ssize_t limit;
    if (!take_limit(arguments, "|O:read", &limit))
        return NULL;
    return gathered((struct input *)self, gather, FIRST_SIZE, limit);
}

static PyObject *read_line(PyObject *self, Py_ssize_t limit)
{
    return gathered((struct input *)self, gather_line, 256, limit);
}

static PyObject *input_readline(PyObject *self, PyObject *arguments)
{
    Py_ssize_t limit;
    if (!take_limit(arguments, "|O:readline", &limit))
        return NULL;
    return read_line(self, limit);
}

static PyObject *input_readlines(PyObject *self, PyObject *arguments)
{
    Py_ssize_t hint, total = 0;
    if (!take_limit(arguments, "|O:readlines", &hint))
        return NULL;
    if (hint == 0)
        hint = PY_SSIZE_T_MAX;
    PyObject *lines = PyList_New(0);
    while (lines && total < hint) {
        PyObject *line = read_line(self, PY_SSIZE_T_MAX);
        Py_ssize_t size = line ? PyBytes_GET_SIZE(line) : -1;
        if (!line || (size > 0 && PyList_Append(lines, line) < 0))
            Py_CLEAR(lines);
        Py_XDECREF(line);
        if (size == 0)
            break;
        total += size;
    }
    return lines;
}

/* As io.RawIOBase has it: may read less than there is room for. */
static PyObject *input_readinto(PyObject *self, PyObject *arguments)
{
    struct input *in = (struct input *)self;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(arguments, "w*:readinto", &buffer))
        return NULL;
    if (!host_gate_enter(in->t, in->number)) {
        PyBuffer_Release(&buffer);
        return NULL;
    }
    ssize_t got = read_some(in->t, buffer.buf, (size_t)buffer.len);
    int error = errno;
    host_gate_leave(in->t);
    PyBuffer_Release(&buffer);
    if (got >= 0)
        return PyLong_FromSsize_t(got);
    raise_broken(error);
    return NULL;
}

static PyObject *input_next(PyObject *self)
{
    PyObject *line = read_line(self, PY_SSIZE_T_MAX);
    if (line && PyBytes_GET_SIZE(line) == 0)
        Py_CLEAR(line);
    return line;
}

static void input_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyTypeObject *host_input_type_new(void)
{
    static PyMethodDef methods[] = {
        {"read", input_read, METH_VARARGS, "read(size=-1): size bytes, fewer only at the end of the body."},
        {"readline", input_readline, METH_VARARGS, "readline(limit=-1): up to and with the next line end."},
        {"readlines", input_readlines, METH_VARARGS,
         "readlines(hint=-1): lines of hint bytes together, or all."},
        {"readinto", input_readinto, METH_VARARGS,
         "readinto(buffer): what is there first; the number of bytes."},
        {NULL, NULL, 0, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, input_dealloc},          {Py_tp_methods, methods},
        {Py_tp_iter, PyObject_SelfIter},         {Py_tp_iternext, input_next},
        {Py_tp_doc, "The body of one request."}, {0, NULL},
    };
    static PyType_Spec spec = {"pyfpm.input", sizeof(struct input), 0, Py_TPFLAGS_DEFAULT, slots};
    return host_type_new(&spec);
}

PyObject *host_input_new(struct host_wsgi_thread *t)
{
    struct input *in = PyObject_New(struct input, t->wsgi->input_type);
    if (!in)
        return NULL;
    in->t = t;
    in->number = t->number;
    return (PyObject *)in;
}
