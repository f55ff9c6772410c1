/* links: base config
 *
 * The text of single values: numbers with units, switches, words, addresses, names, UTF-8. */
#include "test_config_common.h"

#include "base/err.h"
#include "config/rules.h"
#include "config/text.h"
#include "config/value.h"

struct number_case {
    enum cfg_number kind;
    const char *text;
    int64_t value;
};

static void test_numbers_read_as_what_they_mean(void **state)
{
    static const struct number_case cases[] = {
        {CFG_NUMBER_PLAIN, "0", 0},
        {CFG_NUMBER_PLAIN, "-20", -20},
        {CFG_NUMBER_PLAIN, "9223372036854775807", INT64_MAX},
        {CFG_NUMBER_DURATION, "500ms", 500},
        {CFG_NUMBER_DURATION, "30s", 30000},
        {CFG_NUMBER_DURATION, "30", 30000},
        {CFG_NUMBER_DURATION, "5m", 300000},
        {CFG_NUMBER_DURATION, "1h", 3600000},
        {CFG_NUMBER_DURATION, "0", 0},
        {CFG_NUMBER_SIZE, "4096", 4096},
        {CFG_NUMBER_SIZE, "64K", 65536},
        {CFG_NUMBER_SIZE, "512M", 536870912},
        {CFG_NUMBER_SIZE, "3G", 3221225472},
        {CFG_NUMBER_OCTAL, "0660", 0660},
        {CFG_NUMBER_OCTAL, "660", 0660},
        {CFG_NUMBER_OCTAL, "0o660", 0660},
        {CFG_NUMBER_OCTAL, "0", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e;
        int64_t value = 42;
        assert_int_equal(cfg_value_number(cases[i].kind, cases[i].text, INT64_MIN, INT64_MAX, &value, &e), 0);
        assert_int_equal(value, cases[i].value);
    }
}

static void test_what_is_no_number_is_refused(void **state)
{
    static const struct number_case cases[] = {
        {CFG_NUMBER_PLAIN, "", 0},          {CFG_NUMBER_PLAIN, "two", 0},
        {CFG_NUMBER_PLAIN, "1.5", 0},       {CFG_NUMBER_PLAIN, "010", 0},
        {CFG_NUMBER_PLAIN, "1 ", 0},        {CFG_NUMBER_PLAIN, " 1", 0},
        {CFG_NUMBER_PLAIN, "+1", 0},        {CFG_NUMBER_PLAIN, "--1", 0},
        {CFG_NUMBER_PLAIN, "-", 0},         {CFG_NUMBER_PLAIN, "1s", 0},
        {CFG_NUMBER_PLAIN, "0x10", 0},      {CFG_NUMBER_DURATION, "5d", 0},
        {CFG_NUMBER_DURATION, "1h30m", 0},  {CFG_NUMBER_DURATION, "5 s", 0},
        {CFG_NUMBER_DURATION, "s", 0},      {CFG_NUMBER_DURATION, "1.5s", 0},
        {CFG_NUMBER_SIZE, "1KB", 0},        {CFG_NUMBER_SIZE, "1T", 0},
        {CFG_NUMBER_SIZE, "64k", 0},        {CFG_NUMBER_OCTAL, "0888", 0},
        {CFG_NUMBER_OCTAL, "rw-rw----", 0}, {CFG_NUMBER_OCTAL, "-0660", 0},
        {CFG_NUMBER_OCTAL, "0o", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {""};
        int64_t value;
        if (cfg_value_number(cases[i].kind, cases[i].text, INT64_MIN, INT64_MAX, &value, &e) == 0)
            fail_msg("\"%s\" was taken for %lld", cases[i].text, (long long)value);
        assert_non_null(strstr(e.text, "is not"));
    }
}

static void test_numbers_beyond_64_bits_are_out_of_range(void **state)
{
    static const struct number_case cases[] = {
        {CFG_NUMBER_PLAIN, "9223372036854775808", 0},
        {CFG_NUMBER_PLAIN, "99999999999999999999999999", 0},
        {CFG_NUMBER_PLAIN, "-9223372036854775809", 0},
        {CFG_NUMBER_DURATION, "9223372036854775807h", 0},
        {CFG_NUMBER_SIZE, "9223372036854775807K", 0},
        {CFG_NUMBER_SIZE, "18014398509481984K", 0},
        /* 2 to the 64th: nothing, if it wrapped around */
        {CFG_NUMBER_OCTAL, "7777777777777777777777777777", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {""};
        int64_t value;
        assert_int_equal(cfg_value_number(cases[i].kind, cases[i].text, 0, 777, &value, &e), -1);
        assert_non_null(strstr(e.text, "is out of range"));
    }
}

static void test_a_range_is_told_in_the_units_of_the_key(void **state)
{
    struct err e;
    int64_t value;
    (void)state;
    assert_int_equal(cfg_value_number(CFG_NUMBER_DURATION, "25h", 1, 86400000, &value, &e), -1);
    assert_string_equal(e.text, "25h is out of range (1ms to 24h)");
    assert_int_equal(cfg_value_number(CFG_NUMBER_OCTAL, "1777", 0, 0777, &value, &e), -1);
    assert_string_equal(e.text, "1777 is out of range (0 to 0777)");
    assert_int_equal(cfg_value_number(CFG_NUMBER_SIZE, "1", 1 << 20, INT64_C(1) << 40, &value, &e), -1);
    assert_string_equal(e.text, "1 is out of range (1M to 1024G)");
}

static void test_every_number_survives_being_written(void **state)
{
    static const int64_t numbers[] = {0,    1,     59,    60,      999,     1000,    1001,
                                      1024, 60000, 61000, 3600000, 5400000, 1 << 20, INT64_C(3) << 30};
    (void)state;
    for (int kind = CFG_NUMBER_PLAIN; kind <= CFG_NUMBER_OCTAL; kind++) {
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            char text[CFG_NUMBER_TEXT_MAX];
            struct err e;
            int64_t value = -1;
            cfg_value_format((enum cfg_number)kind, numbers[i], text);
            assert_int_equal(cfg_value_number((enum cfg_number)kind, text, 0, INT64_MAX, &value, &e), 0);
            assert_int_equal(value, numbers[i]);
        }
    }
}

static void test_switches_take_the_usual_words_only(void **state)
{
    struct err e;
    bool value = false;
    (void)state;
    assert_int_equal(cfg_value_bool("true", &value, &e), 0);
    assert_true(value);
    assert_int_equal(cfg_value_bool("off", &value, &e), 0);
    assert_false(value);
    assert_int_equal(cfg_value_bool("Yes", &value, &e), 0);
    assert_true(value);
    assert_int_equal(cfg_value_bool("1", &value, &e), -1);
    assert_int_equal(cfg_value_bool("", &value, &e), -1);
    assert_int_equal(cfg_value_bool("truth", &value, &e), -1);
    assert_string_equal(e.text, "\"truth\" is neither true nor false");
}

static void test_words_are_suggested(void **state)
{
    static const char *const words[] = {"auto", "true", "false", NULL};
    struct err e;
    int value = -1;
    (void)state;
    assert_int_equal(cfg_value_word("yes", words, &value, &e), 0);
    assert_int_equal(value, 1);
    assert_int_equal(cfg_value_word("auot", words, &value, &e), -1);
    assert_string_equal(e.text, "\"auot\" is none of auto, true, false (did you mean \"auto\"?)");
    assert_int_equal(cfg_value_word("never", words, &value, &e), -1);
    assert_string_equal(e.text, "\"never\" is none of auto, true, false");
}

struct address_case {
    const char *text;
    enum cfg_listen_kind kind;
    const char *path_or_host, *port;
};

static void test_listen_takes_paths_hosts_and_systemd_names(void **state)
{
    static const struct address_case cases[] = {
        {"/run/a.sock", CFG_LISTEN_UNIX, "/run/a.sock", ""},
        {"/run/with:colon", CFG_LISTEN_UNIX, "/run/with:colon", ""},
        {"127.0.0.1:9000", CFG_LISTEN_TCP, "127.0.0.1", "9000"},
        {"*:9000", CFG_LISTEN_TCP, "", "9000"},
        {":9000", CFG_LISTEN_TCP, "", "9000"},
        {"app.example.org:1", CFG_LISTEN_TCP, "app.example.org", "1"},
        {"[::1]:65535", CFG_LISTEN_TCP, "::1", "65535"},
        {"[fe80::1%eth0]:80", CFG_LISTEN_TCP, "fe80::1%eth0", "80"},
        {"systemd:shop.socket", CFG_LISTEN_SYSTEMD, "shop.socket", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cfg_address address;
        struct err e;
        assert_int_equal(cfg_parse_address(cases[i].text, &address, &e), 0);
        assert_int_equal(address.kind, cases[i].kind);
        assert_string_equal(cases[i].kind == CFG_LISTEN_TCP ? address.host : address.path,
                            cases[i].path_or_host);
        assert_string_equal(address.port, cases[i].port);
    }
}

static void test_listen_refuses_everything_else(void **state)
{
    static const char *const cases[] = {
        "",
        "9000",
        "run/a.sock",
        ":",
        "host:",
        "host:0",
        "host:65536",
        "host:http",
        "host:-1",
        "host:080",
        "::1:9000",
        "[::1]",
        "[::1]9000",
        "[]:9000",
        "[:9000",
        "[::1:9000",
        "[localhost]:9000",
        "[fe80::1%]:80",
        "a b:9000",
        "unix:/run/a",
        "systemd:",
        "host:90000000000000000000",
        "h\xc3\xb6st:80",
        "]:80",
        "[[::1]]:80",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cfg_address address;
        struct err e = {""};
        if (cfg_parse_address(cases[i], &address, &e) == 0)
            fail_msg("\"%s\" was accepted", cases[i]);
        assert_string_not_equal(e.text, "");
    }
}

static void test_a_socket_path_has_at_most_107_bytes(void **state)
{
    char path[256] = "/";
    struct cfg_address address;
    struct err e;
    (void)state;
    memset(path + 1, 'a', 106);
    assert_int_equal(cfg_parse_address(path, &address, &e), 0);
    path[107] = 'a';
    assert_int_equal(cfg_parse_address(path, &address, &e), -1);
    assert_non_null(strstr(e.text, "108 bytes"));
}

struct rule_case {
    cfg_rule *rule;
    const char *good[8], *bad[14];
};

static void test_strings_must_look_like_what_they_are(void **state)
{
    static const struct rule_case cases[] = {
        {cfg_rule_absolute, {"/", "/a b"}, {"a", "./a", "~/a"}},
        {cfg_rule_log, {"stderr", "syslog", "/var/log/x"}, {"sylog", "log/x", "STDERR"}},
        {cfg_rule_application,
         {"shop:app", "shop.wsgi:application", "a.b:make()", "a:b.c", "a:b.c()", "_x1:\xc3\xa9"},
         {"shop", "shop:", ":app", "shop:make(", "shop:make(1)", "shop.:app", ".shop:app", "1shop:app",
          "shop:1app", "a b:c", "a:b:c", "a/b:c", "shop:app ", "a:b..c"}},
        {cfg_rule_identifier, {"application", "_a1"}, {"a.b", "1a", "a()", "a-b", ""}},
        {cfg_rule_python_version,
         {"auto", "3.8", "3.13", "3.13t"},
         {"3", "3.", "3.7", "2.7", "3.12.1", "3.x", "3.013", "3.08", "3.123", "3.12T", "python3.12", "3.tt"}},
        {cfg_rule_client,
         {"127.0.0.1", "::1", "10.0.0.0/8", "0.0.0.0/0", "fe80::/10", "1.2.3.4/32", "::/128"},
         {"any", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "::/129", "1.2.3.4/08", "/8", "1.2.3.4/8/8", "localhost",
          "1.2.3.4/-1"}},
        {cfg_rule_variable_name, {"A", "a.b", "LC_ALL"}, {"", "A=B", "A\nB"}},
        {cfg_rule_group_name, {"shop", "a.b-c_1", "1"}, {"", ".a", "-a", "a b", "a/b", "sh\xc3\xb6p", "a\n"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e;
        for (size_t j = 0; j < 8 && cases[i].good[j] != NULL; j++) {
            if (cases[i].rule(cases[i].good[j], &e) != 0)
                fail_msg("%s", e.text);
        }
        for (size_t j = 0; j < 14 && cases[i].bad[j] != NULL; j++) {
            if (cases[i].rule(cases[i].bad[j], &e) == 0)
                fail_msg("\"%s\" was accepted (rule %zu)", cases[i].bad[j], i);
        }
    }
}

static void test_a_group_name_has_at_most_64_bytes(void **state)
{
    char name[80];
    struct err e;
    (void)state;
    memset(name, 'a', sizeof(name));
    name[CFG_NAME_MAX] = '\0';
    assert_int_equal(cfg_rule_group_name(name, &e), 0);
    name[CFG_NAME_MAX] = 'a';
    name[CFG_NAME_MAX + 1] = '\0';
    assert_int_equal(cfg_rule_group_name(name, &e), -1);
}

static void test_only_utf8_is_utf8(void **state)
{
    static const char *const good[] = {
        "", "abc", "\xc2\x80", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xed\xa0\x80",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xe2\x82",
        "\xc3(",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(cfg_text_find_invalid(good[i], strlen(good[i])), strlen(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(cfg_text_find_invalid(bad[i], strlen(bad[i])), 0);
}

static void test_what_cannot_be_seen_is_escaped(void **state)
{
    (void)state;
    char *text = cfg_text_escape("a\x1b[31m\n\tb\x7f \xc2\x9b \xe2\x80\xae \xff \xc3\xa9 \xf3\xa0\x80\x81");
    assert_string_equal(text, "a\\x1b[31m\\n\\tb\\x7f \\x9b \\u202e \\xff \xc3\xa9 \\U000e0001");
    free(text);
}

static void test_distance_counts_typing_errors(void **state)
{
    (void)state;
    assert_int_equal(cfg_text_distance("processes", "processes"), 0);
    assert_int_equal(cfg_text_distance("proceses", "processes"), 1);
    assert_int_equal(cfg_text_distance("porcesses", "processes"), 1);
    assert_int_equal(cfg_text_distance("python_path", "python-path"), 1);
    assert_int_equal(cfg_text_distance("", "abc"), 3);
    assert_int_equal(cfg_text_distance("kitten", "sitting"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_read_as_what_they_mean),
        cmocka_unit_test(test_what_is_no_number_is_refused),
        cmocka_unit_test(test_numbers_beyond_64_bits_are_out_of_range),
        cmocka_unit_test(test_a_range_is_told_in_the_units_of_the_key),
        cmocka_unit_test(test_every_number_survives_being_written),
        cmocka_unit_test(test_switches_take_the_usual_words_only),
        cmocka_unit_test(test_words_are_suggested),
        cmocka_unit_test(test_listen_takes_paths_hosts_and_systemd_names),
        cmocka_unit_test(test_listen_refuses_everything_else),
        cmocka_unit_test(test_a_socket_path_has_at_most_107_bytes),
        cmocka_unit_test(test_strings_must_look_like_what_they_are),
        cmocka_unit_test(test_a_group_name_has_at_most_64_bytes),
        cmocka_unit_test(test_only_utf8_is_utf8),
        cmocka_unit_test(test_what_cannot_be_seen_is_escaped),
        cmocka_unit_test(test_distance_counts_typing_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
