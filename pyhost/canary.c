/* Tries an application with one request before it gets any from outside.
 *
 * The request takes the way of every other one: FastCGI over a socket, parsed, served by a serving thread,
 * answered. A thread without Python plays the web server meanwhile. How long that may take is
 * startup-timeout's business: the supervisor has not heard that this worker is ready. Runs on the main
 * thread of a worker, before it accepts. */
#include "pyhost/canary.h"

#include "base/err.h"
#include "base/fd.h"
#include "fcgi/fcgi.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD_MAX 4096 /* of the answer: enough for its Status line */

/* The web server's side. */
struct asking {
    int fd;
    const char *path;
    char head[HEAD_MAX + 1];
    size_t head_size;
    bool is_answered;
    struct err e;
};

static int keep_head(void *context, bool is_error, const void *bytes, size_t size)
{
    struct asking *a = context;
    size_t room = HEAD_MAX - a->head_size;
    size_t taken = size < room ? size : room;
    if (is_error)
        return 0;
    memcpy(a->head + a->head_size, bytes, taken);
    a->head_size += taken;
    return 0;
}

static int ask(struct asking *a)
{
    char script[2048], uri[2048], query[2048];
    size_t path_size = strcspn(a->path, "?");
    uint32_t app_status;
    snprintf(script, sizeof script, "PATH_INFO=%.*s", (int)path_size, a->path);
    snprintf(uri, sizeof uri, "REQUEST_URI=%s", a->path);
    snprintf(query, sizeof query, "QUERY_STRING=%s", a->path[path_size] ? a->path + path_size + 1 : "");
    char *params[] = {(char *)"REQUEST_METHOD=GET",
                      (char *)"SCRIPT_NAME=",
                      script,
                      uri,
                      query,
                      (char *)"SERVER_NAME=localhost",
                      (char *)"SERVER_PORT=80",
                      (char *)"HTTP_HOST=localhost",
                      (char *)"SERVER_PROTOCOL=HTTP/1.1",
                      (char *)"REMOTE_ADDR=127.0.0.1",
                      (char *)"HTTP_USER_AGENT=pyfpm canary-request",
                      NULL};
    if (fcgi_client_send(a->fd, params, NULL, 0, false, &a->e) < 0)
        return -1;
    return fcgi_client_receive(a->fd, keep_head, a, &app_status, &a->e);
}

static void *asking_main(void *argument)
{
    struct asking *a = argument;
    a->is_answered = ask(a) == 0;
    fd_close(&a->fd);
    return NULL;
}

/* From "Status: 200 OK"; 200 when there is no such line (RFC 3875, 6.3.3); 0 when it makes no sense. */
static int status_of(struct asking *a)
{
    int status;
    a->head[a->head_size] = '\0';
    const char *line = strncmp(a->head, "Status: ", 8) == 0 ? a->head : strstr(a->head, "\nStatus: ");
    if (!line)
        return a->head_size > 0 ? 200 : 0;
    return sscanf(strchr(line, ':'), ": %3d", &status) == 1 ? status : 0;
}

static int judge(struct asking *a, struct err *e)
{
    if (!a->is_answered)
        return err_set(e, "canary-request: GET %s was not answered: %.1000s", a->path, a->e.text);
    int status = status_of(a);
    if (status >= 200 && status < 400)
        return 0;
    return err_set(e, "canary-request: GET %s was answered with status %d, not with 2xx or 3xx", a->path,
                   status);
}

int host_canary_ask(const char *path, host_canary_serve *serve, void *context, struct err *e)
{
    struct asking *a = calloc(1, sizeof *a);
    int ends[2] = {-1, -1};
    pthread_t thread;
    int result = -1;
    if (!a || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        err_errno(e, "canary-request");
        goto out;
    }
    a->path = path;
    a->fd = fd_take(&ends[0]);
    errno = pthread_create(&thread, NULL, asking_main, a);
    if (errno != 0) {
        err_errno(e, "canary-request");
        fd_close(&a->fd);
        goto out;
    }
    serve(context, &ends[1]);
    pthread_join(thread, NULL);
    result = judge(a, e);
out:
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    free(a);
    return result;
}
