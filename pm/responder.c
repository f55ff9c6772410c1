/* responder: answers 503 on the sockets of groups that cannot serve, and watches those of groups that have no
 * worker until somebody comes (pm: ondemand).
 *
 * A small process of its own without Python and without privileges, so that the supervisor never reads a
 * byte from the web side. Told by its channel which listening sockets to answer on; looks before it reads
 * (fcgi/), so a slow or silent client holds up nobody. Kept connections stay open, and when the group has
 * recovered they are handed to its workers. One process, one thread, poll(2). */
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "fcgi/fcgi.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUPS_MAX      1024
#define CONNECTIONS_MAX 4096
#define PATIENCE_MS     5000 /* for a whole request header */
#define KEEP_MS         90000 /* for the next request on a kept connection: longer than web servers keep them */
#define FAREWELL_MS     1000 /* for connections that are open when we are told to finish */
#define IO_TIMEOUT_MS   500  /* for one read or write of an answer */
#define UNREAD_BODY_MS  250  /* for a body that is still under way: one client must not hold up the others */

static const char answer[] = "Status: 503 Service Unavailable\r\n"
                             "Content-Type: text/plain; charset=utf-8\r\n"
                             "Retry-After: 5\r\n"
                             "\r\n"
                             "Service Unavailable\n";

struct served_group {
    uint32_t id;
    int listen_fd;
    int handover_rx;
    int handover_tx;
    bool is_watched; /* nobody is answered; the supervisor is told when somebody waits */
    bool has_rung;   /* it was told */
};

struct connection {
    int fd;
    uint32_t group_id;
    bool is_kept; /* it had an answer, here or from a worker, and nothing came since */
    int64_t due_ms;
};

struct responder {
    struct served_group groups[GROUPS_MAX];
    size_t group_count;
    struct connection connections[CONNECTIONS_MAX];
    size_t connection_count;
    struct fcgi_request *request;
    int64_t finish_at_ms; /* 0: go on */
};

static int drop_privileges(struct err *e)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, "no-new-privileges");
    if (geteuid() != 0)
        return 0;
    struct passwd *nobody = getpwnam("nobody");
    uid_t uid = nobody ? nobody->pw_uid : 65534;
    gid_t gid = nobody ? nobody->pw_gid : 65534;
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return err_errno(e, "cannot become nobody");
    return setuid(0) == 0 ? err_set(e, "root could be regained") : 0;
}

static int become_small(struct err *e)
{
    struct rlimit files = {GROUPS_MAX * 3 + CONNECTIONS_MAX + 64, GROUPS_MAX * 3 + CONNECTIONS_MAX + 64};
    setsid(); /* Ctrl-C is for the supervisor */
    if (chdir("/") < 0)
        return err_errno(e, "chdir");
    setrlimit(RLIMIT_NOFILE, &files); /* a lower hard limit only means fewer connections at once */
    if (drop_privileges(e) < 0)
        return -1;
    if (fcgi_init(e) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL); /* libfcgi's handler would swallow it */
    signal(SIGUSR1, SIG_IGN);
    return fd_set_cloexec(HOST_FD_CHANNEL, true) < 0 ? err_errno(e, "channel") : 0;
}

/* ---- connections ---- */

static void drop_connection(struct responder *r, size_t index)
{
    fd_close(&r->connections[index].fd);
    r->connections[index] = r->connections[--r->connection_count];
}

/* *fd is -1 afterwards, unless the connection is kept. */
static void send_answer(struct responder *r, int *fd)
{
    struct iovec part = {(void *)answer, sizeof answer - 1};
    if (!fcgi_request_begin(r->request, fd))
        return;
    if (fcgi_request_write(r->request, &part, 1) < 0)
        fcgi_request_break(r->request);
    else
        *fd = fcgi_request_end(r->request);
}

/* True when the connection is done with. Of a group that is not watched. */
static bool answer_all(struct responder *r, struct connection *c)
{
    enum fcgi_look look;
    while ((look = fcgi_look(c->fd, NULL)) == FCGI_LOOK_WHOLE) {
        send_answer(r, &c->fd);
        if (c->fd < 0)
            return true;
        c->is_kept = true;
        c->due_ms = clock_now_ms() + KEEP_MS;
    }
    if (look == FCGI_LOOK_PARTIAL && c->is_kept) {
        c->is_kept = false;
        c->due_ms = clock_now_ms() + PATIENCE_MS;
    }
    return look != FCGI_LOOK_EMPTY && look != FCGI_LOOK_PARTIAL;
}

static struct served_group *find_group(struct responder *r, uint32_t id)
{
    for (size_t i = 0; i < r->group_count; i++)
        if (r->groups[i].id == id)
            return &r->groups[i];
    return NULL;
}

/* Once: the supervisor starts a worker, and releases the group to it. */
static void ring(struct served_group *g)
{
    struct wire_msg m;
    wire_init(&m, WIRE_PRESSED);
    m.slot = g->id;
    if (!g->has_rung && wire_send(HOST_FD_CHANNEL, &m) == 0)
        g->has_rung = true;
}

/* A watched connection, to which something has come: it goes back into the queue, for the worker. */
static void pass_on(struct served_group *g, struct connection *c)
{
    ring(g);
    /* With the queue full it is closed, as the last resort. */
    wire_pass_connection(g->handover_tx, c->fd, !c->is_kept);
}

static struct connection *hold(struct responder *r, uint32_t group_id, int fd, bool is_fresh)
{
    struct connection *c = &r->connections[r->connection_count++];
    *c = (struct connection){.fd = fd,
                             .group_id = group_id,
                             .is_kept = !is_fresh,
                             .due_ms = clock_now_ms() + (is_fresh ? PATIENCE_MS : KEEP_MS)};
    return c;
}

static void add_connection(struct responder *r, uint32_t group_id, int fd, bool is_fresh)
{
    struct connection *c = hold(r, group_id, fd, is_fresh);
    fcgi_set_io_timeout(fd, IO_TIMEOUT_MS);
    if (answer_all(r, c))
        drop_connection(r, r->connection_count - 1);
}

/* Idle connections give way to new ones. */
static void make_room(struct responder *r)
{
    size_t oldest = r->connection_count;
    for (size_t i = 0; i < r->connection_count; i++)
        if (r->connections[i].is_kept &&
            (oldest == r->connection_count || r->connections[i].due_ms < r->connections[oldest].due_ms))
            oldest = i;
    if (r->connection_count == CONNECTIONS_MAX && oldest < r->connection_count)
        drop_connection(r, oldest);
}

static bool is_full(const struct responder *r)
{
    return r->connection_count == CONNECTIONS_MAX;
}

/* Nobody is accepted: whoever connects waits for the worker. What is idle in the queue is watched. */
static void watch_queued(struct responder *r, struct served_group *g, bool has_client)
{
    int fd;
    bool is_fresh;
    if (has_client)
        ring(g);
    while (!g->has_rung && !is_full(r) && (fd = wire_take_connection(g->handover_rx, &is_fresh)) >= 0) {
        hold(r, g->id, fd, is_fresh);
        make_room(r);
    }
}

static void accept_queued(struct responder *r, const struct served_group *g)
{
    int fd;
    bool is_fresh;
    while (!is_full(r) && (fd = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        add_connection(r, g->id, fd, true);
        make_room(r);
    }
    while (!is_full(r) && (fd = wire_take_connection(g->handover_rx, &is_fresh)) >= 0) {
        add_connection(r, g->id, fd, is_fresh);
        make_room(r);
    }
}

/* ---- messages ---- */

/* The group serves again, or it ends: then its clients are answered a last time. */
static void release_group(struct responder *r, struct served_group *g, bool is_last)
{
    if (is_last && !g->is_watched)
        accept_queued(r, g);
    for (size_t i = r->connection_count; i-- > 0;) {
        const struct connection *c = &r->connections[i];
        if (c->group_id != g->id || (is_last && !c->is_kept && !g->is_watched))
            continue;
        if (!is_last) /* with the queue full it is closed, as the last resort */
            wire_pass_connection(g->handover_tx, c->fd, !c->is_kept);
        drop_connection(r, i);
    }
    fd_close(&g->listen_fd);
    fd_close(&g->handover_rx);
    fd_close(&g->handover_tx);
    *g = r->groups[--r->group_count];
}

static void take_group(struct responder *r, struct wire_msg *m)
{
    if (m->fd_count < 3 || r->group_count == GROUPS_MAX || find_group(r, m->slot))
        return;
    struct served_group *g = &r->groups[r->group_count++];
    g->id = m->slot;
    g->listen_fd = fd_take(&m->fds[0]);
    g->handover_rx = fd_take(&m->fds[1]);
    g->handover_tx = fd_take(&m->fds[2]);
    g->is_watched = m->flags & WIRE_ANSWER_WATCH;
    g->has_rung = false;
    if (g->is_watched)
        watch_queued(r, g, false);
    else
        accept_queued(r, g);
}

static void begin_finish(struct responder *r)
{
    r->finish_at_ms = clock_now_ms() + FAREWELL_MS;
    for (size_t i = r->connection_count; i-- > 0;)
        if (r->connections[i].is_kept)
            drop_connection(r, i);
}

static void take_messages(struct responder *r)
{
    struct wire_msg m;
    int got = wire_receive(HOST_FD_CHANNEL, &m, true);
    if (got == 0) /* the supervisor is gone, and with it every group */
        exit(EXIT_SUCCESS);
    if (got < 0)
        return;
    struct served_group *g = find_group(r, m.slot);
    if (m.type == WIRE_ANSWER)
        take_group(r, &m);
    else if (m.type == WIRE_RELEASE && g)
        release_group(r, g, m.flags & WIRE_RELEASE_LAST);
    else if (m.type == WIRE_FINISH)
        begin_finish(r);
    wire_close_fds(&m);
}

/* ---- the loop ---- */

/* True when the connection is done with. */
static bool attend(struct responder *r, struct connection *c)
{
    struct served_group *g = find_group(r, c->group_id);
    if (!g || !g->is_watched)
        return answer_all(r, c);
    enum fcgi_look look = fcgi_look(c->fd, NULL);
    if (look == FCGI_LOOK_WHOLE || look == FCGI_LOOK_PARTIAL)
        pass_on(g, c);
    return look != FCGI_LOOK_EMPTY;
}

static size_t fill_poll_set(const struct responder *r, struct pollfd *set)
{
    size_t count = 0;
    set[count++] = (struct pollfd){HOST_FD_CHANNEL, POLLIN, 0};
    for (size_t i = 0; i < r->connection_count; i++)
        set[count++] = (struct pollfd){r->connections[i].fd, POLLIN, 0};
    for (size_t i = 0; i < r->group_count; i++) {
        const struct served_group *g = &r->groups[i];
        bool is_deaf = g->has_rung || (is_full(r) && !g->is_watched); /* poll(2) skips what is negative */
        set[count++] = (struct pollfd){is_deaf ? -1 : g->listen_fd, POLLIN, 0};
        set[count++] = (struct pollfd){is_deaf || is_full(r) ? -1 : g->handover_rx, POLLIN, 0};
    }
    return count;
}

static int wait_ms(const struct responder *r, int64_t now)
{
    if (r->connection_count == 0)
        return r->finish_at_ms == 0 ? -1 : 0;
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < r->connection_count; i++)
        if (r->connections[i].due_ms < due)
            due = r->connections[i].due_ms;
    if (r->finish_at_ms != 0 && r->finish_at_ms < due)
        due = r->finish_at_ms;
    return due > now ? (int)(due - now) : 0;
}

/* A half-sent header stays readable, so that poll() would not wait: then a short pause instead. */
static void attend_connections(struct responder *r, const struct pollfd *set)
{
    int64_t now = clock_now_ms();
    bool none_finished = true;
    bool any_readable = false;
    for (size_t i = r->connection_count; i-- > 0;) {
        any_readable = any_readable || set[i].revents != 0;
        bool is_done = set[i].revents != 0 && attend(r, &r->connections[i]);
        if (is_done || now >= r->connections[i].due_ms ||
            (r->finish_at_ms != 0 && r->connections[i].is_kept)) {
            drop_connection(r, i);
            none_finished = false;
        }
    }
    if (any_readable && none_finished)
        poll(NULL, 0, 20);
}

static void attend_group(struct responder *r, struct served_group *g, bool has_client)
{
    if (g->is_watched)
        watch_queued(r, g, has_client);
    else
        accept_queued(r, g);
}

static void run(struct responder *r)
{
    static struct pollfd set[1 + CONNECTIONS_MAX + 2 * GROUPS_MAX];
    for (;;) {
        size_t count = fill_poll_set(r, set);
        size_t connections = r->connection_count;
        int ready = poll(set, (nfds_t)count, wait_ms(r, clock_now_ms()));
        if (ready < 0 && errno != EINTR)
            return;
        if (ready >= 0)
            attend_connections(r, set + 1);
        for (size_t i = 1 + connections; ready > 0 && i < count; i += 2)
            if (set[i].revents != 0 || set[i + 1].revents != 0)
                attend_group(r, &r->groups[(i - 1 - connections) / 2], set[i].revents != 0);
        if (ready > 0 && set[0].revents != 0)
            take_messages(r); /* last: it changes the groups that the set speaks of */
        if (r->finish_at_ms != 0 && (r->connection_count == 0 || clock_now_ms() >= r->finish_at_ms))
            return;
    }
}

int main(void)
{
    static struct responder r;
    struct err e;
    r.request = fcgi_request_new();
    if (!r.request) {
        fprintf(stderr, "responder: out of memory\n");
        return EXIT_FAILURE;
    }
    if (become_small(&e) < 0) {
        fprintf(stderr, "responder: %s\n", e.text);
        return EXIT_FAILURE;
    }
    fcgi_request_set_farewell(r.request, UNREAD_BODY_MS);
    run(&r);
    for (size_t i = r.connection_count; i-- > 0;)
        drop_connection(&r, i);
    fcgi_request_free(r.request);
    return EXIT_SUCCESS;
}
