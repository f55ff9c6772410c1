/* links: pm */
/* The state tables: what must hold for every row, and the moves that the journeys depend on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pm/states.h"

static void test_an_exit_ends_every_living_worker(void **state)
{
    (void)state;
    for (int s = 0; s < PM_WORKER_GONE; s++)
        assert_int_equal(pm_worker_next((enum pm_worker_state)s, PM_WORKER_EXIT), PM_WORKER_GONE);
}

static void test_nothing_moves_a_worker_that_is_gone(void **state)
{
    (void)state;
    for (int event = 0; event < PM_WORKER_EVENTS; event++)
        assert_int_equal(pm_worker_next(PM_WORKER_GONE, (enum pm_worker_event)event), PM_NO_MOVE);
}

static void test_no_event_brings_a_draining_worker_back_to_serving(void **state)
{
    (void)state;
    for (int s = PM_WORKER_DRAINING; s < PM_WORKER_STATES; s++)
        for (int event = 0; event < PM_WORKER_EVENTS; event++)
            assert_int_not_equal(pm_worker_next((enum pm_worker_state)s, (enum pm_worker_event)event),
                                 PM_WORKER_SERVING);
}

static void test_a_worker_serves_only_after_hello_and_ready(void **state)
{
    (void)state;
    assert_int_equal(pm_worker_next(PM_WORKER_FORKING, PM_WORKER_READY), PM_NO_MOVE);
    assert_int_equal(pm_worker_next(PM_WORKER_FORKING, PM_WORKER_HELLO), PM_WORKER_STARTING);
    assert_int_equal(pm_worker_next(PM_WORKER_STARTING, PM_WORKER_READY), PM_WORKER_SERVING);
    assert_int_equal(pm_worker_next(PM_WORKER_SERVING, PM_WORKER_HELLO), PM_NO_MOVE);
}

static void test_a_worker_without_a_pid_is_gone_when_it_is_no_longer_wanted(void **state)
{
    (void)state;
    assert_int_equal(pm_worker_next(PM_WORKER_FORKING, PM_WORKER_DRAIN), PM_WORKER_GONE);
    assert_int_equal(pm_worker_next(PM_WORKER_FORKING, PM_WORKER_KILL), PM_WORKER_GONE);
}

static void test_a_killed_worker_stays_killed_until_it_is_reaped(void **state)
{
    (void)state;
    assert_int_equal(pm_worker_next(PM_WORKER_KILLED, PM_WORKER_READY), PM_WORKER_KILLED);
    assert_int_equal(pm_worker_next(PM_WORKER_KILLED, PM_WORKER_DRAIN), PM_WORKER_KILLED);
}

static void test_a_template_that_refuses_is_never_ready_again(void **state)
{
    (void)state;
    assert_int_equal(pm_template_next(PM_TEMPLATE_STARTING, PM_TEMPLATE_REFUSES), PM_TEMPLATE_ENDING);
    assert_int_equal(pm_template_next(PM_TEMPLATE_ENDING, PM_TEMPLATE_IS_UP), PM_NO_MOVE);
    assert_int_equal(pm_template_next(PM_TEMPLATE_ENDING, PM_TEMPLATE_EXIT), PM_TEMPLATE_NONE);
}

static void test_a_template_is_started_only_when_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(pm_template_next(PM_TEMPLATE_NONE, PM_TEMPLATE_START), PM_TEMPLATE_STARTING);
    for (int s = PM_TEMPLATE_STARTING; s < PM_TEMPLATE_STATES; s++)
        assert_int_equal(pm_template_next((enum pm_template_state)s, PM_TEMPLATE_START), PM_NO_MOVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_exit_ends_every_living_worker),
        cmocka_unit_test(test_nothing_moves_a_worker_that_is_gone),
        cmocka_unit_test(test_no_event_brings_a_draining_worker_back_to_serving),
        cmocka_unit_test(test_a_worker_serves_only_after_hello_and_ready),
        cmocka_unit_test(test_a_worker_without_a_pid_is_gone_when_it_is_no_longer_wanted),
        cmocka_unit_test(test_a_killed_worker_stays_killed_until_it_is_reaped),
        cmocka_unit_test(test_a_template_that_refuses_is_never_ready_again),
        cmocka_unit_test(test_a_template_is_started_only_when_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
