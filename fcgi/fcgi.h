/* One FastCGI connection and one request on it, over libfcgi.
 *
 * A connection is a descriptor. While nobody works on it, it is only looked at: fcgi_look() peeks, walks
 * the records, and says whether a complete, sane request header is waiting. Only then a thread begins a
 * request on it. So libfcgi, which blocks and believes what the peer claims, never sees a peer that is
 * slow or lying about its header. Knows nothing of Python. FastCGI: the specification of 29 April 1996. */
#ifndef FCGI_FCGI_H
#define FCGI_FCGI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct err;

#define FCGI_HEADER_BYTES_MAX (160 * 1024) /* BEGIN and PARAMS records of one request, as sent */
#define FCGI_PARAMS_MAX       2048

/* Once per process, before threads and before the process installs its own SIGTERM, SIGUSR1 and SIGPIPE
 * handlers: FCGX_Init() replaces them. The process must ignore SIGPIPE afterwards: libfcgi's write(2) and
 * sendfile(2) know no MSG_NOSIGNAL. Also checks that libfcgi is laid out as fcgi/conn.c believes. 0, or -1
 * with *e. */
int fcgi_init(struct err *e);

/* What waits on a connection. */
enum fcgi_look {
    FCGI_LOOK_WHOLE,   /* a complete request header: begin */
    FCGI_LOOK_EMPTY,   /* nothing (any management records were answered) */
    FCGI_LOOK_PARTIAL, /* the start of a header: wait for more, under a deadline */
    FCGI_LOOK_GONE,    /* the peer closed, or the socket failed: close */
    FCGI_LOOK_BAD      /* not FastCGI, or more than the bounds: close; *why says what (static text) */
};

/* Peeks without blocking and without consuming, except: management records (FCGI_GET_VALUES, unknown types
 * with request id 0) are consumed and answered, a whole header of a role other than responder is consumed
 * with its further records as far as they came and answered with FCGI_UNKNOWN_ROLE; then the connection is
 * BAD unless the peer asked to keep it and the end of that request was among them. Never blocks: an answer
 * that does not fit the socket's buffer makes the connection BAD. A header whose rest cannot come any more is
 * GONE. Any thread; fd stays the caller's. *why may be NULL. */
enum fcgi_look fcgi_look(int fd, const char **why);

/* The pure half of it, for tests and the fuzzer: walks size bytes at the start of a connection. *consume is
 * set to how many bytes of leading records have to be answered and taken away first (0 nearly always).
 * Returns what stands behind them: WHOLE, PARTIAL, EMPTY (nothing), or BAD (with *why). *why may be NULL. */
enum fcgi_look fcgi_walk(const unsigned char *bytes, size_t size, size_t *consume, const char **why);

/* Bounds every later read and write on the connection (SO_RCVTIMEO, SO_SNDTIMEO); 0 is no bound. */
int fcgi_set_io_timeout(int fd, int64_t timeout_ms);

/* A thread's request object, used again and again. */
struct fcgi_request;
struct fcgi_request *fcgi_request_new(void); /* NULL without memory */

/* How long fcgi_request_end() may go on reading what a peer still sends before it closes. */
void fcgi_request_set_farewell(struct fcgi_request *r, int64_t farewell_ms);
void fcgi_request_free(struct fcgi_request *r);

/* Begins the request that fcgi_look() found whole. Takes *fd (sets it to -1). true: parameters are there.
 * false: the connection was no good after all and is closed. */
bool fcgi_request_begin(struct fcgi_request *r, int *fd);

/* "NAME=VALUE" strings ending with NULL, in the order sent, duplicates included. Valid until the request
 * ends. */
char *const *fcgi_request_params(const struct fcgi_request *r);

/* The last value of that name, or NULL. */
const char *fcgi_request_param(const struct fcgi_request *r, const char *name);

/* Body bytes that remain by CONTENT_LENGTH; -1 when no length was given (then the stream's end is the end).
 */
int64_t fcgi_request_body_left(const struct fcgi_request *r);

/* True when CONTENT_LENGTH is no number, too large, or sent twice with different values: answer 400. The body
 * then reads as empty. An empty CONTENT_LENGTH (nginx, without a body) is as good as none. */
bool fcgi_request_length_is_bad(const struct fcgi_request *r);

/* Reads up to size bytes of the body; never past CONTENT_LENGTH. 0 at its end, -1 when the peer vanished,
 * ended early or was slower than the time limit (errno: ETIMEDOUT, EPIPE). May return less than size before
 * the end; blocks until at least one byte is there. Not with the GIL. */
ssize_t fcgi_request_read(struct fcgi_request *r, void *buffer, size_t size);

/* Response bytes (CGI headers, blank line, body). Small pieces are gathered in libfcgi's buffer; a large
 * piece goes out uncopied in our own STDOUT records with one gathered write. 0, or -1 once the peer is gone
 * or too slow (errno: ETIMEDOUT, EPIPE); from then on every write fails. Not with the GIL. */
int fcgi_request_write(struct fcgi_request *r, const struct iovec *parts, size_t part_count);

/* Sends size bytes of a file from offset with sendfile(2). 1: all sent; 0: the file ended early (*sent says
 * where); -1: peer gone (errno). EIO: the file failed or shrank, and the request is broken all the same.
 * EINVAL with nothing sent: this file cannot be sent that way, read it instead. */
int fcgi_request_sendfile(struct fcgi_request *r, int file, off_t offset, size_t size, size_t *sent);

/* Sends what has been gathered. 0 or -1. */
int fcgi_request_flush(struct fcgi_request *r);

/* True once a write failed or the peer was seen to be gone. */
bool fcgi_request_is_broken(const struct fcgi_request *r);

/* Ends the request: END_REQUEST, appStatus 0; an unread body is read away. Returns the connection when
 * the peer asked to keep it and it can be (the caller's again), else closes it gently (what the peer still
 * sends is read for a bounded time, so that it gets the answer) and returns -1. After the answer is out it
 * waits only for a peer whose body is still under way: 200 ms for the rest of a body before it gives up
 * keeping, then one second for each further piece and ten for all, or what was set, before it closes. Not
 * with the GIL. */
int fcgi_request_end(struct fcgi_request *r);

/* The same without the farewell: a connection that has to be closed gently is returned, closed for writing,
 * with *lingers true. The caller reads it away with fcgi_linger() for as long as it has time, and closes it.
 */
int fcgi_request_end_early(struct fcgi_request *r, bool *lingers);

/* Reads away what came on such a connection; never waits. False when it can be closed. */
bool fcgi_linger(int fd);

/* Breaks the connection without END_REQUEST, so that the web server can tell the response is cut short. */
void fcgi_request_break(struct fcgi_request *r);

/* ---- the other side: for `pyfpm request` and tests ---- */

/* Sends one responder request over a connected, blocking fd: BEGIN (keep or not), PARAMS, STDIN. params are
 * "NAME=VALUE". body may be NULL. 0, or -1 with *e. */
int fcgi_client_send(int fd, char *const *params, const void *body, size_t body_size, bool keep,
                     struct err *e);

/* Reads the answer until END_REQUEST. Calls sink for each piece of STDOUT (is_error false) and STDERR.
 * 0 and *app_status; -1 with *e, which says whether the connection closed before END_REQUEST. */
typedef int fcgi_client_sink(void *context, bool is_error, const void *bytes, size_t size);
int fcgi_client_receive(int fd, fcgi_client_sink *sink, void *context, uint32_t *app_status, struct err *e);

#endif
