/* Loading from text, and claims about the messages; for the test_config_*.c programs. */
#ifndef TEST_CONFIG_COMMON_H
#define TEST_CONFIG_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/loader.h"

static const struct cfg_mode as_root = {.is_root = true};
static const struct cfg_mode as_user = {.is_root = false};

static inline struct cfg *load_text(const char *text, const struct cfg_mode *mode, struct cfg_report *report)
{
    return cfg_load_bytes("pyfpm.yaml", text, strlen(text), mode, report);
}

static inline void print_report(const struct cfg_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        print_message("  %s\n", report->messages[i].text);
}

/* Loads what must be well, without errors; the caller frees it. */
static inline struct cfg *load_well(const char *text, const struct cfg_mode *mode)
{
    struct cfg_report report = {0};
    struct cfg *c = load_text(text, mode, &report);
    if (c == NULL)
        print_report(&report);
    assert_non_null(c);
    cfg_report_free(&report);
    return c;
}

static inline bool has_message(const struct cfg_report *report, const char *text)
{
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->messages[i].text, text) == 0)
            return true;
    }
    return false;
}

static inline void assert_message(const struct cfg_report *report, const char *text)
{
    if (has_message(report, text))
        return;
    print_message("expected: %s\n", text);
    print_report(report);
    fail();
}

/* Loads what must fail with exactly this error and no other. */
static inline void assert_only_error(const char *text, const struct cfg_mode *mode, const char *error)
{
    struct cfg_report report = {0};
    struct cfg *c = load_text(text, mode, &report);
    if (c != NULL)
        print_message("loaded without error: %s\nexpected: %s\n", text, error);
    assert_null(c);
    assert_message(&report, error);
    if (report.error_count != 1)
        print_report(&report);
    assert_int_equal(report.error_count, 1);
    cfg_report_free(&report);
}

/* A whole file around the lines of one group: each line of body must start with four blanks; the group's key
 * stands in line 2, the lines of body from line 5 on. */
static inline char *in_group(const char *body)
{
    static char text[65536];
    int length = snprintf(text, sizeof(text),
                          "groups:\n  shop:\n    listen: /run/shop.sock\n    script: /srv/app.wsgi\n%s\n",
                          body);
    assert_true(length < (int)sizeof(text));
    return text;
}

#endif
