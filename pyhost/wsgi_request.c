/* Serves one request: calls the application, and turns what it returns, yields and raises into a response.
 *
 * A small response is put together with the GIL and leaves after it was given back, so that a request takes
 * the GIL once. Nothing that an application does ends the worker: SystemExit and KeyboardInterrupt are
 * exceptions like any other. Before the headers left, an error is a 500 with the reason in the log and never
 * in the response; after that the connection is broken, so that the client can tell. A process that the
 * application forked and that comes back here ends at once: it must not answer a second time. On a serving
 * thread. */
#include "pyhost/wsgi_request.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "fcgi/fcgi.h"
#include "pyhost/host.h"
#include "pyhost/pace.h"
#include "pyhost/wsgi.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_PARTS 64 /* items of a list result sent with one write */

/* How serving the application's result went on. */
enum outcome {
    GOING,   /* fine so far, or done */
    ENOUGH,  /* no more of the body is wanted */
    RAISED,  /* a Python exception is set */
    REFUSED, /* the application broke a rule: a sentence was logged */
};

/* Set in a child that the application forked. */
static volatile bool is_forked;

static void note_fork(void)
{
    is_forked = true;
}

void host_leave_if_forked(void)
{
    if (is_forked)
        _exit(1);
}

/* ---- for all wsgi_*.c ---- */

bool host_gate_enter(struct host_wsgi_thread *t, uint64_t number)
{
    if (pthread_mutex_trylock(&t->gate) != 0) {
        Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&t->gate);
        Py_END_ALLOW_THREADS
    }
    if (number != 0 && number == t->number)
        return true;
    pthread_mutex_unlock(&t->gate);
    PyErr_SetString(PyExc_ValueError, "this request is over: its wsgi.input and start_response() are closed");
    return false;
}

void host_gate_leave(struct host_wsgi_thread *t)
{
    pthread_mutex_unlock(&t->gate);
}

static const char *param_or(const struct host_wsgi_thread *t, enum host_param param, const char *otherwise)
{
    return t->params[param] ? t->params[param] : otherwise;
}

static void log_sentence(struct host_wsgi_thread *t, int level, const char *format, va_list args)
{
    char text[ERR_TEXT_MAX];
    const char *uri = param_or(t, HOST_PARAM_REQUEST_URI, NULL);
    if (!uri)
        uri = param_or(t, HOST_PARAM_SCRIPT_NAME, "-");
    int used = snprintf(text, sizeof text, "%.32s %.1024s: ", param_or(t, HOST_PARAM_METHOD, "-"), uri);
    vsnprintf(text + used, sizeof text - (size_t)used, format, args);
    log_write_text((enum log_level)level, NULL, NULL, text, strlen(text));
}

void host_request_log(struct host_wsgi_thread *t, int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    Py_BEGIN_ALLOW_THREADS log_sentence(t, level, format, args);
    Py_END_ALLOW_THREADS va_end(args);
}

/* The same without the GIL. */
static void log_refusal(struct host_wsgi_thread *t, int level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_sentence(t, level, format, args);
    va_end(args);
}

const char *host_latin1(PyObject *text, Py_ssize_t *size)
{
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(text) < 0) {
        PyErr_Clear();
        return NULL;
    }
#endif
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND)
        return NULL;
    *size = PyUnicode_GET_LENGTH(text);
    return (const char *)PyUnicode_1BYTE_DATA(text);
}

PyTypeObject *host_type_new(PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(spec);
    if (type)
        type->tp_new = NULL; /* objects of it without a request would be of no use */
    return type;
}

/* ---- errors ---- */

static void answer_error(struct host_wsgi_thread *t)
{
    if (t->is_committed)
        t->is_cut = true;
    else
        host_response_replace(t, "500 Internal Server Error", "Internal Server Error\n");
}

/* A client that went away is no error of the application, which may well pass our exception on; its own
 * ConnectionError, of a database say, is another one. */
static bool is_client_lost(struct host_wsgi_thread *t)
{
    return (t->lost || fcgi_request_is_broken(t->request)) && host_raised_lost();
}

static void log_exception(struct host_wsgi_thread *t, const char *what)
{
    char *text = PyMem_RawMalloc(ERR_TEXT_MAX);
    if (!text) {
        PyErr_Clear();
        host_request_log(t, LOG_LEVEL_ERROR, "%s; no memory for its traceback", what);
        return;
    }
    host_pyerr_format(text, ERR_TEXT_MAX - 2048);
    host_request_log(t, LOG_LEVEL_ERROR, "%s\n%s", what, text);
    PyMem_RawFree(text);
}

static void answer_interrupt(struct host_wsgi_thread *t)
{
    log_exception(t, t->is_committed ? "interrupt-timeout after the headers were sent; the response is cut"
                                     : "interrupt-timeout: answered with 504");
    if (t->is_committed)
        t->is_cut = true;
    else
        host_response_replace(t, "504 Gateway Timeout", "Gateway Timeout\n");
}

static void answer_exception(struct host_wsgi_thread *t)
{
    if (t->is_interrupted && PyErr_ExceptionMatches(t->wsgi->timeout_type)) {
        answer_interrupt(t);
        return;
    }
    if (is_client_lost(t)) {
        PyErr_Clear();
        host_request_log(t, LOG_LEVEL_NOTICE, "the client went away during the request");
    } else {
        log_exception(
            t, t->is_committed
                   ? "the application raised an exception after its headers were sent; the response is cut"
                   : "the application raised an exception");
    }
    answer_error(t);
}

static enum outcome refuse_result(struct host_wsgi_thread *t, const char *format, PyObject *object)
{
    host_request_log(t, LOG_LEVEL_ERROR, format, Py_TYPE(object)->tp_name);
    return REFUSED;
}

/* ---- the body ---- */

static enum outcome begin_body(struct host_wsgi_thread *t)
{
    if (!t->is_started) {
        host_request_log(t, LOG_LEVEL_ERROR,
                         "the application gave a response without calling start_response()");
        return REFUSED;
    }
    if (t->is_committed || host_response_commit(t))
        return GOING;
    PyErr_NoMemory();
    return RAISED;
}

static void tell_unwanted_body(struct host_wsgi_thread *t)
{
    if (!t->is_head && !atomic_exchange(&t->wsgi->warned_body, true))
        host_request_log(t, LOG_LEVEL_WARNING,
                         "a response of status %d may have no body; the application's is dropped (said once)",
                         t->status);
}

/* One piece of the body, sent at once. */
static enum outcome send_piece(struct host_wsgi_thread *t, PyObject *piece)
{
    if (!PyBytes_Check(piece))
        return refuse_result(t, "the application yielded %.100s; each piece of a body must be bytes", piece);
    if (PyBytes_GET_SIZE(piece) == 0)
        return GOING;
    enum outcome outcome = begin_body(t);
    if (outcome != GOING)
        return outcome;
    if (t->is_bodiless) {
        tell_unwanted_body(t);
        return ENOUGH;
    }
    struct iovec part = {PyBytes_AS_STRING(piece), host_response_allow(t, (size_t)PyBytes_GET_SIZE(piece))};
    if (part.iov_len == 0)
        return ENOUGH;
    return host_response_send(t, &part, 1, true) ? GOING : ENOUGH;
}

static enum outcome send_iterable(struct host_wsgi_thread *t, PyObject *result)
{
    PyObject *iterator = PyObject_GetIter(result);
    PyObject *piece;
    if (!iterator)
        return RAISED;
    enum outcome outcome = GOING;
    while (outcome == GOING && (piece = PyIter_Next(iterator))) {
        host_leave_if_forked();
        outcome = send_piece(t, piece);
        Py_DECREF(piece);
    }
    host_leave_if_forked();
    Py_DECREF(iterator);
    if (outcome == GOING && PyErr_Occurred())
        outcome = RAISED;
    return outcome;
}

/* The bytes of all items together, or -1 when one is no bytes: *wrong is the first such. */
static Py_ssize_t total_size(PyObject *items, PyObject **wrong)
{
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (!PyBytes_Check(item)) {
            *wrong = item;
            return -1;
        }
        total += PyBytes_GET_SIZE(item);
    }
    return total;
}

/* A small body waits behind its headers until the GIL is given back. Through the gate: another thread of the
 * application may be inside write(), which sends from the same buffer and empties it. */
static enum outcome gather_items(struct host_wsgi_thread *t, PyObject *items)
{
    bool fits = true;
    if (!host_gate_enter(t, t->number))
        return RAISED;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items) && fits; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        size_t size = host_response_allow(t, (size_t)PyBytes_GET_SIZE(item));
        fits = host_buffer_append(&t->out, PyBytes_AS_STRING(item), size);
    }
    host_gate_leave(t);
    if (fits)
        return GOING;
    PyErr_NoMemory();
    return RAISED;
}

static enum outcome send_items(struct host_wsgi_thread *t, PyObject *items)
{
    struct iovec parts[LIST_PARTS];
    size_t count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        size_t size = host_response_allow(t, (size_t)PyBytes_GET_SIZE(item));
        if (size > 0)
            parts[count++] = (struct iovec){PyBytes_AS_STRING(item), size};
        if (count == LIST_PARTS) {
            if (!host_response_send(t, parts, count, false))
                return ENOUGH;
            count = 0;
        }
    }
    if (count > 0 && !host_response_send(t, parts, count, false))
        return ENOUGH;
    return GOING;
}

/* All of the body is known, so its length is. items is a tuple of ours: a list could change while we send. */
static enum outcome send_whole(struct host_wsgi_thread *t, PyObject *items)
{
    PyObject *wrong = NULL; /* borrowed */
    Py_ssize_t total = total_size(items, &wrong);
    if (total < 0)
        return refuse_result(
            t, "the application's result has %.100s in it; each piece of a body must be bytes", wrong);
    bool is_length_known = total > 0 || !t->is_bodiless;
    if (t->is_started && !t->is_committed && t->length < 0 && is_length_known && t->status != 304)
        t->length = total;
    enum outcome outcome = begin_body(t);
    if (outcome != GOING)
        return outcome;
    if (t->is_bodiless) {
        if (total > 0)
            tell_unwanted_body(t);
        return GOING;
    }
    return total <= HOST_WSGI_GATHER_MAX ? gather_items(t, items) : send_items(t, items);
}

static enum outcome send_list(struct host_wsgi_thread *t, PyObject *result)
{
    PyObject *items = PySequence_Tuple(result);
    if (!items)
        return RAISED;
    enum outcome outcome = send_whole(t, items);
    Py_DECREF(items);
    return outcome;
}

static enum outcome send_bytes(struct host_wsgi_thread *t, PyObject *result)
{
    if (!atomic_exchange(&t->wsgi->warned_bytes, true))
        host_request_log(t, LOG_LEVEL_WARNING,
                         "the application returned bytes; it should return a list of bytes (said once)");
    PyObject *items = PyTuple_Pack(1, result);
    if (!items)
        return RAISED;
    enum outcome outcome = send_whole(t, items);
    Py_DECREF(items);
    return outcome;
}

enum file_sent { FILE_SENT, FILE_LOST, FILE_BAD, FILE_UNSUITABLE };

static enum file_sent judge_file(struct host_wsgi_thread *t, int error, size_t sent)
{
    if (error == EINVAL && sent == 0)
        return FILE_UNSUITABLE;
    if (error == EIO) {
        host_request_log(t, LOG_LEVEL_ERROR,
                         "the file could not be read to its end, or shrank meanwhile; the response is cut");
        return FILE_BAD;
    }
    t->lost = error ? error : EPIPE;
    return FILE_LOST;
}

/* Through the gate, with the GIL given back. */
static enum file_sent send_file_bytes(struct host_wsgi_thread *t, const struct host_file *file, size_t size)
{
    size_t sent = 0;
    int result, error;
    if (!host_gate_enter(t, t->number))
        return FILE_LOST;
    Py_BEGIN_ALLOW_THREADS result = fcgi_request_sendfile(t->request, file->fd, file->offset, size, &sent);
    error = errno;
    Py_END_ALLOW_THREADS host_gate_leave(t);
    t->sent += (int64_t)sent;
    return result >= 0 ? FILE_SENT : judge_file(t, error, sent);
}

static enum outcome send_file(struct host_wsgi_thread *t, PyObject *wrapper)
{
    struct host_file file;
    bool is_plain = t->is_started && host_file_inspect(wrapper, &file);
    host_leave_if_forked();
    if (!is_plain)
        return send_iterable(t, wrapper);
    if (!t->is_committed && t->length < 0)
        t->length = (int64_t)file.size;
    enum outcome outcome = begin_body(t);
    if (outcome != GOING || t->is_bodiless)
        return outcome;
    size_t size = file.size;
    if (t->length >= 0 && size > (uint64_t)(t->length - t->sent))
        size = (size_t)(t->length - t->sent); /* a part of a file is sent that way: no surplus to tell of */
    if (size == 0)
        return GOING;
    if (!host_response_send(t, NULL, 0, false))
        return ENOUGH;
    switch (send_file_bytes(t, &file, size)) {
    case FILE_UNSUITABLE:
        return send_iterable(t, wrapper);
    case FILE_BAD:
        return REFUSED;
    case FILE_SENT:
    case FILE_LOST:
        break;
    }
    return ENOUGH;
}

static enum outcome send_result(struct host_wsgi_thread *t, PyObject *result)
{
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result))
        return send_list(t, result);
    if (Py_TYPE(result) == t->wsgi->file_type)
        return send_file(t, result);
    if (PyBytes_Check(result))
        return send_bytes(t, result);
    if (PyUnicode_Check(result))
        return refuse_result(t, "the application returned %.100s, not an iterable of bytes", result);
    if (!Py_TYPE(result)->tp_iter && !PySequence_Check(result))
        return refuse_result(t, "the application returned %.100s, which is not an iterable of bytes", result);
    return send_iterable(t, result);
}

/* Headers without a body, and a body that is shorter than was promised. */
static enum outcome end_body(struct host_wsgi_thread *t)
{
    if (t->lost) {
        host_request_log(t, LOG_LEVEL_NOTICE, "the client went away during the response: %s",
                         strerror(t->lost));
        t->is_cut = true;
        return GOING;
    }
    enum outcome outcome = begin_body(t);
    if (outcome != GOING)
        return outcome;
    if (!t->is_bodiless && t->length >= 0 && t->sent < t->length) {
        host_request_log(t, LOG_LEVEL_ERROR,
                         "the application gave %lld bytes of its Content-Length of %lld; the response is cut",
                         (long long)t->sent, (long long)t->length);
        t->is_cut = true;
    }
    return GOING;
}

static void close_result(struct host_wsgi_thread *t, PyObject *result)
{
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result) || PyBytes_CheckExact(result))
        return;
    PyObject *close = PyObject_GetAttrString(result, "close");
    if (!close && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return;
    }
    PyObject *closed = close ? PyObject_CallObject(close, NULL) : NULL;
    host_leave_if_forked();
    if (!closed)
        log_exception(t, "close() of the application's result raised an exception");
    Py_XDECREF(close);
    Py_XDECREF(closed);
}

/* ---- the request ---- */

static void answer_outcome(struct host_wsgi_thread *t, enum outcome outcome)
{
    if (outcome == RAISED)
        answer_exception(t);
    else if (outcome == REFUSED)
        answer_error(t);
}

/* What the request is for (new reference), or NULL when it was answered. */
static PyObject *take_application(struct host_wsgi_thread *t)
{
    if (t->route->scripts)
        return host_script_take(t);
    Py_INCREF(t->route->application);
    return t->route->application;
}

static PyObject *call_application(struct host_wsgi_thread *t, PyObject *application)
{
    PyObject *environ = host_environ_make(t);
    PyObject *start = environ ? host_start_new(t) : NULL;
    PyObject *result = NULL;
    if (start)
        result = PyObject_CallFunctionObjArgs(application, environ, start, NULL);
    host_leave_if_forked();
    Py_XDECREF(start);
    Py_XDECREF(environ);
    return result;
}

static void run_application(struct host_wsgi_thread *t)
{
    PyObject *application = take_application(t);
    if (!application)
        return;
    PyObject *result = call_application(t, application);
    Py_DECREF(application);
    if (!result) {
        answer_exception(t);
        return;
    }
    enum outcome outcome = send_result(t, result);
    if (outcome == GOING || outcome == ENOUGH)
        outcome = end_body(t);
    answer_outcome(t, outcome);
    close_result(t, result);
    Py_DECREF(result);
    host_leave_if_forked();
}

/* An interrupt that came too late for the application must strike nobody else. */
static void run_interruptible(struct host_wsgi_thread *t)
{
    t->ident = PyThread_get_thread_ident();
    t->is_interrupted = false;
    t->is_interruptible = true;
    run_application(t);
    t->is_interruptible = false;
    if (t->is_interrupted)
        PyThreadState_SetAsyncExc(t->ident, NULL);
}

bool host_wsgi_interrupt(struct host_wsgi_thread *t, uint64_t number)
{
    if (!t->is_interruptible || t->is_interrupted || t->number != number)
        return false;
    t->is_interrupted = PyThreadState_SetAsyncExc(t->ident, t->wsgi->timeout_type) == 1;
    return t->is_interrupted;
}

void host_request_note_line(struct host_wsgi_thread *t)
{
    t->params[HOST_PARAM_METHOD] = fcgi_request_param(t->request, "REQUEST_METHOD");
    t->params[HOST_PARAM_SCRIPT_NAME] = fcgi_request_param(t->request, "SCRIPT_NAME");
    t->params[HOST_PARAM_REQUEST_URI] = fcgi_request_param(t->request, "REQUEST_URI");
}

#define LEFT_OUT_SIZE 64

/* Whether a refusal that no application had a part in may be logged. left_out: what to put behind it. */
static bool may_log_refusal(const char *status, char left_out[LEFT_OUT_SIZE])
{
    static struct host_pace paces[2]; /* so that a client's faults do not hide ours */
    uint64_t count;
    left_out[0] = '\0';
    if (!host_pace_allows(&paces[status[0] == '5'], clock_now_ms(), &count))
        return false;
    if (count > 0)
        snprintf(left_out, LEFT_OUT_SIZE, " (%llu others were not logged)", (unsigned long long)count);
    return true;
}

static void refuse_length(struct host_wsgi_thread *t)
{
    char left_out[LEFT_OUT_SIZE];
    host_request_note_line(t);
    if (may_log_refusal("400", left_out))
        host_request_log(t, LOG_LEVEL_WARNING,
                         "the CONTENT_LENGTH of the request is no length: answered with 400%s", left_out);
    host_response_replace(t, "400 Bad Request", "Bad Request\n");
}

static bool is_head(const struct fcgi_request *r)
{
    const char *method = fcgi_request_param(r, "REQUEST_METHOD");
    return method && strcmp(method, "HEAD") == 0;
}

static void open_gate(struct host_wsgi_thread *t, struct fcgi_request *request,
                      const struct host_route *route, uint64_t number)
{
    t->route = route;
    memset(t->params, 0, sizeof t->params);
    host_response_reset(t);
    t->is_head = is_head(request);
    t->input_start = t->input_end = 0;
    pthread_mutex_lock(&t->gate);
    t->request = request;
    t->number = number;
    pthread_mutex_unlock(&t->gate);
}

/* Waits for a thread of the application that is inside; whoever comes later finds the request over. Without
 * the GIL. */
static void close_gate(struct host_wsgi_thread *t)
{
    pthread_mutex_lock(&t->gate);
    t->number = 0;
    t->request = NULL;
    pthread_mutex_unlock(&t->gate);
}

/* Sends what was gathered and ends the request. Without the GIL. */
static int end_request(struct host_wsgi_thread *t, struct fcgi_request *request, bool *lingers)
{
    struct iovec rest = {t->out.bytes, t->out.size};
    if (!t->lost && rest.iov_len > 0 && fcgi_request_write(request, &rest, 1) < 0)
        t->lost = EPIPE;
    if (!t->lost && !t->is_cut)
        return fcgi_request_end_early(request, lingers);
    if (!t->lost)
        fcgi_request_flush(request);
    fcgi_request_break(request);
    return -1;
}

int host_wsgi_serve(struct host_wsgi_thread *t, PyThreadState *state, struct fcgi_request *request,
                    const struct host_route *route, uint64_t number, bool *lingers)
{
    open_gate(t, request, route, number);
    PyEval_RestoreThread(state);
    if (fcgi_request_length_is_bad(request))
        refuse_length(t);
    else
        run_interruptible(t);
    host_errors_end_line(t->errors);
    PyEval_SaveThread();
    close_gate(t);
    return end_request(t, request, lingers);
}

int host_wsgi_refuse(struct host_wsgi_thread *t, struct fcgi_request *request, uint64_t number,
                     const char *status, int level, const char *reason, bool *lingers)
{
    char text[64], left_out[LEFT_OUT_SIZE];
    open_gate(t, request, NULL, number);
    host_request_note_line(t);
    if (may_log_refusal(status, left_out))
        log_refusal(t, level, "%s: answered with %.3s%s", reason, status, left_out);
    snprintf(text, sizeof text, "%s\n", status + 4);
    host_response_replace(t, status, text);
    close_gate(t);
    return end_request(t, request, lingers);
}

/* ---- the process and its threads ---- */

/* Reachable to the end: objects that an application kept point into threads, and those here. Written by the
 * main thread. */
static struct host_wsgi *all_wsgi;

static int fail(struct err *e, const char *what)
{
    char text[1024];
    host_pyerr_format(text, sizeof text);
    return err_set(e, "%s: %s", what, text);
}

static const char timeout_doc[] = "Raised inside of a request that has passed interrupt-timeout.";

struct host_wsgi *host_wsgi_new(bool is_multithread, bool is_multiprocess, struct err *e)
{
    struct host_wsgi *s = calloc(1, sizeof *s);
    if (!s) {
        err_errno(e, "WSGI");
        return NULL;
    }
    if (!all_wsgi)
        pthread_atfork(NULL, NULL, note_fork);
    s->next = all_wsgi;
    all_wsgi = s;
    s->is_multithread = is_multithread;
    s->is_multiprocess = is_multiprocess;
    if (!(s->start_type = host_start_type_new()) || !(s->input_type = host_input_type_new()) ||
        !(s->errors_type = host_errors_type_new()) || !(s->file_type = host_file_type_new()) ||
        !(s->environ = host_environ_new()) ||
        !(s->timeout_type = PyErr_NewExceptionWithDoc("pyfpm.RequestTimeout", timeout_doc,
                                                      PyExc_BaseException, NULL))) {
        fail(e, "WSGI");
        return NULL;
    }
    return s;
}

struct host_wsgi_thread *host_wsgi_thread_new(struct host_wsgi *s, struct err *e)
{
    struct host_wsgi_thread *t = calloc(1, sizeof *t);
    if (!t) {
        err_errno(e, "WSGI");
        return NULL;
    }
    t->next = s->threads;
    s->threads = t;
    t->wsgi = s;
    pthread_mutex_init(&t->gate, NULL);
    t->errors = host_errors_new(s);
    if (!t->errors || host_environ_prepare(t) < 0) {
        fail(e, "WSGI");
        return NULL;
    }
    return t;
}

void host_wsgi_thread_end(struct host_wsgi_thread *t)
{
    host_environ_release(t);
    Py_CLEAR(t->errors);
    free(t->out.bytes);
    t->out = (struct host_buffer){0};
}
