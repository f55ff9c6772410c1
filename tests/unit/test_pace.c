/* links: base
 * sources: pyhost/pace.c
 *
 * Lines that anybody can cause come at a pace, and none is left out unsaid. */
#include "pyhost/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START 5000

/* How many of count lines at that time are allowed; what the first says was left out goes to *left_out. */
static unsigned count_allowed(struct host_pace *p, int64_t now_ms, unsigned count, uint64_t *left_out)
{
    unsigned allowed = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t told;
        allowed += host_pace_allows(p, now_ms, &told);
        if (i == 0)
            *left_out = told;
        else
            assert_int_equal(told, 0);
    }
    return allowed;
}

static void test_a_window_allows_so_many_lines_and_the_next_one_says_how_many_were_left_out(void **state)
{
    (void)state;
    struct host_pace p = {0};
    uint64_t left_out;
    assert_int_equal(count_allowed(&p, START, 1000, &left_out), HOST_PACE_LINES);
    assert_int_equal(left_out, 0);
    assert_int_equal(count_allowed(&p, START + HOST_PACE_WINDOW_MS - 1, 5, &left_out), 0);
    assert_int_equal(count_allowed(&p, START + HOST_PACE_WINDOW_MS, 1000, &left_out), HOST_PACE_LINES);
    assert_int_equal(left_out, 1005 - HOST_PACE_LINES);
}

static void test_few_lines_are_all_allowed_and_nothing_is_said_of_others(void **state)
{
    (void)state;
    struct host_pace p = {0};
    uint64_t left_out;
    for (int64_t now = START; now < START + INT64_C(100) * HOST_PACE_WINDOW_MS;
         now += HOST_PACE_WINDOW_MS / 3) {
        assert_int_equal(count_allowed(&p, now, HOST_PACE_LINES / 3, &left_out), HOST_PACE_LINES / 3);
        assert_int_equal(left_out, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_window_allows_so_many_lines_and_the_next_one_says_how_many_were_left_out),
        cmocka_unit_test(test_few_lines_are_all_allowed_and_nothing_is_said_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
