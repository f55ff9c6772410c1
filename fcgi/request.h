/* A request as the files of this folder share it: request.c begins and ends it, body.c reads its body,
 * out.c writes its answer. One thread has it at a time. */
#ifndef FCGI_REQUEST_H
#define FCGI_REQUEST_H

#include "fcgi/fcgi.h"
#include "fcgi/record.h"

struct fcgi_conn;

/* Where the reader stands in the STDIN stream. */
struct fcgi_body {
    const unsigned char *ahead; /* bytes already off the socket: in libfcgi's buffer, or in tail */
    size_t ahead_size;
    size_t record_left;  /* content of the current record */
    size_t padding_left; /* its padding, which follows */
    size_t header_have;  /* bytes of the next header */
    bool last;           /* the empty record was seen */
    bool ended;          /* and its padding too: the request was read to its very end */
    int error;           /* errno of the failure that ended reading, or 0 */
    unsigned char header[FCGI_HEADER_LEN];
    unsigned char tail[255 + FCGI_HEADER_LEN]; /* a record's padding and the header behind it */
};

struct fcgi_request {
    struct fcgi_conn *conn;
    int fd; /* -1 between requests */
    uint16_t id;
    bool keep;
    bool sent_some; /* a part of the response has left already */
    int broken;     /* errno since which writes fail, or 0 */
    char *const *params;
    int64_t length_left; /* as fcgi_request_body_left() */
    bool length_bad;
    int64_t farewell_ms; /* for a peer that is still sending when its connection closes */
    struct fcgi_body body;
};

/* Reads the rest of the request away, as long as pieces follow each other within pause_ms and for total_ms at
 * most. True when the request's very last byte was read. */
bool fcgi_body_drain(struct fcgi_request *r, int64_t pause_ms, int64_t total_ms);

/* Waits until there is something to read, or an end or error to see. False at the deadline (clock_now_ms()).
 */
bool fcgi_wait_readable(int fd, int64_t deadline_ms);

/* The errnos the host hears of: ETIMEDOUT for a peer that was too slow, EPIPE for one that is gone, EIO for a
 * file that failed. */
int fcgi_errno(int error);

#endif
