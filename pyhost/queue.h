/* queue-timeout: requests that waited too long for a thread. */
#ifndef PYHOST_QUEUE_H
#define PYHOST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct fcgi_request;
struct host_worker;

#define HOST_QUEUE_TEXT_MAX 128

/* Milliseconds since 1970 in QUEUE_START: seconds with or without a fraction (nginx: $msec), or with "t=" in
 * front and in microseconds, as other front ends send it. -1 when it is no time. Pure. */
int64_t host_queue_parse(const char *text);

/* True when the request has waited longer than the group's queue-timeout; why says how long. A time in the
 * future, or none, is no wait; that none was sent is logged once. Any thread. */
bool host_queue_is_over(struct host_worker *w, const struct fcgi_request *request,
                        char why[HOST_QUEUE_TEXT_MAX]);

#endif
