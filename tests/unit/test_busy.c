/* links: base
 * sources: pyhost/busy.c
 *
 * What a thread is at, as another one sees it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pyhost/busy.h"

static void test_a_request_is_seen_from_begin_to_end(void **state)
{
    (void)state;
    struct host_busy b = {0};
    struct host_busy_view view;
    assert_false(host_busy_read(&b, &view));
    host_busy_begin(&b, 7, 1234, 42, "POST", "/shop?a=1");
    assert_true(host_busy_read(&b, &view));
    assert_true(host_busy_is(&b, 7));
    assert_int_equal(view.number, 7);
    assert_int_equal(view.since_ms, 1234);
    assert_int_equal(view.thread, 42);
    assert_string_equal(view.text, "POST /shop?a=1");
    host_busy_end(&b);
    assert_false(host_busy_read(&b, &view));
    assert_false(host_busy_is(&b, 7));
}

static void test_parameters_may_be_missing_or_long(void **state)
{
    (void)state;
    struct host_busy b = {0};
    struct host_busy_view view;
    char uri[4 * HOST_BUSY_TEXT_MAX];
    host_busy_begin(&b, 1, 0, 1, NULL, NULL);
    assert_true(host_busy_read(&b, &view));
    assert_string_equal(view.text, "- -");
    memset(uri, 'u', sizeof uri - 1);
    uri[sizeof uri - 1] = '\0';
    host_busy_begin(&b, 2, 0, 1, "GET", uri);
    assert_true(host_busy_read(&b, &view));
    assert_int_equal(strlen(view.text), HOST_BUSY_TEXT_MAX);
    host_busy_begin(&b, 3, 0, 1, uri, uri);
    assert_true(host_busy_read(&b, &view));
    assert_int_equal(strlen(view.text), HOST_BUSY_TEXT_MAX);
}

#define ROUNDS 300000

static void *write_rounds(void *argument)
{
    struct host_busy *b = argument;
    char uri[128];
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        snprintf(uri, sizeof uri, "/%0*llu", (int)(i % 90), (unsigned long long)i);
        host_busy_begin(b, i, (int64_t)i, (pid_t)i, "GET", uri);
        if (i % 3 == 0)
            host_busy_end(b);
    }
    host_busy_begin(b, ROUNDS + 1, ROUNDS + 1, ROUNDS + 1, "GET", "/0");
    return NULL;
}

static void test_a_copy_always_belongs_together(void **state)
{
    (void)state;
    static struct host_busy b;
    struct host_busy_view view = {.number = 0};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_rounds, &b), 0);
    while (view.number <= ROUNDS) {
        if (!host_busy_read(&b, &view))
            continue;
        unsigned long long in_text = 0;
        assert_int_equal(sscanf(view.text, "GET /%llu", &in_text), 1);
        if (view.number <= ROUNDS)
            assert_int_equal(in_text, view.number);
        assert_int_equal(view.since_ms, view.number);
        assert_int_equal(view.thread, view.number);
    }
    pthread_join(writer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_seen_from_begin_to_end),
        cmocka_unit_test(test_parameters_may_be_missing_or_long),
        cmocka_unit_test(test_a_copy_always_belongs_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
