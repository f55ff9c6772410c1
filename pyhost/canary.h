/* canary-request: the first worker of a generation asks its own application before it counts as ready. */
#ifndef PYHOST_CANARY_H
#define PYHOST_CANARY_H

struct err;

/* Serves the request on a connection, to its end; takes *fd. */
typedef void host_canary_serve(void *context, int *fd);

/* Sends GET path over a connection to itself, which serve answers on the calling thread. 0 when the status
 * of the answer is 200 to 399, else -1 with *e: a sentence. Without the GIL. */
int host_canary_ask(const char *path, host_canary_serve *serve, void *context, struct err *e);

#endif
