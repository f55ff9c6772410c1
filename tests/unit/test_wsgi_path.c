/* links: host-plain */
/* What web servers send as SCRIPT_NAME and PATH_INFO, and what an application gets. */
#include "pyhost/wsgi_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *case_name;
    const char *script_name, *path_info, *document_uri, *request_uri; /* sent; NULL: not sent */
    const char *want_script_name, *want_path_info;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *r = &rows[i];
        struct host_path path;
        assert_int_equal(
            host_path_split(r->script_name, r->path_info, r->document_uri, r->request_uri, &path), 0);
        char script[256], info[256];
        snprintf(script, sizeof script, "%.*s", (int)path.script_name_size, path.script_name);
        snprintf(info, sizeof info, "%.*s", (int)path.path_info_size, path.path_info);
        if (strcmp(script, r->want_script_name) != 0 || strcmp(info, r->want_path_info) != 0)
            fail_msg("%s: SCRIPT_NAME \"%s\" PATH_INFO \"%s\"", r->case_name, script, info);
        free(path.memory);
    }
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void test_stock_nginx_parameters_give_the_whole_path_as_path_info(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"root", "/", NULL, "/", "/", "", "/"},
        {"path", "/a/b", NULL, "/a/b", "/a/b?x=1", "", "/a/b"},
        {"empty PATH_INFO is sent", "/a/b", "", "/a/b", "/a/b", "", "/a/b"},
        {"escaped", "/a b/\xc3\xa9", NULL, "/a b/\xc3\xa9", "/a%20b/%C3%A9", "", "/a b/\xc3\xa9"},
        {"escaped question mark", "/a?b", NULL, "/a?b", "/a%3Fb?q", "", "/a?b"},
        {"merged slashes", "/a/b", NULL, "/a/b", "//a/./b", "", "/a/b"},
        {"fastcgi_index", "/a/index.php", NULL, "/a/", "/a/", "", "/a/"},
        {"whole path as both", "/a/b", "/a/b", "/a/b", "/a/b", "", "/a/b"},
        {"whole path as PATH_INFO only", "", "/a/b", "/a/b", "/a/b", "", "/a/b"},
    };
    CHECK(rows);
}

static void test_a_prefix_that_was_split_off_stays(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"split", "/app", "/x/y", "/app/x/y", "/app/x/y?q", "/app", "/x/y"},
        {"split at the slash", "/app", "/", "/app/", "/app/", "/app", "/"},
        {"prefix twice", "/a", "/a", "/a/a", "/a/a", "/a", "/a"},
        {"split, no DOCUMENT_URI", "/app", "/x y", NULL, "/app/x%20y", "/app", "/x y"},
        {"prefix without PATH_INFO", "/app", NULL, "/app/x", "/app/x", "/app", "/x"},
        {"prefix must end at a slash", "/app", NULL, NULL, "/apple", "/app", ""},
        {"slash at its end", "/app/", "x", NULL, "/app/x", "/app", "/x"},
        {"prefix set, whole path as PATH_INFO", "/app", "/app/x", "/app/x", "/app/x?q", "/app", "/x"},
        {"prefix set, but not this path's", "/app", "/apple", "/apple", "/apple", "", "/apple"},
    };
    CHECK(rows);
}

static void test_lighttpd_gives_the_whole_path_as_path_info(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"one segment at /", "/a", NULL, NULL, "/a?q", "", "/a"},
        {"fix-root-scriptname", "", "/a/b", NULL, "/a/b", "", "/a/b"},
        {"slash as SCRIPT_NAME", "/", "a/b", NULL, "/a/b", "", "/a/b"},
        {"slash and whole path", "/", "/a/b", NULL, "/a/b", "", "/a/b"},
        {"root", "/", NULL, NULL, "/", "", "/"},
        {"normalized by the server", "/b", NULL, NULL, "/a/..//b", "", "/b"},
    };
    CHECK(rows);
}

static void test_what_fits_no_reading_stays_as_it_was_sent(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"rewritten", "/index.fcgi", "/old", "/elsewhere", "/elsewhere", "/index.fcgi", "/old"},
        {"no URI", "/app", "/x", NULL, NULL, "/app", "/x"},
        {"nothing", NULL, NULL, NULL, NULL, "", ""},
        {"only a URI", NULL, NULL, NULL, "/a%20b?c", "", "/a b"},
        {"absolute URI", NULL, NULL, NULL, "http://example.org/a?b", "", "/a"},
        {"absolute URI without path", NULL, NULL, NULL, "http://example.org", "", "/"},
        {"asterisk", NULL, NULL, NULL, "*", "", ""},
        {"broken escapes", NULL, NULL, NULL, "/%zz%4", "", "/%zz%4"},
        {"escape at the end", NULL, NULL, NULL, "/%41", "", "/A"},
        {"up beyond the root", "/x", NULL, NULL, "/../../x", "", "/x"},
    };
    CHECK(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stock_nginx_parameters_give_the_whole_path_as_path_info),
        cmocka_unit_test(test_a_prefix_that_was_split_off_stays),
        cmocka_unit_test(test_lighttpd_gives_the_whole_path_as_path_info),
        cmocka_unit_test(test_what_fits_no_reading_stays_as_it_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
