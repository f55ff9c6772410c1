/* start_response(), write(), and the response's way out.
 *
 * Headers are checked and written as bytes when start_response() is called, and leave with the first byte of
 * the body, or at its end. What could break the response or reach beyond it is refused: control characters,
 * names that are no tokens, hop-by-hop headers (RFC 9110, 7.6.1), and a Status header, which the web server
 * would take for the real one. The objects stay safe after their request: see host_gate_enter(). With the
 * GIL, which is given back while bytes move. */
#include "pyhost/wsgi_request.h"

#include "base/log.h"
#include "fcgi/fcgi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEPT_CAPACITY (64 * 1024)
#define PARTS_MAX     64

struct start {
    PyObject_HEAD struct host_wsgi_thread *t;
    uint64_t number;
};

/* Why start_response() refuses. An exception must wait until the gate is left, so it is noted first. */
struct refusal {
    PyObject *type; /* borrowed; NULL: not refused */
    char text[256]; /* ASCII */
};

/* ---- bytes ---- */

bool host_buffer_append(struct host_buffer *b, const void *bytes, size_t size)
{
    if (b->capacity - b->size < size) {
        size_t capacity = b->capacity ? b->capacity : 2048;
        while (capacity - b->size < size)
            capacity *= 2;
        char *grown = realloc(b->bytes, capacity);
        if (!grown)
            return false;
        b->bytes = grown;
        b->capacity = capacity;
    }
    if (size > 0)
        memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
    return true;
}

static bool append_text(struct host_buffer *b, const char *text)
{
    return host_buffer_append(b, text, strlen(text));
}

void host_response_reset(struct host_wsgi_thread *t)
{
    if (t->out.capacity > KEPT_CAPACITY) {
        free(t->out.bytes);
        t->out = (struct host_buffer){0};
    }
    t->out.size = 0;
    t->is_started = t->is_committed = t->is_bodiless = t->is_cut = t->is_surplus_told = false;
    t->status = 0;
    t->length = -1;
    t->sent = 0;
    t->lost = 0;
}

static bool append_length(struct host_buffer *b, int64_t length)
{
    char line[64];
    snprintf(line, sizeof line, "Content-Length: %lld\r\n", (long long)length);
    return append_text(b, line);
}

bool host_response_commit(struct host_wsgi_thread *t)
{
    bool may_have_length = t->status >= 200 && t->status != 204;
    if (t->length >= 0 && may_have_length && !append_length(&t->out, t->length))
        return false;
    if (!append_text(&t->out, "\r\n"))
        return false;
    t->is_committed = true;
    return true;
}

void host_response_replace(struct host_wsgi_thread *t, const char *status, const char *text)
{
    t->out.size = 0;
    bool is_done = append_text(&t->out, "Status: ") && append_text(&t->out, status) &&
                   append_text(&t->out, "\r\nContent-Type: text/plain; charset=utf-8\r\n") &&
                   append_length(&t->out, (int64_t)strlen(text)) && append_text(&t->out, "\r\n") &&
                   (t->is_head || append_text(&t->out, text));
    t->length = -1;
    t->is_committed = true;
    t->is_cut = !is_done;
}

size_t host_response_allow(struct host_wsgi_thread *t, size_t size)
{
    size_t allowed = size;
    if (t->length >= 0 && size > (uint64_t)(t->length - t->sent))
        allowed = (size_t)(t->length - t->sent);
    t->sent += (int64_t)allowed;
    if (allowed < size && !t->is_surplus_told) {
        t->is_surplus_told = true;
        host_request_log(t, LOG_LEVEL_ERROR,
                         "the application gave more than its Content-Length of %lld bytes: the rest is cut",
                         (long long)t->length);
    }
    return allowed;
}

/* Inside the gate. */
static bool send_inside(struct host_wsgi_thread *t, const struct iovec *parts, size_t part_count, bool flush)
{
    struct iovec all[PARTS_MAX + 1];
    size_t count = 0;
    int failed = 0;
    if (t->lost)
        return false;
    if (t->out.size > 0)
        all[count++] = (struct iovec){t->out.bytes, t->out.size};
    Py_BEGIN_ALLOW_THREADS do
    {
        while (part_count > 0 && count < PARTS_MAX + 1) {
            all[count++] = *parts++;
            part_count--;
        }
        if (count > 0)
            failed = fcgi_request_write(t->request, all, count);
        count = 0;
    }
    while (part_count > 0 && failed == 0)
        ;
    if (failed == 0 && flush)
        failed = fcgi_request_flush(t->request);
    if (failed)
        t->lost = errno ? errno : EPIPE;
    Py_END_ALLOW_THREADS t->out.size = 0;
    return failed == 0;
}

bool host_response_send(struct host_wsgi_thread *t, const struct iovec *parts, size_t part_count, bool flush)
{
    if (!host_gate_enter(t, t->number))
        return false;
    bool is_sent = send_inside(t, parts, part_count, flush);
    host_gate_leave(t);
    return is_sent;
}

/* Of an exception that says so of the client; applications see it and have no use for it. */
#define LOST_MARK "_pyfpm_client_lost"

void host_raise_lost(int error, const char *sentence)
{
    PyObject *exception = PyObject_CallFunction(PyExc_OSError, "is", error, sentence);
    if (exception && PyObject_SetAttrString(exception, LOST_MARK, Py_True) == 0)
        PyErr_SetObject((PyObject *)Py_TYPE(exception),
                        exception); /* OSError() chose a subclass by the number */
    Py_XDECREF(exception);
}

bool host_raised_lost(void)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    bool is_marked = value && PyObject_HasAttrString(value, LOST_MARK);
    PyErr_Restore(type, value, trace);
    return is_marked;
}

static void raise_lost(const struct host_wsgi_thread *t)
{
    if (t->lost == ETIMEDOUT || t->lost == EAGAIN)
        host_raise_lost(ETIMEDOUT, "the client did not take the response within io-timeout");
    else
        host_raise_lost(EPIPE, "the client went away before it got the whole response");
}

/* ---- checks ---- */

/* Copies what can be shown of a name into the refusal's text. */
static void refuse(struct refusal *r, PyObject *type, const char *format, const char *name,
                   Py_ssize_t name_size)
{
    char shown[64];
    size_t size = 0;
    for (Py_ssize_t i = 0; i < name_size && size + 1 < sizeof shown; i++)
        shown[size++] = name[i] > 0x20 && name[i] < 0x7f ? name[i] : '?';
    shown[size] = '\0';
    r->type = type;
    snprintf(r->text, sizeof r->text, format, shown);
}

static bool is_token(const char *bytes, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return size > 0;
}

static bool is_clean(const char *bytes, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_name(const char *bytes, Py_ssize_t size, const char *name)
{
    return (size_t)size == strlen(name) && strncasecmp(bytes, name, (size_t)size) == 0;
}

static bool is_hop_by_hop(const char *bytes, Py_ssize_t size)
{
    static const char *const hop_by_hop[] = {"Connection",          "Keep-Alive", "Proxy-Authenticate",
                                             "Proxy-Authorization", "TE",         "Trailers",
                                             "Transfer-Encoding",   "Upgrade",    "Trailer"};
    for (size_t i = 0; i < sizeof hop_by_hop / sizeof hop_by_hop[0]; i++)
        if (is_name(bytes, size, hop_by_hop[i]))
            return true;
    return false;
}

static bool parse_length(const char *bytes, Py_ssize_t size, int64_t *length)
{
    int64_t value = 0;
    if (size == 0 || size > 18)
        return false;
    for (Py_ssize_t i = 0; i < size; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return false;
        value = value * 10 + (bytes[i] - '0');
    }
    *length = value;
    return true;
}

/* ---- start_response ---- */

static bool take_status(struct host_wsgi_thread *t, PyObject *status, struct refusal *r)
{
    Py_ssize_t size;
    const char *bytes = host_latin1(status, &size);
    bool is_good = bytes && size >= 4 && bytes[0] >= '1' && bytes[0] <= '9' && bytes[1] >= '0' &&
                   bytes[1] <= '9' && bytes[2] >= '0' && bytes[2] <= '9' && bytes[3] == ' ' &&
                   is_clean(bytes, size);
    if (!is_good) {
        refuse(r, PyExc_ValueError,
               "start_response(): the status \"%s\" is not three digits, a space and a reason of printable "
               "latin-1",
               bytes ? bytes : "", bytes ? size : 0);
        return false;
    }
    t->status = (bytes[0] - '0') * 100 + (bytes[1] - '0') * 10 + (bytes[2] - '0');
    return append_text(&t->out, "Status: ") && host_buffer_append(&t->out, bytes, (size_t)size) &&
           append_text(&t->out, "\r\n");
}

static bool take_length(struct host_wsgi_thread *t, const char *value, Py_ssize_t size, struct refusal *r)
{
    int64_t length;
    if (!parse_length(value, size, &length)) {
        refuse(r, PyExc_ValueError, "start_response(): the Content-Length \"%s\" is no number", value, size);
        return false;
    }
    if (t->length >= 0 && t->length != length) {
        refuse(r, PyExc_ValueError,
               "start_response(): a second Content-Length, \"%s\", contradicts the first", value, size);
        return false;
    }
    t->length = length;
    return true;
}

static bool take_header(struct host_wsgi_thread *t, PyObject *item, struct refusal *r)
{
    bool is_pair = PyTuple_Check(item) && PyTuple_GET_SIZE(item) == 2 &&
                   PyUnicode_Check(PyTuple_GET_ITEM(item, 0)) && PyUnicode_Check(PyTuple_GET_ITEM(item, 1));
    if (!is_pair) {
        refuse(r, PyExc_TypeError, "start_response(): each header must be a tuple of two str%s", "", 0);
        return false;
    }
    Py_ssize_t name_size, value_size;
    const char *name = host_latin1(PyTuple_GET_ITEM(item, 0), &name_size);
    const char *value = host_latin1(PyTuple_GET_ITEM(item, 1), &value_size);
    const char *complaint = NULL;
    if (!name || !is_token(name, name_size))
        complaint = "start_response(): the header name \"%s\" is no token";
    else if (!value)
        complaint = "start_response(): the value of header %s has characters that are not latin-1";
    else if (!is_clean(value, value_size))
        complaint = "start_response(): the value of header %s has a line end or another control character";
    else if (is_hop_by_hop(name, name_size))
        complaint = "start_response(): %s is a hop-by-hop header, which only the web server may send";
    else if (is_name(name, name_size, "Status"))
        complaint = "start_response(): a header may not be called %s; the status is an argument of its own";
    if (complaint) {
        refuse(r, PyExc_ValueError, complaint, name ? name : "", name ? name_size : 0);
        return false;
    }
    if (is_name(name, name_size, "Content-Length"))
        return take_length(t, value, value_size, r);
    return host_buffer_append(&t->out, name, (size_t)name_size) && append_text(&t->out, ": ") &&
           host_buffer_append(&t->out, value, (size_t)value_size) && append_text(&t->out, "\r\n");
}

static bool take_head(struct host_wsgi_thread *t, PyObject *status, PyObject *headers, struct refusal *r)
{
    t->out.size = 0;
    t->length = -1;
    t->is_started = false;
    if (!take_status(t, status, r))
        return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(headers); i++)
        if (!take_header(t, PyTuple_GET_ITEM(headers, i), r))
            return false;
    t->is_started = true;
    t->is_bodiless = t->is_head || t->status < 200 || t->status == 204 || t->status == 304;
    return true;
}

/* Inside the gate. *is_too_late: exc_info came after the headers left. */
static void start_inside(struct host_wsgi_thread *t, PyObject *status, PyObject *headers, bool has_exc_info,
                         bool *is_too_late, struct refusal *r)
{
    if (has_exc_info && t->is_committed) {
        *is_too_late = true;
        return;
    }
    if (t->is_committed || (t->is_started && !has_exc_info)) {
        refuse(r, PyExc_RuntimeError, "start_response() was called a second time, without exc_info%s", "", 0);
        return;
    }
    if (take_head(t, status, headers, r))
        return;
    t->out.size = 0;
    if (!r->type)
        refuse(r, PyExc_MemoryError, "start_response(): no memory for the headers%s", "", 0);
}

static bool is_exc_info(PyObject *exc_info)
{
    return PyTuple_Check(exc_info) && PyTuple_GET_SIZE(exc_info) == 3 &&
           PyExceptionClass_Check(PyTuple_GET_ITEM(exc_info, 0));
}

static void raise_again(PyObject *exc_info)
{
    PyObject *type = PyTuple_GET_ITEM(exc_info, 0), *value = PyTuple_GET_ITEM(exc_info, 1);
    PyObject *traceback = PyTuple_GET_ITEM(exc_info, 2);
    Py_INCREF(type);
    Py_INCREF(value);
    if (PyTraceBack_Check(traceback))
        Py_INCREF(traceback);
    else
        traceback = NULL;
    PyErr_Restore(type, value, traceback);
}

static PyObject *start_write(PyObject *self, PyObject *data);

static PyMethodDef write_method = {"write", start_write, METH_O, "Sends a piece of the body at once."};

static PyObject *start_call(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"status", "response_headers", "exc_info", NULL};
    struct start *s = (struct start *)self;
    PyObject *status, *headers, *exc_info = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "UO!|O:start_response", names, &status,
                                     &PyList_Type, &headers, &exc_info))
        return NULL;
    if (exc_info == Py_None)
        exc_info = NULL;
    if (exc_info && !is_exc_info(exc_info)) {
        PyErr_SetString(PyExc_TypeError, "start_response(): exc_info must be what sys.exc_info() returns");
        return NULL;
    }
    PyObject *items = PyList_AsTuple(headers);
    if (!items)
        return NULL;
    struct refusal refusal = {0};
    bool is_too_late = false;
    bool is_inside = host_gate_enter(s->t, s->number);
    if (is_inside) {
        start_inside(s->t, status, items, exc_info != NULL, &is_too_late, &refusal);
        host_gate_leave(s->t);
    }
    Py_DECREF(items);
    if (!is_inside)
        return NULL;
    if (is_too_late) {
        raise_again(exc_info);
        return NULL;
    }
    if (refusal.type) {
        PyErr_SetString(refusal.type, refusal.text);
        return NULL;
    }
    return PyCFunction_New(&write_method, self);
}

enum written { WRITTEN, WRITTEN_TOO_EARLY, WRITTEN_LOST, WRITTEN_NO_MEMORY };

static enum written write_inside(struct host_wsgi_thread *t, char *bytes, size_t size)
{
    if (!t->is_started)
        return WRITTEN_TOO_EARLY;
    if (!t->is_committed && !host_response_commit(t))
        return WRITTEN_NO_MEMORY;
    struct iovec part = {bytes, t->is_bodiless ? 0 : host_response_allow(t, size)};
    return send_inside(t, &part, part.iov_len > 0 ? 1 : 0, true) ? WRITTEN : WRITTEN_LOST;
}

static PyObject *start_write(PyObject *self, PyObject *data)
{
    struct start *s = (struct start *)self;
    if (!PyBytes_Check(data))
        return PyErr_Format(PyExc_TypeError, "write() takes bytes, not %.100s", Py_TYPE(data)->tp_name);
    if (!host_gate_enter(s->t, s->number))
        return NULL;
    enum written result = write_inside(s->t, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
    host_gate_leave(s->t);
    switch (result) {
    case WRITTEN:
        Py_RETURN_NONE;
    case WRITTEN_TOO_EARLY:
        PyErr_SetString(PyExc_RuntimeError, "write() without a start_response() that succeeded");
        break;
    case WRITTEN_LOST:
        raise_lost(s->t);
        break;
    case WRITTEN_NO_MEMORY:
        PyErr_NoMemory();
        break;
    }
    return NULL;
}

static void start_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyTypeObject *host_start_type_new(void)
{
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, start_dealloc},
        {Py_tp_call, start_call},
        {Py_tp_doc, "start_response(status, response_headers, exc_info=None) of one request."},
        {0, NULL},
    };
    static PyType_Spec spec = {"pyfpm.start_response", sizeof(struct start), 0, Py_TPFLAGS_DEFAULT, slots};
    return host_type_new(&spec);
}

PyObject *host_start_new(struct host_wsgi_thread *t)
{
    struct start *s = PyObject_New(struct start, t->wsgi->start_type);
    if (!s)
        return NULL;
    s->t = t;
    s->number = t->number;
    return (PyObject *)s;
}
