/* What the wsgi_*.c files share about a request that is being served. */
#ifndef PYHOST_WSGI_REQUEST_H
#define PYHOST_WSGI_REQUEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct fcgi_request;
struct host_route;

#define HOST_WSGI_INPUT_MAX 16384 /* read ahead for readline() */
#define HOST_NAMES_MAX      96    /* parameter names known beforehand */
#define HOST_WSGI_GATHER_MAX                                                                                 \
    16384 /* a body up to this size is copied behind its headers and leaves with them */

/* Parameters that the environ needs by name; see wsgi_environ.c. */
enum host_param {
    HOST_PARAM_METHOD,
    HOST_PARAM_SCRIPT_NAME,
    HOST_PARAM_PATH_INFO,
    HOST_PARAM_REQUEST_URI,
    HOST_PARAM_DOCUMENT_URI,
    HOST_PARAM_SERVER_NAME,
    HOST_PARAM_SERVER_PORT,
    HOST_PARAM_HTTP_HOST,
    HOST_PARAM_HTTPS,
    HOST_PARAM_SCHEME,
    HOST_PARAM_COUNT,
    HOST_PARAM_NONE = HOST_PARAM_COUNT
};

struct host_environ; /* wsgi_environ.c: names and the prototype */

/* Of one interpreter. */
struct host_wsgi {
    struct host_wsgi *next; /* of another interpreter */
    bool is_multithread;
    bool is_multiprocess;
    PyTypeObject *start_type, *input_type, *errors_type, *file_type;
    struct host_environ *environ;
    PyObject *timeout_type; /* pyfpm.RequestTimeout */
    struct host_wsgi_thread
        *threads;             /* all that were made; written with the GIL by the thread that makes them */
    atomic_bool warned_bytes; /* a bare bytes result was warned of */
    atomic_bool warned_body;  /* a body where there may be none was warned of */
};

/* Bytes that are to leave: headers, and a small body behind them. */
struct host_buffer {
    char *bytes;
    size_t size;
    size_t capacity;
};

/* A serving thread in one interpreter, and the request it serves. Python objects of a request
 * (start_response, wsgi.input) hold a pointer to it and the request's number. An application may keep them
 * for ever and use them from any thread, so whoever comes through such an object passes host_gate_enter(),
 * which compares numbers under the lock. The memory is never freed. */
struct host_wsgi_thread {
    struct host_wsgi *wsgi;
    struct host_wsgi_thread *next;         /* in wsgi->threads */
    PyObject *prototype;                   /* dict that every environ starts as a copy of */
    PyObject *errors;                      /* wsgi.errors, the same for all requests */
    PyObject *last_values[HOST_NAMES_MAX]; /* wsgi_environ.c: what steady names had as value last */

    pthread_mutex_t gate;
    uint64_t number; /* under gate: of the current request; 0 between requests */

    /* Under the GIL, for host_wsgi_interrupt(). */
    unsigned long ident; /* threading.get_ident() */
    bool is_interruptible, is_interrupted;

    /* The request: the serving thread's, others under gate. */
    struct fcgi_request *request;
    const struct host_route *route;
    const char *params[HOST_PARAM_COUNT]; /* the last value of each, or NULL */
    bool is_head;

    /* The response. */
    struct host_buffer out;
    bool is_started;   /* start_response() was called with good arguments */
    bool is_committed; /* headers are on their way: nothing about them can change */
    bool is_bodiless;  /* HEAD, 1xx, 204, 304 */
    bool is_cut;       /* the client must see that the response is not complete */
    bool is_surplus_told;
    int status;
    int64_t length; /* Content-Length, or -1 */
    int64_t sent;   /* body bytes, gathered ones included */
    int lost;       /* errno of the write that failed: the client is gone */

    /* Read ahead by wsgi.input. */
    char input[HOST_WSGI_INPUT_MAX];
    size_t input_start, input_end;
};

/* ---- wsgi_request.c ---- */

/* Lets one thread at a time at the request that number means. true: inside, with the GIL held; false with
 * ValueError. Inside nothing may be done that could run Python code: no garbage-collected allocation, no
 * release of objects. */
bool host_gate_enter(struct host_wsgi_thread *t, uint64_t number);
void host_gate_leave(struct host_wsgi_thread *t);

/* Ends a process that the application forked and that came back to where requests are served. */
void host_leave_if_forked(void);

/* Notes what host_request_log() puts in front, of a request that gets no environ. */
void host_request_note_line(struct host_wsgi_thread *t);

/* Logs a sentence about the current request, with method and URI in front. */
void host_request_log(struct host_wsgi_thread *t, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The bytes of a str when all of it is latin-1; NULL without an exception when it is not. */
const char *host_latin1(PyObject *text, Py_ssize_t *size);

/* A heap type that applications cannot call. NULL with an exception. */
PyTypeObject *host_type_new(PyType_Spec *spec);

/* ---- wsgi_environ.c ---- */

/* Interns the names. NULL with an exception. */
struct host_environ *host_environ_new(void);

/* The dict that environs of this thread start from. 0, or -1 with an exception. */
int host_environ_prepare(struct host_wsgi_thread *t);

/* A request's environ (new reference), and t->params; NULL with an exception. */
PyObject *host_environ_make(struct host_wsgi_thread *t);

/* Releases what the thread holds for its environs. */
void host_environ_release(struct host_wsgi_thread *t);

/* ---- wsgi_script.c ---- */

/* The application of the script that the request names (new reference); NULL when it was answered instead. */
PyObject *host_script_take(struct host_wsgi_thread *t);

/* ---- wsgi_response.c ---- */

PyTypeObject *host_start_type_new(void);

/* start_response of the current request (new reference). */
PyObject *host_start_new(struct host_wsgi_thread *t);

/* Forgets the response, before a request. */
void host_response_reset(struct host_wsgi_thread *t);

/* Ends the headers. Not after they are committed. false without memory. */
bool host_response_commit(struct host_wsgi_thread *t);

/* Replaces whatever was not sent yet by a short answer of the host's own. */
void host_response_replace(struct host_wsgi_thread *t, const char *status, const char *text);

/* How many of size more body bytes the Content-Length allows. */
size_t host_response_allow(struct host_wsgi_thread *t, size_t size);

/* Sends what is gathered, then parts (body bytes, counted already), with the GIL given back meanwhile and
 * through the gate. false when the client is gone (t->lost). */
bool host_response_send(struct host_wsgi_thread *t, const struct iovec *parts, size_t part_count, bool flush);

/* Raises the OSError (BrokenPipeError, TimeoutError …) of an errno with a sentence, because the client is
 * lost. */
void host_raise_lost(int error, const char *sentence);

/* True when the current exception is such a one, wherever it has been meanwhile; it stays set. */
bool host_raised_lost(void);

bool host_buffer_append(struct host_buffer *b, const void *bytes, size_t size);

/* ---- wsgi_input.c, wsgi_errors.c, wsgi_file.c ---- */

PyTypeObject *host_input_type_new(void);
PyObject *host_input_new(struct host_wsgi_thread *t);

PyTypeObject *host_errors_type_new(void);
PyObject *host_errors_new(struct host_wsgi *s);
void host_errors_end_line(PyObject *errors); /* logs a line that has no end yet */

PyTypeObject *host_file_type_new(void);

/* The descriptor, position and size of the plain file inside a file_wrapper. false without an exception when
 * it has to be read instead. */
struct host_file {
    int fd;
    off_t offset;
    size_t size;
};
bool host_file_inspect(PyObject *wrapper, struct host_file *file);

#endif
