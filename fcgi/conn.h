/* libfcgi's half of a request, behind a wall: nothing outside conn.c knows its types.
 *
 * libfcgi parses the header, owns the parameters and the buffer in which small output gathers, and writes
 * the end of the response. It never closes a connection of ours and never reads a request's body. */
#ifndef FCGI_CONN_H
#define FCGI_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct fcgi_conn;

/* What FCGX_Accept_r() found. Everything in it is valid until fcgi_conn_release(). */
struct fcgi_conn_head {
    uint16_t id;
    bool keep; /* the peer asked to keep the connection */
    char *const *params;
    const unsigned char *ahead; /* bytes behind the header that libfcgi had read along with it */
    size_t ahead_size;
};

/* FCGX_Init(), and a check that this libfcgi is laid out as conn.c believes. 0, or -1 with *e. */
int fcgi_conn_init(struct err *e);

struct fcgi_conn *fcgi_conn_new(void); /* NULL without memory */
void fcgi_conn_free(struct fcgi_conn *c);

/* Reads a header that is known to be whole. On success fd stays the caller's; else it is closed. */
int fcgi_conn_begin(struct fcgi_conn *c, int fd, struct fcgi_conn_head *head);

/* The gathering buffer: how much fits, adding (size <= room), what is in it, emptying it unsent. */
size_t fcgi_conn_room(const struct fcgi_conn *c);
void fcgi_conn_gather(struct fcgi_conn *c, const void *bytes, size_t size);
const void *fcgi_conn_gathered(const struct fcgi_conn *c, size_t *size);
void fcgi_conn_forget(struct fcgi_conn *c);

/* Writes what is gathered, the end of STDOUT and END_REQUEST in one write(2). may_wait: the peer could be
 * behind with reading, so that the write may wait. 0, or -1 with errno. */
int fcgi_conn_finish(struct fcgi_conn *c, bool may_wait);

/* Frees all that libfcgi allocated for the request. The descriptor is left alone. */
void fcgi_conn_release(struct fcgi_conn *c);

#endif
