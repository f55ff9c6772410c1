/* links: pm */
/* Text of applications as JSON strings: whatever it is, a string comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pm/control.h"

#define U "\xef\xbf\xbd"

static void test_what_is_not_utf_8_is_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x86\x92 \xf0\x9f\x90\x8d", "\xe2\x86\x92 \xf0\x9f\x90\x8d"},
        {"\xff", U},
        {"a\xff\xfe"
         "b",
         "a" U U "b"},
        {"cut \xe2\x86", "cut " U U},
        {"cut \xf0\x9f\x90", "cut " U U U},
        {"\xc0\xaf", U U},             /* overlong */
        {"\xed\xa0\x80", U U U},       /* a surrogate */
        {"\xf4\x90\x80\x80", U U U U}, /* past the last code point */
        {"\xf8\x88\x80\x80", U U U U}, /* five bytes, without the last */
        {"ok \xc3\xbc \x80", "ok \xc3\xbc " U},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *string = pm_json_text(rows[i].text);
        assert_non_null(string);
        assert_string_equal(json_string_value(string), rows[i].expected);
        json_decref(string);
    }
}

static void test_no_text_is_null(void **state)
{
    (void)state;
    assert_true(json_is_null(pm_json_text(NULL)));
}

static void test_random_bytes_become_a_string(void **state)
{
    (void)state;
    srandom(1);
    for (int round = 0; round < 20000; round++) {
        char text[32];
        size_t size = (size_t)random() % (sizeof text - 1);
        for (size_t i = 0; i < size; i++)
            text[i] = (char)(1 + random() % 255);
        text[size] = '\0';
        json_t *string = pm_json_text(text);
        assert_non_null(string);
        json_decref(string);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_utf_8_is_replaced),
        cmocka_unit_test(test_no_text_is_null),
        cmocka_unit_test(test_random_bytes_become_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
