/* links: base config pm
 *
 * Configurations put together at random, with a fixed seed, out of what concerns mod_wsgi and of what hurts:
 * none may crash or hang the conversion, lose a directive, or give YAML that does not load. tests/fuzz goes
 * further. */
#include "test_import_common.h"

#include <strings.h>

static uint64_t seed;

static unsigned chance(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

/* A configuration that grows, with the sections that are open. */
struct text {
    char bytes[8192];
    size_t size;
    const char *open[8];
    size_t depth;
};

static void append(struct text *t, const char *piece)
{
    size_t length = strlen(piece);
    if (t->size + length >= sizeof t->bytes - 512)
        return;
    memcpy(t->bytes + t->size, piece, length);
    t->size += length;
}

static void close_section(struct text *t)
{
    char line[64];
    if (t->depth == 0)
        return;
    snprintf(line, sizeof line, "\n</%s>\n", t->open[--t->depth]);
    memcpy(t->bytes + t->size, line, strlen(line)); /* append() leaves room */
    t->size += strlen(line);
}

static void open_section(struct text *t)
{
    static const char *const sections[][2] = {
        {"VirtualHost", " *:80"},
        {"VirtualHost", " *:8080"},
        {"Directory", " /srv"},
        {"Directory", " ~ x"},
        {"Location", " /a/deep"},
        {"Location", " /"},
        {"Files", " *.wsgi"},
        {"IfDefine", " A"},
        {"IfModule", " !x"},
        {"WSGIInterpreterOptions", " process-group=a"},
        {"WSGIInterpreterOptions", " application-group=%{GLOBAL}"},
        {"If", " \"true\""},
    };
    const char *const *section = sections[chance(sizeof sections / sizeof sections[0])];
    if (t->depth == 8 || t->size > sizeof t->bytes - 1024)
        return;
    append(t, "\n<");
    append(t, section[0]);
    append(t, section[1]);
    append(t, ">\n");
    t->open[t->depth++] = section[0];
}

static void make(struct text *t, const char *const *pieces, size_t count, unsigned length)
{
    t->size = 0;
    t->depth = 0;
    for (unsigned n = chance(length) + 1; n > 0; n--) {
        unsigned kind = chance(20);
        if (kind == 0)
            open_section(t);
        else if (kind == 1)
            close_section(t);
        else
            append(t, pieces[chance((unsigned)count)]);
    }
    while (t->depth > 0)
        close_section(t);
}

static void check(const char *text, size_t size, size_t *converted)
{
    struct err e = {.text = ""};
    struct import_result result;
    char *yaml = import_text(text, size, &result, &e);
    if (!yaml) {
        assert_non_null(strstr(e.text, "site.conf:"));
        return;
    }
    cfg_free(load_imported(yaml, &result, true));
    cfg_free(load_imported(yaml, &result, false));
    *converted += result.groups;
    free(yaml);
}

static void test_whatever_is_converted_loads(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "WSGIDaemonProcess a ",
        "\nWSGIScriptAlias / /srv/a.wsgi ",
        "WSGIScriptAlias ",
        "WSGIScriptAliasMatch ",
        "WSGIProcessGroup ",
        "WSGIApplicationGroup ",
        "WSGICallableObject ",
        "WSGIPythonPath ",
        "WSGIPythonHome ",
        "WSGIScriptReloading On",
        "WSGISlowRequests ",
        "WSGIPythonWarnings ",
        "WSGIImportScript ",
        "SetHandler wsgi-script",
        "AddHandler wsgi-script .py",
        "Alias ",
        "ServerName ",
        "User ",
        "Group ",
        "SetEnv ",
        "Include ",
        "Define ",
        "Use ",
        "DocumentRoot ",
        "\n",
        "\n",
        "\n",
        "\n",
        "\n",
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        " ",
        " ",
        "/",
        "/srv/a.wsgi",
        "/srv/b.py/x",
        "/srv/dir/",
        "/a",
        "/a/b",
        "a",
        "b",
        "a b",
        "%{GLOBAL}",
        "%{RESOURCE}",
        "%{SERVER}",
        "%{ENV:X}",
        "process-group=a ",
        "application-group=a ",
        "application-group=%{GLOBAL} ",
        "callable-object=x ",
        "user=#0 ",
        "user= ",
        "threads=0 ",
        "threads=3 ",
        "processes=9 ",
        "python-path=/a:b:: ",
        "home=/x ",
        "lang=\"$group: #\" ",
        "virtual-memory-limit=0 ",
        "request-timeout=5 ",
        "interrupt-timeout=99999999999999999999 ",
        "inactivity-timeout=7 ",
        "eviction-timeout=1 ",
        "umask=8 ",
        "${A}",
        "${B",
        "$1",
        "\"",
        "'",
        "\\",
        "\\\n",
        "#",
        ">",
        "\r\n",
        "\t",
        "\xc3\xa4",
        "\x01",
        "***************",
        "[",
        "=",
        ":",
    };
    static struct text text;
    size_t converted = 0;
    seed = 20;
    for (int round = 0; round < 5000; round++) {
        make(&text, pieces, sizeof pieces / sizeof pieces[0], 120);
        check(text.bytes, text.size, &converted);
    }
    assert_in_range(converted, 500, 100000);
}

/* Whole lines, so that more of them mean something. */
static void test_whatever_lines_are_converted_load(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "WSGIDaemonProcess a\n",
        "WSGIDaemonProcess b threads=2 user=x\n",
        "WSGIDaemonProcess a?\n",
        "WSGIProcessGroup a\n",
        "WSGIProcessGroup b\n",
        "WSGIProcessGroup %{GLOBAL}\n",
        "WSGIApplicationGroup x\n",
        "WSGIApplicationGroup %{GLOBAL}\n",
        "WSGIApplicationGroup %{SERVER}\n",
        "WSGIScriptAlias / /srv/a.wsgi\n",
        "WSGIScriptAlias / /srv/b.wsgi\n",
        "WSGIScriptAlias /a /srv/a.wsgi\n",
        "WSGIScriptAlias /a/b /srv/a.wsgi/b\n",
        "WSGIScriptAlias /c /srv/c.wsgi process-group=b callable-object=y\n",
        "WSGIScriptAlias /d /srv/d/\n",
        "WSGIScriptAliasMatch ^/(e|f) /srv/e.wsgi/$1\n",
        "WSGICallableObject z\n",
        "SetHandler wsgi-script\n",
        "ServerName s.example\n",
        "WSGIPythonPath /p\n",
        "WSGIPythonHome /h\n",
        "WSGIScriptReloading On\n",
    };
    static struct text text;
    size_t converted = 0;
    seed = 21;
    for (int round = 0; round < 5000; round++) {
        make(&text, lines, sizeof lines / sizeof lines[0], 30);
        check(text.bytes, text.size, &converted);
    }
    assert_in_range(converted, 5000, 100000);
}

static void test_ten_thousand_sites_are_too_many_but_no_trouble(void **state)
{
    (void)state;
    struct err e = {.text = ""};
    struct import_result result;
    char *text = malloc(1 << 21);
    size_t size = 0, converted = 0;
    assert_non_null(text);
    for (int n = 0; n < 4000; n++)
        size += (size_t)sprintf(
            text + size,
            "<VirtualHost *>\nServerName s%d\nWSGIDaemonProcess g%d\nWSGIProcessGroup g%d\n"
            "WSGIScriptAlias / /srv/%d.wsgi\n</VirtualHost>\n",
            n, n, n, n);
    check(text, size, &converted);
    assert_int_equal(converted, 4000);
    for (int n = 4000; n < 5000; n++)
        size += (size_t)sprintf(text + size, "WSGIDaemonProcess g%d\n", n);
    assert_null(import_text(text, size, &result, &e));
    assert_string_equal(e.text, "5000 groups would come out; pyfpm can have 4096");
    for (int n = 5000; n < 10000; n++)
        size += (size_t)sprintf(text + size, "WSGIDaemonProcess g%d\n", n);
    assert_null(import_text(text, size, &result, &e));
    assert_non_null(strstr(e.text, "there are more than 20000 directives that concern mod_wsgi"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_is_converted_loads),
        cmocka_unit_test(test_whatever_lines_are_converted_load),
        cmocka_unit_test(test_ten_thousand_sites_are_too_many_but_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
