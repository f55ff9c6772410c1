/* links: base config pm
 *
 * Apache's syntax: what lines, words, sections and variables come out as, and what is refused with which
 * words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "pm/apache_conf.h"

static const char *find_home(const char *name)
{
    return strcmp(name, "HOME_OF_IT") == 0 ? "/home/it" : NULL;
}

static const struct apache_outside outside = {.variable = find_home};

static struct apache_conf *read_well(const char *text)
{
    struct err e = {.text = ""};
    struct apache_conf *conf = apache_conf_new(&outside);
    if (apache_conf_add(conf, "httpd.conf", text, strlen(text), &e) != 0)
        fail_msg("%s", e.text);
    return conf;
}

static const struct apache_directive *directive(const struct apache_conf *conf, size_t index)
{
    assert_true(index < conf->directives.count);
    return conf->directives.items[index];
}

/* Every directive as "line:Name arguments", parted by "|"; skipped ones in parentheses. */
static void assert_directives(const char *text, const char *expected)
{
    struct apache_conf *conf = read_well(text);
    char seen[4096] = "";
    for (size_t i = 0; i < conf->directives.count; i++) {
        const struct apache_directive *d = directive(conf, i);
        bool is_skipped = apache_is_skipped(d) != NULL;
        size_t used = strlen(seen);
        snprintf(seen + used, sizeof seen - used, "%s%s%d:%s%s%s%s", used > 0 ? "|" : "",
                 is_skipped ? "(" : "", d->line, d->name, d->arguments[0] ? " " : "", d->arguments,
                 is_skipped ? ")" : "");
    }
    assert_string_equal(seen, expected);
    apache_conf_free(conf);
}

static void assert_refused(const char *text, size_t size, const char *error)
{
    struct err e = {.text = ""};
    struct apache_conf *conf = apache_conf_new(NULL);
    assert_int_equal(apache_conf_add(conf, "httpd.conf", text, size, &e), -1);
    assert_string_equal(e.text, error);
    apache_conf_free(conf);
}

static void test_lines_become_directives_with_their_places(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        {"", ""},
        {"\n\n# only a comment\n   # and another\n", ""},
        {"ServerName a", "1:ServerName a"},
        {"ServerName a\r\nUser b\r\n", "1:ServerName a|2:User b"},
        {"  ServerName \t a  b \t\n", "1:ServerName a  b"},
        {"One a \\\n  b\nTwo c", "1:One a   b|3:Two c"},
        {"One a\\\r\nb\r\nTwo c", "1:One ab|3:Two c"},
        {"One a \\\\\nb", "1:One a \\b"},
        {"One a \\", "1:One a \\"},
        {"# a comment \\\ngoes on\nOne", "3:One"},
        {"\xef\xbb\xbfOne a", "1:One a"},
        {"\"One\" a", "1:One a"},
        {"One # no comment", "1:One # no comment"},
        {"One \xc3\xa4", "1:One \xc3\xa4"},
        {"# latin \xe4\nOne", "2:One"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_directives(rows[i].text, rows[i].expected);
}

static void test_words_lose_their_quotes(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *words; /* parted by "|" */
    } rows[] = {
        {"a b  c", "a|b|c"},
        {"\"a b\" 'c d'", "a b|c d"},
        {"\"a \\\"b\\\" c\"", "a \"b\" c"},
        {"'it\\'s' \"it's\"", "it's|it's"},
        {"\"never closed and on", "never closed and on"},
        {"C:\\\\dir a\\b", "C:\\dir|a\\b"},
        {"\"\" x", "|x"},
        {"a\"b c\"", "a\"b|c\""},
        {"   ", ""},
    };
    struct pool *pool = pool_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char seen[256] = "";
        const char *at = rows[i].arguments, *word;
        for (size_t n = 0; (word = apache_word(pool, &at)) != NULL; n++) {
            size_t used = strlen(seen);
            snprintf(seen + used, sizeof seen - used, "%s%s", n > 0 ? "|" : "", word);
        }
        assert_string_equal(seen, rows[i].words);
    }
    pool_free(pool);
}

static void test_options_are_names_and_values(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *options;
    } rows[] = {
        {"a=1 b=2", "[a][1][b][2]"}, {"path=\"/a b:/c\" x='y z'", "[path][/a b:/c][x][y z]"},
        {"a= 1", "[a][1]"},          {"a=", "[a][]"},
        {"a=b=c", "[a][b=c]"},       {"alone b=2", "[alone]![b][2]"},
        {"'a=1 2'", "['a][1][2']!"}, {"=1", "[=1]!"},
    };
    struct pool *pool = pool_new();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char seen[256] = "";
        const char *at = rows[i].arguments, *name, *value;
        while (apache_option(pool, &at, &name, &value)) {
            size_t used = strlen(seen);
            if (value)
                snprintf(seen + used, sizeof seen - used, "[%s][%s]", name, value);
            else
                snprintf(seen + used, sizeof seen - used, "[%s]!", name);
        }
        assert_string_equal(seen, rows[i].options);
    }
    pool_free(pool);
}

static void test_sections_are_known_from_inside(void **state)
{
    (void)state;
    struct apache_conf *conf = read_well("<virtualhost *:80>\n"
                                         "  <Directory \"/srv/a b\">\n"
                                         "    One\n"
                                         "  </DIRECTORY>\n"
                                         "  <Directory ~ \"^/srv\">\n"
                                         "    Two\n"
                                         "  </Directory>\n"
                                         "</VirtualHost>\n"
                                         "Three\n");
    const struct apache_section *directory = apache_section_of(directive(conf, 0), APACHE_DIRECTORY);
    assert_non_null(directory);
    assert_string_equal(directory->word, "/srv/a b");
    assert_int_equal(directory->line, 2);
    assert_string_equal(directory->parent->word, "*:80");
    assert_int_equal(directory->parent->kind, APACHE_VIRTUAL_HOST);
    assert_null(apache_section_of(directive(conf, 1), APACHE_DIRECTORY));
    assert_non_null(apache_section_of(directive(conf, 1), APACHE_PATTERN));
    assert_null(directive(conf, 2)->section);
    apache_conf_free(conf);
}

static void test_what_apache_skips_is_marked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        {"<IfModule mod_wsgi.c>\nA\n</IfModule>", "2:A"},
        {"<IfModule !mod_wsgi.c>\nA\n</IfModule>", "(2:A)"},
        {"<IfModule mod_ssl.c>\nA\n</IfModule>", "2:A"},
        {"<IfDefine X>\nA\n</IfDefine>", "(2:A)"},
        {"<IfDefine !X>\nA\n</IfDefine>", "2:A"},
        {"Define X\n<IfDefine X>\nA\n</IfDefine>\nUnDefine X\n<IfDefine X>\nB\n</IfDefine>",
         "1:Define X|3:A|5:UnDefine X|(7:B)"},
        {"<IfDefine X>\nDefine Y\n</IfDefine>\n<IfDefine Y>\nA\n</IfDefine>", "(2:Define Y)|(5:A)"},
        {"<IfVersion >= 2.4>\nA\n</IfVersion>\n<IfVersion < 2.4>\nB\n</IfVersion>", "2:A|(5:B)"},
        {"<IfVersion 2.4>\nA\n</IfVersion>", "2:A"},
        {"<IfDefine X>\n<Directory />\nA\n</Directory>\n</IfDefine>\nB", "(3:A)|6:B"},
        {"<Macro Site $name>\nA $name\n</Macro>\nUse Site a", "(2:A $name)|4:Use Site a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_directives(rows[i].text, rows[i].expected);
}

static void test_variables_are_replaced(void **state)
{
    (void)state;
    assert_directives("Define ROOT /srv\nDefine SITE ${ROOT}/site\nA ${SITE}/x ${HOME_OF_IT}",
                      "1:Define ROOT /srv|2:Define SITE /srv/site|3:A /srv/site/x /home/it");
    assert_directives("Define D \"a b\"\nA ${D}", "1:Define D \"a b\"|2:A a b");
    assert_directives("A ${map:key} ${ $x %{GLOBAL}", "1:A ${map:key} ${ $x %{GLOBAL}");
    assert_directives("Define A /x\n<Directory ${A}>\nB\n</Directory>", "1:Define A /x|3:B");

    struct apache_conf *conf = read_well("A ${NOBODY}/x ${NEITHER}\nB ${map:key}");
    assert_string_equal(directive(conf, 0)->unknown, "NOBODY");
    assert_string_equal(directive(conf, 0)->arguments, "${NOBODY}/x ${NEITHER}");
    assert_null(directive(conf, 1)->unknown);
    apache_conf_free(conf);
}

static void test_definitions_from_outside_count(void **state)
{
    (void)state;
    struct err e;
    struct apache_conf *conf = apache_conf_new(NULL);
    static const char text[] = "<IfDefine SSL>\nA ${USER}\n</IfDefine>";
    apache_conf_define(conf, "SSL", NULL);
    apache_conf_define(conf, "USER", "www-data");
    assert_int_equal(apache_conf_add(conf, "x", text, strlen(text), &e), 0);
    assert_null(apache_is_skipped(directive(conf, 0)));
    assert_string_equal(directive(conf, 0)->arguments, "www-data");
    apache_conf_free(conf);
}

static void test_places_of_a_dumped_configuration_are_those_of_its_files(void **state)
{
    (void)state;
    struct apache_conf *conf = read_well("#   3:\nZero\n# In file: /etc/apache2/sites/a.conf\n#   7:\nOne a\n"
                                         "<Directory />\n  #  12:\n  Two b\n</Directory>\n");
    assert_string_equal(directive(conf, 0)->file, "httpd.conf");
    assert_int_equal(directive(conf, 0)->line, 2);
    assert_string_equal(directive(conf, 1)->file, "/etc/apache2/sites/a.conf");
    assert_int_equal(directive(conf, 1)->line, 7);
    assert_int_equal(directive(conf, 2)->line, 12);
    apache_conf_free(conf);
}

static void test_what_is_no_configuration_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size; /* 0: all */
        const char *error;
    } rows[] = {
        {"A\n<Directory />\nB", 0, "httpd.conf:2: <Directory> is never closed"},
        {"A\n</Directory>", 0, "httpd.conf:2: </Directory> closes nothing"},
        {"<A>\n<B>\n</A>\n", 0, "httpd.conf:3: </A> stands where </B> is expected (<B> opens in line 2)"},
        {"<Directory /srv\n", 0, "httpd.conf:1: \"<Directory\" has no closing \">\""},
        {"A\nB\0C", 5, "httpd.conf:2: there is a NUL byte; the file is no text, or not UTF-8"},
        {"A\\\nB\0C", 6, "httpd.conf:2: there is a NUL byte; the file is no text, or not UTF-8"},
        {"A\n\xff\xfe", 0,
         "httpd.conf:2: the line is not UTF-8; convert the file first (iconv -f LATIN1 -t UTF-8)"},
        {"A b\xe4\n", 0,
         "httpd.conf:1: the line is not UTF-8; convert the file first (iconv -f LATIN1 -t UTF-8)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(rows[i].text, rows[i].size ? rows[i].size : strlen(rows[i].text), rows[i].error);
}

static char *repeated(const char *piece, size_t count)
{
    size_t size = strlen(piece);
    char *text = malloc(size * count + 1);
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * size, piece, size);
    text[size * count] = '\0';
    return text;
}

static void test_sections_may_not_nest_without_end(void **state)
{
    (void)state;
    char *text = repeated("<A>\n", 10000);
    assert_refused(text, strlen(text), "httpd.conf:33: there are too many sections within sections");
    free(text);
}

static void test_variables_cannot_blow_up(void **state)
{
    (void)state;
    struct err e = {.text = ""};
    struct apache_conf *conf = apache_conf_new(NULL);
    char text[4096] = "Define A0 0123456789\n";
    for (int i = 1; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "Define A%d ${A%d}${A%d}\n", i, i - 1,
                 i - 1);
    assert_int_equal(apache_conf_add(conf, "bomb", text, strlen(text), &e), -1);
    assert_non_null(strstr(e.text, "the configuration has more than 8388608 bytes, variables replaced"));
    apache_conf_free(conf);
}

static void test_definitions_have_an_end(void **state)
{
    (void)state;
    char *text = repeated("Define A\n", 1001);
    assert_refused(text, strlen(text), "httpd.conf:1001: there are too many Defines");
    free(text);
}

static void test_a_very_long_line_is_one_directive(void **state)
{
    (void)state;
    char *text = repeated("a \\\n", 500000);
    struct apache_conf *conf = read_well(text);
    assert_int_equal(conf->directives.count, 1);
    assert_int_equal(strlen(directive(conf, 0)->arguments), 500000 * 2 - 3);
    apache_conf_free(conf);
    free(text);
}

static int include_twice(void *context, struct apache_conf *conf, struct apache_directive *d, struct err *e)
{
    (void)context;
    return apache_conf_add(conf, d->arguments, "Inner ${V}\n", 11, e);
}

static void test_an_include_stands_where_it_is_read(void **state)
{
    (void)state;
    const struct apache_outside including = {.include = include_twice};
    static const char text[] = "Define V 1\n<VirtualHost *>\nInclude a.conf\n</VirtualHost>\nOuter\n";
    struct err e;
    struct apache_conf *conf = apache_conf_new(&including);
    assert_int_equal(apache_conf_add(conf, "httpd.conf", text, strlen(text), &e), 0);
    assert_string_equal(directive(conf, 2)->file, "a.conf");
    assert_string_equal(directive(conf, 2)->arguments, "1");
    assert_non_null(apache_section_of(directive(conf, 2), APACHE_VIRTUAL_HOST));
    assert_string_equal(directive(conf, 3)->file, "httpd.conf");
    assert_int_equal(directive(conf, 3)->line, 5);
    apache_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_become_directives_with_their_places),
        cmocka_unit_test(test_words_lose_their_quotes),
        cmocka_unit_test(test_options_are_names_and_values),
        cmocka_unit_test(test_sections_are_known_from_inside),
        cmocka_unit_test(test_what_apache_skips_is_marked),
        cmocka_unit_test(test_variables_are_replaced),
        cmocka_unit_test(test_definitions_from_outside_count),
        cmocka_unit_test(test_places_of_a_dumped_configuration_are_those_of_its_files),
        cmocka_unit_test(test_what_is_no_configuration_is_refused_with_its_place),
        cmocka_unit_test(test_sections_may_not_nest_without_end),
        cmocka_unit_test(test_variables_cannot_blow_up),
        cmocka_unit_test(test_definitions_have_an_end),
        cmocka_unit_test(test_a_very_long_line_is_one_directive),
        cmocka_unit_test(test_an_include_stands_where_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
