/* Watches over a serving worker.
 *
 * This thread reads the supervisor's messages, keeps the deadlines of connections that sent nothing or half
 * a header, hands readable connections to idle siblings when every thread here is stuck in a request, and
 * drains the worker. It sleeps while the process has an idle thread: it must not sit in the threads' own
 * epoll_wait (a quarter of the requests lost, measured), so it looks into their set only on a tick, without
 * waiting. Never touches Python. */
#include "pyhost/watch.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/conns.h"
#include "pyhost/host.h"
#include "pyhost/intake.h"
#include "pyhost/recycle.h"
#include "pyhost/serve.h"
#include "pyhost/timers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS        5
#define STAY_AWAKE_MS  100  /* without a moment in which all threads were busy */
#define DRAIN_TICK_MS  50   /* while connections rest that nobody refused */
#define SCAN_MOST_MS   1000 /* between two scans of the deadlines, at least; less for short timeouts */
#define SCAN_LEAST_MS  20
#define CROWDED_MS     1000  /* for a request to come whole, while others find no room */
#define LAST_GRACE_MS  1000  /* for a request that is on its way while the group ends */
#define ORPHAN_MS      30000 /* for requests in flight without a supervisor, when graceful-timeout is off */
#define PRESS_EACH_MS  100
#define EVENTS_MAX     64
#define HAND_OVER_MAX  16 /* connections per tick */
#define SWEEP_MAX      64 /* messages of the hand-over queue that may have woken us in vain */
#define SWEEP_FAILURES 16

/* The thread's own state. */
struct watch {
    struct host_worker *w;
    uint32_t drain_flags;   /* WIRE_DRAIN_*, as far as asked */
    bool is_orphan;         /* the supervisor is gone */
    bool has_swept_again;   /* the queues were looked at once more before the end */
    int64_t exit_due_ms;    /* orphan: when requests in flight are given up */
    int64_t scan_due_ms;    /* the next scan of the deadlines */
    int64_t tick_ms;        /* the last tick */
    int64_t saturated_ms;   /* when all threads were last seen busy */
    bool was_all_busy;      /* at the last tick */
    uint64_t finished_then; /* requests at the last tick */
    int64_t pressed_ms;     /* when more workers were last asked for */
    struct host_timers *timers;
    int64_t timers_due_ms; /* the next look at requests that take long */
    struct host_recycle *recycle;
};

/* For the signal handler; set once by host_watch_catch_signals(). */
static atomic_bool term_asked; /* lock-free: the handler runs on another thread than the reader */
static int term_event = -1;
static pid_t term_process; /* the worker; a child that the application forked has these handlers too */

static bool is_in_child(void)
{
    return getpid() != term_process;
}

/* What the signal does to any process: multiprocessing ends its children with it. Blocked while its handler
 * runs, it strikes when that returns. */
static void die_of(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void note_term(int signal_number)
{
    int saved = errno;
    if (is_in_child()) {
        die_of(signal_number);
        return;
    }
    uint64_t one = 1;
    atomic_store(&term_asked, true);
    (void)!write(term_event, &one, sizeof one);
    errno = saved;
}

static void note_nothing(int signal_number)
{
    if (is_in_child())
        die_of(signal_number);
}

void host_watch_catch_signals(struct host_worker *w)
{
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    term_event = w->wake_event;
    term_process = getpid();
    action.sa_handler = note_term;
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler =
        note_nothing; /* not SIG_IGN, which programs that the application starts would inherit */
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- the waiting room ---- */

static void leave_waiting_room(struct watch *s, struct host_conn *c)
{
    epoll_ctl(s->w->watch_set, EPOLL_CTL_DEL, c->fd, NULL);
}

/* A parked connection with a whole header is reported at once. */
static void sort_and_serve(struct watch *s, struct host_conn *c)
{
    c = host_intake_sort(s->w, c);
    if (c)
        host_intake_park(s->w, c);
}

static void read_away(struct watch *s, struct host_conn *c)
{
    int64_t now = clock_now_ms();
    if (now < c->over_due_ms && fcgi_linger(c->fd)) {
        atomic_store(&c->deadline_ms, now + HOST_FAREWELL_PAUSE_MS);
        host_conn_wait_on(c);
        return;
    }
    leave_waiting_room(s, c);
    host_intake_close(s->w, c);
}

static void look_again(struct watch *s, uint64_t token)
{
    struct host_conn *c = host_conn_take_event(s->w->conns, token);
    if (!c)
        return;
    if (c->is_over) {
        read_away(s, c);
        return;
    }
    if (fcgi_look(c->fd, NULL) == FCGI_LOOK_PARTIAL) {
        host_conn_wait_on(c);
        return;
    }
    leave_waiting_room(s, c);
    sort_and_serve(s, c);
}

/* ---- deadlines ---- */

static int64_t shortest_timeout(const struct watch *s)
{
    const struct cfg_group *group = s->w->host->group;
    int64_t shortest = earlier(HOST_FAREWELL_PAUSE_MS, host_timers_shortest(s->w));
    if (group->io_timeout_ms > 0)
        shortest = earlier(shortest, group->io_timeout_ms);
    if (group->keepalive_timeout_ms > 0)
        shortest = earlier(shortest, group->keepalive_timeout_ms);
    return shortest;
}

static void expire_idle(struct watch *s, struct host_conn *c)
{
    if (!host_intake_unpark(s->w, c))
        return;
    if (fcgi_look(c->fd, NULL) == FCGI_LOOK_EMPTY)
        host_intake_close(s->w, c);
    else
        sort_and_serve(s, c);
}

static void expire_waiting(struct watch *s, struct host_conn *c)
{
    if (!host_conn_take_waiting(c))
        return;
    leave_waiting_room(s, c);
    host_intake_close(s->w, c);
}

static void scan_deadlines(struct watch *s, int64_t now)
{
    struct host_conns *conns = s->w->conns;
    int64_t shortest = shortest_timeout(s);
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < host_conns_size(conns); i++) {
        struct host_conn *c = host_conns_at(conns, i);
        enum host_conn_state state = host_conn_state(c);
        if (state != HOST_CONN_IDLE && state != HOST_CONN_WAITING)
            continue;
        int64_t deadline = atomic_load(&c->deadline_ms);
        if (deadline > now)
            next = earlier(next, deadline);
        else if (state == HOST_CONN_IDLE)
            expire_idle(s, c);
        else
            expire_waiting(s, c);
    }
    /* A connection parked from now on has its deadline no earlier than now + shortest. */
    int64_t pause = earlier(SCAN_MOST_MS, shortest / 4 > SCAN_LEAST_MS ? shortest / 4 : SCAN_LEAST_MS);
    next = earlier(next, now + shortest);
    s->scan_due_ms = next > now + pause ? next : now + pause;
}

/* ---- room for others ---- */

/* Not those that were kept: their peers are web servers, which would lose a request over it. */
static void close_silent(struct watch *s, struct host_conn *c)
{
    if (!host_intake_unpark(s->w, c))
        return;
    if (c->is_fresh && fcgi_look(c->fd, NULL) == FCGI_LOOK_EMPTY)
        host_intake_close(s->w, c);
    else
        sort_and_serve(s, c);
}

/* Descriptors or entries have run out: whoever sent no whole request for a while makes room for others. */
static void make_room(struct watch *s, int64_t now)
{
    struct host_conns *conns = s->w->conns;
    for (uint32_t i = 0; i < host_conns_size(conns); i++) {
        struct host_conn *c = host_conns_at(conns, i);
        enum host_conn_state state = host_conn_state(c);
        if (now - atomic_load(&c->parked_ms) < CROWDED_MS)
            continue;
        if (state == HOST_CONN_IDLE)
            close_silent(s, c);
        else if (state == HOST_CONN_WAITING)
            expire_waiting(s, c);
    }
}

static void reopen_doors(struct watch *s, int64_t now)
{
    if (atomic_load(&s->w->doors) != HOST_DOORS_PAUSED || now < atomic_load(&s->w->resume_due_ms))
        return;
    make_room(s, now);
    host_intake_resume(s->w);
}

/* ---- handing over while all threads are stuck ---- */

/* A hint only: the scoreboard is open to the application. */
static uint32_t count_idle_siblings(const struct watch *s, uint32_t enough)
{
    const struct host *h = s->w->host;
    uint32_t idle = 0;
    for (uint32_t i = 0; i < score_slot_count(h->score) && idle < enough; i++) {
        if (i == h->slot)
            continue;
        struct score_view view = score_read(h->score, i);
        if (view.state == SCORE_SERVING)
            idle += view.threads - view.busy;
    }
    return idle < enough ? idle : enough;
}

static void pass_or_serve(struct watch *s, struct host_conn *c)
{
    if (!host_intake_pass(s->w, c))
        sort_and_serve(s, c);
}

/* New connections go to a sibling unseen; a kept one only when a request waits on it. */
static void pass_ready(struct watch *s, uint64_t token)
{
    struct host_conn *c = host_intake_take_unseen(s->w, token);
    if (c && token != HOST_TOKEN_LISTEN && token != HOST_TOKEN_HANDOVER)
        c = host_intake_sort(s->w, c);
    if (c)
        pass_or_serve(s, c);
}

/* More workers would be of use: said now and then, while somebody waits. */
static void press(struct watch *s)
{
    int64_t now = clock_now_ms();
    struct pollfd ready = {.fd = s->w->ready_set, .events = POLLIN};
    bool may_get_more = s->w->host->group->pm != CFG_PM_STATIC;
    if (!may_get_more || now - s->pressed_ms < PRESS_EACH_MS || poll(&ready, 1, 0) <= 0)
        return;
    s->pressed_ms = now;
    host_link_send(s->w->host, WIRE_PRESSED, 0, "");
}

static void hand_over(struct watch *s)
{
    struct epoll_event events[HAND_OVER_MAX];
    uint32_t idle = count_idle_siblings(s, HAND_OVER_MAX);
    if (idle == 0) {
        press(s);
        return;
    }
    int count = epoll_wait(s->w->ready_set, events, (int)idle, 0);
    for (int i = 0; i < count; i++)
        pass_ready(s, events[i].data.u64);
}

static bool is_all_busy(const struct watch *s)
{
    return atomic_load(&s->w->busy) >= s->w->threads;
}

static void tick(struct watch *s, int64_t now)
{
    if (now - s->tick_ms < TICK_MS)
        return;
    bool all_busy = is_all_busy(s);
    uint64_t finished = atomic_load(&s->w->finished);
    if (atomic_exchange(&s->w->is_saturated, false) || all_busy)
        s->saturated_ms = now;
    if (all_busy && s->was_all_busy && finished == s->finished_then)
        hand_over(s);
    s->tick_ms = now;
    s->was_all_busy = all_busy;
    s->finished_then = finished;
}

/* ---- draining ---- */

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

static bool serves_backlog(const struct watch *s)
{
    return s->drain_flags & (WIRE_DRAIN_BACKLOG | WIRE_DRAIN_LAST);
}

/* One of the queued connections may have woken this process instead of a sibling. */
static void sweep_listener(struct watch *s)
{
    int failures = 0;
    while (failures < SWEEP_FAILURES && is_readable(s->w->host->listen_fd)) {
        struct host_conn *c = host_intake_accept(s->w);
        if (!c)
            failures++;
        else if (serves_backlog(s))
            sort_and_serve(s, c);
        else
            pass_or_serve(s, c);
    }
}

/* Takes all before passing any on, so that none comes back to us. */
static void sweep_handover(struct watch *s)
{
    struct host_conn *taken[SWEEP_MAX];
    size_t count = 0;
    while (count < SWEEP_MAX && (taken[count] = host_intake_receive(s->w)))
        count++;
    for (size_t i = 0; i < count; i++) {
        if (serves_backlog(s))
            sort_and_serve(s, taken[i]);
        else
            pass_or_serve(s, taken[i]);
    }
}

static void sweep(struct watch *s)
{
    atomic_store(&s->w->last_due_ms, clock_now_ms() + LAST_GRACE_MS);
    sweep_listener(s);
    sweep_handover(s);
}

static void begin_drain(struct watch *s, uint32_t flags)
{
    struct host_worker *w = s->w;
    bool is_news = !atomic_load(&w->is_draining) || (flags & ~s->drain_flags);
    if (!is_news)
        return;
    s->drain_flags |= flags;
    atomic_store(&w->last_due_ms, clock_now_ms() + LAST_GRACE_MS);
    if (s->drain_flags & WIRE_DRAIN_LAST)
        atomic_store(&w->is_last, true);
    atomic_store(&w->is_draining, true);
    atomic_store(&w->slot->state, SCORE_DRAINING);
    host_intake_shut(w);
    sweep(s);
}

/* Closes the listening socket under its number: a thread on its way to accept(2) must not meet another file
 * there. */
static void close_listener(struct watch *s)
{
    int stand_in = s->w->end_event;
    dup3(stand_in, s->w->host->listen_fd, O_CLOEXEC);
}

static void become_orphan(struct watch *s)
{
    const struct cfg_group *group = s->w->host->group;
    s->is_orphan = true;
    s->exit_due_ms = clock_now_ms() +
                     (group->graceful_timeout_ms > 0 ? group->graceful_timeout_ms : ORPHAN_MS);
    epoll_ctl(s->w->watch_set, EPOLL_CTL_DEL, s->w->host->channel, NULL);
    begin_drain(s, WIRE_DRAIN_LAST);
    close_listener(s);
}

/* Idle connections leave; with WIRE_DRAIN_BACKLOG and WIRE_DRAIN_LAST what is readable is served first. */
static void send_away_idle(struct watch *s, struct host_conn *c)
{
    if (!host_intake_unpark(s->w, c))
        return;
    c = host_intake_sort(s->w, c);
    if (!c)
        return;
    if (serves_backlog(s))
        host_intake_park(s->w, c);
    else
        pass_or_serve(s, c);
}

static void send_away_waiting(struct watch *s, struct host_conn *c)
{
    bool is_last = s->drain_flags & WIRE_DRAIN_LAST;
    if (is_last && clock_now_ms() < atomic_load(&s->w->last_due_ms))
        return;
    if (is_last)
        expire_waiting(s, c);
    else if (!c->is_over && host_conn_take_waiting(c)) {
        leave_waiting_room(s, c);
        sort_and_serve(s, c);
    }
}

/* Until a sibling's queue is full: then the rest waits for the next tick. */
static void send_away_all(struct watch *s)
{
    struct host_conns *conns = s->w->conns;
    atomic_store(&s->w->is_refused, false);
    for (uint32_t i = 0; i < host_conns_size(conns) && !atomic_load(&s->w->is_refused); i++) {
        struct host_conn *c = host_conns_at(conns, i);
        enum host_conn_state state = host_conn_state(c);
        if (state == HOST_CONN_IDLE)
            send_away_idle(s, c);
        else if (state == HOST_CONN_WAITING)
            send_away_waiting(s, c);
    }
}

static void end_threads(struct watch *s)
{
    uint64_t one = 1;
    atomic_store(&s->w->is_ending, true);
    (void)!write(s->w->end_event, &one, sizeof one);
}

static void drain(struct watch *s, int64_t now)
{
    send_away_all(s);
    if (s->is_orphan && now >= s->exit_due_ms)
        _exit(1);
    if (host_conns_count(s->w->conns) > 0)
        return;
    if (serves_backlog(s) && !s->is_orphan && !s->has_swept_again) {
        s->has_swept_again = true;
        sweep(s);
    }
    if (host_conns_count(s->w->conns) == 0)
        end_threads(s);
}

/* ---- the loop ---- */

static void read_channel(struct watch *s)
{
    struct wire_msg message;
    int got = wire_receive(s->w->host->channel, &message, false);
    if (got == 1 && message.type == WIRE_DRAIN)
        begin_drain(s, message.flags & (WIRE_DRAIN_BACKLOG | WIRE_DRAIN_LAST));
    else if (got == 0 || (got < 0 && errno != EAGAIN && errno != EPROTO))
        become_orphan(s);
}

static int64_t drain_due(const struct watch *s, int64_t now)
{
    int64_t due = INT64_MAX;
    /* The last one left after drain() had looked: its thread found us awake and did not call. */
    if (host_conns_count(s->w->conns) == 0)
        return now;
    if (atomic_load(&s->w->is_refused))
        due = now + TICK_MS;
    else if (atomic_load(&s->w->kept) > 0)
        due = now + DRAIN_TICK_MS;
    if (s->is_orphan)
        due = earlier(due, s->exit_due_ms);
    int64_t last_due = atomic_load(&s->w->last_due_ms);
    return last_due > now ? earlier(due, last_due) : due;
}

/* When to look again though nobody calls. */
static int64_t wake_due(const struct watch *s, int64_t now)
{
    int64_t due = INT64_MAX;
    if (atomic_load(&s->w->is_draining))
        due = drain_due(s, now);
    else if (now - s->saturated_ms < STAY_AWAKE_MS || atomic_load(&s->w->is_saturated) || is_all_busy(s))
        due = now + TICK_MS;
    if (atomic_load(&s->w->doors) == HOST_DOORS_PAUSED)
        due = earlier(due, atomic_load(&s->w->resume_due_ms));
    if (host_conns_count(s->w->conns) > 0)
        due = earlier(due, s->scan_due_ms);
    if (atomic_load(&s->w->busy) > 0)
        due = earlier(due, s->timers_due_ms);
    return earlier(due, host_recycle_due(s->recycle));
}

/* Says that it sleeps before it looks a last time whether it may: who changes things after that look sees it
 * asleep. */
static int sleep_timeout(struct watch *s)
{
    int64_t now = clock_now_ms();
    int64_t due = wake_due(s, now);
    if (due > now + TICK_MS) {
        atomic_store(&s->w->sleep, due == INT64_MAX ? HOST_SLEEP_FOREVER : HOST_SLEEP_TIMED);
        due = earlier(due, wake_due(s, now));
    }
    if (due == INT64_MAX)
        return -1;
    int64_t timeout = due > now ? due - now : 0;
    return timeout < INT32_MAX ? (int)timeout : INT32_MAX;
}

static void wait_for_events(struct watch *s)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(s->w->watch_set, events, EVENTS_MAX, sleep_timeout(s));
    if (count < 0 && errno != EINTR)
        host_intake_give_up("the watch thread's set", errno);
    atomic_store(&s->w->sleep, HOST_AWAKE);
    for (int i = 0; i < count; i++) {
        uint64_t token = events[i].data.u64, ignored;
        if (token == HOST_TOKEN_CHANNEL)
            read_channel(s);
        else if (token == HOST_TOKEN_WAKE)
            (void)!read(s->w->wake_event, &ignored, sizeof ignored);
        else
            look_again(s, token);
    }
}

static void *watch_main(void *argument)
{
    struct watch s = {.w = argument, .saturated_ms = INT64_MIN / 2};
    s.timers = host_timers_new(s.w);
    s.recycle = host_recycle_new(s.w, clock_now_ms());
    if (!s.timers || !s.recycle)
        host_intake_give_up("memory for the timers", ENOMEM);
    scan_deadlines(&s, clock_now_ms());
    while (!atomic_load(&s.w->is_ending)) {
        wait_for_events(&s);
        if (atomic_load(&term_asked))
            begin_drain(&s, 0);
        int64_t now = clock_now_ms();
        if (now >= s.scan_due_ms)
            scan_deadlines(&s, now);
        s.timers_due_ms = host_timers_check(s.timers, now);
        host_recycle_check(s.recycle, now);
        if (atomic_load(&s.w->is_draining)) {
            drain(&s, now);
            continue;
        }
        reopen_doors(&s, now);
        tick(&s, now);
    }
    host_recycle_free(s.recycle);
    host_timers_free(s.timers);
    return NULL;
}

int host_watch_start(struct host_worker *w, pthread_t *thread, struct err *e)
{
    struct epoll_event channel = {.events = EPOLLIN, .data.u64 = HOST_TOKEN_CHANNEL};
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = HOST_TOKEN_WAKE};
    if (epoll_ctl(w->watch_set, EPOLL_CTL_ADD, w->host->channel, &channel) < 0 ||
        epoll_ctl(w->watch_set, EPOLL_CTL_ADD, w->wake_event, &wake) < 0)
        return err_errno(e, "cannot watch the channel to the supervisor");

    /* Signals are for the threads with Python; those that tell of a crash must stay with the one that
     * crashed. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    errno = pthread_create(thread, NULL, watch_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno != 0)
        return err_errno(e, "cannot start the watch thread");
    pthread_setname_np(*thread, "pyfpm-watch");
    return 0;
}
