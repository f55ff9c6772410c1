/* links: base fcgi */
/* Hostile bytes on a FastCGI connection: the input is what a peer sends before it closes.
 *
 * First the pure walk, which must agree with itself: what it calls WHOLE at one length stays WHOLE with more
 * bytes behind it. Then a connection, served as a worker would until it is over; it has to end, whatever
 * comes, and every descriptor has to be closed. The peer is gone meanwhile, so nothing ever waits. */
#include "base/err.h"
#include "fcgi/fcgi.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct fcgi_request *request;

static void demand(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static struct err e;
    (void)argc, (void)argv;
    demand(fcgi_init(&e) == 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    request = fcgi_request_new();
    demand(request != NULL);
    return 0;
}

static void walk(const uint8_t *bytes, size_t size)
{
    size_t consume, consume_half;
    const char *why = NULL;
    enum fcgi_look found = fcgi_walk(bytes, size, &consume, &why);
    demand(consume <= size);
    demand((found == FCGI_LOOK_BAD) == (why != NULL));
    enum fcgi_look half = fcgi_walk(bytes, size / 2, &consume_half, NULL);
    if (half == FCGI_LOOK_WHOLE)
        demand(found == FCGI_LOOK_WHOLE && consume == consume_half);
    if (half == FCGI_LOOK_BAD && consume_half == 0)
        demand(found == FCGI_LOOK_BAD);
}

/* What an application does: reads its parameters, some or all of its body, answers. The input decides. */
static int serve(int fd)
{
    char buffer[3000];
    if (!fcgi_request_begin(request, &fd))
        return -1;
    size_t params_size = 0;
    for (char *const *param = fcgi_request_params(request); *param; param++) {
        demand(strchr(*param, '=') != NULL);
        params_size += strlen(*param);
    }
    demand(fcgi_request_length_is_bad(request) ? fcgi_request_body_left(request) == 0 : true);
    if (params_size % 4 != 1) {
        int64_t left = fcgi_request_body_left(request);
        ssize_t got;
        while ((got = fcgi_request_read(request, buffer, 1 + params_size % sizeof buffer)) > 0) {
            demand(left < 0 || got <= left);
            left -= left < 0 ? 0 : got;
        }
    }
    struct iovec part = {buffer, params_size % sizeof buffer};
    memset(buffer, 'x', sizeof buffer);
    fcgi_request_write(request, &part, 1);
    if (params_size % 8 != 3)
        return fcgi_request_end(request);
    fcgi_request_break(request);
    return -1;
}

static void converse(const uint8_t *bytes, size_t size)
{
    int sockets[2];
    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    int ours = sockets[1];
    demand(send(sockets[0], bytes, size, MSG_DONTWAIT) == (ssize_t)size);
    /* SHUT_WR leaves it able to take answers; every second input has a peer that is gone altogether. */
    shutdown(sockets[0], size % 2 ? SHUT_WR : SHUT_RDWR);

    size_t rounds = 0;
    while (ours >= 0) {
        const char *why = NULL;
        enum fcgi_look found = fcgi_look(ours, &why);
        demand(found != FCGI_LOOK_PARTIAL && found != FCGI_LOOK_EMPTY); /* nothing can follow */
        demand(++rounds <= 2 + size / 24);
        if (found == FCGI_LOOK_WHOLE) {
            ours = serve(ours);
            continue;
        }
        demand((found == FCGI_LOOK_BAD) == (why != NULL));
        close(ours);
        ours = -1;
    }
    demand(fcntl(sockets[1], F_GETFD) < 0);
    close(sockets[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 100000)
        return 0;
    walk(bytes, size);
    if (size > 0)
        converse(bytes, size);
    return 0;
}
