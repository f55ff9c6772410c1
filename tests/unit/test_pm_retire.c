/* links: pm */
/* Whose turn it is to be replaced, and the order: a successor serves before its predecessor goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "pm/generation.h"
#include "pm/retire.h"
#include "pm/worker.h"

static struct cfg_group cfg = {.processes = 2};
static char reason[] = "it said so";

/* A generation of up to four workers, which the test fills in; serials are 1 to count. */
static struct pm_worker workers[4];
static struct pm_generation gen;

static void make(unsigned count)
{
    gen = (struct pm_generation){
        .cfg = &cfg, .template_state = PM_TEMPLATE_READY, .scaling = {.wanted = (unsigned)cfg.processes}};
    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct pm_worker){
            .generation = &gen, .state = PM_WORKER_SERVING, .serial = i + 1, .next = gen.workers};
        gen.workers = &workers[i];
    }
}

static void test_without_a_wish_nothing_happens(void **state)
{
    (void)state;
    make(2);
    assert_null(pm_retire_find(&gen));
    assert_int_equal(pm_retire_step(&gen, NULL, false), PM_RETIRE_REST);
    assert_false(pm_retire_is_going(&gen));
}

static void test_the_oldest_comes_first_and_gets_a_successor(void **state)
{
    (void)state;
    make(2);
    workers[0].retire_reason = workers[1].retire_reason = reason;
    assert_ptr_equal(pm_retire_find(&gen), &workers[0]);
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_START);
    assert_int_equal(pm_retire_step(&gen, &workers[0], true), PM_RETIRE_REST);
    assert_false(pm_retire_is_going(&gen));
}

static void test_the_old_one_goes_when_its_successor_serves_and_not_before(void **state)
{
    (void)state;
    make(3);
    workers[1].retire_reason = workers[0].retire_reason = reason;
    workers[1].successor = 3;
    for (enum pm_worker_state s = PM_WORKER_FORKING; s < PM_WORKER_SERVING; s++) {
        workers[2].state = s;
        assert_ptr_equal(pm_retire_find(&gen), &workers[1]); /* not the older one: one at a time */
        assert_int_equal(pm_retire_step(&gen, &workers[1], false), PM_RETIRE_REST);
        assert_true(pm_retire_is_going(&gen));
    }
    workers[2].state = PM_WORKER_SERVING;
    assert_int_equal(pm_retire_step(&gen, &workers[1], true), PM_RETIRE_DRAIN); /* a pause is for starts */
    workers[1].state = PM_WORKER_DRAINING;
    assert_ptr_equal(pm_retire_find(&gen), &workers[0]);
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_START);
}

static void test_a_successor_that_is_gone_is_no_successor(void **state)
{
    (void)state;
    make(3);
    workers[0].retire_reason = reason;
    workers[0].successor = 3;
    for (enum pm_worker_state s = PM_WORKER_DRAINING; s <= PM_WORKER_GONE; s++) {
        workers[2].state = s;
        assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_START);
        assert_int_equal(pm_retire_step(&gen, &workers[0], true), PM_RETIRE_REST);
        assert_false(pm_retire_is_going(&gen));
    }
    workers[0].successor = 99; /* swept */
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_START);
}

static void test_a_worker_that_is_missing_or_coming_is_waited_for(void **state)
{
    (void)state;
    make(1);
    workers[0].retire_reason = reason;
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_REST);
    make(3);
    workers[0].retire_reason = reason;
    workers[2].state = PM_WORKER_STARTING;
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_REST);
}

static void test_without_a_template_nothing_is_started(void **state)
{
    (void)state;
    make(2);
    workers[0].retire_reason = reason;
    gen.template_state = PM_TEMPLATE_STARTING;
    assert_int_equal(pm_retire_step(&gen, &workers[0], false), PM_RETIRE_REST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_wish_nothing_happens),
        cmocka_unit_test(test_the_oldest_comes_first_and_gets_a_successor),
        cmocka_unit_test(test_the_old_one_goes_when_its_successor_serves_and_not_before),
        cmocka_unit_test(test_a_successor_that_is_gone_is_no_successor),
        cmocka_unit_test(test_a_worker_that_is_missing_or_coming_is_waited_for),
        cmocka_unit_test(test_without_a_template_nothing_is_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
