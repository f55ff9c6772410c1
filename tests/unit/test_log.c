/* links: base */
/* The log: no text can pass for a line of its own, and errors put their context in front. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/pyfpm-test-log-XXXXXX";
static char content[65536];

static int open_log(void **state)
{
    struct err e;
    (void)state;
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return log_open(path, LOG_LEVEL_NOTICE, &e);
}

static int close_log(void **state)
{
    struct err e;
    (void)state;
    log_open("stderr", LOG_LEVEL_NOTICE, &e);
    return unlink(path);
}

static const char *read_log(void)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t size = fread(content, 1, sizeof content - 1, f);
    fclose(f);
    content[size] = '\0';
    return content;
}

static int count(const char *text, const char *part)
{
    int found = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        found++;
    return found;
}

static void test_a_line_has_time_level_and_mark(void **state)
{
    (void)state;
    struct log_subject subject = {"shop", 812};
    log_write(LOG_LEVEL_ERROR, &subject, "worker %s", "died");
    const char *text = read_log();
    assert_non_null(strstr(text, "Z error: [group shop pid 812] worker died\n"));
    assert_true(text[4] == '-' && text[10] == 'T');
}

static void test_every_line_of_a_text_is_marked(void **state)
{
    (void)state;
    struct log_subject subject = {"shop", 812};
    const char forged[] = "one\n2026-01-01T00:00:00.000Z alert: [group bank pid 1] forged\rx\033[2J\nthree\n";
    log_write_text(LOG_LEVEL_NOTICE, &subject, "output", forged, sizeof forged - 1);
    const char *text = read_log();
    assert_int_equal(count(text, "\n"), 3);
    assert_int_equal(count(text, "[group shop pid 812 output] "), 3);
    assert_int_equal(count(text, "\r"), 0);
    assert_int_equal(count(text, "\033"), 0);
    assert_int_equal(count(text, "\\x0d"), 1);
}

static void test_levels_below_the_threshold_are_not_written(void **state)
{
    (void)state;
    log_write(LOG_LEVEL_DEBUG, NULL, "invisible");
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    assert_string_equal(read_log(), "");
}

static void test_a_very_long_line_is_cut_not_lost(void **state)
{
    (void)state;
    static char longest[20000];
    memset(longest, 'a', sizeof longest);
    log_write_text(LOG_LEVEL_NOTICE, NULL, NULL, longest, sizeof longest);
    const char *text = read_log();
    assert_int_equal(count(text, "\n"), 1);
    assert_true(strlen(text) > 4000);
}

static void test_reopening_follows_a_moved_file(void **state)
{
    (void)state;
    struct err e;
    char moved[sizeof path + 2];
    snprintf(moved, sizeof moved, "%s.1", path);
    log_write(LOG_LEVEL_NOTICE, NULL, "before");
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(log_reopen(&e), 0);
    log_write(LOG_LEVEL_NOTICE, NULL, "after");
    assert_null(strstr(read_log(), "before"));
    assert_non_null(strstr(read_log(), "after"));
    unlink(moved);
}

static void test_a_target_that_cannot_be_opened_keeps_the_old_one(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(log_open("/nonexistent/folder/log", LOG_LEVEL_NOTICE, &e), -1);
    assert_non_null(strstr(e.text, "/nonexistent/folder/log"));
    log_write(LOG_LEVEL_NOTICE, NULL, "still here");
    assert_non_null(strstr(read_log(), "still here"));
}

static void test_errors_grow_context_in_front_and_never_overflow(void **state)
{
    (void)state;
    struct err e;
    errno = ENOENT;
    assert_int_equal(err_errno(&e, "cannot open %s", "x"), -1);
    assert_int_equal(err_prefix(&e, "group %s", "shop"), -1);
    assert_string_equal(e.text, "group shop: cannot open x: No such file or directory");
    for (int i = 0; i < 5000; i++)
        err_prefix(&e, "again and again");
    assert_true(strlen(e.text) < sizeof e.text);
    assert_memory_equal(e.text, "again and again: ", 17);
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, open_log, close_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(test_a_line_has_time_level_and_mark),
        WITH_LOG(test_every_line_of_a_text_is_marked),
        WITH_LOG(test_levels_below_the_threshold_are_not_written),
        WITH_LOG(test_a_very_long_line_is_cut_not_lost),
        WITH_LOG(test_reopening_follows_a_moved_file),
        WITH_LOG(test_a_target_that_cannot_be_opened_keeps_the_old_one),
        cmocka_unit_test(test_errors_grow_context_in_front_and_never_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
