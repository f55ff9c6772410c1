/* links: host-plain */
/* Who owns a connection: one thread at a time, whatever events come late. */
#include "pyhost/conns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#define CAPACITY 4

static int set_up(void **state)
{
    *state = host_conns_new(CAPACITY);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    host_conns_free(*state);
    return 0;
}

static uint64_t park(struct host_conns *s, struct host_conn *c)
{
    uint64_t token = host_conn_park(s, c);
    host_conn_settle(s, token, HOST_CONN_IDLE);
    return token;
}

static void test_no_more_entries_than_the_capacity(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *taken[CAPACITY];
    for (int i = 0; i < CAPACITY; i++)
        assert_non_null(taken[i] = host_conns_add(s));
    assert_null(host_conns_add(s));
    assert_int_equal(host_conns_count(s), CAPACITY);
    host_conns_remove(s, taken[1]);
    assert_ptr_equal(host_conns_add(s), taken[1]);
}

static void test_an_event_takes_a_parked_connection_once(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t token = park(s, c);
    assert_ptr_equal(host_conn_take_event(s, token), c);
    assert_null(host_conn_take_event(s, token));
    assert_int_equal(host_conn_state(c), HOST_CONN_OWNED);
}

static void test_an_event_of_an_earlier_parking_is_dropped(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t early = park(s, c);
    assert_true(host_conn_take_idle(c));
    uint64_t late = park(s, c);
    assert_null(host_conn_take_event(s, early));
    assert_ptr_equal(host_conn_take_event(s, late), c);
}

static void test_an_event_of_an_earlier_connection_in_the_entry_is_dropped(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t stale = park(s, c);
    assert_true(host_conn_take_idle(c));
    host_conns_remove(s, c);
    assert_null(host_conn_take_event(s, stale));
    assert_ptr_equal(host_conns_add(s), c);
    assert_null(host_conn_take_event(s, stale));
    park(s, c);
    assert_null(host_conn_take_event(s, stale));
}

static void test_a_scan_leaves_a_connection_that_is_being_parked(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t token = host_conn_park(s, c);
    assert_false(host_conn_take_idle(c));
    host_conn_settle(s, token, HOST_CONN_IDLE);
    assert_true(host_conn_take_idle(c));
}

static void test_settling_after_an_event_took_it_changes_nothing(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t token = host_conn_park(s, c);
    assert_ptr_equal(host_conn_take_event(s, token), c);
    host_conn_settle(s, token, HOST_CONN_IDLE);
    assert_int_equal(host_conn_state(c), HOST_CONN_OWNED);

    /* Not even when the next owner is parking it by now. */
    uint64_t next = host_conn_park(s, c);
    host_conn_settle(s, token, HOST_CONN_IDLE);
    assert_false(host_conn_take_idle(c));
    assert_ptr_equal(host_conn_take_event(s, next), c);
}

static void test_a_waiting_connection_keeps_its_token_and_is_not_idle(void **state)
{
    struct host_conns *s = *state;
    struct host_conn *c = host_conns_add(s);
    uint64_t token = host_conn_park(s, c);
    host_conn_settle(s, token, HOST_CONN_WAITING);
    assert_false(host_conn_take_idle(c));
    assert_ptr_equal(host_conn_take_event(s, token), c);
    host_conn_wait_on(c);
    assert_ptr_equal(host_conn_take_event(s, token), c);
    host_conn_wait_on(c);
    assert_true(host_conn_take_waiting(c));
}

static void test_a_token_of_no_entry_is_harmless(void **state)
{
    struct host_conns *s = *state;
    assert_null(host_conn_take_event(s, UINT64_MAX - 1));
    assert_null(host_conn_take_event(s, 0));
}

/* Two threads take, count and park the same connection, one by events, one by scans. */
struct race {
    struct host_conns *s;
    struct host_conn *c;
    _Atomic uint64_t token;
    uint64_t taken; /* the owner's: a lost update shows two owners at once */
    _Atomic uint64_t by_each;
};

#define RACE_ROUNDS 100000

static void take_turn(struct race *r)
{
    r->taken++;
    atomic_fetch_add(&r->by_each, 1);
    uint64_t token = host_conn_park(r->s, r->c);
    atomic_store(&r->token, token);
    host_conn_settle(r->s, token, HOST_CONN_IDLE);
}

static void *race_by_events(void *argument)
{
    struct race *r = argument;
    for (int i = 0; i < RACE_ROUNDS; i++)
        if (host_conn_take_event(r->s, atomic_load(&r->token)))
            take_turn(r);
    return NULL;
}

static void *race_by_scans(void *argument)
{
    struct race *r = argument;
    for (int i = 0; i < RACE_ROUNDS; i++)
        if (host_conn_take_idle(r->c))
            take_turn(r);
    return NULL;
}

static void test_two_threads_never_own_a_connection_at_once(void **state)
{
    struct race r = {.s = *state};
    r.c = host_conns_add(r.s);
    atomic_store(&r.token, park(r.s, r.c));
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, race_by_events, &r), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, race_by_events, &r), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, race_by_scans, &r), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(r.taken > 0);
    assert_int_equal(r.taken, atomic_load(&r.by_each));
    assert_true(host_conn_take_idle(r.c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_more_entries_than_the_capacity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_event_takes_a_parked_connection_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_event_of_an_earlier_parking_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_event_of_an_earlier_connection_in_the_entry_is_dropped,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_scan_leaves_a_connection_that_is_being_parked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_settling_after_an_event_took_it_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_waiting_connection_keeps_its_token_and_is_not_idle, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_token_of_no_entry_is_harmless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_threads_never_own_a_connection_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
