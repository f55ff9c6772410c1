/* links: pm */
/* The record of starts and reloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pm/record.h"

static void test_the_start_is_no_reload(void **state)
{
    (void)state;
    struct pm_record r = {0};
    pm_record_begin(&r);
    assert_int_equal(r.outcome, PM_RELOAD_GOING);
    assert_int_equal(r.ended_at_s, 0);
    pm_record_end(&r, PM_RELOAD_FAILED, "why");
    assert_int_equal(r.number, 1);
    assert_int_equal(r.good + r.failed, 0);
    assert_string_equal(r.failure, "why");
    assert_true(r.ended_at_s > 0);
    pm_record_clear(&r);
}

static void test_an_outcome_is_collected_once_and_stays_to_be_read(void **state)
{
    (void)state;
    struct pm_record r = {0};
    pm_record_begin(&r);
    assert_int_equal(pm_record_collect(&r), PM_RELOAD_GOING);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    assert_int_equal(pm_record_collect(&r), PM_RELOAD_DONE);
    assert_int_equal(pm_record_collect(&r), PM_RELOAD_NONE);
    assert_int_equal(r.outcome, PM_RELOAD_DONE);
    pm_record_clear(&r);
}

static void test_what_fails_after_the_end_changes_nothing(void **state)
{
    (void)state;
    struct pm_record r = {0};
    pm_record_begin(&r);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    pm_record_begin(&r);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    pm_record_end(&r, PM_RELOAD_FAILED, "later");
    assert_int_equal(r.good, 1);
    assert_int_equal(r.failed, 0);
    assert_int_equal(r.outcome, PM_RELOAD_DONE);
    assert_null(r.failure);
    pm_record_clear(&r);
}

static void test_a_new_reload_forgets_why_the_last_one_failed(void **state)
{
    (void)state;
    struct pm_record r = {0};
    pm_record_begin(&r);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    pm_record_begin(&r);
    pm_record_end(&r, PM_RELOAD_FAILED, "why");
    pm_record_begin(&r);
    assert_null(r.failure);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    assert_int_equal(r.good, 1);
    assert_int_equal(r.failed, 1);
    assert_int_equal(r.number, 3);
    pm_record_clear(&r);
}

static void test_a_refused_reload_does_not_disturb_one_that_goes_on(void **state)
{
    (void)state;
    struct pm_record r = {0};
    pm_record_begin(&r);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    pm_record_begin(&r);
    pm_record_refuse(&r, "no socket");
    assert_int_equal(r.number, 2);
    assert_int_equal(r.outcome, PM_RELOAD_GOING);
    pm_record_end(&r, PM_RELOAD_DONE, NULL);
    pm_record_refuse(&r, "no socket");
    assert_int_equal(r.number, 3);
    assert_int_equal(r.outcome, PM_RELOAD_FAILED);
    assert_string_equal(r.failure, "no socket");
    assert_int_equal(r.good, 1);
    assert_int_equal(r.failed, 2);
    pm_record_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_start_is_no_reload),
        cmocka_unit_test(test_an_outcome_is_collected_once_and_stays_to_be_read),
        cmocka_unit_test(test_what_fails_after_the_end_changes_nothing),
        cmocka_unit_test(test_a_new_reload_forgets_why_the_last_one_failed),
        cmocka_unit_test(test_a_refused_reload_does_not_disturb_one_that_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
