/* The only file that knows libfcgi: it hands a connection to FCGX_Accept_r() and takes back what that
 * function has no way of returning.
 *
 * Facts it stands on (libfcgi 2.4.2, each pinned in tests/unit/test_fcgi_libfcgi.c):
 * - FCGX_Accept_r() starts with FCGX_Finish_r(), which closes ipcFd unless keepConnection is set. So both
 *   are set; BEGIN_REQUEST then overwrites keepConnection with the peer's wish.
 * - On a bad header it closes the connection and turns to accept(listen_sock), which is -1 here: it
 *   returns below zero. Closing is shutdown(2) and up to two seconds of waiting unless `detached` is set.
 * - A header that ends between two parameters passes for a whole one; only the stream's error tells.
 * - It reads 8 KiB at a time, so the start of the body lies in its buffer when it returns, and only its
 *   private struct says how much. The struct is repeated below and checked at start.
 * - While reading a body it answers management records: FCGI_GET_VALUES with a name repeated five times
 *   overruns an array on its stack, and lengths of names are allocated as claimed. Hence nothing but a
 *   header that fcgi_look() walked may be parsed by it; body.c reads the rest.
 *
 * Runs on any thread; a struct fcgi_conn belongs to one thread at a time. */
#include "fcgi/conn.h"

#include "base/err.h"
#include "base/fd.h"
#include "fcgi/record.h"

#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What closing the stream puts behind the gathered bytes: padding, an empty STDOUT, END_REQUEST. Room is
 * kept for it, so that the last write is a single one. */
#define CONN_END_SIZE (7 + FCGI_HEADER_LEN + FCGI_RECORD_END_SIZE)

struct fcgi_conn {
    FCGX_Request request;
    unsigned char *gathered; /* where the content of the next STDOUT record starts in libfcgi's buffer */
};

/* The first members of libfcgi's FCGX_Stream_Data, unchanged from 2.4.0 on. */
struct conn_stream_data {
    unsigned char *buffer;
    int buffer_size;
    unsigned char *allocated;
    unsigned char *buffer_stop;
};

static void conn_reset(struct fcgi_conn *c)
{
    FCGX_InitRequest(&c->request, -1, 0);
}

struct fcgi_conn *fcgi_conn_new(void)
{
    struct fcgi_conn *c = calloc(1, sizeof *c);
    if (c)
        conn_reset(c);
    return c;
}

void fcgi_conn_free(struct fcgi_conn *c)
{
    if (!c)
        return;
    fcgi_conn_release(c);
    free(c);
}

int fcgi_conn_begin(struct fcgi_conn *c, int fd, struct fcgi_conn_head *head)
{
    FCGX_Request *request = &c->request;
    request->ipcFd = fd;
    request->keepConnection = 1;
    FCGX_Detach(request);
    if (FCGX_Accept_r(request) < 0) {
        conn_reset(c);
        return -1;
    }
    if (FCGX_GetError(request->in) != 0) {
        fcgi_conn_release(c);
        close(fd);
        return -1;
    }
    c->gathered = request->out->wrNext;

    const struct conn_stream_data *in = request->in->data;
    head->id = (uint16_t)request->requestId;
    head->keep = request->keepConnection != 0;
    head->params = request->envp + 1; /* the first one is libfcgi's own FCGI_ROLE */
    head->ahead = request->in->rdNext;
    head->ahead_size = (size_t)(in->buffer_stop - request->in->rdNext);
    return 0;
}

size_t fcgi_conn_room(const struct fcgi_conn *c)
{
    size_t room = (size_t)(c->request.out->stop - c->request.out->wrNext);
    return room > CONN_END_SIZE ? room - CONN_END_SIZE : 0;
}

void fcgi_conn_gather(struct fcgi_conn *c, const void *bytes, size_t size)
{
    FCGX_PutStr(bytes, (int)size, c->request.out);
}

const void *fcgi_conn_gathered(const struct fcgi_conn *c, size_t *size)
{
    *size = (size_t)(c->request.out->wrNext - c->gathered);
    return c->gathered;
}

void fcgi_conn_forget(struct fcgi_conn *c)
{
    c->request.out->wrNext = c->gathered;
}

int fcgi_conn_finish(struct fcgi_conn *c, bool may_wait)
{
    sigset_t all, before;
    /* A signal (the slow log's, say) ends a waiting write(2) with EINTR, which libfcgi takes for an error;
     * with SO_SNDTIMEO set SA_RESTART does not help (signal(7)). */
    if (may_wait) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    /* STDERR first: it is unused, so nothing is written, and closing STDOUT then ends the request too. */
    FCGX_FClose(c->request.err);
    int failed = FCGX_FClose(c->request.out);
    int error = FCGX_GetError(c->request.out);
    if (may_wait)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed)
        return 0;
    errno = error > 0 ? error : EPIPE;
    return -1;
}

void fcgi_conn_release(struct fcgi_conn *c)
{
    FCGX_Free(&c->request, 0);
    conn_reset(c);
}

/* Sends a request with a body to ourselves and looks whether the body is where it should be. */
static int conn_check_layout(struct fcgi_conn *c, int sockets[2], struct err *e)
{
    static const unsigned char header[] = {1,   FCGI_BEGIN_REQUEST,
                                           0,   7,
                                           0,   8,
                                           0,   0,
                                           0,   FCGI_RESPONDER,
                                           0,   0,
                                           0,   0,
                                           0,   0, /* */
                                           1,   FCGI_PARAMS,
                                           0,   7,
                                           0,   4,
                                           0,   0,
                                           1,   1,
                                           'N', 'v', /* */
                                           1,   FCGI_PARAMS,
                                           0,   7,
                                           0,   0,
                                           0,   0};
    static const unsigned char body[] = {1, FCGI_STDIN, 0, 7, 0, 1, 0, 0, 'b',
                                         1, FCGI_STDIN, 0, 7, 0, 0, 0, 0};
    unsigned char all[sizeof header + sizeof body];
    memcpy(all, header, sizeof header);
    memcpy(all + sizeof header, body, sizeof body);
    if (fd_write_all(sockets[0], all, sizeof all) < 0)
        return err_errno(e, "libfcgi: cannot write to a socket pair");

    struct fcgi_conn_head head;
    if (fcgi_conn_begin(c, fd_take(&sockets[1]), &head) < 0)
        return err_set(e, "libfcgi refuses a plain request");
    sockets[1] = c->request.ipcFd;
    bool as_expected = head.id == 7 && !head.keep && head.params[0] && strcmp(head.params[0], "N=v") == 0 &&
                       !head.params[1] && head.ahead_size == sizeof body &&
                       memcmp(head.ahead, body, sizeof body) == 0 && fcgi_conn_room(c) >= 4096;
    return as_expected ? 0 : err_set(e, "this libfcgi is laid out differently from 2.4.0 to 2.4.7");
}

int fcgi_conn_init(struct err *e)
{
    int sockets[2] = {-1, -1};
    struct fcgi_conn *c = NULL;
    int result = -1;

    if (FCGX_Init() != 0)
        return err_set(e, "FCGX_Init failed");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return err_errno(e, "socketpair");
    c = fcgi_conn_new();
    if (!c) {
        err_set(e, "out of memory");
        goto out;
    }
    result = conn_check_layout(c, sockets, e);
out:
    fcgi_conn_free(c);
    fd_close(&sockets[0]);
    fd_close(&sockets[1]);
    return result;
}
