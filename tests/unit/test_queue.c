/* links: base config fcgi
 * sources: pyhost/queue.c
 *
 * What web servers send as the time at which they took a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pyhost/queue.h"

static void test_times_are_read_as_front_ends_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1700000000.123", 1700000000123},
        {"1700000000", 1700000000000},
        {"1700000000.1", 1700000000100},
        {"1700000000.123456", 1700000000123},
        {"t=1700000000123456", 1700000000123},
        {"t=1700000000.5", 1700000000500},
        {"0", 0},
        {"", -1},
        {"-", -1},
        {"t=", -1},
        {"now", -1},
        {"-5", -1},
        {"1700000000.", -1},
        {"1700000000.1x", -1},
        {"1700000000 ", -1},
        {"1700000000123", -1},
        {"99999999999999999999", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (host_queue_parse(rows[i].text) != rows[i].ms)
            fail_msg("\"%s\" is read as %lld", rows[i].text, (long long)host_queue_parse(rows[i].text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_times_are_read_as_front_ends_write_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
