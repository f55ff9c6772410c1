/* Writes a response: small pieces into libfcgi's buffer, large ones uncopied in STDOUT records of our own.
 *
 * A piece that does not fit behind what is gathered leaves together with it, in one sendmsg(2) for up to
 * two megabytes. Each call waits at most the connection's time limit without any progress; a peer that
 * reads slowly but does read gets everything. The first failure breaks the request for good, since a
 * record may have left half. Runs on the request's thread, without the GIL. */
#include "fcgi/request.h"

#include "fcgi/conn.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT_RECORDS_MAX 32 /* in one sendmsg(2) */

/* Records on their way out. */
struct out_batch {
    size_t record_count;
    unsigned char headers[OUT_RECORDS_MAX][FCGI_HEADER_LEN];
    struct iovec parts[2 * OUT_RECORDS_MAX]; /* header, content, header, content … */
};

static int out_fail(struct fcgi_request *r, int error)
{
    r->broken = fcgi_errno(error);
    errno = r->broken;
    return -1;
}

static int out_refuse_broken(const struct fcgi_request *r)
{
    errno = r->broken;
    return -1;
}

/* Leaves out the first sent bytes. */
static void parts_advance(struct iovec **parts, size_t *part_count, size_t sent)
{
    while (*part_count > 0 && sent >= (*parts)->iov_len) {
        sent -= (*parts)->iov_len;
        ++*parts;
        --*part_count;
    }
    if (*part_count > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + sent;
        (*parts)->iov_len -= sent;
    }
}

/* Sends everything, however the kernel slices it. */
static int out_send(struct fcgi_request *r, struct iovec *parts, size_t part_count, int flags)
{
    r->sent_some = true;
    while (part_count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = part_count};
        ssize_t sent = sendmsg(r->fd, &message, MSG_NOSIGNAL | flags);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return out_fail(r, errno);
        parts_advance(&parts, &part_count, (size_t)sent);
    }
    return 0;
}

static void batch_add(struct out_batch *b, uint16_t id, const void *content, size_t size)
{
    unsigned char *header = b->headers[b->record_count];
    struct iovec *parts = &b->parts[2 * b->record_count];
    fcgi_record_put(header, FCGI_STDOUT, id, size);
    parts[0] = (struct iovec){header, FCGI_HEADER_LEN};
    parts[1] = (struct iovec){(void *)(uintptr_t)content, size};
    b->record_count++;
}

static int batch_send(struct out_batch *b, struct fcgi_request *r)
{
    size_t part_count = 2 * b->record_count;
    b->record_count = 0;
    return out_send(r, b->parts, part_count, 0);
}

static void batch_add_gathered(struct out_batch *b, struct fcgi_request *r)
{
    size_t gathered_size;
    const void *gathered = fcgi_conn_gathered(r->conn, &gathered_size);
    if (gathered_size > 0)
        batch_add(b, r->id, gathered, gathered_size);
}

/* Sends what is gathered, and then size bytes more (may be 0) from where they are. */
static int out_pass(struct fcgi_request *r, const unsigned char *bytes, size_t size)
{
    struct out_batch batch;
    batch.record_count = 0;
    batch_add_gathered(&batch, r);
    while (size > 0) {
        if (batch.record_count == OUT_RECORDS_MAX && batch_send(&batch, r) < 0)
            return -1;
        size_t content_size = size < FCGI_RECORD_CONTENT_MAX ? size : FCGI_RECORD_CONTENT_MAX;
        batch_add(&batch, r->id, bytes, content_size);
        bytes += content_size;
        size -= content_size;
    }
    if (batch_send(&batch, r) < 0)
        return -1;
    fcgi_conn_forget(r->conn);
    return 0;
}

int fcgi_request_write(struct fcgi_request *r, const struct iovec *parts, size_t part_count)
{
    if (r->broken)
        return out_refuse_broken(r);
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].iov_len <= fcgi_conn_room(r->conn))
            fcgi_conn_gather(r->conn, parts[i].iov_base, parts[i].iov_len);
        else if (out_pass(r, parts[i].iov_base, parts[i].iov_len) < 0)
            return -1;
    }
    return 0;
}

int fcgi_request_flush(struct fcgi_request *r)
{
    size_t gathered_size;
    if (r->broken)
        return out_refuse_broken(r);
    fcgi_conn_gathered(r->conn, &gathered_size);
    return gathered_size > 0 ? out_pass(r, NULL, 0) : 0;
}

/* What is gathered, then the header of a record whose content follows by other means. */
static int out_open_record(struct fcgi_request *r, size_t content_size)
{
    struct out_batch batch;
    batch.record_count = 0;
    batch_add_gathered(&batch, r);
    batch_add(&batch, r->id, NULL, content_size);
    if (out_send(r, batch.parts, 2 * batch.record_count - 1, MSG_MORE) < 0)
        return -1;
    fcgi_conn_forget(r->conn);
    return 0;
}

/* Some files have no page cache to send from; their bytes go through a buffer. */
static int out_copy_file(struct fcgi_request *r, int file, off_t offset, size_t size)
{
    unsigned char buffer[16384];
    while (size > 0) {
        ssize_t got = pread(file, buffer, size < sizeof buffer ? size : sizeof buffer, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return out_fail(r, EIO);
        struct iovec part = {buffer, (size_t)got};
        if (out_send(r, &part, 1, 0) < 0)
            return -1;
        offset += got;
        size -= (size_t)got;
    }
    return 0;
}

/* What sendfile(2) says of the file, and never of the connection. */
static bool is_of_file(int error)
{
    return error == EIO || error == EBADF || error == ESTALE || error == ENODEV || error == ENXIO ||
           error == EUCLEAN || error == EBADMSG;
}

/* Fills an opened record. A file that shrinks meanwhile breaks the connection: the record's length is out. */
static int out_send_file(struct fcgi_request *r, int file, off_t offset, size_t size)
{
    while (size > 0) {
        ssize_t sent = sendfile(r->fd, file, &offset, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EINVAL || errno == ENOSYS))
            return out_copy_file(r, file, offset, size);
        if (sent <= 0)
            return out_fail(r, sent == 0 || is_of_file(errno) ? EIO : errno);
        size -= (size_t)sent;
    }
    return 0;
}

int fcgi_request_sendfile(struct fcgi_request *r, int file, off_t offset, size_t size, size_t *sent)
{
    struct stat about;
    *sent = 0;
    if (r->broken)
        return out_refuse_broken(r);
    if (fstat(file, &about) < 0 || !S_ISREG(about.st_mode) || about.st_size == 0 || offset < 0) {
        errno = EINVAL;
        return -1;
    }
    size_t there = offset < about.st_size ? (size_t)(about.st_size - offset) : 0;
    size_t wanted = size < there ? size : there;
    while (*sent < wanted) {
        size_t content_size = wanted - *sent < FCGI_RECORD_CONTENT_MAX ? wanted - *sent
                                                                       : FCGI_RECORD_CONTENT_MAX;
        if (out_open_record(r, content_size) < 0 ||
            out_send_file(r, file, offset + (off_t)*sent, content_size) < 0)
            return -1;
        *sent += content_size;
    }
    return wanted == size ? 1 : 0;
}
