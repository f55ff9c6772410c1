/* A command's side of the control socket. */
#ifndef PM_CONTROL_CLIENT_H
#define PM_CONTROL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

struct err;
struct pm_client;

/* Connects to the pyfpm that listens there. NULL with *e: a sentence that names the socket, which says "not
 * running" when nobody listens. */
struct pm_client *pm_client_connect(const char *socket_path, struct err *e);

/* Sends a request. Takes it; NULL for want of memory is fine. 0, or -1 with *e. */
int pm_client_ask(struct pm_client *client, json_t *request, struct err *e);

/* The next line of the answer, the caller's. NULL with *e when there is none: nothing came in time, the
 * connection ended, or what came is no line. The first has to come within patience_ms of pm_client_ask(),
 * later ones any time. */
json_t *pm_client_next(struct pm_client *client, struct err *e);

/* How long to wait for a first line; without it, half a minute. */
void pm_client_set_patience(struct pm_client *client, int patience_ms);

/* Waits until the process that was connected to is gone. 0, or -1 with *e. */
int pm_client_wait_gone(struct pm_client *client, struct err *e);

/* NULL is fine. */
void pm_client_close(struct pm_client *client);

/* True for the last line of an answer. */
bool pm_client_is_last(const json_t *line);

/* Shows text that may come from an application: control characters are escaped, and every line but the first
 * is indented. */
void pm_client_print(const char *text, unsigned indent);

#endif
