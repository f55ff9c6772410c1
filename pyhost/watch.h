/* The worker's one thread without Python: it listens to the supervisor and keeps the deadlines. */
#ifndef PYHOST_WATCH_H
#define PYHOST_WATCH_H

#include <pthread.h>

struct err;
struct host_worker;

/* SIGTERM drains the worker, SIGUSR1 and SIGPIPE do nothing. After fcgi_init(), which sets its own handlers.
 */
void host_watch_catch_signals(struct host_worker *w);

/* Starts the thread; it ends after it has set w->is_ending. 0, or -1 with *e. */
int host_watch_start(struct host_worker *w, pthread_t *thread, struct err *e);

#endif
