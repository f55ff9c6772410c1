/* links: base config fcgi
 * sources: pyhost/intake.c pyhost/conns.c pyhost/clients.c pyhost/link.c
 *
 * The watch thread misses nothing, whatever the moment at which serving threads act. */
#include "pyhost/conns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Lets a test act between the watch thread's look at the number of connections and what it does then. */
static uint32_t count_and_act(const struct host_conns *s);

#define host_conns_count count_and_act
#include "pyhost/watch.c" /* NOLINT */
#undef host_conns_count

#include "base/fd.h"

#include <sys/eventfd.h>
#include <time.h>

/* No request takes long here, and no limit is reached. */
static char nothing;

struct host_timers *host_timers_new(struct host_worker *w)
{
    (void)w;
    return (struct host_timers *)&nothing;
}

void host_timers_free(struct host_timers *s)
{
    (void)s;
}

int64_t host_timers_shortest(const struct host_worker *w)
{
    (void)w;
    return INT64_MAX;
}

int64_t host_timers_check(struct host_timers *s, int64_t now_ms)
{
    (void)s;
    (void)now_ms;
    return INT64_MAX;
}

struct host_recycle *host_recycle_new(struct host_worker *w, int64_t now_ms)
{
    (void)w;
    (void)now_ms;
    return (struct host_recycle *)&nothing;
}

void host_recycle_free(struct host_recycle *r)
{
    (void)r;
}

void host_recycle_check(struct host_recycle *r, int64_t now_ms)
{
    (void)r;
    (void)now_ms;
}

int64_t host_recycle_due(const struct host_recycle *r)
{
    (void)r;
    return INT64_MAX;
}

struct fixture {
    struct cfg_group group;
    struct host host;
    struct host_worker worker;
    struct score_slot slot;
    struct host_conn *in_flight;
    int supervisor;
};

static struct fixture *the_fixture;

static uint32_t count_and_act(const struct host_conns *s)
{
    struct fixture *f = the_fixture;
    uint32_t count = host_conns_count(s);
    struct host_conn *c = f->in_flight;
    if (c && atomic_load(&f->worker.is_draining) && clock_now_ms() > atomic_load(&f->worker.last_due_ms)) {
        f->in_flight = NULL; /* its thread ends the last request right now, a second after the drain began */
        host_intake_close(&f->worker, c);
    }
    return count;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct host_worker *w = &f->worker;
    struct err e;
    int handover[2];
    if (wire_pair(&f->supervisor, &f->host.channel, &e) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, handover) < 0)
        return -1;
    f->group.io_timeout_ms = 60000;
    f->group.keepalive_timeout_ms = 75000;
    f->host.group = &f->group;
    f->host.handover_rx = handover[0];
    f->host.handover_tx = handover[1];
    f->host.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    w->host = &f->host;
    w->slot = &f->slot;
    w->threads = 1;
    w->conns = host_conns_new(8);
    w->ready_set = epoll_create1(EPOLL_CLOEXEC);
    w->watch_set = epoll_create1(EPOLL_CLOEXEC);
    w->end_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->wake_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->doors_lock, NULL);
    the_fixture = f;
    *state = f;
    return host_intake_open(w, &e);
}

static bool ends_within(pthread_t thread, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

static void test_a_draining_worker_ends_when_its_last_request_ends_while_the_watch_thread_goes_to_sleep(
    void **state)
{
    struct fixture *f = *state;
    struct wire_msg m;
    struct err e;
    pthread_t thread;
    f->in_flight = host_conns_add(f->worker.conns);
    assert_int_equal(host_watch_start(&f->worker, &thread, &e), 0);
    wire_init(&m, WIRE_DRAIN);
    assert_int_equal(wire_send(f->supervisor, &m), 0);
    assert_true(ends_within(thread, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            test_a_draining_worker_ends_when_its_last_request_ends_while_the_watch_thread_goes_to_sleep,
            set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
