/* Accepts, looks, sorts, parks and hands over connections.
 *
 * No thread ever blocks here on a client: what has not sent a whole request header is parked in the ready
 * set (nothing came yet) or in the waiting room (a part came), each under a deadline that the watch thread
 * keeps. A connection is taken out of the epoll sets before it is closed or passed on, because its open file
 * may live on in another process and the kernel would go on reporting it here. Runs on worker threads and
 * on the watch thread, never with the GIL. */
#include "pyhost/intake.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/clients.h"
#include "pyhost/conns.h"
#include "pyhost/host.h"
#include "pyhost/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMPLAIN_EACH_MS 1000
#define PAUSE_MS         1000 /* until descriptors may be there again, though none was closed here */
#define PAUSE_LOG_MS     60000

void host_intake_wake_watch(struct host_worker *w)
{
    if (atomic_exchange(&w->sleep, HOST_AWAKE) == HOST_AWAKE)
        return;
    uint64_t one = 1;
    (void)!write(w->wake_event, &one, sizeof one);
}

/* At most one line per interval, so that no peer can flood the log. */
static bool may_log(_Atomic int64_t *last_ms, int64_t interval_ms)
{
    int64_t now = clock_now_ms();
    int64_t last = atomic_load(last_ms);
    return (last == 0 || now - last >= interval_ms) && atomic_compare_exchange_strong(last_ms, &last, now);
}

static _Noreturn void leave(const char *why)
{
    log_write(LOG_LEVEL_ERROR, NULL, "%s; leaving", why);
    _exit(EXIT_FAILURE);
}

_Noreturn void host_intake_give_up(const char *what, int error)
{
    char why[256];
    snprintf(why, sizeof why,
             "%s is gone (%s): the application closed or replaced descriptors that are not its own", what,
             strerror(error));
    leave(why);
}

/* The number stands for something else by now, and the epoll set would go on reporting what it stood for. */
static bool is_replaced(int error)
{
    return error == EBADF || error == ENOTSOCK || error == EOPNOTSUPP || error == EINVAL;
}

static bool is_shut(const struct host_worker *w)
{
    return atomic_load(&w->doors) == HOST_DOORS_SHUT;
}

/* ---- the doors: listening socket and hand-over receiver ---- */

static int watch_door(struct host_worker *w, int fd, uint64_t token)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.u64 = token};
    return epoll_ctl(w->ready_set, EPOLL_CTL_ADD, fd, &event);
}

static int watch_doors(struct host_worker *w)
{
    if (watch_door(w, w->host->listen_fd, HOST_TOKEN_LISTEN) < 0 && errno != EEXIST)
        return -1;
    if (watch_door(w, w->host->handover_rx, HOST_TOKEN_HANDOVER) < 0 && errno != EEXIST)
        return -1;
    return 0;
}

static void unwatch_doors(struct host_worker *w)
{
    epoll_ctl(w->ready_set, EPOLL_CTL_DEL, w->host->listen_fd, NULL);
    epoll_ctl(w->ready_set, EPOLL_CTL_DEL, w->host->handover_rx, NULL);
}

int host_intake_open(struct host_worker *w, struct err *e)
{
    if (watch_doors(w) < 0)
        return err_errno(e, "cannot watch the listening socket");
    return 0;
}

void host_intake_shut(struct host_worker *w)
{
    pthread_mutex_lock(&w->doors_lock);
    if (atomic_load(&w->doors) == HOST_DOORS_OPEN)
        unwatch_doors(w);
    atomic_store(&w->doors, HOST_DOORS_SHUT);
    pthread_mutex_unlock(&w->doors_lock);
}

static void pause_doors(struct host_worker *w, const char *why)
{
    pthread_mutex_lock(&w->doors_lock);
    bool is_pausing = atomic_load(&w->doors) == HOST_DOORS_OPEN;
    if (is_pausing) {
        unwatch_doors(w);
        atomic_store(&w->resume_due_ms, clock_now_ms() + PAUSE_MS);
        atomic_store(&w->doors, HOST_DOORS_PAUSED);
    }
    pthread_mutex_unlock(&w->doors_lock);
    if (!is_pausing)
        return;
    if (may_log(&w->paused_ms, PAUSE_LOG_MS))
        log_write(LOG_LEVEL_WARNING, NULL, "no new connections for now: %s", why);
    host_intake_wake_watch(w);
}

/* Tried again later, since the kernel may lack memory; what is no door any more never opens. */
static void stay_paused(struct host_worker *w, int error)
{
    if (error == EBADF || error == EPERM || error == EINVAL)
        host_intake_give_up("the listening or the hand-over socket", error);
    atomic_store(&w->resume_due_ms, clock_now_ms() + PAUSE_MS);
    if (may_log(&w->paused_ms, PAUSE_LOG_MS))
        log_write(LOG_LEVEL_WARNING, NULL, "still no new connections: %s", strerror(error));
}

void host_intake_resume(struct host_worker *w)
{
    if (atomic_load(&w->doors) != HOST_DOORS_PAUSED)
        return;
    pthread_mutex_lock(&w->doors_lock);
    if (atomic_load(&w->doors) == HOST_DOORS_PAUSED) {
        if (watch_doors(w) == 0)
            atomic_store(&w->doors, HOST_DOORS_OPEN);
        else
            stay_paused(w, errno);
    }
    pthread_mutex_unlock(&w->doors_lock);
}

/* ---- leaving ---- */

static void leave_ready_set(struct host_worker *w, struct host_conn *c)
{
    if (c->in_ready_set)
        epoll_ctl(w->ready_set, EPOLL_CTL_DEL, c->fd, NULL);
    c->in_ready_set = false;
}

/* The watch thread ends a draining worker when the last connection is gone. */
static void forget(struct host_worker *w, struct host_conn *c)
{
    host_conns_remove(w->conns, c);
    if (atomic_load(&w->is_draining))
        host_intake_wake_watch(w);
}

/* Closes this process's descriptor of it. */
static void let_go(struct host_worker *w, struct host_conn *c)
{
    if (c->fd >= 0)
        leave_ready_set(w, c);
    fd_close(&c->fd);
    forget(w, c);
    host_intake_resume(w);
}

void host_intake_close(struct host_worker *w, struct host_conn *c)
{
    if (c->fd >= 0)
        shutdown(c->fd, SHUT_RDWR); /* a child that the application forked may hold a copy of it */
    let_go(w, c);
}

bool host_intake_pass(struct host_worker *w, struct host_conn *c)
{
    leave_ready_set(w, c);
    if (wire_pass_connection(w->host->handover_tx, c->fd, c->is_fresh) < 0) {
        atomic_store(&w->is_refused, true);
        return false;
    }
    let_go(w, c);
    return true;
}

/* ---- resting ---- */

static int64_t deadline_after(int64_t timeout_ms)
{
    return timeout_ms > 0 ? clock_now_ms() + timeout_ms : INT64_MAX;
}

static int64_t deadline_of(const struct host_worker *w, bool is_header_due)
{
    const struct cfg_group *group = w->host->group;
    return deadline_after(is_header_due ? group->io_timeout_ms : group->keepalive_timeout_ms);
}

static void count_kept(struct host_worker *w, int change)
{
    atomic_fetch_add(&w->kept, (uint32_t)change);
    atomic_fetch_add(&w->slot->kept, (uint32_t)change);
}

void host_intake_park(struct host_worker *w, struct host_conn *c)
{
    int fd = c->fd;
    int operation = c->in_ready_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    atomic_store(&c->deadline_ms, deadline_of(w, c->is_fresh));
    atomic_store(&c->parked_ms, clock_now_ms());
    c->in_ready_set = true;
    count_kept(w, 1);
    uint64_t token = host_conn_park(w->conns, c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.u64 = token};
    if (epoll_ctl(w->ready_set, operation, fd, &event) == 0) {
        host_conn_settle(w->conns, token, HOST_CONN_IDLE); /* c may be somebody else's from here on */
        if (atomic_load(&w->is_draining))
            host_intake_wake_watch(w);
        return;
    }
    int saved = errno;
    host_conn_unpark(w->conns, token);
    count_kept(w, -1);
    c->in_ready_set = operation == EPOLL_CTL_MOD;
    log_write(LOG_LEVEL_ERROR, NULL, "cannot watch a connection: %s; it is closed", strerror(saved));
    host_intake_close(w, c);
}

bool host_intake_unpark(struct host_worker *w, struct host_conn *c)
{
    if (!host_conn_take_idle(c))
        return false;
    count_kept(w, -1);
    return true;
}

static void enter_waiting_room(struct host_worker *w, struct host_conn *c, uint32_t events,
                               int64_t deadline_ms)
{
    int fd = c->fd;
    atomic_store(&c->deadline_ms, deadline_ms);
    atomic_store(&c->parked_ms, clock_now_ms());
    uint64_t token = host_conn_park(w->conns, c);
    struct epoll_event event = {.events = events, .data.u64 = token};
    if (epoll_ctl(w->watch_set, EPOLL_CTL_ADD, fd, &event) == 0) {
        host_conn_settle(w->conns, token, HOST_CONN_WAITING);
        return;
    }
    int saved = errno;
    host_conn_unpark(w->conns, token);
    log_write(LOG_LEVEL_ERROR, NULL, "cannot watch a connection: %s; it is closed", strerror(saved));
    host_intake_close(w, c);
}

/* Edge-triggered, else the part that has come would be reported without end. */
static void wait_for_header(struct host_worker *w, struct host_conn *c)
{
    enter_waiting_room(w, c, EPOLLIN | EPOLLRDHUP | EPOLLET, deadline_of(w, true));
}

void host_intake_linger(struct host_worker *w, struct host_conn *c)
{
    int64_t now = clock_now_ms();
    leave_ready_set(w, c);
    c->is_over = true;
    c->over_due_ms = now + HOST_FAREWELL_MS;
    enter_waiting_room(w, c, EPOLLIN | EPOLLRDHUP, now + HOST_FAREWELL_PAUSE_MS);
}

/* While draining a connection without a request belongs to the siblings, or, when there are none, to nobody.
 */
static bool is_sent_away(struct host_worker *w, struct host_conn *c)
{
    if (!atomic_load(&w->is_draining))
        return false;
    if (!atomic_load(&w->is_last))
        return host_intake_pass(w, c);
    if (c->is_fresh && clock_now_ms() < atomic_load(&w->last_due_ms))
        return false;
    host_intake_close(w, c);
    return true;
}

struct host_conn *host_intake_sort(struct host_worker *w, struct host_conn *c)
{
    const char *why = "it is not FastCGI";
    switch (fcgi_look(c->fd, &why)) {
    case FCGI_LOOK_WHOLE:
        return c;
    case FCGI_LOOK_EMPTY:
        if (!is_sent_away(w, c))
            host_intake_park(w, c);
        return NULL;
    case FCGI_LOOK_PARTIAL:
        if (atomic_load(&w->is_last) || !is_sent_away(w, c))
            wait_for_header(w, c);
        return NULL;
    case FCGI_LOOK_BAD:
        if (may_log(&w->complained_ms, COMPLAIN_EACH_MS))
            log_write(LOG_LEVEL_WARNING, NULL, "closed a connection: %s", why ? why : "it is not FastCGI");
        break;
    case FCGI_LOOK_GONE:
        break;
    }
    host_intake_close(w, c);
    return NULL;
}

struct host_conn *host_intake_keep(struct host_worker *w, struct host_conn *c)
{
    c->is_fresh = false;
    if (!atomic_load(&w->is_draining)) {
        host_intake_park(w, c);
        return NULL;
    }
    if (atomic_load(&w->is_last))
        return host_intake_sort(w, c);
    if (!host_intake_pass(w, c))
        host_intake_park(w, c);
    return NULL;
}

/* ---- arriving ---- */

/* The entry comes first: the watch thread ends a drained worker when no entry is in use, so nobody may accept
 * without one. */
static struct host_conn *reserve(struct host_worker *w)
{
    struct host_conn *c = host_conns_add(w->conns);
    if (!c) {
        pause_doors(w, "this process holds as many as it may");
        return NULL;
    }
    if (atomic_load(&w->sleep) == HOST_SLEEP_FOREVER)
        host_intake_wake_watch(w);
    return c;
}

static void refuse_stranger(struct host_worker *w, struct host_conn *c, const struct sockaddr *peer)
{
    char name[64];
    host_clients_name(peer, name, sizeof name);
    if (may_log(&w->complained_ms, COMPLAIN_EACH_MS))
        log_write(LOG_LEVEL_WARNING, NULL, "closed a connection from %s: not among allowed-clients", name);
    host_intake_close(w, c);
}

/* NULL when it was closed. */
static struct host_conn *admit(struct host_worker *w, struct host_conn *c, const struct sockaddr *peer)
{
    int on = 1;
    if (!host_clients_allow(w->clients, peer)) {
        refuse_stranger(w, c, peer);
        return NULL;
    }
    fcgi_set_io_timeout(c->fd, w->host->group->io_timeout_ms);
    /* Else the second small piece of a response waits for the first one's acknowledgement, up to 40 ms. A
     * unix socket refuses the option. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c;
}

/* When no connection here has one, none will become free: a fresh process is of more use. */
static void lack_descriptors(struct host_worker *w)
{
    if (host_conns_count(w->conns) == 0 && !is_shut(w))
        leave("no descriptor is left for a connection: the application holds all that rlimit-files allows");
    pause_doors(w, strerror(EMFILE));
}

static struct host_conn *accept_into(struct host_worker *w, struct host_conn *c)
{
    struct sockaddr_storage peer = {0};
    socklen_t peer_size = sizeof peer;
    c->fd = accept4(w->host->listen_fd, (struct sockaddr *)&peer, &peer_size, SOCK_CLOEXEC);
    if (c->fd < 0) {
        int saved = errno;
        forget(w, c);
        if (is_replaced(saved) && !is_shut(w))
            host_intake_give_up("the listening socket", saved);
        if (saved == EMFILE)
            lack_descriptors(w);
        else if (saved != EAGAIN && saved != EINTR && saved != ECONNABORTED && saved != EPROTO)
            pause_doors(w, strerror(saved));
        return NULL;
    }
    return admit(w, c, (const struct sockaddr *)&peer);
}

/* Without a free descriptor the kernel would drop the connection in the message: try for one first. */
static bool lacks_descriptors(int fd)
{
    int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        return errno == EMFILE;
    close(probe);
    return false;
}

/* It may have been accepted by the responder, which asks nobody who they are. */
static struct host_conn *admit_received(struct host_worker *w, struct host_conn *c)
{
    struct sockaddr_storage peer = {0};
    socklen_t peer_size = sizeof peer;
    if (getpeername(c->fd, (struct sockaddr *)&peer, &peer_size) < 0) { /* it is gone already */
        host_intake_close(w, c);
        return NULL;
    }
    return admit(w, c, (const struct sockaddr *)&peer);
}

static struct host_conn *receive_into(struct host_worker *w, struct host_conn *c)
{
    if (lacks_descriptors(w->host->handover_rx)) {
        forget(w, c);
        lack_descriptors(w);
        return NULL;
    }
    c->fd = wire_take_connection(w->host->handover_rx, &c->is_fresh);
    if (c->fd < 0) {
        int saved = errno;
        forget(w, c);
        if (is_replaced(saved) && !is_shut(w))
            host_intake_give_up("the hand-over socket", saved);
        return NULL;
    }
    return admit_received(w, c);
}

struct host_conn *host_intake_accept(struct host_worker *w)
{
    struct host_conn *c = reserve(w);
    return c ? accept_into(w, c) : NULL;
}

struct host_conn *host_intake_receive(struct host_worker *w)
{
    struct host_conn *c = reserve(w);
    return c ? receive_into(w, c) : NULL;
}

static struct host_conn *take_new(struct host_worker *w, uint64_t token)
{
    struct host_conn *c = reserve(w);
    if (!c)
        return NULL;
    if (is_shut(w)) { /* the watch thread sees to what is left in the queues */
        forget(w, c);
        return NULL;
    }
    return token == HOST_TOKEN_LISTEN ? accept_into(w, c) : receive_into(w, c);
}

struct host_conn *host_intake_take_unseen(struct host_worker *w, uint64_t token)
{
    if (token == HOST_TOKEN_END)
        return NULL;
    if (token == HOST_TOKEN_LISTEN || token == HOST_TOKEN_HANDOVER)
        return take_new(w, token);
    struct host_conn *c = host_conn_take_event(w->conns, token);
    if (c)
        count_kept(w, -1);
    return c;
}

struct host_conn *host_intake_take(struct host_worker *w, uint64_t token)
{
    struct host_conn *c = host_intake_take_unseen(w, token);
    return c ? host_intake_sort(w, c) : NULL;
}
