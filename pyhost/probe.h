/* A thread that waits for the GIL in the watch thread's place. */
#ifndef PYHOST_PROBE_H
#define PYHOST_PROBE_H

#include <stdint.h>

struct err;
struct host_apps;
struct host_probe;
struct host_wsgi_thread;

/* Finds a serving thread's part in an interpreter: serve.c. */
typedef struct host_wsgi_thread *host_probe_find(void *context, uint32_t thread, uint32_t interp);

/* Starts no thread yet: that happens at the first question. NULL without memory. */
struct host_probe *host_probe_new(const struct host_apps *apps, host_probe_find *find, void *context);

/* Asks for the GIL, unless that question is open already. Never waits. */
void host_probe_ask(struct host_probe *p);

/* When the open question was asked (clock_now_ms()); 0 when none is open. */
int64_t host_probe_asked_ms(struct host_probe *p);

/* Asks that the request of that number, on that serving thread, be interrupted: host_wsgi_interrupt(). Never
 * waits; a question more than the queue holds is dropped, and logged. */
void host_probe_interrupt(struct host_probe *p, uint32_t thread, uint64_t number);

/* Ends the thread. Not with the GIL, which it may be waiting for. NULL is fine. */
void host_probe_end(struct host_probe *p);

#endif
