/* Reads a request's body: the STDIN records, straight from the socket into the caller's buffer.
 *
 * Begins with what libfcgi had read along with the header. After that it never takes a byte from the
 * socket that is not this request's: a read covers the rest of one record, its padding, and the header
 * behind it, which a record with content always has. So the next request on a kept connection stays in
 * the socket, where fcgi_look() finds it. Anything but a STDIN record of this request ends the
 * connection. Runs on the request's thread, without the GIL. */
#include "fcgi/request.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Notes a failure for all later reads; a peer that is gone breaks the writing half too. */
static int body_fail(struct fcgi_request *r, int error)
{
    r->body.error = fcgi_errno(error);
    if (r->body.error == EPIPE && !r->broken)
        r->broken = EPIPE;
    errno = r->body.error;
    return -1;
}

/* recvmsg(2). -1 with errno EAGAIN only when flags say MSG_DONTWAIT; other failures are noted. */
static ssize_t body_receive(struct fcgi_request *r, struct iovec *parts, size_t part_count, int flags)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = part_count};
    ssize_t got;
    do
        got = recvmsg(r->fd, &message, flags);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        return got;
    if (got < 0 && errno == EAGAIN && (flags & MSG_DONTWAIT))
        return -1;
    return body_fail(r, got == 0 ? EPIPE : errno);
}

static size_t body_take_ahead(struct fcgi_body *b, void *to, size_t size)
{
    size = smaller(size, b->ahead_size);
    memcpy(to, b->ahead, size);
    b->ahead += size;
    b->ahead_size -= size;
    return size;
}

/* The next bytes of the connection, whatever they are: at least one. */
static ssize_t body_take(struct fcgi_request *r, void *to, size_t size, int flags)
{
    if (r->body.ahead_size > 0)
        return (ssize_t)body_take_ahead(&r->body, to, size);
    struct iovec part = {to, size};
    return body_receive(r, &part, 1, flags);
}

static int body_skip_padding(struct fcgi_request *r, int flags)
{
    unsigned char nowhere[255];
    while (r->body.padding_left > 0) {
        ssize_t got = body_take(r, nowhere, r->body.padding_left, flags);
        if (got < 0)
            return -1;
        r->body.padding_left -= (size_t)got;
    }
    return 0;
}

/* Goes on to the next record with content, or to the end of the stream. */
static int body_next_record(struct fcgi_request *r, int flags)
{
    struct fcgi_body *b = &r->body;
    if (body_skip_padding(r, flags) < 0)
        return -1;
    while (!b->last && b->header_have < sizeof b->header) {
        ssize_t got = body_take(r, b->header + b->header_have, sizeof b->header - b->header_have, flags);
        if (got < 0)
            return -1;
        b->header_have += (size_t)got;
    }
    if (!b->last) {
        struct fcgi_record record;
        if (!fcgi_record_parse(b->header, &record) || record.type != FCGI_STDIN || record.id != r->id)
            return body_fail(r, EPIPE);
        b->header_have = 0;
        b->record_left = record.content_size;
        b->padding_left = record.padding_size;
        b->last = record.content_size == 0;
        if (b->last && body_skip_padding(r, flags) < 0)
            return -1;
    }
    b->ended = b->last;
    return 0;
}

/* Some of the current record's content. record_left > 0. */
static ssize_t body_content(struct fcgi_request *r, void *to, size_t size, int flags)
{
    struct fcgi_body *b = &r->body;
    size = smaller(size, b->record_left);
    if (b->ahead_size > 0) {
        size = body_take_ahead(b, to, size);
    } else {
        struct iovec parts[2] = {{to, size}, {b->tail, b->padding_left + FCGI_HEADER_LEN}};
        ssize_t got = body_receive(r, parts, size == b->record_left ? 2 : 1, flags);
        if (got < 0)
            return -1;
        size = smaller(size, (size_t)got);
        b->ahead = b->tail;
        b->ahead_size = (size_t)got - size;
    }
    b->record_left -= size;
    return (ssize_t)size;
}

ssize_t fcgi_request_read(struct fcgi_request *r, void *buffer, size_t size)
{
    struct fcgi_body *b = &r->body;
    if (size == 0 || r->length_left == 0)
        return 0;
    if (b->error) {
        errno = b->error;
        return -1;
    }
    if (r->length_left > 0)
        size = smaller(size, (size_t)r->length_left);
    if (b->record_left == 0 && !b->ended && body_next_record(r, 0) < 0)
        return -1;
    if (b->ended) {
        errno = EPIPE;
        return r->length_left > 0 ? -1 : 0;
    }
    ssize_t got = body_content(r, buffer, size, 0);
    if (got > 0 && r->length_left > 0)
        r->length_left -= got;
    return got;
}

int64_t fcgi_request_body_left(const struct fcgi_request *r)
{
    return r->length_left;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool fcgi_body_drain(struct fcgi_request *r, int64_t pause_ms, int64_t total_ms)
{
    unsigned char nowhere[65536];
    struct fcgi_body *b = &r->body;
    int64_t deadline_ms = b->ended ? 0 : clock_now_ms() + total_ms;

    while (!b->ended && !b->error) {
        ssize_t got = 0;
        if (b->record_left == 0)
            got = body_next_record(r, MSG_DONTWAIT);
        else
            got = body_content(r, nowhere, sizeof nowhere, MSG_DONTWAIT);
        int64_t now_ms = clock_now_ms();
        if (now_ms >= deadline_ms)
            return b->ended;
        if (got < 0 && !b->error && !fcgi_wait_readable(r->fd, earlier(deadline_ms, now_ms + pause_ms)))
            return false;
    }
    return b->ended;
}

bool fcgi_wait_readable(int fd, int64_t deadline_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_ms = deadline_ms - clock_now_ms();
        int ready = poll(&wanted, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

int fcgi_errno(int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK || error == ETIMEDOUT)
        return ETIMEDOUT;
    return error == EIO ? EIO : EPIPE;
}
