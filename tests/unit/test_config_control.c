/* links: config base */
/* Where a command finds the control socket: in whatever state the file is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

static int load(const char *text, size_t size, char **control, struct cfg_report *report)
{
    char path[] = "/tmp/pyfpm-control-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    close(fd);
    int result = cfg_load_control(path, control, report);
    unlink(path);
    return result;
}

static void test_it_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected; /* NULL: none */
    } rows[] = {
        {"", CFG_CONTROL_DEFAULT},
        {"groups: {}\n", CFG_CONTROL_DEFAULT},
        {"global:\n", CFG_CONTROL_DEFAULT},
        {"global: {control: /a.sock}\n", "/a.sock"},
        {"global:\n  control: none\n", NULL},
        {"{\"global\": {\"control\": \"/a.sock\"}}", "/a.sock"},
        /* what else is wrong does not matter */
        {"global: {control: /a.sock, nonsense: 1}\ngroups: 7\n", "/a.sock"},
        {"global: {control: /a.sock}\ngroups: {shop: {env: {A: \"${NO_SUCH_VARIABLE}\"}}}\n", "/a.sock"},
        {"global: 7\n", CFG_CONTROL_DEFAULT},
        {"global: [control]\n", CFG_CONTROL_DEFAULT},
        {"groups: {control: {listen: /b.sock}}\n", CFG_CONTROL_DEFAULT},
        /* no YAML: a guess */
        {"global:\n  control: /a.sock # here\ngroups: [\n", "/a.sock"},
        {"\"global\": {\n  \"control\": \"/a.sock\"}\ngroups: [\n", "/a.sock"},
        {"global:\n  control: none\ngroups: [\n", NULL},
        {"global:\n  # control: /a.sock\ngroups: [\n", CFG_CONTROL_DEFAULT},
        {"global:\n  controls: /a.sock\n  control-x: /b\ngroups: [\n", CFG_CONTROL_DEFAULT},
        {"groups: [\nglobal:\n  control: /a", "/a"},
        {"groups: [\nglobal:\n  control:", CFG_CONTROL_DEFAULT},
        {"groups: [\nglobal:\n  control", CFG_CONTROL_DEFAULT},
        {"groups: [\n   \"'", CFG_CONTROL_DEFAULT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *control;
        struct cfg_report report = {0};
        if (load(rows[i].text, strlen(rows[i].text), &control, &report) != 0)
            fail_msg("%s: %s", rows[i].text, report.messages[0].text);
        if (rows[i].expected == NULL)
            assert_null(control);
        else
            assert_string_equal(control ? control : "(none)", rows[i].expected);
        free(control);
        cfg_report_free(&report);
    }
}

static void test_a_path_that_cannot_be_is_an_error_with_its_place(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "global:\n  control: a.sock\n",
        "global:\n  control: [/a.sock]\n",
        "global:\n  control: \"${NO_SUCH_VARIABLE}\"\n",
        "global:\n  control: ''\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *control;
        struct cfg_report report = {0};
        assert_int_equal(load(texts[i], strlen(texts[i]), &control, &report), -1);
        assert_null(control);
        assert_non_null(strstr(report.messages[0].text, ":2:"));
        cfg_report_free(&report);
    }
}

static void test_a_file_that_is_missing_is_named(void **state)
{
    (void)state;
    char *control;
    struct cfg_report report = {0};
    assert_int_equal(cfg_load_control("/nonexistent/pyfpm.yaml", &control, &report), -1);
    assert_non_null(strstr(report.messages[0].text, "/nonexistent/pyfpm.yaml"));
    cfg_report_free(&report);
}

static void test_no_bytes_are_too_strange(void **state)
{
    (void)state;
    static const char pieces[][12] = {"control", ":", " ",      "\n", "/a", "none",
                                      "\"",      "'", "global", "[",  "\t", "#"};
    srandom(1);
    for (int round = 0; round < 2000; round++) {
        char text[256];
        size_t size = 0;
        for (int i = 0; i < 20; i++) {
            const char *piece = pieces[(size_t)random() % (sizeof pieces / sizeof pieces[0])];
            memcpy(text + size, piece, strlen(piece) + 1);
            size += strlen(piece) + (random() % 8 == 0); /* with its NUL, now and then */
        }
        char *control;
        struct cfg_report report = {0};
        load(text, size, &control, &report);
        free(control);
        cfg_report_free(&report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_found),
        cmocka_unit_test(test_a_path_that_cannot_be_is_an_error_with_its_place),
        cmocka_unit_test(test_a_file_that_is_missing_is_named),
        cmocka_unit_test(test_no_bytes_are_too_strange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
