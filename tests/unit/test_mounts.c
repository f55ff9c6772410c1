/* links: host-plain */
/* Which application a path belongs to, and what is left of the path for it. */
#include "pyhost/mounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pyhost/wsgi_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE "nobody"

struct row {
    const char *mounts; /* separated by blanks; "/" is the root */
    const char *script_name, *path_info;
    const char *want_mount, *want_script_name, *want_path_info;
};

static size_t parse_mounts(char *text, struct host_mount *mounts)
{
    size_t count = 0;
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        const char *prefix = strcmp(word, "/") == 0 ? "" : word;
        mounts[count++] = (struct host_mount){prefix, strlen(prefix)};
    }
    return count;
}

/* Both parts in memory of their own: nothing may be read beyond them. */
static char *exact(const char *text)
{
    char *copy = malloc(strlen(text) + (*text == '\0'));
    assert_non_null(copy);
    memcpy(copy, text, strlen(text));
    return copy;
}

static void check_row(const struct row *r, struct host_path *path)
{
    struct host_mount mounts[8];
    char text[256], got[256];
    snprintf(text, sizeof text, "%s", r->mounts);
    size_t count = parse_mounts(text, mounts);
    int found = host_mount_find(mounts, count, path);
    const char *mount = found == HOST_MOUNT_NONE  ? NONE
                        : mounts[found].size == 0 ? "/"
                                                  : mounts[found].prefix;
    snprintf(got, sizeof got, "%s: \"%.*s\" \"%.*s\"", mount, (int)path->script_name_size, path->script_name,
             (int)path->path_info_size, path->path_info);
    char want[256];
    snprintf(want, sizeof want, "%s: \"%s\" \"%s\"", r->want_mount, r->want_script_name, r->want_path_info);
    if (strcmp(got, want) != 0)
        fail_msg("mounts %s, \"%s\" \"%s\":\n  got  %s\n  want %s", r->mounts, r->script_name, r->path_info,
                 got, want);
}

/* Once with the two parts apart, once with one behind the other, as host_path_split() gives either. */
static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *r = &rows[i];
        char *script = exact(r->script_name), *info = exact(r->path_info), whole[256];
        struct host_path path = {script, strlen(r->script_name), info, strlen(r->path_info), NULL};
        check_row(r, &path);
        free(path.memory);
        free(script);
        free(info);
        snprintf(whole, sizeof whole, "%s%s", r->script_name, r->path_info);
        char *joined = exact(whole);
        path = (struct host_path){joined, strlen(r->script_name), joined + strlen(r->script_name),
                                  strlen(r->path_info), NULL};
        check_row(r, &path);
        free(path.memory);
        free(joined);
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void test_a_mount_is_moved_from_path_info_to_script_name(void **state)
{
    static const struct row rows[] = {
        {"/shop", "", "/shop/a/b", "/shop", "/shop", "/a/b"},
        {"/shop", "", "/shop/", "/shop", "/shop", "/"},
        {"/shop", "", "/shop", "/shop", "/shop", ""},
        {"/shop/admin", "", "/shop/admin/x", "/shop/admin", "/shop/admin", "/x"},
        {"/", "", "/a/b", "/", "", "/a/b"},
        {"/", "", "/", "/", "", "/"},
        {"/", "", "", "/", "", ""},
    };
    (void)state;
    CHECK(rows);
}

static void test_the_longest_mount_wins_whatever_the_order(void **state)
{
    static const struct row rows[] = {
        {"/ /shop /shop/admin", "", "/shop/admin/x", "/shop/admin", "/shop/admin", "/x"},
        {"/shop/admin /shop /", "", "/shop/admin/x", "/shop/admin", "/shop/admin", "/x"},
        {"/shop/admin /shop /", "", "/shop/adm", "/shop", "/shop", "/adm"},
        {"/shop/admin /shop /", "", "/sho", "/", "", "/sho"},
        {"/a /a/b /a/b/c", "", "/a/b/c", "/a/b/c", "/a/b/c", ""},
    };
    (void)state;
    CHECK(rows);
}

static void test_a_mount_ends_where_a_component_ends(void **state)
{
    static const struct row rows[] = {
        {"/shop", "", "/shopping", NONE, "", "/shopping"},
        {"/shop", "", "/shop.html", NONE, "", "/shop.html"},
        {"/shop", "", "/SHOP/x", NONE, "", "/SHOP/x"},
        {"/shop", "", "//shop/x", NONE, "", "//shop/x"},
        {"/shop", "", "/sho", NONE, "", "/sho"},
        {"/shop", "", "/", NONE, "", "/"},
        {"/shop", "", "", NONE, "", ""},
        {"/shop", "", "/a/shop", NONE, "", "/a/shop"},
        {"/caf\xc3\xa9", "", "/caf\xc3\xa9/x", "/caf\xc3\xa9", "/caf\xc3\xa9", "/x"},
    };
    (void)state;
    CHECK(rows);
}

static void test_below_a_prefix_of_the_web_server_the_mount_comes_behind_it(void **state)
{
    static const struct row rows[] = {
        {"/shop", "/site", "/shop/x", "/shop", "/site/shop", "/x"},
        {"/shop /", "/site", "/other", "/", "/site", "/other"},
        {"/shop", "/shop", "/shop/x", "/shop", "/shop/shop", "/x"},
        {"/", "/site", "/x", "/", "/site", "/x"},
    };
    (void)state;
    CHECK(rows);
}

static void test_a_mount_that_the_web_server_moved_already_is_found(void **state)
{
    static const struct row rows[] = {
        {"/shop", "/shop", "/x", "/shop", "/shop", "/x"},
        {"/ /shop", "/shop", "/x", "/shop", "/shop", "/x"},
        {"/ /shop", "/shop", "", "/shop", "/shop", ""},
        {"/shop /shop/admin", "/shop", "/admin/x", "/shop/admin", "/shop/admin", "/x"},
        {"/shop", "/shop/admin", "/x", "/shop", "/shop", "/admin/x"},
        {"/shop", "/shopping", "/x", NONE, "/shopping", "/x"},
        {"/shop", "/site", "/x", NONE, "/site", "/x"},
    };
    (void)state;
    CHECK(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mount_is_moved_from_path_info_to_script_name),
        cmocka_unit_test(test_the_longest_mount_wins_whatever_the_order),
        cmocka_unit_test(test_a_mount_ends_where_a_component_ends),
        cmocka_unit_test(test_below_a_prefix_of_the_web_server_the_mount_comes_behind_it),
        cmocka_unit_test(test_a_mount_that_the_web_server_moved_already_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
