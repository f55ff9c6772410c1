/* links: base config fcgi
 * sources: pyhost/conns.c pyhost/clients.c
 *
 * Doors that cannot be opened again: the kernel lacks memory for a while, or they are no sockets any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <cmocka.h>

static int control_or_fail(int set, int operation, int fd, struct epoll_event *event);

#define epoll_ctl control_or_fail
#include "pyhost/intake.c" /* NOLINT */
#undef epoll_ctl

#include <sys/wait.h>

static int failure; /* errno of every ADD; 0: none fails */

static int control_or_fail(int set, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_ADD || failure == 0)
        return epoll_ctl(set, operation, fd, event);
    errno = failure;
    return -1;
}

struct fixture {
    struct cfg_group group;
    struct host host;
    struct host_worker worker;
};

/* The doors are paused, and it is time to try them again. */
static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct host_worker *w = &f->worker;
    int handover[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, handover) < 0)
        return -1;
    f->host.group = &f->group;
    f->host.handover_rx = handover[0];
    f->host.handover_tx = handover[1];
    f->host.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    w->host = &f->host;
    w->conns = host_conns_new(8);
    w->ready_set = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&w->doors_lock, NULL);
    atomic_store(&w->doors, HOST_DOORS_PAUSED);
    atomic_store(&w->resume_due_ms, clock_now_ms() - 1);
    failure = 0;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fd_close(&f->host.handover_rx);
    fd_close(&f->host.handover_tx);
    fd_close(&f->host.listen_fd);
    fd_close(&f->worker.ready_set);
    host_conns_free(f->worker.conns);
    free(f);
    return 0;
}

static void test_doors_that_cannot_be_opened_for_now_are_tried_later_and_not_at_once(void **state)
{
    struct host_worker *w = &((struct fixture *)*state)->worker;
    failure = ENOSPC;
    host_intake_resume(w);
    assert_int_equal(atomic_load(&w->doors), HOST_DOORS_PAUSED);
    assert_true(atomic_load(&w->resume_due_ms) > clock_now_ms());
    failure = 0;
    host_intake_resume(w);
    assert_int_equal(atomic_load(&w->doors), HOST_DOORS_OPEN);
}

static void test_a_worker_whose_doors_are_no_sockets_any_more_leaves(void **state)
{
    struct fixture *f = *state;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(dup2(null, f->host.listen_fd) >= 0);
    fd_close(&null);
    pid_t worker = fork();
    assert_true(worker >= 0);
    if (worker == 0) {
        host_intake_resume(&f->worker);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(worker, &status, 0), worker);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_doors_that_cannot_be_opened_for_now_are_tried_later_and_not_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_worker_whose_doors_are_no_sockets_any_more_leaves, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
