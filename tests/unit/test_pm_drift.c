/* links: pm base */
/* Differences between two environments as a table, and fingerprints put together from hostile messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "pm/drift.h"
#include "pm/fingerprint.h"

#define SITE "/srv/x/lib/python3.11/site-packages"

static void assert_drift(const char *before, const char *now, const char *sentences)
{
    struct pm_drift d = {.count = 0};
    assert_true(pm_drift_compare(before, now, &d));
    char *joined = pm_drift_join(&d);
    assert_string_equal(joined, sentences);
    free(joined);
    pm_drift_clear(&d);
}

static void test_each_difference_has_its_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *before, *now, *sentences;
    } rows[] = {
        {"", "", ""},
        {"dist six 1.16.0 1.0 " SITE "\n", "dist six 1.16.0 1.0 " SITE "\n", ""},
        {"dist flask 2.2.2 1.0 " SITE "\n", "dist flask 3.0.0 2.0 " SITE "\n", "flask 2.2.2 → 3.0.0"},
        {"dist Flask 2.2.2 1.0 " SITE "\n", "dist flask 3.0.0 2.0 " SITE "\n", "flask 2.2.2 → 3.0.0"},
        {"dist ruamel.yaml 1 1.0 " SITE "\n", "dist ruamel_yaml 2 2.0 " SITE "\n", "ruamel-yaml 1 → 2"},
        {"python 3.11.2 1.0:5 /usr/lib/libpython3.11.so.1.0\n",
         "python 3.11.7 2.0:6 /usr/lib/libpython3.11.so.1.0\n", "base Python 3.11.2 → 3.11.7"},
        {"python 3.11.2 1.0:5 /usr/lib/libpython3.11.so.1.0\n",
         "python 3.11.2 2.0:5 /usr/lib/libpython3.11.so.1.0\n",
         "base Python 3.11.2 reinstalled (/usr/lib/libpython3.11.so.1.0)"},
        {"python 3.11.2 1.0:5 /a/libpython3.11.so.1.0\n", "python 3.11.2 1.0:5 /b/libpython3.11.so.1.0\n",
         "base Python 3.11.2: /a/libpython3.11.so.1.0 → /b/libpython3.11.so.1.0"},
        {"dist six 1.16.0 1.0 " SITE "\n", "", "six 1.16.0 removed"},
        {"", "dist requests 2.31 1.0 " SITE "\n", "requests 2.31 added"},
        {"", "dist shop - 1.0 " SITE "\n", "shop added"},
        {"dist shop - 1.0 " SITE "\n", "dist shop - 2.0 " SITE "\n", "shop reinstalled"},
        {"dist flask 2.2.2 1.0 " SITE "\n", "dist flask 2.2.2 2.0 " SITE "\n", "flask 2.2.2 reinstalled"},
        {"file aa /srv/x/pyvenv.cfg\n", "file bb /srv/x/pyvenv.cfg\n", "pyvenv.cfg of /srv/x changed"},
        {"", "file aa " SITE "/shop.pth\n", "shop.pth of " SITE " added"},
        {"file aa /srv/my venv/pyvenv.cfg\n", "", "pyvenv.cfg of /srv/my venv removed"},
        {"", "missing /srv/x\n", "/srv/x is missing"},
        {"missing /srv/x\n", "", "/srv/x is there again"},
        /* folders are where to look, not what is there; what is unknown is skipped */
        {"folder 1.0 " SITE "\n", "folder 2.0 " SITE "\ncut 4\nsomething new\n", ""},
        /* one name in two folders is two distributions */
        {"dist six 1 1.0 /a\ndist six 1 1.0 /b\n", "dist six 1 1.0 /a\ndist six 2 1.0 /b\n", "six 1 → 2"},
        /* two versions in one folder: what pip leaves when it is killed */
        {"dist six 1 1.0 /a\n", "dist six 1 1.0 /a\ndist six 2 2.0 /a\n", "six 2 added"},
        {"dist six 1 1.0 /a\ndist six 2 2.0 /a\n", "dist six 2 2.0 /a\n", "six 1 removed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_drift(rows[i].before, rows[i].now, rows[i].sentences);
}

static void test_the_most_telling_come_first(void **state)
{
    (void)state;
    assert_drift(
        "dist a 1 1.0 /s\ndist b 1 1.0 /s\nfile aa /v/pyvenv.cfg\npython 3.11.2 1.0:1 /l\n",
        "dist a 1 2.0 /s\ndist b 2 2.0 /s\ndist c 1 2.0 /s\nfile bb /v/pyvenv.cfg\n"
        "python 3.11.3 1.0:1 /l\n",
        "base Python 3.11.2 → 3.11.3, b 1 → 2, c 1 added, pyvenv.cfg of /v changed, a 1 reinstalled");
}

static void test_the_list_is_bounded(void **state)
{
    (void)state;
    char now[16384];
    size_t used = 0;
    for (unsigned i = 0; i < PM_DRIFT_MAX + 37 - 1; i++)
        used += (size_t)snprintf(now + used, sizeof now - used, "dist p%03u 1 1.0 /s\n", i);
    struct pm_drift d = {.count = 0};
    assert_true(pm_drift_compare("", now, &d));
    assert_int_equal(d.count, PM_DRIFT_MAX);
    assert_string_equal(d.sentences[0], "p000 1 added");
    assert_string_equal(d.sentences[PM_DRIFT_MAX - 2], "p018 1 added");
    assert_string_equal(d.sentences[PM_DRIFT_MAX - 1], "and 37 more");
    now[0] = '\0';
    used = 0;
    for (unsigned i = 0; i < PM_DRIFT_MAX; i++)
        used += (size_t)snprintf(now + used, sizeof now - used, "dist p%03u 1 1.0 /s\n", i);
    assert_true(pm_drift_compare("", now, &d));
    assert_int_equal(d.count, PM_DRIFT_MAX);
    assert_string_equal(d.sentences[PM_DRIFT_MAX - 1], "p019 1 added");
    pm_drift_clear(&d);
}

static void test_nonsense_is_skipped_and_escaped(void **state)
{
    (void)state;
    static const char *const rows[] = {"dist",          "dist ",          "dist a",           "dist a 1 1.0",
                                       "dist a 1 1.0 ", "dist  1 1.0 /s", "file aa",          "file",
                                       "python 3.11",   "missing",        " dist a 1 1.0 /s", "\r"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_drift("", rows[i], "");
    assert_drift("", "dist a\x1b[31m 1\x7f 1.0 /s\n", "a\\x1b[31m 1\\x7f added");
    assert_drift("", "dist \xff\xc3( 1 1.0 /s\n", "\\xff\\xc3( 1 added");
    assert_drift("", "missing /\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d\n",
                 "/\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d is missing");
    assert_drift("", "missing /\xed\xa0\x80\xc0\xaf\xc2\x9b\xf4\x90\x80\x80\n",
                 "/\\xed\\xa0\\x80\\xc0\\xaf\\xc2\\x9b\\xf4\\x90\\x80\\x80 is missing");
}

/* ---- fingerprints ------------------------------------------------------------------------------------ */

static void take(struct pm_fingerprint *f, const char *text, size_t size, uint32_t flags)
{
    struct wire_msg m;
    wire_init(&m, WIRE_FINGERPRINT);
    wire_set_text(&m, text, size);
    m.flags = flags;
    pm_fingerprint_take(f, &m);
}

static void test_pieces_become_one_text(void **state)
{
    (void)state;
    struct pm_fingerprint f = {0};
    take(&f, "dist a 1 1", 10, 0);
    assert_false(pm_fingerprint_is_known(&f));
    take(&f, ".0 /s\n", 6, WIRE_FINGERPRINT_END | WIRE_FINGERPRINT_HOT);
    assert_true(pm_fingerprint_is_known(&f));
    assert_true(f.is_hot);
    take(&f, "more", 4, 0);
    assert_string_equal(f.text, "dist a 1 1.0 /s\n");
    pm_fingerprint_clear(&f);
}

static void test_a_host_that_sends_without_end_is_not_believed(void **state)
{
    (void)state;
    static char piece[WIRE_TEXT_MAX];
    struct pm_fingerprint f = {0};
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 200; i++)
        take(&f, piece, sizeof piece, 0);
    assert_false(pm_fingerprint_is_known(&f));
    assert_true(f.complete);
    assert_null(f.text);
    take(&f, "nul\0", 4, WIRE_FINGERPRINT_END);
    assert_null(f.text);
    pm_fingerprint_clear(&f);
    take(&f, "nul\0", 4, WIRE_FINGERPRINT_END);
    assert_false(pm_fingerprint_is_known(&f));
    pm_fingerprint_clear(&f);
}

static void test_gaps_are_seen_wherever_their_line_stands(void **state)
{
    (void)state;
    struct pm_fingerprint f = {0};
    take(&f, "folder 0 /missing /x\n", 21, WIRE_FINGERPRINT_END);
    assert_false(pm_fingerprint_has_gaps(&f));
    pm_fingerprint_clear(&f);
    take(&f, "file a /b\nmissing /x\n", 21, WIRE_FINGERPRINT_END);
    assert_true(pm_fingerprint_has_gaps(&f));
    pm_fingerprint_clear(&f);
    take(&f, "missing /x\n", 11, WIRE_FINGERPRINT_END);
    assert_true(pm_fingerprint_has_gaps(&f));
    pm_fingerprint_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_difference_has_its_sentence),
        cmocka_unit_test(test_the_most_telling_come_first),
        cmocka_unit_test(test_the_list_is_bounded),
        cmocka_unit_test(test_nonsense_is_skipped_and_escaped),
        cmocka_unit_test(test_pieces_become_one_text),
        cmocka_unit_test(test_a_host_that_sends_without_end_is_not_believed),
        cmocka_unit_test(test_gaps_are_seen_wherever_their_line_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
