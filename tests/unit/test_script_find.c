/* links: base config */
/* sources: pyhost/script_find.c */
/* Which file a SCRIPT_FILENAME names, in a folder of real files, links and pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "config/config.h"
#include "pyhost/script_find.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];
static char *roots_items[2];
static struct cfg_list roots = {roots_items, 1};
static struct host_finder *finder;
static struct host_script_found found;

static const char *at(const char *name)
{
    static char paths[4][2 * PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static int set_up(void **state)
{
    struct err e;
    (void)state;
    strcpy(base, "/tmp/pyfpm-unit-XXXXXX");
    assert_non_null(mkdtemp(base));
    assert_int_equal(mkdir(at("a"), 0755), 0);
    assert_int_equal(mkdir(at("ab"), 0755), 0);
    assert_int_equal(mkdir(at("a/sub.py"), 0755), 0);
    write_file("a/hello.wsgi", "1");
    write_file("a/data.txt", "1");
    write_file("a/sub.py/inner.py", "1");
    write_file("ab/outside.wsgi", "1");
    roots_items[0] = strdup(at("a"));
    roots.count = 1;
    finder = host_finder_new(&roots, &e);
    assert_non_null(finder);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    host_finder_free(finder);
    free(roots_items[0]);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static void assert_found(const char *filename, const char *path, size_t rest_size)
{
    if (!host_finder_find(finder, filename, &found))
        fail_msg("%s: %s", filename, found.why);
    assert_string_equal(found.path, path);
    assert_int_equal(strlen(filename) - found.name_size, rest_size);
}

static void assert_refused(const char *filename, const char *why)
{
    assert_false(host_finder_find(finder, filename, &found));
    if (!strstr(found.why, why))
        fail_msg("\"%s\" is not in \"%s\"", why, found.why);
}

static void test_a_file_in_a_root_is_found_with_and_without_a_path_behind_it(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) { /* resolved, and recalled */
        assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
        assert_found(at("a/hello.wsgi/"), at("a/hello.wsgi"), 1);
        assert_found(at("a/hello.wsgi/x/y.py"), at("a/hello.wsgi"), 7);
        assert_found(at("a/sub.py/inner.py/z"), at("a/sub.py/inner.py"), 2);
    }
    assert_found(at("a//hello.wsgi"), at("a/hello.wsgi"), 0);
}

static void test_a_path_behind_a_script_may_be_longer_than_any_file_name(void **state)
{
    char filename[20000];
    int used = snprintf(filename, sizeof filename, "%s/", at("a/hello.wsgi"));
    (void)state;
    memset(filename + used, 'x', sizeof filename - (size_t)used);
    filename[sizeof filename - 1] = '\0';
    assert_found(filename, at("a/hello.wsgi"), strlen(filename) - (size_t)used + 1);
    for (size_t i = (size_t)used; i < sizeof filename - 1; i += 2)
        filename[i] = '/';
    assert_found(filename, at("a/hello.wsgi"), strlen(filename) - (size_t)used + 1);
    memset(filename, 'y', sizeof filename - 1);
    filename[0] = '/';
    assert_refused(filename, "there is no file");
}

static void test_what_is_no_script_in_a_root_is_refused(void **state)
{
    (void)state;
    assert_refused(NULL, "sends no SCRIPT_FILENAME");
    assert_refused("", "sends no SCRIPT_FILENAME");
    assert_refused("hello.wsgi", "is no absolute path");
    assert_refused("/", "there is no file");
    assert_refused("////", "there is no file");
    assert_refused(at("a"), "is a folder");
    assert_refused(at("a/"), "is a folder");
    assert_refused(at("a/sub.py"), "is a folder");
    assert_refused(at("a/none.wsgi"), "there is no file");
    assert_refused(at("a/sub.py/none"), "there is no file");
    assert_refused(at("a/data.txt"), "ends neither in .wsgi nor in .py");
    assert_refused(at("ab/outside.wsgi"), "lies in no folder of script-root");
}

static void test_a_parent_component_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_refused(at("a/../a/hello.wsgi"), "\"..\"");
    assert_refused(at("a/hello.wsgi/.."), "\"..\"");
    assert_refused(at("a/hello.wsgi/../x"), "\"..\"");
    assert_refused("/..", "\"..\"");
    write_file("a/..odd..wsgi", "1");
    assert_found(at("a/..odd..wsgi"), at("a/..odd..wsgi"), 0);
}

static void test_links_are_followed_and_have_to_stay_inside(void **state)
{
    (void)state;
    assert_int_equal(symlink("hello.wsgi", at("a/link.wsgi")), 0);
    assert_int_equal(symlink("hello.wsgi", at("a/plain")), 0);
    assert_int_equal(symlink("../ab/outside.wsgi", at("a/out.wsgi")), 0);
    assert_int_equal(symlink("../ab", at("a/door")), 0);
    assert_int_equal(symlink("data.txt", at("a/text.wsgi")), 0);
    assert_int_equal(symlink("loop.wsgi", at("a/loop.wsgi")), 0);
    assert_found(at("a/link.wsgi/x"), at("a/hello.wsgi"), 2);
    assert_found(at("a/plain"), at("a/hello.wsgi"), 0);
    assert_refused(at("a/out.wsgi"), "lies in no folder of script-root");
    assert_refused(at("a/door/outside.wsgi"), "lies in no folder of script-root");
    assert_refused(at("a/text.wsgi"), "ends neither in .wsgi nor in .py");
    assert_refused(at("a/loop.wsgi"), "symbolic links");
}

static void test_a_link_that_turns_outside_later_is_refused_then(void **state)
{
    (void)state;
    assert_int_equal(symlink("hello.wsgi", at("a/link.wsgi")), 0);
    assert_found(at("a/link.wsgi"), at("a/hello.wsgi"), 0);
    assert_int_equal(symlink("../ab/outside.wsgi", at("a/new")), 0);
    assert_int_equal(rename(at("a/new"), at("a/link.wsgi")), 0);
    assert_refused(at("a/link.wsgi"), "lies in no folder of script-root");
}

static void test_a_name_that_leads_to_another_script_than_before_has_moved(void **state)
{
    (void)state;
    assert_int_equal(symlink("hello.wsgi", at("a/link.wsgi")), 0);
    assert_found(at("a/link.wsgi"), at("a/hello.wsgi"), 0);
    assert_false(found.has_moved);
    assert_int_equal(symlink("sub.py/inner.py", at("a/new")), 0);
    assert_int_equal(rename(at("a/new"), at("a/link.wsgi")), 0);
    assert_found(at("a/link.wsgi"), at("a/sub.py/inner.py"), 0);
    assert_true(found.has_moved);
    assert_found(at("a/link.wsgi"), at("a/sub.py/inner.py"), 0);
    assert_false(found.has_moved);
}

static void test_a_root_may_be_a_link_that_is_moved_on(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(symlink("a", at("current")), 0);
    free(roots_items[0]);
    roots_items[0] = strdup(at("current"));
    assert_found(at("current/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_int_equal(symlink("ab", at("next")), 0);
    assert_int_equal(rename(at("next"), at("current")), 0);
    assert_found(at("current/outside.wsgi"), at("ab/outside.wsgi"), 0);
    assert_refused(at("current/hello.wsgi"), "there is no file");
    assert_int_equal(host_script_root_check(at("current"), &e), 0);
}

static void test_of_several_roots_each_counts_and_a_missing_one_does_no_harm(void **state)
{
    (void)state;
    roots_items[1] = roots_items[0];
    roots_items[0] = strdup(at("missing"));
    roots.count = 2;
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_refused(at("ab/outside.wsgi"), "lies in no folder of script-root");
    free(roots_items[1]);
    roots_items[1] = strdup("/");
    assert_found(at("ab/outside.wsgi"), at("ab/outside.wsgi"), 0);
    free(roots_items[1]);
}

static void test_a_change_shows_in_the_id(void **state)
{
    struct host_script_id before;
    (void)state;
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    before = found.id;
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_true(host_script_id_is_equal(&before, &found.id));
    write_file("a/hello.wsgi", "longer");
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_false(host_script_id_is_equal(&before, &found.id));
    before = found.id;
    write_file("a/new", "longer");
    assert_int_equal(rename(at("a/new"), at("a/hello.wsgi")), 0);
    assert_found(at("a/hello.wsgi"), at("a/hello.wsgi"), 0);
    assert_false(host_script_id_is_equal(&before, &found.id));
    assert_int_equal(unlink(at("a/hello.wsgi")), 0);
    assert_refused(at("a/hello.wsgi"), "there is no file");
}

static void test_pipes_are_neither_found_nor_waited_for(void **state)
{
    struct host_script_id id;
    struct err e;
    (void)state;
    assert_int_equal(mkfifo(at("a/pipe.wsgi"), 0666), 0);
    assert_refused(at("a/pipe.wsgi"), "is no regular file");
    assert_int_equal(host_script_open(at("a/pipe.wsgi"), &id, &e), -1);
    assert_non_null(strstr(e.text, "is no regular file"));
    assert_refused("/dev/null", "is no regular file");
}

static void test_a_script_is_read_whole_and_bounded(void **state)
{
    struct host_script_id id;
    struct err e;
    size_t size;
    (void)state;
    assert_int_equal(truncate(at("a/hello.wsgi"), 300000), 0);
    int fd = host_script_open(at("a/hello.wsgi"), &id, &e);
    char *bytes = host_script_read(fd, &size, &e);
    assert_non_null(bytes);
    assert_int_equal(size, 300000);
    assert_int_equal(id.size, 300000);
    free(bytes);
    close(fd);
    assert_int_equal(truncate(at("a/hello.wsgi"), 17 * 1024 * 1024), 0);
    fd = host_script_open(at("a/hello.wsgi"), &id, &e);
    assert_null(host_script_read(fd, &size, &e));
    assert_non_null(strstr(e.text, "larger than"));
    close(fd);
}

static void test_more_names_than_are_remembered_are_found_all_the_same(void **state)
{
    char name[32];
    (void)state;
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "a/s%d.wsgi", i);
        write_file(name, "1");
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 600; i++) {
            snprintf(name, sizeof name, "a/s%d.wsgi", i);
            assert_found(at(name), at(name), 0);
            assert_false(found.has_moved);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_in_a_root_is_found_with_and_without_a_path_behind_it),
        TEST(test_a_path_behind_a_script_may_be_longer_than_any_file_name),
        TEST(test_what_is_no_script_in_a_root_is_refused),
        TEST(test_a_parent_component_is_refused_wherever_it_stands),
        TEST(test_links_are_followed_and_have_to_stay_inside),
        TEST(test_a_link_that_turns_outside_later_is_refused_then),
        TEST(test_a_name_that_leads_to_another_script_than_before_has_moved),
        TEST(test_a_root_may_be_a_link_that_is_moved_on),
        TEST(test_of_several_roots_each_counts_and_a_missing_one_does_no_harm),
        TEST(test_a_change_shows_in_the_id),
        TEST(test_pipes_are_neither_found_nor_waited_for),
        TEST(test_a_script_is_read_whole_and_bounded),
        TEST(test_more_names_than_are_remembered_are_found_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
