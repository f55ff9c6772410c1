/* Bytes of FastCGI, put together by hand: what the fcgi tests and no honest client send. */
#ifndef TEST_FCGI_COMMON_H
#define TEST_FCGI_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "fcgi/fcgi.h"

enum { BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, DATA = 8, GET_VALUES = 9 };
enum { RESPONDER = 1, AUTHORIZER = 2, FILTER = 3 };

struct bytes {
    unsigned char data[512 * 1024];
    size_t size;
};

static inline void put(struct bytes *b, const void *bytes, size_t size)
{
    assert_true(b->size + size <= sizeof b->data);
    if (size > 0)
        memcpy(b->data + b->size, bytes, size);
    b->size += size;
}

static inline void put_record_of(struct bytes *b, int version, int type, int id, const void *content,
                                 size_t size, size_t padding)
{
    static const unsigned char zeros[255];
    unsigned char header[8] = {
        (unsigned char)version,     (unsigned char)type, (unsigned char)(id >> 8), (unsigned char)id,
        (unsigned char)(size >> 8), (unsigned char)size, (unsigned char)padding,   0};
    put(b, header, sizeof header);
    put(b, content, size);
    put(b, zeros, padding);
}

static inline void put_record(struct bytes *b, int type, int id, const void *content, size_t size)
{
    put_record_of(b, 1, type, id, content, size, 0);
}

static inline void put_begin(struct bytes *b, int id, int role, int flags)
{
    unsigned char body[8] = {(unsigned char)(role >> 8), (unsigned char)role, (unsigned char)flags};
    put_record(b, BEGIN, id, body, sizeof body);
}

static inline void put_length(struct bytes *b, size_t length, bool wide)
{
    unsigned char bytes[4] = {(unsigned char)(length >> 24 | 0x80), (unsigned char)(length >> 16),
                              (unsigned char)(length >> 8), (unsigned char)length};
    if (wide || length > 127)
        put(b, bytes, 4);
    else
        put(b, bytes + 3, 1);
}

/* The bytes of a name-value pair, to go into a PARAMS record. */
static inline void put_pair(struct bytes *b, const char *name, const char *value)
{
    put_length(b, strlen(name), false);
    put_length(b, strlen(value), false);
    put(b, name, strlen(name));
    put(b, value, strlen(value));
}

/* BEGIN, one PARAMS record of one pair (unless name is NULL), the empty one. */
static inline void put_header(struct bytes *b, int id, bool keep, const char *name, const char *value)
{
    static struct bytes pairs;
    pairs.size = 0;
    put_begin(b, id, RESPONDER, keep);
    if (name) {
        put_pair(&pairs, name, value);
        put_record(b, PARAMS, id, pairs.data, pairs.size);
    }
    put_record(b, PARAMS, id, NULL, 0);
}

static inline void send_bytes(int fd, const struct bytes *b)
{
    for (size_t sent = 0; sent < b->size;) {
        ssize_t now = send(fd, b->data + sent, b->size - sent, MSG_NOSIGNAL);
        assert_true(now > 0);
        sent += (size_t)now;
    }
}

/* A connection: [0] is the web server's end, [1] ours. */
static inline void open_pair(int sockets[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
}

static inline bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* What arrived on fd until the other end closed. */
static inline void read_to_end(int fd, struct bytes *b)
{
    b->size = 0;
    for (;;) {
        ssize_t got = recv(fd, b->data + b->size, sizeof b->data - b->size, 0);
        if (got <= 0)
            return;
        b->size += (size_t)got;
    }
}

/* An answer as a client sees it. */
struct answer {
    char *text; /* NUL-terminated */
    size_t size;
    uint32_t status;
    struct err err;
};

static inline int answer_sink(void *context, bool is_error, const void *bytes, size_t size)
{
    struct answer *a = context;
    assert_false(is_error);
    a->text = realloc(a->text, a->size + size + 1);
    memcpy(a->text + a->size, bytes, size);
    a->size += size;
    a->text[a->size] = '\0';
    return 0;
}

static inline int receive_answer(int fd, struct answer *a)
{
    a->text = calloc(1, 1);
    a->size = 0;
    a->status = UINT32_MAX;
    a->err.text[0] = '\0';
    return fcgi_client_receive(fd, answer_sink, a, &a->status, &a->err);
}

#endif
