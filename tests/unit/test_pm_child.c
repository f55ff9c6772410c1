/* links: pm base */
/* What a child had sent arrives before its end is told, however it ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "pm/child.h"

#include <sys/wait.h>
#include <unistd.h>

/* More than are read in one turn of the loop, fewer than a channel holds. */
#define MESSAGE_COUNT 150

static uv_loop_t loop;
static int message_count;
static int count_at_end;
static bool lost;

static void on_message(struct pm_child *child, const struct wire_msg *m)
{
    if (m->type == WIRE_WORKER_HELLO)
        assert_true(pm_child_adopt(child, m->sender));
    else
        message_count++;
}

static void on_ended(struct pm_child *child)
{
    (void)child;
    count_at_end = message_count;
}

static void on_lost(struct pm_child *child)
{
    (void)child;
    lost = true;
}

static const struct pm_child_kind kind = {"worker", on_message, on_ended, on_lost};

static int set_up(void **state)
{
    (void)state;
    message_count = 0;
    count_at_end = -1;
    lost = false;
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void say(int channel, enum wire_type type, int count)
{
    struct wire_msg m;
    wire_init(&m, type);
    for (int i = 0; i < count; i++)
        if (wire_send(channel, &m) < 0)
            _exit(1);
}

/* Waits, without reaping, until the process has ended. */
static void wait_for_end(pid_t pid)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

/* A process that says hello (when it is to be adopted), then much, and ends once it is told to go. */
static pid_t fork_talker(int theirs, bool with_hello, int gate)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    char byte;
    if (with_hello)
        say(theirs, WIRE_WORKER_HELLO, 1);
    say(theirs, WIRE_WORKER_READY, MESSAGE_COUNT);
    _exit(read(gate, &byte, 1) == 1 ? 0 : 1);
}

static void hear_a_talker(bool with_hello, bool leaves_ours_unread)
{
    struct err e;
    int ours;
    int theirs;
    int gate[2];
    message_count = 0;
    assert_int_equal(wire_pair(&ours, &theirs, &e), 0);
    assert_int_equal(pipe(gate), 0);
    pid_t pid = fork_talker(theirs, with_hello, gate[0]);
    close(theirs);
    struct pm_child *child = pm_child_new(&loop, &kind, NULL, "g", with_hello ? 0 : pid, &ours, &e);
    assert_non_null(child);
    if (leaves_ours_unread)
        say(child->channel, WIRE_DRAIN, 1);
    assert_int_equal(write(gate[1], "g", 1), 1);
    wait_for_end(pid);
    if (leaves_ours_unread)
        uv_run(&loop, UV_RUN_NOWAIT);
    pm_child_reap_all();
    assert_int_equal(count_at_end, MESSAGE_COUNT);
    assert_int_equal(child->wait_status, 0);
    pm_child_free(&child);
    close(gate[0]);
    close(gate[1]);
}

static void test_everything_that_it_said_comes_before_its_end(void **state)
{
    (void)state;
    hear_a_talker(false, false);
}

static void test_nothing_is_lost_when_it_ends_with_a_message_of_ours_unread(void **state)
{
    (void)state;
    hear_a_talker(false, true);
}

static void test_a_hello_is_heard_from_one_that_has_ended_already(void **state)
{
    (void)state;
    hear_a_talker(true, false);
    hear_a_talker(true, true);
}

static void test_a_channel_that_closes_before_the_hello_is_told(void **state)
{
    (void)state;
    struct err e;
    int ours;
    int theirs;
    assert_int_equal(wire_pair(&ours, &theirs, &e), 0);
    struct pm_child *child = pm_child_new(&loop, &kind, NULL, "g", 0, &ours, &e);
    close(theirs);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(lost);
    pm_child_free(&child);
}

static void test_after_hanging_up_nothing_can_be_said(void **state)
{
    (void)state;
    struct err e;
    struct wire_msg m;
    int ours;
    int theirs;
    assert_int_equal(wire_pair(&ours, &theirs, &e), 0);
    struct pm_child *child = pm_child_new(&loop, &kind, NULL, "g", 0, &ours, &e);
    wire_init(&m, WIRE_WORKER_READY);
    assert_int_equal(wire_send(theirs, &m), 0);
    pm_child_hang_up(child);
    assert_int_equal(message_count, 1);
    assert_true(lost);
    assert_int_equal(wire_send(theirs, &m), -1);
    wire_init(&m, WIRE_DRAIN);
    assert_int_equal(pm_child_send(child, &m), 0);
    pm_child_free(&child);
    close(theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_that_it_said_comes_before_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_lost_when_it_ends_with_a_message_of_ours_unread,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_hello_is_heard_from_one_that_has_ended_already, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_channel_that_closes_before_the_hello_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_after_hanging_up_nothing_can_be_said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
