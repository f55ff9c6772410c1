/* The interpreters of one process: the one that it was started with, and named ones beside it. */
#ifndef PYHOST_INTERP_H
#define PYHOST_INTERP_H

struct cfg_group;
struct err;

typedef struct _ts PyThreadState;
typedef struct _is PyInterpreterState;

struct host_interp {
    const char *name; /* CFG_INTERPRETER_MAIN, or as the configuration has it */
    PyInterpreterState *interpreter;
    PyThreadState *state; /* the main thread's; NULL before it is made */
};

/* Fills i with the interpreter that is current. With the GIL, on the main thread. */
void host_interp_adopt(struct host_interp *i);

/* Makes the interpreter i->name, with streams and the overlay of its own; the current one stays current. On
 * the main thread of a process that will not fork workers, with the GIL. 0, or -1 with *e: a sentence; what
 * was made of it stays until the process exits. */
int host_interp_create(struct host_interp *i, const struct cfg_group *group, struct err *e);

/* Makes i current on the main thread until host_interp_leave() gets what this returned. With the GIL. */
PyThreadState *host_interp_enter(const struct host_interp *i);
void host_interp_leave(PyThreadState *former);

/* What CPython does at the end of an interpreter, as far as an application can tell: waits for its threads
 * that are no daemons, calls its exit functions, flushes its files and streams. The interpreter stays. On the
 * main thread, with the GIL. */
void host_interp_run_exits(const struct host_interp *i);

#endif
