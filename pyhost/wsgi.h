/* WSGI (PEP 3333) between one FastCGI request and the application. */
#ifndef PYHOST_WSGI_H
#define PYHOST_WSGI_H

#include <stdbool.h>

typedef struct _object PyObject;

struct err;
struct fcgi_request;
struct host_wsgi;
struct host_wsgi_thread;

/* What all threads share. application stays the caller's, as long as requests are served. With the GIL; NULL
 * with *e. */
struct host_wsgi *host_wsgi_new(PyObject *application, bool is_multithread, bool is_multiprocess,
                                struct err *e);

/* A thread's part. Once per thread, with the GIL; NULL with *e. */
struct host_wsgi_thread *host_wsgi_thread_new(struct host_wsgi *s, struct err *e);

/* Releases the Python objects, not the memory: objects that an application kept go on pointing there, and
 * find that their request is over. With the GIL, when the thread serves no more. */
void host_wsgi_thread_end(struct host_wsgi_thread *t);

/* Serves the request that fcgi_request_begin() began, to its end. Takes the GIL for state and gives it back;
 * called without. Returns the connection when it is kept, or when *lingers is set to true: see
 * fcgi_request_end_early(); else -1. */
typedef struct _ts PyThreadState;
int host_wsgi_serve(struct host_wsgi_thread *t, PyThreadState *state, struct fcgi_request *request,
                    bool *lingers);

#endif
