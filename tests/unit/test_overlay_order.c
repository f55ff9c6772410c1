/* links: base config python
 * sources: pyhost/overlay.c pyhost/pyerr.c pyhost/python.c pyhost/streams.c
 *
 * The order of sys.path after the overlay, as a table, and the overlay itself on folders made for it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/err.h"
#include "config/config.h"
#include "pyhost/overlay.h"
#include "pyhost/python.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* "a b c" as a list of str. */
static PyObject *list_of(const char *words)
{
    PyObject *text = PyUnicode_FromString(words);
    PyObject *list = PyUnicode_Split(text, NULL, -1);
    Py_DECREF(text);
    assert_non_null(list);
    return list;
}

static void assert_order(const char *before, const char *after, const char *listed, const char *expected)
{
    PyObject *lists[3] = {list_of(before), list_of(after), list_of(listed)};
    PyObject *ordered = host_overlay_order(lists[0], lists[1], lists[2]);
    PyObject *space = PyUnicode_FromString(" ");
    assert_non_null(ordered);
    PyObject *joined = PyUnicode_Join(space, ordered);
    assert_string_equal(PyUnicode_AsUTF8(joined), expected);
    Py_DECREF(joined);
    Py_DECREF(space);
    Py_DECREF(ordered);
    for (int i = 0; i < 3; i++)
        Py_DECREF(lists[i]);
}

static void test_new_entries_come_first_in_their_order(void **state)
{
    (void)state;
    assert_order("std site", "std site A B", "A B", "A B std site");
}

static void test_folders_from_pth_files_follow_their_entry(void **state)
{
    (void)state;
    assert_order("std site", "std site A A.egg B B.egg", "A B", "A A.egg B B.egg std site");
}

static void test_entry_that_was_there_before_is_moved_to_the_front(void **state)
{
    (void)state;
    assert_order("std site", "std site", "site", "site std");
}

static void test_moved_entry_keeps_its_place_among_the_listed(void **state)
{
    (void)state;
    assert_order("std site", "std site B", "site B", "site B std");
    assert_order("std site", "std site A", "A site", "A site std");
    assert_order("std site", "std site A A.egg B", "A site B", "A A.egg site B std");
    assert_order("std s1 s2", "std s1 s2 A", "s2 A s1", "s2 A s1 std");
    assert_order("std s1 s2", "std s1 s2", "s2 s1", "s2 s1 std");
}

static void test_entry_that_a_pth_file_put_in_front_stays_in_front(void **state)
{
    (void)state;
    assert_order("std site", "hook std site A", "A", "hook A std site");
}

static void test_nothing_listed_changes_nothing(void **state)
{
    (void)state;
    assert_order("std site", "std site", "", "std site");
}

static void test_nothing_is_lost_or_comes_twice(void **state)
{
    (void)state;
    assert_order("std site site", "std site site A A", "A A site", "A site std");
    assert_order("std site", "std site", "gone", "gone std site");
    assert_order("", "A", "A", "A");
}

/* ---- the overlay itself -------------------------------------------------------------------------- */

struct tree {
    char root[64];
    char first[96], second[96], egg[96];
};

static int make_tree(void **state)
{
    static struct tree tree;
    snprintf(tree.root, sizeof tree.root, "/tmp/overlay-XXXXXX");
    if (!mkdtemp(tree.root))
        return -1;
    snprintf(tree.first, sizeof tree.first, "%s/first", tree.root);
    snprintf(tree.second, sizeof tree.second, "%s/second", tree.root);
    snprintf(tree.egg, sizeof tree.egg, "%s/first/egg", tree.root);
    char pth[128];
    snprintf(pth, sizeof pth, "%s/egg.pth", tree.first);
    if (mkdir(tree.first, 0755) < 0 || mkdir(tree.second, 0755) < 0 || mkdir(tree.egg, 0755) < 0)
        return -1;
    FILE *file = fopen(pth, "w");
    if (!file || fputs("egg\n", file) < 0 || fclose(file) != 0)
        return -1;
    *state = &tree;
    return 0;
}

static int remove_tree(void **state)
{
    const struct tree *tree = *state;
    char pth[128];
    snprintf(pth, sizeof pth, "%s/egg.pth", tree->first);
    unlink(pth);
    rmdir(tree->egg);
    rmdir(tree->first);
    rmdir(tree->second);
    return rmdir(tree->root);
}

static const char *path_item(Py_ssize_t index)
{
    return PyUnicode_AsUTF8(PyList_GetItem(PySys_GetObject("path"), index));
}

static void test_overlay_obeys_pth_files_and_stands_before_the_baseline(void **state)
{
    struct tree *tree = *state;
    char *entries[] = {tree->second, tree->first, NULL};
    struct cfg_group group = {.python_path = {entries, 2}, .chdir = tree->root};
    struct err e;
    char last_of_baseline[4096];
    Py_ssize_t size = PyList_GET_SIZE(PySys_GetObject("path"));
    snprintf(last_of_baseline, sizeof last_of_baseline, "%s", path_item(size - 1));
    assert_int_equal(host_overlay_apply(&group, CFG_INTERPRETER_MAIN, &e), 0);
    assert_int_equal(PyList_GET_SIZE(PySys_GetObject("path")), size + 4);
    assert_string_equal(path_item(0), tree->second);
    assert_string_equal(path_item(1), tree->first);
    assert_string_equal(path_item(2), tree->egg);
    assert_string_equal(path_item(3), tree->root);
    assert_string_equal(path_item(size + 3), last_of_baseline);
}

static void test_every_bad_entry_is_named_and_none_is_dropped(void **state)
{
    struct tree *tree = *state;
    char gone[128], gone_too[128];
    snprintf(gone, sizeof gone, "%s/gone", tree->root);
    snprintf(gone_too, sizeof gone_too, "%s/first/egg.pth", tree->root);
    char *entries[] = {gone, tree->first, gone_too, NULL};
    struct cfg_group group = {.python_path = {entries, 3}};
    struct err e;
    PyObject *path = PySys_GetObject("path");
    PyObject *before = PyList_GetSlice(path, 0, PyList_GET_SIZE(path));
    assert_int_equal(host_overlay_apply(&group, CFG_INTERPRETER_MAIN, &e), -1);
    assert_non_null(strstr(e.text, gone));
    assert_non_null(strstr(e.text, gone_too));
    assert_int_equal(PyObject_RichCompareBool(before, path, Py_EQ), 1);
    Py_DECREF(before);
}

static int start_python(void **state)
{
    (void)state;
    struct cfg_group group = {.name = NULL};
    struct err e;
    if (host_python_start(&group, &e) == 0)
        return 0;
    fprintf(stderr, "%s\n", e.text);
    return -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_entries_come_first_in_their_order),
        cmocka_unit_test(test_folders_from_pth_files_follow_their_entry),
        cmocka_unit_test(test_entry_that_was_there_before_is_moved_to_the_front),
        cmocka_unit_test(test_moved_entry_keeps_its_place_among_the_listed),
        cmocka_unit_test(test_entry_that_a_pth_file_put_in_front_stays_in_front),
        cmocka_unit_test(test_nothing_listed_changes_nothing),
        cmocka_unit_test(test_nothing_is_lost_or_comes_twice),
        cmocka_unit_test_setup_teardown(test_every_bad_entry_is_named_and_none_is_dropped, make_tree,
                                        remove_tree),
        cmocka_unit_test_setup_teardown(test_overlay_obeys_pth_files_and_stands_before_the_baseline,
                                        make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, start_python, NULL);
}
