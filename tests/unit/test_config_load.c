/* links: base config
 *
 * The loader: what a file may hold, what every mistake is called, and where it is said to be. */
#include "test_config_common.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

struct claim {
    const char *text;
    const char *error;
};

/* YAML ------------------------------------------------------------------------------------------------- */

static void test_broken_yaml_is_reported_with_its_place(void **state)
{
    static const struct claim claims[] = {
        {"groups:\n  shop:\n    env: [a\n    user: x\n",
         "pyfpm.yaml:4:9: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence "
         "that starts in "
         "line 3)"},
        {"groups:\n\tshop: 1\n",
         "pyfpm.yaml:2:1: not valid YAML: a tab stands here; indentation is made of spaces"},
        {"groups: {}\n---\ngroups: {}\n",
         "pyfpm.yaml:2:1: a second document starts here; a file holds only one"},
        {"global: {log: \xff}\n", "pyfpm.yaml:1:15: the file is not UTF-8 (byte 0xff)"},
        {"# \xc3\xa9\xc3\xa9 \xe2\x82\n", "pyfpm.yaml:1:6: the file is not UTF-8 (byte 0xe2)"},
        {"a: \x01\n", "pyfpm.yaml:1:4: not valid YAML: control characters are not allowed (0x01)"},
        {"groups: !!python/object {}\n",
         "pyfpm.yaml:1:9: tags (tag:yaml.org,2002:python/object) are not supported"},
        {"groups:\n  shop: !mine a\n", "pyfpm.yaml:2:9: tags (!mine) are not supported"},
        {"groups:\n  ? [a]\n  : b\n", "pyfpm.yaml:2:5: a key must be a word, not a list or a mapping"},
        {"defaults: &d {user: www-data}\ngroups:\n  shop:\n    <<: *d\n",
         "pyfpm.yaml:4:5: merge keys (<<) are not supported: put what groups share under defaults"},
        {"groups: *nothing\n",
         "pyfpm.yaml:1:9: the alias *nothing stands before the end of the value that &nothing "
         "marks, or nothing is marked so"},
        {"groups: &g [*g]\n",
         "pyfpm.yaml:1:13: the alias *g stands before the end of the value that &g marks, or "
         "nothing is marked so"},
        {"a: \"\\0\"\n", "pyfpm.yaml:1:4: a NUL byte cannot be part of a value"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        assert_only_error(claims[i].text, &as_user, claims[i].error);
}

static void test_nesting_is_bounded(void **state)
{
    char text[256] = "groups: ";
    (void)state;
    memset(text + 8, '[', 100);
    assert_only_error(text, &as_user, "pyfpm.yaml:1:40: lists and mappings are nested too deeply");
}

static void test_aliases_that_blow_up_are_refused(void **state)
{
    char text[4096] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    struct cfg_report report = {0};
    (void)state;
    for (int i = 1; i < 12; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used,
                 "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                 i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    assert_null(load_text(text, &as_user, &report));
    assert_int_equal(report.error_count, 1);
    assert_non_null(strstr(report.messages[0].text, "too large once its aliases are expanded"));
    cfg_report_free(&report);
}

static void test_anchors_and_aliases_serve(void **state)
{
    (void)state;
    struct cfg *c = load_well("groups:\n  a: {listen: /a, script: /a.wsgi, env: &e {X: '1'}}\n"
                              "  b: {listen: /b, script: /a.wsgi, env: *e}\n",
                              &as_user);
    assert_string_equal(c->groups[1]->env.pairs[0].value, "1");
    cfg_free(c);
}

static void test_a_key_given_twice_names_the_first(void **state)
{
    (void)state;
    assert_only_error("groups:\n  shop:\n    listen: /a\n    script: /a.wsgi\n    listen: /b\n", &as_user,
                      "pyfpm.yaml:5:5: key \"listen\" is given twice (first in line 3)");
    assert_only_error(
        "groups:\n  shop: {listen: /a, script: /a.wsgi}\n  shop: {listen: /b, script: /a.wsgi}\n", &as_user,
        "pyfpm.yaml:3:3: key \"shop\" is given twice (first in line 2)");
}

static void test_a_byte_order_mark_is_no_error(void **state)
{
    (void)state;
    cfg_free(load_well("\xef\xbb\xbfgroups: {a: {listen: /a, script: /b}}", &as_user));
}

static void test_a_file_without_groups_is_refused(void **state)
{
    static const char error[] = "pyfpm.yaml: there are no groups: nothing would be served";
    (void)state;
    assert_only_error("", &as_user, error);
    assert_only_error("# nothing\n", &as_user, error);
    assert_only_error("---\n", &as_user, error);
    assert_only_error("groups: {}\n", &as_user, error);
    assert_only_error("groups:\n", &as_user, error);
    assert_only_error("global: {log: syslog}\n", &as_user, error);
}

/* Keys and values -------------------------------------------------------------------------------------- */

static void test_unknown_key_is_reported_with_its_place(void **state)
{
    static const struct claim claims[] = {
        {"    proceses: 4",
         "pyfpm.yaml:5:5: unknown key \"proceses\" in group \"shop\" (did you mean \"processes\"?)"},
        {"    python_path: /a",
         "pyfpm.yaml:5:5: unknown key \"python_path\" in group \"shop\" (did you mean \"python-path\"?)"},
        {"    usr: x", "pyfpm.yaml:5:5: unknown key \"usr\" in group \"shop\" (did you mean \"user\"?)"},
        {"    colour: red", "pyfpm.yaml:5:5: unknown key \"colour\" in group \"shop\""},
        {"    pid-file: /a",
         "pyfpm.yaml:5:5: unknown key \"pid-file\" in group \"shop\" (it belongs in global)"},
        {"    \"a\\e[31m\\n\": red", "pyfpm.yaml:5:5: unknown key \"a\\x1b[31m\\n\" in group \"shop\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        assert_only_error(in_group(claims[i].text), &as_user, claims[i].error);
}

static void test_wrong_values_are_reported_with_their_place(void **state)
{
    static const struct claim claims[] = {
        {"    processes: 0", "pyfpm.yaml:5:16: processes: 0 is out of range (1 to 4096)"},
        {"    processes: two", "pyfpm.yaml:5:16: processes: \"two\" is not a whole number"},
        {"    processes: [1]", "pyfpm.yaml:5:16: processes: a single value is expected here, not a list"},
        {"    processes:", "pyfpm.yaml:5:15: processes: the value is missing"},
        {"    processes: ~",
         "pyfpm.yaml:5:16: processes: null is no value here; quote it if it is meant as text"},
        {"    threads: 99999999999999999999",
         "pyfpm.yaml:5:14: threads: 99999999999999999999 is out of range (1 to 512)"},
        {"    io-timeout: 5 minutes",
         "pyfpm.yaml:5:17: io-timeout: \"5 minutes\" is not a duration such as 500ms, 30s, 5m or 1h"},
        {"    rlimit-as: 4 GB",
         "pyfpm.yaml:5:16: rlimit-as: \"4 GB\" is not a size such as 4096, 64K, 512M or 1G"},
        {"    listen-mode: 0x1b0",
         "pyfpm.yaml:5:18: listen-mode: \"0x1b0\" is not an octal number such as 0660"},
        {"    clear-env: 1", "pyfpm.yaml:5:16: clear-env: \"1\" is neither true nor false"},
        {"    reload-on-change: [script, scripts]", "pyfpm.yaml:5:32: reload-on-change: \"scripts\" is "
                                                    "neither script, nor environment, nor an absolute path"},
        {"    preload: maybe", "pyfpm.yaml:5:14: preload: \"maybe\" is none of auto, true, false"},
        {"    nice: -21", "pyfpm.yaml:5:11: nice: -21 is out of range (-20 to 19)"},
        {"    python-optimize: 3", "pyfpm.yaml:5:22: python-optimize: 3 is out of range (0 to 2)"},
        {"    python-path: {a: /b}", "pyfpm.yaml:5:18: python-path: a list is expected here, not a mapping"},
        {"    python-path:\n      - /a\n      - lib/b",
         "pyfpm.yaml:7:9: python-path: \"lib/b\" is a relative path; it must be absolute (start with /)"},
        {"    python-path: [[/a]]",
         "pyfpm.yaml:5:19: python-path: a single value is expected here, not a list"},
        {"    python-path: ['']", "pyfpm.yaml:5:19: python-path: the value is empty"},
        {"    python-home: venv",
         "pyfpm.yaml:5:18: python-home: \"venv\" is a relative path; it must be absolute (start with /)"},
        {"    chdir: .",
         "pyfpm.yaml:5:12: chdir: \".\" is a relative path; it must be absolute (start with /)"},
        {"    env: [A=1]",
         "pyfpm.yaml:5:10: env: a mapping of names and values is expected here, not a list"},
        {"    env: {A: {B: 1}}", "pyfpm.yaml:5:14: env: a single value is expected here, not a mapping"},
        {"    env: {A: }", "pyfpm.yaml:5:14: env: the value is missing"},
        {"    env: {A=B: c}", "pyfpm.yaml:5:11: env: \"A=B\" cannot name a variable: it holds a \"=\""},
        {"    callable: a.b", "pyfpm.yaml:5:15: callable: \"a.b\" is not a Python name"},
        {"    python-version: 3.7",
         "pyfpm.yaml:5:21: python-version: Python 3.7 is too old; 3.8 is the first that is supported"},
        {"    user: \"\"", "pyfpm.yaml:5:11: user: the value is empty"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        struct cfg_report report = {0};
        assert_null(load_text(in_group(claims[i].text), &as_user, &report));
        assert_message(&report, claims[i].error);
        assert_int_equal(report.error_count, 1);
        cfg_report_free(&report);
    }
}

static void test_wrong_global_values_are_reported(void **state)
{
    static const struct claim claims[] = {
        {"log: log/a", "pyfpm.yaml:1:15: log: \"log/a\" is neither stderr, nor syslog, nor an absolute path"},
        {"log-level: warnin", "pyfpm.yaml:1:21: log-level: \"warnin\" is none of alert, error, warning, "
                              "notice, debug (did you mean \"warning\"?)"},
        {"log-format: json", "pyfpm.yaml:1:22: log-format: json is not available in this version of pyfpm"},
        {"pid-file: pyfpm.pid",
         "pyfpm.yaml:1:20: pid-file: \"pyfpm.pid\" is a relative path; it must be absolute (start with /)"},
        {"rlimit-files: 1", "pyfpm.yaml:1:24: rlimit-files: 1 is out of range (16 to 1073741816)"},
        {"processes: 1", "pyfpm.yaml:1:10: unknown key \"processes\" in global (it belongs in a group)"},
        {"pidfile: /a", "pyfpm.yaml:1:10: unknown key \"pidfile\" in global (did you mean \"pid-file\"?)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "global: {%s}\ngroups: {a: {listen: /a, script: /b}}\n", claims[i].text);
        assert_only_error(text, &as_user, claims[i].error);
    }
}

static void test_every_key_that_is_not_there_yet_says_so(void **state)
{
    size_t count, seen = 0;
    const struct cfg_directive *rows = cfg_directives(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        char text[1024], error[256];
        if (!(rows[i].flags & CFG_NOT_YET))
            continue;
        bool is_global = rows[i].scope == CFG_SCOPE_GLOBAL,
             names_application = (rows[i].flags & CFG_APPLICATION) != 0;
        const char *value = rows[i].example != NULL ? rows[i].example : rows[i].default_text;
        snprintf(text, sizeof(text),
                 "global: {%s%s%s}\ngroups:\n  shop:\n    listen: /a\n    %s%s%s\n    %s\n",
                 is_global ? rows[i].key : "", is_global ? ": " : "", is_global ? value : "",
                 is_global ? "" : rows[i].key, is_global ? "" : ": ", is_global ? "" : value,
                 names_application ? "" : "script: /b");
        snprintf(error, sizeof(error), "pyfpm.yaml:%s: %s is not available in this version of pyfpm",
                 is_global ? "1:10" : "5:5", rows[i].key);
        assert_only_error(text, &as_user, error);
        seen++;
    }
    assert_true(seen > 0);
}

static void test_spare_processes_fit_into_processes_and_order(void **state)
{
    (void)state;
    assert_only_error(in_group("    pm: dynamic\n    processes: 4\n    max-spare: 5"), &as_user,
                      "pyfpm.yaml:7:5: group \"shop\": max-spare (5) is more than processes (4)");
    assert_only_error(in_group("    pm: dynamic\n    processes: 9\n    min-spare: 4\n    max-spare: 3"),
                      &as_user, "pyfpm.yaml:7:5: group \"shop\": min-spare (4) is more than max-spare (3)");
}

static void test_every_example_in_the_table_is_accepted(void **state)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct cfg_directive *d = &rows[i];
        char text[1024];
        if (d->type == CFG_TYPE_HEADING || (d->flags & CFG_NOT_YET))
            continue;
        const char *value = d->example != NULL ? d->example : d->default_text;
        assert_non_null(value);
        if (d->scope == CFG_SCOPE_GLOBAL)
            snprintf(text, sizeof(text),
                     "global:\n  %s: %s\ngroups: {a: {listen: /a, script: /b, allow-root: true}}", d->key,
                     value);
        else if (d->scope == CFG_SCOPE_APPLICATION)
            snprintf(text, sizeof(text),
                     "groups: {a: {listen: /a, allow-root: true, applications: [{%s: %s%s%s}]}}", d->key,
                     value, strcmp(d->key, "mount") == 0 ? "" : ", mount: /a",
                     d->flags & CFG_APPLICATION ? "" : ", script: /b");
        else
            snprintf(text, sizeof(text), "groups:\n  a:\n    %s: %s\n%s%s%s", d->key, value,
                     strcmp(d->key, "listen") == 0 ? "" : "    listen: /a\n",
                     d->flags & CFG_APPLICATION ? "" : "    script: /b\n",
                     strcmp(d->key, "allow-root") == 0 ? "    user: www\n" : "    allow-root: true\n");
        cfg_free(load_well(text, &as_root));
    }
}

static void test_all_errors_are_reported(void **state)
{
    struct cfg_report report = {0};
    (void)state;
    assert_null(load_text(
        "globals: {}\ngroups:\n  a b: {}\n  shop:\n    proceses: 1\n    threads: 0\n    script: x\n",
        &as_user, &report));
    assert_message(
        &report, "pyfpm.yaml:1:1: unknown key \"globals\" at the top of the file (did you mean \"global\"?)");
    assert_message(
        &report,
        "pyfpm.yaml:3:3: \"a b\" cannot name a group: use letters, digits, \"_\", \".\" and \"-\", and "
        "start with a letter, a digit or \"_\"");
    assert_message(
        &report, "pyfpm.yaml:5:5: unknown key \"proceses\" in group \"shop\" (did you mean \"processes\"?)");
    assert_message(&report, "pyfpm.yaml:6:14: threads: 0 is out of range (1 to 512)");
    assert_message(&report,
                   "pyfpm.yaml:7:13: script: \"x\" is a relative path; it must be absolute (start with /)");
    assert_message(&report, "pyfpm.yaml:4:3: group \"shop\": listen is missing");
    assert_int_equal(report.error_count, 6);
    cfg_report_free(&report);
}

static void test_a_thousand_errors_are_enough(void **state)
{
    struct cfg_report report = {0};
    char *text = malloc(200000);
    (void)state;
    strcpy(text, "groups:\n  a:\n");
    for (int i = 0, used = (int)strlen(text); i < 3000; i++)
        used += sprintf(text + used, "    colour%d: 1\n", i);
    assert_null(load_text(text, &as_user, &report));
    assert_int_equal(report.count, 1001);
    assert_string_equal(report.messages[1000].text, "there are more errors, which are not shown");
    cfg_report_free(&report);
    free(text);
}

static void test_top_keys_are_checked(void **state)
{
    static const struct claim claims[] = {
        {"group: {}\ngroups: {a: {listen: /a, script: /b}}",
         "pyfpm.yaml:1:1: key \"group\" cannot stand at the top of the file (it belongs in a group)"},
        {"log: x\ngroups: {a: {listen: /a, script: /b}}",
         "pyfpm.yaml:1:1: key \"log\" cannot stand at the top of the file (it belongs in global)"},
        {"shop: x\ngroups: {a: {listen: /a, script: /b}}",
         "pyfpm.yaml:1:1: unknown key \"shop\" at the top of the file, which holds global, defaults and "
         "groups"},
        {"global: []\ngroups: {a: {listen: /a, script: /b}}",
         "pyfpm.yaml:1:9: a mapping of keys and values is expected in global, not a list"},
        {"defaults: x\ngroups: {a: {listen: /a, script: /b}}",
         "pyfpm.yaml:1:11: a mapping of keys and values is expected in defaults, not a single value"},
        {"groups: {a: []}",
         "pyfpm.yaml:1:13: a mapping of keys and values is expected in group \"a\", not a list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        struct cfg_report report = {0};
        assert_null(load_text(claims[i].text, &as_user, &report));
        assert_message(&report, claims[i].error);
        cfg_report_free(&report);
    }
}

/* What comes out --------------------------------------------------------------------------------------- */

static void test_defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    struct cfg *c = load_well("groups: {shop: {listen: /a, script: /b}}", &as_user);
    const struct cfg_group *g = c->groups[0];
    assert_string_equal(c->global.log, "stderr");
    assert_int_equal(c->global.log_level, LOG_LEVEL_NOTICE);
    assert_int_equal(c->global.log_format, CFG_LOG_TEXT);
    assert_string_equal(c->global.control, "/run/pyfpm/control.sock");
    assert_false(c->global.control_is_given);
    assert_null(c->global.pid_file);
    assert_int_equal(c->global.rlimit_files, CFG_ID_NONE);
    assert_string_equal(g->name, "shop");
    assert_int_equal(g->place.line, 1);
    assert_int_equal(g->place.column, 10);
    assert_string_equal(g->place.file, "pyfpm.yaml");
    assert_int_equal(g->listen_backlog, 511);
    assert_int_equal(g->listen_mode, 0660);
    assert_string_equal(g->callable, "application");
    assert_string_equal(g->python_version, "auto");
    assert_int_equal(g->python_optimize, 0);
    assert_false(g->python_dev_mode);
    assert_true(g->clear_env);
    assert_false(g->allow_root);
    assert_int_equal(g->umask, CFG_ID_NONE);
    assert_int_equal(g->nice, 0);
    assert_int_equal(g->rlimit_files, CFG_ID_NONE);
    assert_int_equal(g->rlimit_core_bytes, CFG_ID_NONE);
    assert_int_equal(g->rlimit_as_bytes, CFG_ID_NONE);
    assert_true(g->no_new_privileges);
    assert_int_equal(g->pm, CFG_PM_STATIC);
    assert_int_equal(g->processes, 1);
    assert_int_equal(g->threads, 1);
    assert_int_equal(g->preload, CFG_PRELOAD_AUTO);
    assert_int_equal(g->startup_timeout_ms, 60000);
    assert_int_equal(g->graceful_timeout_ms, 30000);
    assert_int_equal(g->shutdown_timeout_ms, 5000);
    assert_int_equal(g->keepalive_timeout_ms, 75000);
    assert_int_equal(g->io_timeout_ms, 60000);
    assert_int_equal(g->restart_delay_ms, 100);
    assert_int_equal(g->restart_delay_max_ms, 30000);
    assert_true(g->catch_output);
    assert_int_equal(g->request_timeout_ms, 0);
    assert_int_equal(g->slowlog_timeout_ms, 10000);
    assert_int_equal(g->deadlock_timeout_ms, 60000);
    cfg_free(c);
}

static void test_values_reach_their_fields(void **state)
{
    (void)state;
    struct cfg *c = load_well(
        "global: {log: /var/log/a, log-level: debug, pid-file: /run/p, rlimit-files: 65536}\n"
        "groups:\n"
        "  shop:\n"
        "    listen: '[::1]:9000'\n"
        "    listen-backlog: 10\n"
        "    listen-mode: \"0600\"\n"
        "    allowed-clients: [10.0.0.0/8, '::1']\n"
        "    application: shop.wsgi:make()\n"
        "    python-home: /srv/venv\n"
        "    python-path: /srv/src\n"
        "    python-version: 3.10\n"
        "    python-optimize: 2\n"
        "    python-warnings: [default, 'error::UserWarning']\n"
        "    python-dev-mode: on\n"
        "    env: {B: 0644, A: yes}\n"
        "    clear-env: no\n"
        "    user: shop\n"
        "    group: web\n"
        "    supplementary-groups: [a, b]\n"
        "    chroot: /jail\n"
        "    chdir: /\n"
        "    umask: 022\n"
        "    nice: -5\n"
        "    rlimit-files: 100\n"
        "    rlimit-core: 0\n"
        "    rlimit-as: 2G\n"
        "    no-new-privileges: false\n"
        "    processes: 4\n"
        "    threads: 8\n"
        "    preload: false\n"
        "    startup-timeout: 1500ms\n"
        "    restart-delay: 1\n"
        "    catch-output: off\n",
        &as_root);
    const struct cfg_group *g = c->groups[0];
    assert_string_equal(c->global.log, "/var/log/a");
    assert_int_equal(c->global.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(c->global.pid_file, "/run/p");
    assert_int_equal(c->global.rlimit_files, 65536);
    assert_int_equal(g->listen_backlog, 10);
    assert_int_equal(g->listen_mode, 0600);
    assert_int_equal(g->allowed_clients.count, 2);
    assert_string_equal(g->application, "shop.wsgi:make()");
    assert_null(g->script);
    assert_string_equal(g->python_home, "/srv/venv");
    assert_int_equal(g->python_path.count, 1);
    assert_string_equal(g->python_path.items[0], "/srv/src");
    assert_null(g->python_path.items[1]);
    assert_string_equal(g->python_version, "3.10");
    assert_int_equal(g->python_optimize, 2);
    assert_string_equal(g->python_warnings.items[1], "error::UserWarning");
    assert_true(g->python_dev_mode);
    assert_string_equal(g->env.pairs[0].name, "B");
    assert_string_equal(g->env.pairs[0].value, "0644");
    assert_string_equal(g->env.pairs[1].value, "yes");
    assert_false(g->clear_env);
    assert_string_equal(g->group, "web");
    assert_string_equal(g->supplementary_groups.items[1], "b");
    assert_int_equal(g->umask, 022);
    assert_int_equal(g->nice, -5);
    assert_int_equal(g->rlimit_core_bytes, 0);
    assert_int_equal(g->rlimit_as_bytes, INT64_C(2) << 30);
    assert_false(g->no_new_privileges);
    assert_int_equal(g->processes, 4);
    assert_int_equal(g->preload, CFG_PRELOAD_FALSE);
    assert_int_equal(g->startup_timeout_ms, 1500);
    assert_int_equal(g->restart_delay_ms, 1000);
    assert_false(g->catch_output);
    cfg_free(c);
}

static void test_groups_start_from_defaults(void **state)
{
    (void)state;
    struct cfg *c = load_well(
        "groups:\n"
        "  a: {listen: /run/a, processes: 3, python-path: [/x], env: {B: a, C: a}}\n"
        "  b: {listen: /run/b}\n"
        "defaults: {script: /srv/$group/app.wsgi, processes: 2, python-path: [/y, /z], env: {A: d, B: d}}\n",
        &as_user);
    const struct cfg_group *a = cfg_find_group(c, "a"), *b = cfg_find_group(c, "b");
    assert_string_equal(a->script, "/srv/a/app.wsgi");
    assert_string_equal(b->script, "/srv/b/app.wsgi");
    assert_int_equal(a->processes, 3);
    assert_int_equal(b->processes, 2);
    assert_int_equal(a->python_path.count, 1);
    assert_int_equal(b->python_path.count, 2);
    assert_int_equal(a->env.count, 3);
    assert_string_equal(a->env.pairs[0].value, "d");
    assert_string_equal(a->env.pairs[1].value, "a");
    assert_string_equal(a->env.pairs[2].name, "C");
    assert_int_equal(b->env.count, 2);
    assert_null(cfg_find_group(c, "c"));
    cfg_free(c);
}

static void test_errors_in_defaults_are_reported_once(void **state)
{
    static const char groups[] = "groups: {a: {listen: /a, script: /b}, b: {listen: /c, script: /b}}\n";
    char text[512];
    (void)state;
    snprintf(text, sizeof(text), "defaults: {proceses: 1}\n%s", groups);
    assert_only_error(text, &as_user,
                      "pyfpm.yaml:1:12: unknown key \"proceses\" in defaults (did you mean \"processes\"?)");
    snprintf(text, sizeof(text), "defaults: {threads: 0}\n%s", groups);
    assert_only_error(text, &as_user, "pyfpm.yaml:1:21: threads: 0 is out of range (1 to 512)");
}

static void test_listen_in_defaults_needs_the_groups_name_in_it(void **state)
{
    (void)state;
    struct cfg *c = load_well("defaults: {listen: /run/$group.sock, script: /b}\ngroups: {a: {}, b: {}}\n",
                              &as_user);
    assert_string_equal(cfg_find_group(c, "a")->listen, "/run/a.sock");
    assert_string_equal(cfg_find_group(c, "b")->listen, "/run/b.sock");
    cfg_free(c);
    assert_only_error("defaults: {listen: /a, script: /b}\ngroups: {a: {}, b: {}}\n", &as_user,
                      "pyfpm.yaml:1:12: listen: group \"a\" listens on /a already (pyfpm.yaml:1:12)");
}

static void test_defaults_without_groups_are_checked_too(void **state)
{
    struct cfg_report report = {0};
    (void)state;
    assert_null(load_text("defaults: {threads: 0}\n", &as_user, &report));
    assert_message(&report, "pyfpm.yaml:1:21: threads: 0 is out of range (1 to 512)");
    assert_int_equal(report.error_count, 2);
    cfg_report_free(&report);
}

/* Expansion -------------------------------------------------------------------------------------------- */

static void test_names_are_expanded_in_values(void **state)
{
    (void)state;
    setenv("PYFPM_TEST_ROOT", "/srv/$group${X}", 1);
    setenv("PYFPM_TEST_COUNT", "7", 1);
    setenv("PYFPM_TEST_EMPTY", "", 1);
    struct cfg *c = load_well(
        "groups:\n  shop:\n    listen: /run/$group.sock\n    script: ${PYFPM_TEST_ROOT}/$groupx.wsgi\n"
        "    processes: ${PYFPM_TEST_COUNT}\n    python-path: [/$group/a]\n"
        "    env: {A: '$$group $$$$ ${PYFPM_TEST_EMPTY}|', $group: b}\n",
        &as_user);
    const struct cfg_group *g = c->groups[0];
    assert_string_equal(g->listen, "/run/shop.sock");
    assert_string_equal(g->script, "/srv/$group${X}/shopx.wsgi");
    assert_int_equal(g->processes, 7);
    assert_string_equal(g->python_path.items[0], "/shop/a");
    assert_string_equal(g->env.pairs[0].value, "$group $$ |");
    assert_string_equal(g->env.pairs[1].name, "$group");
    cfg_free(c);
}

static void test_what_cannot_be_expanded_is_an_error(void **state)
{
    static const struct claim claims[] = {
        {"    chdir: /${PYFPM_TEST_UNSET}",
         "pyfpm.yaml:5:12: chdir: the environment variable ${PYFPM_TEST_UNSET} is not set"},
        {"    chdir: /${group}",
         "pyfpm.yaml:5:12: chdir: the environment variable ${group} is not set (the group's name is $group)"},
        {"    chdir: /$HOME", "pyfpm.yaml:5:12: chdir: \"$HOME\" is not known: write $group, ${NAME} for a "
                              "variable, or $$ for a dollar"},
        {"    chdir: /${HOME",
         "pyfpm.yaml:5:12: chdir: \"${HOME\" has no closing brace; write $$ for a dollar"},
        {"    chdir: /${}",
         "pyfpm.yaml:5:12: chdir: \"${}\" does not name a variable; write $$ for a dollar"},
        {"    chdir: /a$", "pyfpm.yaml:5:12: chdir: \"$\" is not known: write $group, ${NAME} for a "
                           "variable, or $$ for a dollar"},
        {"    chdir: /${PYFPM_TEST_LATIN1}",
         "pyfpm.yaml:5:12: chdir: the environment variable ${PYFPM_TEST_LATIN1} does not hold UTF-8"},
        {"    user: ${PYFPM_TEST_EMPTY}", "pyfpm.yaml:5:11: user: the value is empty"},
    };
    (void)state;
    unsetenv("PYFPM_TEST_UNSET");
    unsetenv("group");
    setenv("PYFPM_TEST_LATIN1", "\xe9", 1);
    setenv("PYFPM_TEST_EMPTY", "", 1);
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
        assert_only_error(in_group(claims[i].text), &as_user, claims[i].error);
    assert_only_error("global: {log: /$group}\ngroups: {a: {listen: /a, script: /b}}", &as_user,
                      "pyfpm.yaml:1:15: log: $group has a meaning in groups and defaults only");
}

/* Rules between keys ----------------------------------------------------------------------------------- */

static void test_a_group_needs_a_socket_and_one_application(void **state)
{
    (void)state;
    assert_only_error("groups:\n  a: {script: /b}", &as_user,
                      "pyfpm.yaml:2:3: group \"a\": listen is missing");
    assert_only_error("groups:\n  a: {listen: /b}", &as_user,
                      "pyfpm.yaml:2:3: group \"a\": no application is named; give script, application, "
                      "script-root or applications");
    assert_only_error("groups:\n  a: {listen: /b, script-root: []}", &as_user,
                      "pyfpm.yaml:2:3: group \"a\": no application is named; give script, application, "
                      "script-root or applications");
    assert_only_error(in_group("    script-root: [/c]"), &as_user,
                      "pyfpm.yaml:5:5: group \"shop\": script and script-root exclude each other");
    assert_only_error(in_group("    application: a:b"), &as_user,
                      "pyfpm.yaml:5:5: group \"shop\": script and application exclude each other");
    struct cfg_report report = {0};
    assert_null(load_text("groups:\n  a:\n", &as_user, &report));
    assert_int_equal(report.error_count, 2);
    cfg_report_free(&report);
}

static void test_two_groups_cannot_share_a_socket(void **state)
{
    (void)state;
    assert_only_error("groups:\n  a: {script: /b, listen: /s}\n  b: {script: /b, listen: /s}\n", &as_user,
                      "pyfpm.yaml:3:19: listen: group \"a\" listens on /s already (pyfpm.yaml:2:19)");
    assert_only_error("groups:\n  a: {script: /b, listen: ':9000'}\n  b: {script: /b, listen: '*:9000'}\n",
                      &as_user,
                      "pyfpm.yaml:3:19: listen: group \"a\" listens on *:9000 already (pyfpm.yaml:2:19)");
}

static void test_groups_may_share_a_port_or_a_host(void **state)
{
    (void)state;
    cfg_free(load_well(
        "groups:\n  a: {script: /b, listen: '127.0.0.1:9000'}\n  b: {script: /b, listen: '127.0.0.2:9000'}\n"
        "  c: {script: /b, listen: '127.0.0.1:9001'}\n",
        &as_user));
}

static void test_restart_delay_is_below_its_maximum(void **state)
{
    (void)state;
    assert_only_error(
        in_group("    restart-delay: 2s\n    restart-delay-max: 1500ms"), &as_user,
        "pyfpm.yaml:5:5: group \"shop\": restart-delay (2s) is longer than restart-delay-max (1500ms)");
    assert_only_error(
        in_group("    restart-delay-max: 50ms"), &as_user,
        "pyfpm.yaml:5:5: group \"shop\": restart-delay (100ms) is longer than restart-delay-max (50ms)");
    cfg_free(load_well(in_group("    restart-delay: 1s\n    restart-delay-max: 1s"), &as_user));
}

static void test_root_needs_a_user_or_leave(void **state)
{
    (void)state;
    assert_only_error(
        in_group(""), &as_root,
        "pyfpm.yaml:2:3: group \"shop\" has no user, and pyfpm is started as root: give user, or allow-root: "
        "true if the group is to run as root");
    assert_only_error(in_group("    user: root"), &as_root,
                      "pyfpm.yaml:5:5: user: \"root\" is root: give another user, or allow-root: true if the "
                      "group is to run "
                      "as root");
    assert_only_error(
        in_group("    user: 0"), &as_root,
        "pyfpm.yaml:5:5: user: \"0\" is root: give another user, or allow-root: true if the group is to run "
        "as root");
    cfg_free(load_well(in_group("    user: www-data"), &as_root));
    cfg_free(load_well(in_group("    user: 1000"), &as_root));
    cfg_free(load_well(in_group("    allow-root: true"), &as_root));
    cfg_free(load_well(in_group("    user: root\n    allow-root: true"), &as_root));
    cfg_free(load_well("defaults: {user: www-data}\ngroups: {a: {listen: /a, script: /b}}", &as_root));
}

static void assert_one_warning(const char *text, const struct cfg_mode *mode, const char *warning)
{
    struct cfg_report report = {0};
    struct cfg *c = load_text(text, mode, &report);
    assert_message(&report, warning);
    assert_int_equal(report.count, 1);
    assert_int_equal(report.messages[0].severity, CFG_WARNING);
    assert_non_null(c);
    cfg_free(c);
    cfg_report_free(&report);
}

static void test_without_root_some_keys_are_ignored_with_a_warning(void **state)
{
    (void)state;
    assert_one_warning(in_group("    user: a"), &as_user,
                       "pyfpm.yaml:5:5: user is ignored: pyfpm is not started as root");
    assert_one_warning(in_group("    group: a"), &as_user,
                       "pyfpm.yaml:5:5: group is ignored: pyfpm is not started as root");
    assert_one_warning(in_group("    supplementary-groups: a"), &as_user,
                       "pyfpm.yaml:5:5: supplementary-groups is ignored: pyfpm is not started as root");
    assert_one_warning(
        in_group("    nice: -1"), &as_user,
        "pyfpm.yaml:5:5: nice is ignored: only root can raise a priority, and pyfpm is not started as root");
    assert_only_error(
        in_group("    chroot: /a"), &as_user,
        "pyfpm.yaml:5:5: chroot: only root can change the root folder, and pyfpm is not started as root");
    assert_one_warning(
        "defaults: {user: a}\ngroups: {a: {listen: /a, script: /b}, b: {listen: /c, script: /b}}", &as_user,
        "pyfpm.yaml:1:12: user is ignored: pyfpm is not started as root");
}

static void test_keys_without_meaning_are_warned_about(void **state)
{
    (void)state;
    assert_one_warning(in_group("    allowed-clients: 127.0.0.1"), &as_user,
                       "pyfpm.yaml:5:5: allowed-clients means nothing for a unix socket");
    assert_one_warning("groups:\n  a: {script: /b, listen: ':1', listen-mode: 0600}", &as_user,
                       "pyfpm.yaml:2:33: listen-mode means nothing for a TCP socket");
    assert_one_warning("groups:\n  a: {application: a:b, listen: /a, callable: c}", &as_user,
                       "pyfpm.yaml:2:37: callable means nothing here: application names its callable itself");
    assert_one_warning(
        "groups:\n  a: {application: a:b, listen: /a, reload-on-change: script}", &as_user,
        "pyfpm.yaml:2:37: reload-on-change: script means nothing without the key script: which "
        "files an application consists of only Python finds out; name their folder instead");
    assert_one_warning("groups:\n  a: {script-root: /s, listen: /a, reload-on-change: script}", &as_user,
                       "pyfpm.yaml:2:36: reload-on-change: script means nothing with script-root: a changed "
                       "script replaces its worker anyway");
}

static void test_defaults_may_hold_what_only_some_groups_can_use(void **state)
{
    struct cfg_report report = {0};
    (void)state;
    struct cfg *c = load_text(
        "defaults: {allowed-clients: 127.0.0.1, listen-mode: 0600, callable: app, reload-on-change: script}\n"
        "groups:\n  a: {application: a:b, listen: /a}\n  b: {script: /b, listen: ':1'}\n",
        &as_user, &report);
    assert_non_null(c);
    assert_int_equal(report.count, 0);
    cfg_free(c);
    cfg_report_free(&report);
}

/* Files ------------------------------------------------------------------------------------------------ */

struct folder {
    char path[64];
};

static void write_file(const struct folder *f, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
    static struct folder f;
    char path[512];
    strcpy(f.path, "/tmp/pyfpm-[test]-XXXXXX"); /* brackets: a folder's name is not a pattern */
    if (mkdtemp(f.path) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/groups.d", f.path);
    *state = &f;
    return mkdir(path, 0755);
}

static int remove_folder(void **state)
{
    const struct folder *f = *state;
    char command[256];
    snprintf(command, sizeof(command), "rm -r '%s'", f->path);
    return system(command);
}

/* Loads main.yaml of the folder. Everything there allows root, so that the test may run as anybody. */
static struct cfg *load_main_file(const struct folder *f, struct cfg_report *report)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/main.yaml", f->path);
    return cfg_load(path, report);
}

static void assert_file_error(const struct folder *f, const char *error)
{
    char whole[1024];
    struct cfg_report report = {0};
    assert_null(load_main_file(f, &report));
    snprintf(whole, sizeof(whole), "%s/%s", f->path, error);
    assert_message(&report, whole);
    cfg_report_free(&report);
}

static void test_includes_add_groups(void **state)
{
    const struct folder *f = *state;
    struct cfg_report report = {0};
    write_file(f, "main.yaml",
               "global: {include: [groups.d/*.yaml, '*.yaml']}\ndefaults: {allow-root: true, threads: 3}\n"
               "groups:\n  first: {listen: /a, script: /b}\n");
    write_file(f, "groups.d/20.yaml", "groups:\n  third: {listen: /c, script: /b}\n");
    write_file(f, "groups.d/10.yaml", "groups:\n  second: {listen: /d, script: /b}\n");
    write_file(f, "groups.d/30.yaml", "# nothing yet\n");
    struct cfg *c = load_main_file(f, &report);
    print_report(&report);
    assert_non_null(c);
    assert_int_equal(c->group_count, 3);
    assert_string_equal(c->groups[0]->name, "first");
    assert_string_equal(c->groups[1]->name, "second");
    assert_string_equal(c->groups[2]->name, "third");
    assert_int_equal(c->groups[2]->threads, 3);
    assert_non_null(strstr(c->groups[2]->place.file, "/groups.d/20.yaml"));
    assert_int_equal(c->groups[2]->place.line, 2);
    assert_int_equal(c->files.count, 4);
    assert_non_null(strstr(c->files.items[0], "/main.yaml"));
    cfg_free(c);
    cfg_report_free(&report);
}

static void test_a_group_in_two_files_names_both_places(void **state)
{
    const struct folder *f = *state;
    char error[512];
    write_file(f, "main.yaml",
               "global: {include: groups.d/*}\ndefaults: {allow-root: true}\ngroups:\n  a: {listen: /a, "
               "script: /b}\n");
    write_file(f, "groups.d/x.yaml", "groups:\n  a: {listen: /c, script: /b}\n");
    snprintf(error, sizeof(error), "groups.d/x.yaml:2:3: group \"a\" is given already at %s/main.yaml:4:3",
             f->path);
    assert_file_error(f, error);
}

static void test_included_files_hold_groups_only(void **state)
{
    const struct folder *f = *state;
    write_file(f, "main.yaml", "global: {include: groups.d/*}\n");
    write_file(f, "groups.d/x.yaml",
               "global: {}\ngroups:\n  a: {listen: /c, script: /b, allow-root: true}\n");
    assert_file_error(
        f, "groups.d/x.yaml:1:1: key \"global\" cannot stand in an included file, which holds groups only");
    write_file(f, "groups.d/x.yaml", "groups:\n  a: {listen: /c, script: b, allow-root: true}\n");
    assert_file_error(
        f, "groups.d/x.yaml:2:27: script: \"b\" is a relative path; it must be absolute (start with /)");
    write_file(f, "groups.d/x.yaml", "- a\n");
    assert_file_error(f, "groups.d/x.yaml:1:1: the file must be a mapping with groups, not a list");
}

static void test_an_include_that_is_not_there_is_an_error_unless_it_is_a_pattern(void **state)
{
    const struct folder *f = *state;
    struct cfg_report report = {0};
    write_file(f, "main.yaml",
               "global:\n  include: none.yaml\ngroups: {a: {listen: /a, script: /b, allow-root: true}}\n");
    assert_file_error(f, "main.yaml:2:3: include: there is no file \"none.yaml\"");
    write_file(f, "main.yaml",
               "global:\n  include: [none/*.yaml, none*]\ngroups: {a: {listen: /a, script: /b, allow-root: "
               "true}}\n");
    struct cfg *c = load_main_file(f, &report);
    assert_non_null(c);
    cfg_free(c);
    cfg_report_free(&report);
}

static void test_a_file_that_cannot_be_read_says_why(void **state)
{
    const struct folder *f = *state;
    assert_file_error(f, "main.yaml: cannot be opened: No such file or directory");
    write_file(f, "main.yaml", "global:\n  include: groups.d\n");
    assert_file_error(f, "groups.d: is not a regular file");
}

static void test_a_report_serves_again(void **state)
{
    const struct folder *f = *state;
    struct cfg_report report = {0};
    write_file(f, "main.yaml", "x: 1\n");
    assert_null(load_main_file(f, &report));
    assert_int_equal(report.error_count, 2);
    assert_null(load_main_file(f, &report));
    assert_int_equal(report.error_count, 2);
    cfg_report_free(&report);
    assert_int_equal(report.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_yaml_is_reported_with_its_place),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_aliases_that_blow_up_are_refused),
        cmocka_unit_test(test_anchors_and_aliases_serve),
        cmocka_unit_test(test_a_key_given_twice_names_the_first),
        cmocka_unit_test(test_a_byte_order_mark_is_no_error),
        cmocka_unit_test(test_a_file_without_groups_is_refused),
        cmocka_unit_test(test_unknown_key_is_reported_with_its_place),
        cmocka_unit_test(test_wrong_values_are_reported_with_their_place),
        cmocka_unit_test(test_wrong_global_values_are_reported),
        cmocka_unit_test(test_every_key_that_is_not_there_yet_says_so),
        cmocka_unit_test(test_spare_processes_fit_into_processes_and_order),
        cmocka_unit_test(test_every_example_in_the_table_is_accepted),
        cmocka_unit_test(test_all_errors_are_reported),
        cmocka_unit_test(test_a_thousand_errors_are_enough),
        cmocka_unit_test(test_top_keys_are_checked),
        cmocka_unit_test(test_defaults_are_those_of_the_manual),
        cmocka_unit_test(test_values_reach_their_fields),
        cmocka_unit_test(test_groups_start_from_defaults),
        cmocka_unit_test(test_errors_in_defaults_are_reported_once),
        cmocka_unit_test(test_listen_in_defaults_needs_the_groups_name_in_it),
        cmocka_unit_test(test_defaults_without_groups_are_checked_too),
        cmocka_unit_test(test_names_are_expanded_in_values),
        cmocka_unit_test(test_what_cannot_be_expanded_is_an_error),
        cmocka_unit_test(test_a_group_needs_a_socket_and_one_application),
        cmocka_unit_test(test_two_groups_cannot_share_a_socket),
        cmocka_unit_test(test_groups_may_share_a_port_or_a_host),
        cmocka_unit_test(test_restart_delay_is_below_its_maximum),
        cmocka_unit_test(test_root_needs_a_user_or_leave),
        cmocka_unit_test(test_without_root_some_keys_are_ignored_with_a_warning),
        cmocka_unit_test(test_keys_without_meaning_are_warned_about),
        cmocka_unit_test(test_defaults_may_hold_what_only_some_groups_can_use),
        cmocka_unit_test_setup_teardown(test_includes_add_groups, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_group_in_two_files_names_both_places, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_included_files_hold_groups_only, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_an_include_that_is_not_there_is_an_error_unless_it_is_a_pattern,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_read_says_why, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_report_serves_again, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
