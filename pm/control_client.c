/* Talks to a running pyfpm on behalf of a command. Blocks; runs in the command's process, whose only business
 * it is. */
#include "pm/control_client.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "pm/printable.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 30000

/* For a supervisor that has said its last word. */
#define FAREWELL_MS 10000

/* More than any line has: a group of 4096 workers with a fifth of a KiB each. */
#define LINE_MAX_BYTES (64u << 20)

struct pm_client {
    int fd;
    int pidfd; /* of the supervisor; -1 when it cannot be had, from inside another container say */
    int patience_ms;
    int64_t due_ms; /* for the first line of an answer; 0: it has come */
    char *input;
    size_t size, capacity;
};

static int refuse_connection(const char *path, struct err *e)
{
    if (errno == ENOENT || errno == ECONNREFUSED)
        return err_set(e, "pyfpm is not running: nobody answers at %s", path);
    if (errno == EACCES)
        return err_set(e, "%s is closed to you: only root and the user that pyfpm runs as may use it", path);
    if (errno == EAGAIN)
        return err_set(e, "pyfpm does not answer at %s: its queue is full", path);
    return err_errno(e, "cannot connect to %s", path);
}

static int connect_to(int fd, const char *path, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(e, "the path %.200s is too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return refuse_connection(path, e);
    return 0;
}

struct pm_client *pm_client_connect(const char *socket_path, struct err *e)
{
    struct pm_client *client = calloc(1, sizeof *client);
    if (!client) {
        err_errno(e, "control socket");
        return NULL;
    }
    client->patience_ms = PATIENCE_MS;
    client->pidfd = -1;
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        err_errno(e, "socket");
    /* Both ways: a full queue would make connect(2) wait too. */
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    if (client->fd < 0 || setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        connect_to(client->fd, socket_path, e) < 0) {
        pm_client_close(client);
        return NULL;
    }
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
        client->pidfd = fd_of_process((int)peer.pid);
    return client;
}

void pm_client_close(struct pm_client *client)
{
    if (!client)
        return;
    fd_close(&client->fd);
    fd_close(&client->pidfd);
    free(client->input);
    free(client);
}

void pm_client_set_patience(struct pm_client *client, int patience_ms)
{
    client->patience_ms = patience_ms;
}

int pm_client_ask(struct pm_client *client, json_t *request, struct err *e)
{
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text)
        return err_set(e, "out of memory");
    size_t size = strlen(text);
    text[size++] = '\n'; /* in place of the NUL: the length is known */
    ssize_t sent = send(client->fd, text, size, MSG_NOSIGNAL);
    free(text);
    bool is_turned_away = sent < 0 && (errno == EPIPE || errno == ECONNRESET); /* the answer says why */
    if (sent != (ssize_t)size && !is_turned_away)
        return err_set(e, "pyfpm does not take the request");
    client->due_ms = clock_now_ms() + client->patience_ms;
    return 0;
}

/* ---- lines ---- */

static int wait_for_bytes(struct pm_client *client, struct err *e)
{
    struct pollfd set = {client->fd, POLLIN, 0};
    for (;;) {
        int64_t left = client->due_ms == 0 ? -1 : client->due_ms - clock_now_ms();
        if (client->due_ms != 0 && left <= 0)
            return err_set(e, "pyfpm does not answer: it is stopped (SIGSTOP), or very busy");
        int ready = poll(&set, 1, (int)left);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return err_errno(e, "poll");
    }
}

static int make_room(struct pm_client *client, struct err *e)
{
    if (client->size < client->capacity)
        return 0;
    size_t capacity = client->capacity == 0 ? 16384 : client->capacity * 2;
    char *larger = capacity > LINE_MAX_BYTES ? NULL : realloc(client->input, capacity);
    if (!larger)
        return err_set(e, "a line of pyfpm's answer is too long");
    client->input = larger;
    client->capacity = capacity;
    return 0;
}

/* 0 when something came, or -1 with *e. */
static int read_more(struct pm_client *client, struct err *e)
{
    ssize_t got;
    if (make_room(client, e) < 0 || wait_for_bytes(client, e) < 0)
        return -1;
    do
        got = recv(client->fd, client->input + client->size, client->capacity - client->size, 0);
    while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return err_set(e, "pyfpm ended the connection before it had answered");
    if (got < 0)
        return err_errno(e, "control socket");
    client->size += (size_t)got;
    return 0;
}

json_t *pm_client_next(struct pm_client *client, struct err *e)
{
    json_error_t where;
    char *newline;
    while (!(newline = client->size > 0 ? memchr(client->input, '\n', client->size) : NULL))
        if (read_more(client, e) < 0)
            return NULL;
    client->due_ms = 0;
    size_t size = (size_t)(newline - client->input) + 1;
    json_t *line = json_loadb(client->input, size, 0, &where);
    client->size -= size;
    memmove(client->input, client->input + size, client->size);
    if (json_is_object(line))
        return line;
    json_decref(line);
    err_set(e, "what answers there is no pyfpm");
    return NULL;
}

bool pm_client_is_last(const json_t *line)
{
    return json_is_true(json_object_get(line, "done"));
}

int pm_client_wait_gone(struct pm_client *client, struct err *e)
{
    struct pollfd set = {client->pidfd, POLLIN, 0};
    int ready;
    if (client->pidfd < 0)
        return 0;
    do
        ready = poll(&set, 1, FAREWELL_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0 ? 0 : err_set(e, "pyfpm has said goodbye, but its process is still there");
}

/* ---- showing ---- */

void pm_client_print(const char *text, unsigned indent)
{
    size_t size = strlen(text);
    while (size > 0 && text[size - 1] == '\n')
        size--;
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline ? (size_t)(newline - text) : size;
        printable_write(stdout, text, length);
        if (newline)
            printf("\n%*s", (int)indent, "");
        text += newline ? length + 1 : length;
        size -= newline ? length + 1 : length;
    }
}
