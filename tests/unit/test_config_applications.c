/* links: base config
 *
 * applications: several in one group, each with its own keys. */
#include "test_config_common.h"

#include "base/err.h"
#include "config/fields.h"

/* A file with one group; body are the lines of its applications, from line 5 on, indented by six. */
static char *with_applications(const char *body)
{
    static char text[65536];
    int length = snprintf(text, sizeof(text),
                          "groups:\n  shop:\n    listen: /run/shop.sock\n    applications:\n%s\n", body);
    assert_true(length < (int)sizeof(text));
    return text;
}

struct claim {
    const char *body;
    const char *error;
};

static void check_claims(const struct claim *claims, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_only_error(with_applications(claims[i].body), &as_user, claims[i].error);
}
#define CHECK(claims) check_claims(claims, sizeof(claims) / sizeof(claims[0]))

static void test_each_application_has_its_keys_and_their_defaults(void **state)
{
    (void)state;
    struct cfg *c = load_well(with_applications("      - {mount: /, application: site.wsgi:application}\n"
                                                "      - mount: /shop/$group\n"
                                                "        script: /srv/$group.wsgi\n"
                                                "        callable: app\n"
                                                "        interpreter: $group\n"
                                                "        python-path: [/srv/a, /srv/b]\n"),
                              &as_user);
    const struct cfg_group *g = c->groups[0];
    assert_int_equal(g->applications.count, 2);
    const struct cfg_application *a = &g->applications.items[0], *b = &g->applications.items[1];
    assert_string_equal(a->mount, "/");
    assert_string_equal(a->application, "site.wsgi:application");
    assert_null(a->script);
    assert_null(a->callable);
    assert_string_equal(cfg_callable_of(g, a), "application");
    assert_string_equal(a->interpreter, "main");
    assert_int_equal(a->python_path.count, 0);
    assert_string_equal(b->mount, "/shop/shop");
    assert_string_equal(b->script, "/srv/shop.wsgi");
    assert_string_equal(cfg_callable_of(g, b), "app");
    assert_string_equal(b->interpreter, "shop");
    assert_int_equal(b->python_path.count, 2);
    assert_string_equal(b->python_path.items[1], "/srv/b");
    cfg_free(c);
}

static void test_the_groups_callable_is_the_scripts_default(void **state)
{
    (void)state;
    struct cfg *c = load_well(
        with_applications("      - {mount: /a, script: /a.wsgi}\n      - {mount: /b, script: /b.wsgi, "
                          "callable: mine}\n    callable: app"),
        &as_user);
    const struct cfg_group *g = c->groups[0];
    assert_string_equal(cfg_callable_of(g, &g->applications.items[0]), "app");
    assert_string_equal(cfg_callable_of(g, &g->applications.items[1]), "mine");
    cfg_free(c);
}

static void test_a_mount_is_a_clean_path(void **state)
{
    static const struct claim claims[] = {
        {"      - {mount: shop, script: /a}",
         "pyfpm.yaml:5:17: mount: \"shop\" does not start with /; a mount is the start of a URL's path"},
        {"      - {mount: /shop/, script: /a}",
         "pyfpm.yaml:5:17: mount: \"/shop/\" ends with /; write \"/shop\", under which paths such as "
         "/shop/... come too"},
        {"      - {mount: //, script: /a}",
         "pyfpm.yaml:5:17: mount: \"//\" ends with /; write \"/\", under which paths such as //... come too"},
        {"      - {mount: /a//b, script: /a}",
         "pyfpm.yaml:5:17: mount: \"/a//b\" cannot be a mount: no part of it may be empty, \".\" or \"..\""},
        {"      - {mount: /., script: /a}",
         "pyfpm.yaml:5:17: mount: \"/.\" cannot be a mount: no part of it may be empty, \".\" or \"..\""},
        {"      - {mount: /a/../b, script: /a}",
         "pyfpm.yaml:5:17: mount: \"/a/../b\" cannot be a mount: no part of it may be empty, \".\" or "
         "\"..\""},
        {"      - {mount: '', script: /a}", "pyfpm.yaml:5:17: mount: the value is empty"},
        {"      - {mount: [/a], script: /a}",
         "pyfpm.yaml:5:17: mount: a single value is expected here, not a list"},
    };
    static const char *const good[] = {"/",        "/a",           "/a/b", "/...", "/.well-known",
                                       "/a..b/c.", "/a b/\xc3\xa9"};
    (void)state;
    CHECK(claims);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct err e;
        assert_int_equal(cfg_rule_mount(good[i], &e), 0);
    }
}

static void test_no_two_applications_have_one_mount(void **state)
{
    static const struct claim claims[] = {
        {"      - {mount: /a, script: /a}\n      - {mount: /b, script: /b}\n      - {mount: /a, script: /c}",
         "pyfpm.yaml:7:10: mount: /a is given to an application already (pyfpm.yaml:5:10)"},
        {"      - {mount: /, script: /a}\n      - {mount: /, script: /a, interpreter: x}",
         "pyfpm.yaml:6:10: mount: / is given to an application already (pyfpm.yaml:5:10)"},
    };
    (void)state;
    CHECK(claims);
}

static void test_each_application_has_a_mount_and_one_thing_to_serve(void **state)
{
    static const struct claim claims[] = {
        {"      - {script: /a}", "pyfpm.yaml:5:9: applications: mount is missing"},
        {"      - {mount: /}",
         "pyfpm.yaml:5:9: applications: nothing is named to serve; give script or application"},
        {"      - {mount: /, script: /a, application: 'a:b'}",
         "pyfpm.yaml:5:32: applications: script and application exclude each other"},
        {"      - {mount: /, script: /a}\n    script: /b",
         "pyfpm.yaml:4:5: group \"shop\": script and applications exclude each other"},
        {"      - {mount: /, script: /a}\n    application: 'a:b'",
         "pyfpm.yaml:4:5: group \"shop\": application and applications exclude each other"},
        {"      []", "pyfpm.yaml:5:7: applications: the list is empty: nothing would be served"},
        {"      {}", "pyfpm.yaml:5:7: applications: a list of mappings is expected here, not a mapping"},
        {"      /a", "pyfpm.yaml:5:7: applications: a list of mappings is expected here, not a single value"},
        {"      - /a",
         "pyfpm.yaml:5:9: applications: a mapping with mount and script or application is expected here, not "
         "a single value"},
    };
    (void)state;
    CHECK(claims);
}

static void test_unknown_keys_of_an_application_are_reported_with_their_place(void **state)
{
    static const struct claim claims[] = {
        {"      - {mount: /, script: /a, interpeter: x}",
         "pyfpm.yaml:5:32: unknown key \"interpeter\" in an application of group \"shop\" (did you mean "
         "\"interpreter\"?)"},
        {"      - {mount: /, script: /a, threads: 2}",
         "pyfpm.yaml:5:32: unknown key \"threads\" in an application of group \"shop\" (it belongs in a "
         "group)"},
        {"      - {mount: /, script: /a}\n    mount: /x",
         "pyfpm.yaml:6:5: unknown key \"mount\" in group \"shop\" (it belongs in an entry of applications)"},
        {"      - {mount: /, script: /a, colour: red}",
         "pyfpm.yaml:5:32: unknown key \"colour\" in an application of group \"shop\""},
        {"      - {mount: /, mount: /a, script: /a}",
         "pyfpm.yaml:5:20: key \"mount\" is given already at line 5"},
    };
    (void)state;
    check_claims(claims, sizeof(claims) / sizeof(claims[0]) - 1);
    struct cfg_report report = {0};
    assert_null(load_text(with_applications(claims[4].body), &as_user, &report)); /* a key given twice */
    cfg_report_free(&report);
}

static void test_values_of_an_application_are_checked(void **state)
{
    static const struct claim claims[] = {
        {"      - {mount: /, script: a.wsgi}",
         "pyfpm.yaml:5:28: script: \"a.wsgi\" is a relative path; it must be absolute (start with /)"},
        {"      - {mount: /, application: shop}",
         "pyfpm.yaml:5:33: application: \"shop\" names no callable; write package.module:callable or "
         "package.module:factory()"},
        {"      - {mount: /, script: /a, python-path: [lib]}",
         "pyfpm.yaml:5:46: python-path: \"lib\" is a relative path; it must be absolute (start with /)"},
        {"      - {mount: /, script: /a, callable: 'a()'}",
         "pyfpm.yaml:5:42: callable: \"a()\" is not a Python name"},
        {"      - {mount: /, script: /a, interpreter: '%{GLOBAL}'}",
         "pyfpm.yaml:5:45: interpreter: \"%{GLOBAL}\" cannot name an interpreter: use letters, digits, "
         "\"_\", \".\" and \"-\", and start with a letter, a digit or \"_\""},
        {"      - {mount: /, script: /a, interpreter: -x}",
         "pyfpm.yaml:5:45: interpreter: \"-x\" cannot name an interpreter: use letters, digits, \"_\", "
         "\".\" and \"-\", and start with a letter, a digit or \"_\""},
        {"      - {mount: /, script: '/${UNSET_FOR_SURE}'}",
         "pyfpm.yaml:5:28: script: the environment variable UNSET_FOR_SURE is not set"},
    };
    (void)state;
    check_claims(claims, sizeof(claims) / sizeof(claims[0]) - 1);
    struct cfg_report report = {0};
    assert_null(load_text(with_applications(claims[6].body), &as_user, &report));
    assert_non_null(strstr(report.messages[0].text, "pyfpm.yaml:5:28: script: "));
    cfg_report_free(&report);
}

static void test_all_errors_of_all_applications_are_reported(void **state)
{
    struct cfg_report report = {0};
    (void)state;
    assert_null(load_text(with_applications("      - {mount: a}\n      - {script: b}\n      - c"), &as_user,
                          &report));
    assert_int_equal(report.error_count, 5);
    cfg_report_free(&report);
}

static void test_a_callable_without_a_script_is_warned_of(void **state)
{
    struct cfg_report report = {0};
    (void)state;
    struct cfg *c = load_text(with_applications("      - {mount: /, application: 'a:b', callable: c}"),
                              &as_user, &report);
    assert_non_null(c);
    assert_message(&report, "pyfpm.yaml:5:40: callable means nothing here: application names its callable "
                            "itself");
    cfg_report_free(&report);
    cfg_free(c);
}

static void test_there_may_not_be_too_many_applications(void **state)
{
    char *body = calloc(1, 64 * (CFG_APPLICATIONS_MAX + 2)), *at = body;
    (void)state;
    for (int i = 0; i <= CFG_APPLICATIONS_MAX; i++)
        at += sprintf(at, "      - {mount: /%d, script: /a}\n", i);
    assert_only_error(with_applications(body), &as_user,
                      "pyfpm.yaml:261:9: applications: there are more than 256 applications");
    free(body);
}

static void test_a_groups_applications_replace_those_of_defaults(void **state)
{
    (void)state;
    struct cfg *c = load_well("defaults: {applications: [{mount: /d, script: '/srv/$group.wsgi'}]}\n"
                              "groups:\n"
                              "  a: {listen: /a}\n"
                              "  b: {listen: /b, applications: [{mount: /, script: /b}]}\n",
                              &as_user);
    assert_int_equal(c->groups[0]->applications.count, 1);
    assert_string_equal(c->groups[0]->applications.items[0].script, "/srv/a.wsgi");
    assert_int_equal(c->groups[1]->applications.count, 1);
    assert_string_equal(c->groups[1]->applications.items[0].mount, "/");
    cfg_free(c);
}

static void test_a_difference_in_any_field_of_an_application_is_seen(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "      - {mount: /a, script: /a}",
        "      - {mount: /b, script: /a}",
        "      - {mount: /a, script: /b}",
        "      - {mount: /a, application: 'a:b'}",
        "      - {mount: /a, script: /a, callable: c}",
        "      - {mount: /a, script: /a, interpreter: c}",
        "      - {mount: /a, script: /a, python-path: /c}",
        "      - {mount: /a, script: /a}\n      - {mount: /b, script: /b}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct cfg *one = load_well(with_applications(bodies[0]), &as_user);
        struct cfg *other = load_well(with_applications(bodies[i]), &as_user);
        assert_int_equal(cfg_fields_are_equal(CFG_SCOPE_GROUP, one->groups[0], other->groups[0]), i == 0);
        struct cfg_group *copy = cfg_group_copy(other->groups[0]);
        assert_true(cfg_fields_are_equal(CFG_SCOPE_GROUP, copy, other->groups[0]));
        assert_string_equal(copy->applications.items[0].place.file, "");
        cfg_group_free(copy);
        cfg_free(one);
        cfg_free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_application_has_its_keys_and_their_defaults),
        cmocka_unit_test(test_the_groups_callable_is_the_scripts_default),
        cmocka_unit_test(test_a_mount_is_a_clean_path),
        cmocka_unit_test(test_no_two_applications_have_one_mount),
        cmocka_unit_test(test_each_application_has_a_mount_and_one_thing_to_serve),
        cmocka_unit_test(test_unknown_keys_of_an_application_are_reported_with_their_place),
        cmocka_unit_test(test_values_of_an_application_are_checked),
        cmocka_unit_test(test_all_errors_of_all_applications_are_reported),
        cmocka_unit_test(test_a_callable_without_a_script_is_warned_of),
        cmocka_unit_test(test_there_may_not_be_too_many_applications),
        cmocka_unit_test(test_a_groups_applications_replace_those_of_defaults),
        cmocka_unit_test(test_a_difference_in_any_field_of_an_application_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
