/* Begins and ends a request on a connection, and decides what becomes of the connection afterwards.
 *
 * A connection is kept only when the peer asked for it, nothing failed, and the request was read to its
 * very last byte and not one further; else the next request would be lost or misread. Runs on the
 * request's thread, without the GIL. */
#include "fcgi/request.h"

#include "base/clock.h"
#include "base/fd.h"
#include "fcgi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEP_PAUSE_MS 200  /* between two pieces of a body that is on its way, to keep its connection */
#define KEEP_WAIT_MS  2000 /* for all of it */
#define GENTLE_PAUSE_MS                                                                                      \
    1000                  /* between two pieces of what a peer is still sending when its connection closes */
#define FAREWELL_MS 10000 /* for all of it, unless set otherwise */

int fcgi_init(struct err *e)
{
    return fcgi_conn_init(e);
}

int fcgi_set_io_timeout(int fd, int64_t timeout_ms)
{
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
        return -1;
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

struct fcgi_request *fcgi_request_new(void)
{
    struct fcgi_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->fd = -1;
    r->farewell_ms = FAREWELL_MS;
    r->conn = fcgi_conn_new();
    if (!r->conn) {
        free(r);
        return NULL;
    }
    return r;
}

void fcgi_request_set_farewell(struct fcgi_request *r, int64_t farewell_ms)
{
    r->farewell_ms = farewell_ms;
}

void fcgi_request_free(struct fcgi_request *r)
{
    if (!r)
        return;
    fcgi_request_break(r);
    fcgi_conn_free(r->conn);
    free(r);
}

/* Decimal digits that fit, or -1. */
static int64_t length_parse(const char *text)
{
    int64_t length = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || length > (INT64_MAX - 9) / 10)
            return -1;
        length = length * 10 + (*text - '0');
    }
    return length;
}

/* Sets length_left and length_bad from CONTENT_LENGTH. Empty is as good as absent: nginx sends that. */
static void request_find_length(struct fcgi_request *r)
{
    static const char name[] = "CONTENT_LENGTH=";
    r->length_left = -1;
    r->length_bad = false;
    for (char *const *param = r->params; *param; param++) {
        const char *text = *param + sizeof name - 1;
        if (strncmp(*param, name, sizeof name - 1) != 0 || !*text)
            continue;
        int64_t length = length_parse(text);
        if (length < 0 || (r->length_left >= 0 && r->length_left != length))
            r->length_bad = true;
        r->length_left = length;
    }
    if (r->length_bad)
        r->length_left = 0;
}

bool fcgi_request_begin(struct fcgi_request *r, int *fd)
{
    struct fcgi_conn_head head;
    int taken = fd_take(fd);
    if (fcgi_conn_begin(r->conn, taken, &head) < 0)
        return false;
    r->fd = taken;
    r->id = head.id;
    r->keep = head.keep;
    r->sent_some = false;
    r->broken = 0;
    r->params = head.params;
    r->body.ahead = head.ahead;
    r->body.ahead_size = head.ahead_size;
    r->body.record_left = 0;
    r->body.padding_left = 0;
    r->body.header_have = 0;
    r->body.last = false;
    r->body.ended = false;
    r->body.error = 0;
    request_find_length(r);
    return true;
}

char *const *fcgi_request_params(const struct fcgi_request *r)
{
    return r->params;
}

const char *fcgi_request_param(const struct fcgi_request *r, const char *name)
{
    size_t name_size = strlen(name);
    const char *found = NULL;
    for (char *const *param = r->params; *param; param++)
        if (strncmp(*param, name, name_size) == 0 && (*param)[name_size] == '=')
            found = *param + name_size + 1;
    return found;
}

bool fcgi_request_length_is_bad(const struct fcgi_request *r)
{
    return r->length_bad;
}

bool fcgi_request_is_broken(const struct fcgi_request *r)
{
    return r->broken != 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Closing with unread bytes makes the kernel reset the connection, and the peer may lose its answer over
 * it: nginx gives its client 502 when it cannot send the rest of a body. So: say that no more comes, and
 * read what the peer is still sending. */
bool fcgi_linger(int fd)
{
    char nowhere[65536];
    ssize_t got = recv(fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void close_gently(int fd, int64_t farewell_ms)
{
    int64_t deadline_ms = clock_now_ms() + farewell_ms;
    for (;;) {
        int64_t now_ms = clock_now_ms();
        if (now_ms >= deadline_ms ||
            !fcgi_wait_readable(fd, earlier(deadline_ms, now_ms + GENTLE_PAUSE_MS)) || !fcgi_linger(fd))
            break;
    }
    close(fd);
}

/* Forgets the request; returns its descriptor. */
static int request_release(struct fcgi_request *r)
{
    fcgi_conn_release(r->conn);
    r->params = NULL;
    r->body.ahead = NULL;
    r->body.ahead_size = 0;
    return fd_take(&r->fd);
}

int fcgi_request_end_early(struct fcgi_request *r, bool *lingers)
{
    if (!r->broken && fcgi_conn_finish(r->conn, r->sent_some) < 0)
        r->broken = fcgi_errno(errno);
    bool all_read = !r->broken &&
                    fcgi_body_drain(r, r->keep ? KEEP_PAUSE_MS : 0, earlier(KEEP_WAIT_MS, r->farewell_ms)) &&
                    r->body.ahead_size == 0;
    bool broken = r->broken != 0;

    int fd = request_release(r);
    *lingers = !all_read && !broken;
    if (*lingers) {
        shutdown(fd, SHUT_WR);
    } else if (!all_read || !r->keep) {
        shutdown(fd, SHUT_RDWR); /* for copies of it, as in fcgi_request_break() */
        fd_close(&fd);
    }
    return fd;
}

int fcgi_request_end(struct fcgi_request *r)
{
    bool lingers;
    int fd = fcgi_request_end_early(r, &lingers);
    if (!lingers)
        return fd;
    close_gently(fd, r->farewell_ms);
    return -1;
}

void fcgi_request_break(struct fcgi_request *r)
{
    if (r->fd < 0)
        return;
    int fd = request_release(r);
    shutdown(fd, SHUT_RDWR); /* a child that the application forked may hold a copy of it */
    close(fd);
}
