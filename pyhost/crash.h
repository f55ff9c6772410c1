/* What is said when a worker crashes: the signal, the request, and the Python stack. */
#ifndef PYHOST_CRASH_H
#define PYHOST_CRASH_H

struct err;
struct host_worker;

/* Once in a worker, before its threads start: enables faulthandler, and beneath it a handler that names the
 * request which the crashing thread was at. With the GIL. 0, or -1 with *e. */
int host_crash_prepare(struct host_worker *w, struct err *e);

#endif
