/* links: pm */
/* How many workers a group should have, as a table: what is, and what is to be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "pm/scale.h"

#define DYNAMIC  .mode = CFG_PM_DYNAMIC, .processes = 20, .start = 4, .min_spare = 2, .max_spare = 6
#define ONDEMAND .mode = CFG_PM_ONDEMAND, .processes = 20
#define STATIC   .mode = CFG_PM_STATIC, .processes = 4

static const struct row {
    const char *claim;
    struct pm_scale_input in;
    unsigned start, end, step;
} rows[] = {
    {"static starts all", {STATIC, .is_first = true, .room = 1000}, 4, 0, 0},
    {"static replaces what is missing", {STATIC, .total = 3, .room = 1000}, 1, 0, 0},
    {"static ends nobody", {STATIC, .total = 4, .idle = 4, .spare = 4, .expired = 4, .room = 1000}, 0, 0, 0},
    {"static keeps to the cap of all groups", {STATIC, .is_first = true, .room = 2}, 2, 0, 0},

    {"dynamic begins with start", {DYNAMIC, .is_first = true, .room = 1000}, 4, 0, 0},
    {"dynamic begins with what a roll has brought already",
     {DYNAMIC, .is_first = true, .total = 1, .room = 1000},
     3,
     0,
     0},
    {"dynamic is content between the spares",
     {DYNAMIC, .total = 6, .spare = 4, .idle = 4, .room = 1000},
     0,
     0,
     0},
    {"dynamic starts one first", {DYNAMIC, .total = 4, .spare = 0, .room = 1000}, 1, 0, 1},
    {"then two", {DYNAMIC, .total = 5, .spare = 0, .step = 1, .room = 1000}, 2, 0, 2},
    {"then as many as are missing", {DYNAMIC, .total = 7, .spare = 0, .step = 2, .room = 1000}, 2, 0, 4},
    {"those that are coming count as spare", {DYNAMIC, .total = 6, .coming = 2, .room = 1000}, 0, 0, 0},
    {"dynamic keeps to processes", {DYNAMIC, .total = 20, .spare = 0, .step = 8, .room = 1000}, 0, 0, 16},
    {"dynamic keeps to the cap", {DYNAMIC, .total = 4, .spare = 0, .step = 8, .room = 0}, 0, 0, 16},
    {"dynamic ends one at a time", {DYNAMIC, .total = 12, .spare = 9, .idle = 9, .room = 1000}, 0, 1, 0},
    {"but none that is at work", {DYNAMIC, .total = 12, .spare = 9, .idle = 0, .room = 1000}, 0, 0, 0},
    {"and none while max-spare is not passed",
     {DYNAMIC, .total = 12, .spare = 6, .idle = 6, .room = 1000},
     0,
     0,
     0},
    {"a queue is met although threads seem free",
     {DYNAMIC, .total = 4, .spare = 2, .is_pressed = true, .room = 1000},
     1,
     0,
     1},
    {"a step never grows beyond bounds", {DYNAMIC, .total = 4, .step = 32, .room = 1000}, 2, 0, 32},

    {"ondemand starts nothing by itself", {ONDEMAND, .is_first = true, .room = 1000}, 0, 0, 0},
    {"ondemand starts one for the first connection", {ONDEMAND, .is_pressed = true, .room = 1000}, 1, 0, 1},
    {"and waits for it",
     {ONDEMAND, .is_pressed = true, .total = 1, .coming = 1, .step = 1, .room = 1000},
     0,
     0,
     0},
    {"then two for those who still wait",
     {ONDEMAND, .is_pressed = true, .total = 1, .step = 1, .room = 1000},
     2,
     0,
     2},
    {"up to processes", {ONDEMAND, .is_pressed = true, .total = 19, .step = 8, .room = 1000}, 1, 0, 16},
    {"nobody waits: nobody comes", {ONDEMAND, .total = 3, .step = 8, .room = 1000}, 0, 0, 0},
    {"ondemand ends all that were idle long enough",
     {ONDEMAND, .total = 5, .idle = 4, .expired = 3, .room = 1000},
     0,
     3,
     0},
    {"but not while somebody waits",
     {ONDEMAND, .is_pressed = true, .total = 5, .coming = 1, .expired = 3, .room = 1000},
     0,
     0,
     0},
};

static void test_every_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pm_scale_plan plan = pm_scale_plan(&rows[i].in);
        if (plan.start != rows[i].start || plan.end != rows[i].end || plan.step != rows[i].step)
            fail_msg("%s: start %u, end %u, step %u", rows[i].claim, plan.start, plan.end, plan.step);
    }
}

/* Whatever the numbers, and a hostile scoreboard may say anything. */
static void test_no_plan_passes_the_limits_or_does_both(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (unsigned round = 0; round < 200000; round++) {
        unsigned n[10];
        for (unsigned i = 0; i < 10; i++)
            n[i] = (random = random * 1664525u + 1013904223u) >> 28;
        struct pm_scale_input in = {.mode = (int)(n[0] % 3),
                                    .processes = n[1],
                                    .start = n[2],
                                    .min_spare = n[3],
                                    .max_spare = n[4],
                                    .total = n[5],
                                    .coming = n[6],
                                    .spare = n[7],
                                    .idle = n[8],
                                    .expired = n[8] / 2,
                                    .room = n[9],
                                    .step = n[2] % 4,
                                    .is_first = n[3] % 2,
                                    .is_pressed = n[4] % 2};
        struct pm_scale_plan plan = pm_scale_plan(&in);
        assert_true(plan.start == 0 || plan.end == 0);
        assert_true(plan.start == 0 || in.total + plan.start <= in.processes);
        assert_true(plan.start <= in.room && plan.end <= in.idle);
        assert_true(plan.step <= PM_SCALE_STEP_MAX);
    }
}

/* Rounds against a burst that needs all: from nothing to processes. */
static void test_a_burst_is_met_within_a_few_rounds(void **state)
{
    (void)state;
    struct pm_scale_input in = {ONDEMAND, .is_pressed = true, .room = 1000};
    unsigned rounds = 0;
    for (; in.total < in.processes; rounds++) {
        struct pm_scale_plan plan = pm_scale_plan(&in);
        in.total += plan.start;
        in.step = plan.step;
    }
    assert_int_equal(rounds, 5); /* 1 + 2 + 4 + 8 + 5 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_of_the_table),
        cmocka_unit_test(test_no_plan_passes_the_limits_or_does_both),
        cmocka_unit_test(test_a_burst_is_met_within_a_few_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
