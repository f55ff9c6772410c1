/* The web server's side of FastCGI, as much of it as `pyfpm request` and the tests need: one responder
 * request, one answer. Refuses parameters without a name. Blocks as the descriptor does, takes no byte
 * behind END_REQUEST, and never raises SIGPIPE. Any thread. */
#include "fcgi/fcgi.h"

#include "base/err.h"
#include "fcgi/record.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define CLIENT_REQUEST_ID 1

/* Bytes of the PARAMS stream, or of whole records, that grow. */
struct client_bytes {
    unsigned char *start;
    size_t size;
};

static int client_append(struct client_bytes *b, const void *bytes, size_t size)
{
    unsigned char *grown = realloc(b->start, b->size + size + 1);
    if (!grown)
        return -1;
    if (size > 0)
        memcpy(grown + b->size, bytes, size);
    b->start = grown;
    b->size += size;
    return 0;
}

static int client_append_length(struct client_bytes *b, size_t length)
{
    unsigned char bytes[4] = {(unsigned char)(length >> 24 | 0x80), (unsigned char)(length >> 16),
                              (unsigned char)(length >> 8), (unsigned char)length};
    if (length < 0x80)
        return client_append(b, &bytes[3], 1);
    return client_append(b, bytes, 4);
}

static int client_append_pairs(struct client_bytes *b, char *const *params, struct err *e)
{
    for (; *params; params++) {
        const char *equals = strchr(*params, '=');
        if (!equals || equals == *params)
            return err_set(e, "'%s' is no NAME=VALUE", *params);
        size_t name_size = (size_t)(equals - *params);
        size_t value_size = strlen(equals + 1);
        if (name_size + value_size > INT32_MAX)
            return err_set(e, "a parameter of %zu bytes is too long", name_size + value_size);
        if (client_append_length(b, name_size) < 0 || client_append_length(b, value_size) < 0 ||
            client_append(b, *params, name_size) < 0 || client_append(b, equals + 1, value_size) < 0)
            return err_set(e, "out of memory");
    }
    return 0;
}

static int client_send_parts(int fd, struct iovec *parts, size_t part_count, struct err *e)
{
    while (part_count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = part_count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return err_errno(e, "sending the request");
        while (part_count > 0 && (size_t)sent >= parts->iov_len) {
            sent -= (ssize_t)parts->iov_len;
            parts++;
            part_count--;
        }
        if (part_count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
    return 0;
}

/* Puts bytes down as a stream of records, up to and including the empty one. */
static int client_append_stream(struct client_bytes *b, uint8_t type, const unsigned char *bytes, size_t size)
{
    for (;;) {
        unsigned char header[FCGI_HEADER_LEN];
        size_t content_size = size < FCGI_RECORD_CONTENT_MAX ? size : FCGI_RECORD_CONTENT_MAX;
        fcgi_record_put(header, type, CLIENT_REQUEST_ID, content_size);
        if (client_append(b, header, sizeof header) < 0 || client_append(b, bytes, content_size) < 0)
            return -1;
        if (content_size == 0)
            return 0;
        bytes += content_size;
        size -= content_size;
    }
}

/* BEGIN_REQUEST and the PARAMS stream. */
static int client_append_header(struct client_bytes *b, char *const *params, bool keep, struct err *e)
{
    unsigned char begin[sizeof(FCGI_BeginRequestRecord)] = {0};
    struct client_bytes pairs = {NULL, 0};
    fcgi_record_put(begin, FCGI_BEGIN_REQUEST, CLIENT_REQUEST_ID, sizeof(FCGI_BeginRequestBody));
    begin[FCGI_HEADER_LEN + 1] = FCGI_RESPONDER;
    begin[FCGI_HEADER_LEN + 2] = keep ? FCGI_KEEP_CONN : 0;

    int result = client_append_pairs(&pairs, params, e);
    if (result == 0 && (client_append(b, begin, sizeof begin) < 0 ||
                        client_append_stream(b, FCGI_PARAMS, pairs.start, pairs.size) < 0))
        result = err_set(e, "out of memory");
    free(pairs.start);
    return result;
}

/* Sends the header and, from where it is, the body; in one call when the body fits one record. */
static int client_send_all(int fd, const struct client_bytes *header, const unsigned char *body, size_t size,
                           struct err *e)
{
    unsigned char record[FCGI_HEADER_LEN], end[FCGI_HEADER_LEN];
    size_t header_size = header->size;
    fcgi_record_put(end, FCGI_STDIN, CLIENT_REQUEST_ID, 0);
    for (bool is_last = false; !is_last;) {
        size_t content_size = size < FCGI_RECORD_CONTENT_MAX ? size : FCGI_RECORD_CONTENT_MAX;
        is_last = content_size == size;
        fcgi_record_put(record, FCGI_STDIN, CLIENT_REQUEST_ID, content_size);
        struct iovec parts[] = {{header->start, header_size},
                                {record, content_size > 0 ? sizeof record : 0},
                                {(void *)(uintptr_t)body, content_size},
                                {end, is_last ? sizeof end : 0}};
        if (client_send_parts(fd, parts, 4, e) < 0)
            return -1;
        header_size = 0;
        body += content_size;
        size -= content_size;
    }
    return 0;
}

int fcgi_client_send(int fd, char *const *params, const void *body, size_t body_size, bool keep,
                     struct err *e)
{
    static const unsigned char nothing[1];
    struct client_bytes header = {NULL, 0};
    int result = client_append_header(&header, params, keep, e);
    if (result == 0)
        result = client_send_all(fd, &header, body ? body : nothing, body ? body_size : 0, e);
    free(header.start);
    return result;
}

/* Exactly size bytes. */
static int client_read(int fd, void *buffer, size_t size, struct err *e)
{
    char *next = buffer;
    while (size > 0) {
        ssize_t got = recv(fd, next, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, "reading the answer");
        if (got == 0)
            return err_set(e, "the connection closed before END_REQUEST");
        next += got;
        size -= (size_t)got;
    }
    return 0;
}

/* A record's content and padding; sink is NULL for records that are passed over. */
static int client_read_content(int fd, const struct fcgi_record *record, fcgi_client_sink *sink,
                               void *context, struct err *e)
{
    char buffer[16384];
    size_t left = record->content_size;
    while (left > 0) {
        size_t now = left < sizeof buffer ? left : sizeof buffer;
        if (client_read(fd, buffer, now, e) < 0)
            return -1;
        if (sink && sink(context, record->type == FCGI_STDERR, buffer, now) != 0)
            return err_set(e, "the answer was not wanted to its end");
        left -= now;
    }
    return client_read(fd, buffer, record->padding_size, e);
}

static int client_read_end(int fd, const struct fcgi_record *record, uint32_t *app_status, struct err *e)
{
    static const char *const refusals[] = {"", "it does not multiplex", "it is overloaded",
                                           "it serves no such role"};
    unsigned char body[sizeof(FCGI_EndRequestBody)];
    unsigned char padding[255];
    if (record->content_size != sizeof body)
        return err_set(e, "an END_REQUEST of %u bytes", record->content_size);
    if (client_read(fd, body, sizeof body, e) < 0 || client_read(fd, padding, record->padding_size, e) < 0)
        return -1;
    *app_status = (uint32_t)body[0] << 24 | (uint32_t)body[1] << 16 | (uint32_t)body[2] << 8 | body[3];
    if (body[4] == FCGI_REQUEST_COMPLETE)
        return 0;
    if (body[4] < sizeof refusals / sizeof *refusals)
        return err_set(e, "the server refused the request: %s", refusals[body[4]]);
    return err_set(e, "the server refused the request with status %u", body[4]);
}

int fcgi_client_receive(int fd, fcgi_client_sink *sink, void *context, uint32_t *app_status, struct err *e)
{
    for (;;) {
        unsigned char header[FCGI_HEADER_LEN];
        struct fcgi_record record;
        if (client_read(fd, header, sizeof header, e) < 0)
            return -1;
        if (!fcgi_record_parse(header, &record))
            return err_set(e, "the answer is not FastCGI");
        if (record.type == FCGI_END_REQUEST)
            return client_read_end(fd, &record, app_status, e);
        bool is_output = record.type == FCGI_STDOUT || record.type == FCGI_STDERR;
        if (client_read_content(fd, &record, is_output ? sink : NULL, context, e) < 0)
            return -1;
    }
}
