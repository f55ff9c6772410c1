/* What the parts of a host share: the process it is, and the two halves' contract.
 *
 * A host starts as a template: identity.c makes it the group's user, python.c starts the interpreter,
 * overlay.c lays the environment over it, apps.c has app.c import the applications (with preload), template.c
 * forks workers on request. A worker makes further interpreters if applications name some (interp.c), then
 * runs serve.c: threads that accept, take requests and run wsgi_*.c, and one thread without Python (watch.c)
 * that listens to the supervisor and to connections that are not ready. */
#ifndef PYHOST_HOST_H
#define PYHOST_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfg_group;
struct host_apps;
struct score;
struct err;

typedef struct _object PyObject; /* as Python.h has it; parts without Python include this header too */

/* One process. Filled by main.c, completed in the worker by template.c; read-only once threads run. */
struct host {
    const struct cfg_group *group;
    struct host_apps *apps; /* what it serves */
    int channel;            /* to the supervisor; a worker's is its own, not the template's */
    int listen_fd;          /* non-blocking */
    int handover_rx;        /* kept connections from siblings */
    int handover_tx;        /* kept connections to siblings */
    struct score *score;
    uint32_t slot;   /* a worker's index in the scoreboard */
    uint64_t serial; /* a worker's, unique in the supervisor's life */
    bool is_canary;  /* a worker: the first of its generation */
    bool check_only; /* pyfpm check: import, report, exit */
    bool explain;    /* pyfpm check --explain: tell the facts as well */
};

/* link.c: the channel ------------------------------------------------------------------------- */

/* Log records and messages go to the supervisor over h->channel. Any thread, without the GIL. */
void host_link_start(struct host *h); /* routes base/log.h into WIRE_LOG messages on h->channel */
int host_link_send(const struct host *h, int wire_type, uint32_t flags,
                   const char *text); /* 0, or -1: supervisor gone */

/* app.c: one application ---------------------------------------------------------------------------- */

/* What is to be imported: script, which is looked up for callable, or application. Borrowed. */
struct host_app_source {
    const char *script;      /* a file */
    const char *callable;    /* a name in it */
    const char *application; /* "package.module:callable", or ":factory()" */
};

/* Imports it into the current interpreter and returns the callable (new reference); NULL with *e: one
 * sentence, then the traceback. A script that was run there before is not run again. With the GIL. */
PyObject *host_app_load(const struct host_app_source *source, struct err *e);

/* Runs a script's source as a module of its own and returns its callable, looked up under that name: new
 * reference, or NULL with *e as above. A module that an earlier run made is replaced; after a failure there
 * is none. With the GIL, on any thread, in the current interpreter. */
PyObject *host_app_run_script(const char *script, const char *source, size_t source_size,
                              const char *callable, struct err *e);

/* Takes the script's module out of sys.modules. With the GIL. */
void host_app_forget_script(const char *script);

/* Compiles a script's source without running it. 0, or -1 with *e, one line. With the GIL. */
int host_app_compile_script(const char *script, const char *source, size_t source_size, struct err *e);

/* pyerr.c: Python errors as text -------------------------------------------------------------------- */

/* Takes the current exception and writes it with its traceback into text, NUL-terminated, cut from the top if
 * it is longer (the last line matters most). Clears the error. With the GIL. */
void host_pyerr_format(char *text, unsigned long text_size);

/* Writes the current exception as one line, "Type: message", into text, and leaves it set. With the GIL. */
void host_pyerr_summarize(char *text, unsigned long text_size);

/* serve.c: the worker's life -------------------------------------------------------------------------- */

/* Serves h->apps, which are imported (with script-root: the scripts that requests name), until the supervisor
 * drains this worker, goes away, or SIGTERM comes; sends WIRE_WORKER_READY once it accepts. Runs threads-1
 * further Python threads beside the calling (main) one and the watch thread. Called with the GIL in the main
 * thread, returns with it; the return value is the exit status. */
int host_serve(struct host *h);

#endif
