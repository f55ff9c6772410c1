/* WSGI (PEP 3333) between one FastCGI request and the application. */
#ifndef PYHOST_WSGI_H
#define PYHOST_WSGI_H

#include <stdbool.h>
#include <stdint.h>

typedef struct _object PyObject;

struct err;
struct fcgi_request;
struct host_path;
struct host_script_pick;
struct host_scripts;
struct host_wsgi;
struct host_wsgi_thread;

/* Whom a request is for. */
struct host_route {
    PyObject *application;        /* borrowed; an object of the interpreter that serves the request */
    struct host_scripts *scripts; /* instead of application, with script-root: what pick names among them */
    const struct host_script_pick *pick;
    const struct host_path *path; /* its SCRIPT_NAME and PATH_INFO; NULL: split from the parameters */
};

/* What the threads share in one interpreter: the current one, whose objects all of it are. With the GIL;
 * NULL with *e. */
struct host_wsgi *host_wsgi_new(bool is_multithread, bool is_multiprocess, struct err *e);

/* A thread's part. Once per thread and interpreter, with the GIL; NULL with *e. */
struct host_wsgi_thread *host_wsgi_thread_new(struct host_wsgi *s, struct err *e);

/* Releases the Python objects, not the memory: objects that an application kept go on pointing there, and
 * find that their request is over. With the GIL, when the thread serves no more. */
void host_wsgi_thread_end(struct host_wsgi_thread *t);

/* Serves the request that fcgi_request_begin() began, to its end. Takes the GIL for state, which is the
 * calling thread's in t's interpreter, and gives it back; called without. Returns the connection when it is
 * kept, or when *lingers is set to true: see fcgi_request_end_early(); else -1. number is the request's in
 * this process. */
typedef struct _ts PyThreadState;
int host_wsgi_serve(struct host_wsgi_thread *t, PyThreadState *state, struct fcgi_request *request,
                    const struct host_route *route, uint64_t number, bool *lingers);

/* Raises pyfpm.RequestTimeout in the application's code, if t is serving the request of that number and has
 * not been interrupted yet (PyThreadState_SetAsyncExc: it strikes at the next bytecode, so not inside of C
 * code). With the GIL, in t's interpreter; another thread. False when there was nothing to interrupt. */
bool host_wsgi_interrupt(struct host_wsgi_thread *t, uint64_t number);

/* Answers the request without any application: status is the response's ("404 Not Found"), the reason goes
 * to the log at that level (enum log_level). Otherwise as host_wsgi_serve(), without the GIL. */
int host_wsgi_refuse(struct host_wsgi_thread *t, struct fcgi_request *request, uint64_t number,
                     const char *status, int level, const char *reason, bool *lingers);

#endif
