/* links: pm */
/* The back-off as a table of inputs and outputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pm/backoff.h"

static void test_the_delay_doubles_up_to_the_maximum(void **state)
{
    (void)state;
    static const struct {
        unsigned failures;
        int64_t delay_ms;
    } rows[] = {{0, 0},     {1, 100},   {2, 200},    {3, 400},
                {8, 12800}, {9, 25600}, {10, 30000}, {4000000000U, 30000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(pm_backoff_delay_ms(rows[i].failures, 100, 30000, 0), rows[i].delay_ms);
}

static void test_jitter_takes_at_most_a_quarter(void **state)
{
    (void)state;
    for (uint32_t random = 0; random < 5000; random += 7) {
        int64_t delay = pm_backoff_delay_ms(3, 100, 30000, random);
        assert_in_range(delay, 300, 400);
    }
    assert_int_not_equal(pm_backoff_delay_ms(3, 100, 30000, 1023), 400);
}

static void test_no_delay_stays_no_delay(void **state)
{
    (void)state;
    assert_int_equal(pm_backoff_delay_ms(5, 0, 0, 77), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_delay_doubles_up_to_the_maximum),
        cmocka_unit_test(test_jitter_takes_at_most_a_quarter),
        cmocka_unit_test(test_no_delay_stays_no_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
