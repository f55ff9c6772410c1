/* links: pm
 *
 * What a host sends is put into shape, printed and judged; a table of facts, honest and hostile ones. */
#include "base/err.h"
#include "config/config.h"
#include "pm/explain.h"
#include "pm/printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILES_SENT                                                                                           \
    "{'uid': 33, 'user': 'www-data', 'baseline': {'kind': 'venv', 'path': '/v', 'version': '3.11', "         \
    "'said_by': '/v/pyvenv.cfg', 'made_from': '/usr/bin'}, 'python': {'host': '3.11', 'library': '/l.so'}}"

/* JSON with ' for ". The caller frees it. */
static char *json_of(const char *text)
{
    char *json = strdup(text);
    assert_non_null(json);
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    return json;
}

#define SENDER 42

static void send_piece(struct pm_explain *x, pid_t sender, uint32_t flags, const char *text, size_t size)
{
    static struct wire_msg m;
    wire_init(&m, WIRE_EXPLAIN);
    m.flags = flags;
    m.sender = sender;
    m.serial = (uint64_t)sender;
    wire_set_text(&m, text, size);
    pm_explain_take(x, &m);
}

static void take(struct pm_explain *x, uint32_t section, const char *text)
{
    char *json = json_of(text);
    send_piece(x, SENDER, section, json, strlen(json));
    send_piece(x, SENDER, section | WIRE_EXPLAIN_END, "", 0);
    free(json);
}

static const struct cfg_group *a_group(void)
{
    static struct cfg_group group = {.name = (char *)"shop", .python_version = (char *)"auto"};
    return &group;
}

static char *print(const json_t *facts)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    pm_explain_print(facts, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* What a person sees when a host sends these three. */
static char *print_sent(const char *files, const char *path, const char *installed)
{
    struct pm_explain x = {.sender = SENDER};
    if (files)
        take(&x, WIRE_EXPLAIN_FILES, files);
    if (path)
        take(&x, WIRE_EXPLAIN_PATH, path);
    if (installed)
        take(&x, WIRE_EXPLAIN_INSTALLED, installed);
    json_t *facts = pm_explain_facts(&x, a_group());
    assert_non_null(facts);
    char *text = print(facts);
    json_decref(facts);
    pm_explain_free(&x);
    return text;
}

/* The text -------------------------------------------------------------------------------------------------
 */

struct print_case {
    const char *path, *installed;
    const char *line; /* what must be in the text */
};

static void test_facts_are_printed_in_words(void **state)
{
    static const struct print_case cases[] = {
        {"{}", "{}", "  as             user www-data (uid 33)\n"},
        {"{}", "{}",
         "  baseline       virtual environment /v of Python 3.11 (so says /v/pyvenv.cfg), made from "
         "/usr/bin\n"},
        {"{}", "{}", "  host           Python 3.11, /l.so\n"},
        {"{'python': {'version': '3.11.2'}}", "{}", "  host           Python 3.11.2, /l.so\n"},
        {"{'python': {'executable': '/v/bin/python', 'executable_works': false}}", "{}",
         "  executable     /v/bin/python (cannot be run)\n"},
        {"{'path': [{'entry': '/a', 'origin': 'python-path', 'item': 2, 'item_text': '/a'}]}", "{}",
         "      1  /a  python-path item 2\n"},
        {"{'path': [{'entry': '/a/lib', 'origin': 'python-path', 'item': 1, 'item_text': '/a'}]}", "{}",
         "      1  /a/lib  python-path item 1 (/a)\n"},
        {"{'path': [{'entry': '/long/entry', 'origin': 'chdir'}, {'entry': '/b', 'origin': 'script'}]}", "{}",
         "      1  /long/entry  chdir\n      2  /b           added while the application was imported\n"},
        {"{'path': [{'entry': '/e.egg', 'origin': 'pth', 'file': '/v/e.pth', 'line': 3, 'zip': true}]}", "{}",
         "/e.egg  /v/e.pth:3; an archive\n"},
        {"{'path': [{'entry': '/e', 'origin': 'pth-import', 'candidates': ['/a.pth:1', '/b.pth:2']}]}", "{}",
         "added by an import line of a .pth file: one of /a.pth:1, /b.pth:2\n"},
        {"{'path': [{'entry': '/z.zip', 'origin': 'standard-library', 'state': 'missing'}]}", "{}",
         "/z.zip  standard library; missing, as usual\n"},
        {"{'path': [{'entry': '/b', 'origin': 'site-packages', 'state': 'closed'}]}", "{}",
         "/b  baseline site-packages; closed\n"},
        {"{'path': [{'entry': ''}]}", "{}", "      1  \"\"  added by somebody unknown\n"},
        {"{'finders': [{'name': 'm.F', 'origin': 'script', 'maps': ['demo: /src/demo']}]}", "{}",
         "    m.F  added while the application was imported\n      demo: /src/demo\n"},
        {"{}",
         "{'duplicates': [{'name': 'x', 'version': '2', 'folder': '/a', 'shadows': [{'version': '1', "
         "'folder': '/b'}, "
         "{'version': '0', 'folder': '/c'}]}]}",
         "    x 2 in /a wins against 1 in /b, 0 in /c\n"},
        {"{'stdlib_shadows': [{'module': 'typing', 'file': '/s/typing.py', 'instead_of': '/l/typing.py'}]}",
         "{}", "    /s/typing.py is imported as typing, not /l/typing.py\n"},
        {"{}",
         "{'extensions': [{'file': '/s/x.cpython-312.so', 'built_for': 'cpython-312'}], 'extensions_cut': "
         "true}",
         "    /s/x.cpython-312.so is for cpython-312\n  note           there are too many files"},
        {"{'closed': [{'for': 'script', 'path': '/r/s', 'component': '/r'}]}", "{}",
         "    /r, on the way to /r/s (script)\n"},
        {"{'pth_missing': [{'file': '/a.pth', 'line': 4, 'path': '/gone'}]}", "{}",
         "    /a.pth:4 names /gone\n"},
        {"{'notes': ['look']}", "{}", "  note           look\n"},
        {NULL, NULL, "  note           it did not get as far as sys.path\n"},
        {"{}", NULL, "  note           the host did not tell what is installed\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = print_sent(FILES_SENT, cases[i].path, cases[i].installed);
        if (!strstr(text, cases[i].line))
            print_error("case %zu: %s\nis not in\n%s\n", i, cases[i].line, text);
        assert_non_null(strstr(text, cases[i].line));
        free(text);
    }
}

static void test_what_is_not_there_is_not_printed(void **state)
{
    (void)state;
    char *text = print_sent("{'uid': 0}", "{}", "{}");
    assert_string_equal(text, "  as             (uid 0)\n");
    free(text);
}

static void test_long_lists_are_cut_but_never_sys_path(void **state)
{
    char path[20000] = "{'path': [", installed[20000] = "{'duplicates': [";
    (void)state;
    for (int i = 0; i < 120; i++) {
        snprintf(path + strlen(path), 100, "%s{'entry': '/entry/%d'}", i ? "," : "", i);
        snprintf(installed + strlen(installed), 100, "%s{'name': 'name-%d'}", i ? "," : "", i);
    }
    char *text = print_sent(FILES_SENT, strcat(path, "]}"), strcat(installed, "]}"));
    assert_non_null(strstr(text, "    120  /entry/119"));
    assert_non_null(strstr(text, "    name-49 "));
    assert_null(strstr(text, "    name-50 "));
    assert_non_null(strstr(text, "    … and 70 more\n"));
    free(text);
}

/* Hostile senders -------------------------------------------------------------------------------------------
 */

static void assert_clean(const char *text)
{
    for (; *text; text++) {
        assert_true(*text == '\n' || (unsigned char)*text >= 0x20);
        assert_int_not_equal(*text, 0x7f);
    }
}

static void test_control_characters_reach_no_terminal(void **state)
{
    (void)state;
    char *text = print_sent(
        "{'user': '\\u001b]0;x\\u0007', 'uid': 1, 'baseline': {'kind': '\\u009b', 'path': 'a\\nb'}}",
        "{'path': [{'entry': '\\r\\u202e/x'}], 'notes': ['\\u001b[2J\\u007f']}", "{}");
    assert_clean(text);
    assert_non_null(strstr(text, "\\x1b]0;x\\x07"));
    assert_non_null(strstr(text, "a\\x0ab"));
    assert_non_null(strstr(text, "\\x0d\\u202e/x"));
    free(text);
}

static void test_what_cannot_be_read_is_a_note(void **state)
{
    static const char *const bad[] = {"",         "{",
                                      "[]",       "null",
                                      "'text'",   "{'path': [}",
                                      "\xff\xfe", "{'a': '\\ud800'}",
                                      "{}{}",     "{'path': '\\u0000'}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text = print_sent(FILES_SENT, bad[i], "{'notes': ['still here']}");
        assert_non_null(strstr(text, "the host did not tell what makes up sys.path"));
        assert_non_null(strstr(text, "still here"));
        free(text);
        text = print_sent(bad[i], "{}", "{}");
        assert_non_null(strstr(text, "no host told of this group"));
        assert_non_null(strstr(text, "the system's Python"));
        free(text);
    }
}

static void test_wrong_types_and_unknown_keys_are_left_out(void **state)
{
    struct pm_explain x = {.sender = SENDER};
    (void)state;
    take(&x, WIRE_EXPLAIN_FILES,
         "{'uid': 'root', 'user': 0, 'baseline': [], 'python': {'host': {}, 'version': '3'}, 'overlay': "
         "{'a': 1}, "
         "'path': [1, 'a', null, [], {}, {'entry': 7, 'line': '8', 'candidates': [1, 'x', {}], 'zip': 1}], "
         "'notes': 'no list', 'surprise': true, 'closed': [[]], 'extension_count': 1.5}");
    take(&x, WIRE_EXPLAIN_PATH, "{}");
    take(&x, WIRE_EXPLAIN_INSTALLED, "{'python': 'no object', 'extension_count': -1}");
    json_t *facts = pm_explain_facts(&x, a_group());
    char *expected = json_of(
        "{'python': {'version': '3'}, 'path': [{}, {'candidates': ['x']}], 'closed': [], "
        "'extension_count': -1}");
    json_t *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    if (!json_equal(facts, wanted))
        print_error("%s\n", json_dumps(facts, 0));
    assert_true(json_equal(facts, wanted));
    free(expected);
    json_decref(wanted);
    json_decref(facts);
    pm_explain_free(&x);
}

static void test_too_much_is_dropped_and_said(void **state)
{
    static char piece[WIRE_TEXT_MAX];
    struct pm_explain x = {.sender = SENDER};
    (void)state;
    memset(piece, ' ', sizeof piece);
    take(&x, WIRE_EXPLAIN_FILES, FILES_SENT);
    for (int i = 0; i < 1000; i++) /* 16 MB */
        send_piece(&x, SENDER, WIRE_EXPLAIN_PATH, piece, sizeof piece);
    assert_true(x.is_too_long);
    assert_true(x.sections[WIRE_EXPLAIN_PATH].size <= 4 * 1024 * 1024);
    json_t *facts = pm_explain_facts(&x, a_group());
    char *text = print(facts);
    assert_non_null(strstr(text, "more than 4 MiB"));
    free(text);
    json_decref(facts);
    pm_explain_free(&x);
}

static void test_what_comes_after_the_end_is_ignored(void **state)
{
    struct pm_explain x = {.sender = SENDER};
    (void)state;
    take(&x, WIRE_EXPLAIN_FILES, FILES_SENT);
    assert_true(pm_explain_is_awaited(&x));
    take(&x, WIRE_EXPLAIN_PATH, "{'notes': ['true']}");
    take(&x, WIRE_EXPLAIN_PATH, "garbage");
    take(&x, 77, "garbage");
    send_piece(&x, SENDER, UINT32_MAX, "garbage", 7);
    take(&x, WIRE_EXPLAIN_INSTALLED, "{}");
    assert_false(pm_explain_is_awaited(&x));
    json_t *facts = pm_explain_facts(&x, a_group());
    char *text = print(facts);
    assert_non_null(strstr(text, "  note           true\n"));
    assert_null(strstr(text, "cannot be read"));
    free(text);
    json_decref(facts);
    pm_explain_free(&x);
}

static void test_only_the_named_process_is_believed(void **state)
{
    struct pm_explain x = {.sender = 0};
    (void)state;
    take(&x, WIRE_EXPLAIN_FILES, FILES_SENT);
    take(&x, WIRE_EXPLAIN_PATH, "{'notes': ['before anybody was named']}");
    assert_int_equal(x.sections[WIRE_EXPLAIN_PATH].size, 0);
    send_piece(&x, SENDER, WIRE_EXPLAIN_SENDER, "", 0);
    send_piece(&x, 7, WIRE_EXPLAIN_SENDER, "", 0);
    send_piece(&x, 7, WIRE_EXPLAIN_PATH, "forged", 6);
    send_piece(&x, 7, WIRE_EXPLAIN_PATH | WIRE_EXPLAIN_END, "", 0);
    take(&x, WIRE_EXPLAIN_PATH, "{'notes': ['true']}");
    take(&x, WIRE_EXPLAIN_INSTALLED, "{}");
    json_t *facts = pm_explain_facts(&x, a_group());
    char *text = print(facts);
    assert_string_equal(strstr(text, "  note"), "  note           true\n");
    free(text);
    json_decref(facts);
    pm_explain_free(&x);
}

static void test_deep_and_long_values_do_no_harm(void **state)
{
    enum { DEPTH = 100000, LONG = 50000 };
    char *deep = malloc(DEPTH + 1), *text = malloc(LONG + 100);
    (void)state;
    memset(deep, '[', DEPTH);
    deep[DEPTH] = '\0';
    free(print_sent(FILES_SENT, deep, deep));
    int size = sprintf(text, "{'notes': ['");
    memset(text + size, 'n', LONG);
    strcpy(text + size + LONG, "']}");
    char *printed = print_sent(FILES_SENT, text, "{}");
    assert_true(strlen(printed) < 10000);
    free(printed);
    free(deep);
    free(text);
}

/* Bytes of a good explanation, changed at random: whatever comes of it is printed or noted. */
static void test_damaged_explanations_do_no_harm(void **state)
{
    static const char good[] = "{'python': {'version': '3.11.2', 'executable_works': true}, 'path': "
                               "[{'entry': '/a', 'origin': 'pth', 'file': "
                               "'/f', 'line': 3, 'zip': true}, {'entry': '/b', 'origin': 'python-path', "
                               "'item': 1}], 'duplicates': [{'name': "
                               "'x', 'shadows': [{'version': '1'}]}], 'finders': [{'name': 'f', 'maps': "
                               "['a']}], 'closed': [{}], 'notes': ['n']}";
    unsigned seed = 20261124;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        for (int i = 0; i < 1 + round % 5; i++) {
            seed = seed * 1103515245 + 12345;
            bad[(seed >> 8) % (sizeof good - 1)] = (char)((seed >> 16) % 255 + 1);
        }
        char *text = print_sent(FILES_SENT, bad, round % 2 ? bad : "{}");
        assert_clean(text);
        free(text);
    }
}

/* The verdict ---------------------------------------------------------------------------------------- */

struct verdict_case {
    const char *facts, *failure, *warnings, *verdict;
};

#define ENVIRONMENT                                                                                          \
    "'baseline': {'kind': 'venv', 'path': '/v'}, 'python': {'version': '3.11.2', 'executable': "             \
    "'/v/bin/python', 'abi': 'cpython-311'}, 'overlay': [{'item': '/a'}]"
#define SHADOW ", 'stdlib_shadows': [{'module': 'typing', 'file': '/s/typing.py'}]"
#define EXTENSION                                                                                            \
    ", 'extensions': [{'file': '/v/num/_core.cpython-312.so', 'built_for': 'cpython-312'}], "                \
    "'extension_count': 1"

static void test_each_situation_has_its_verdict(void **state)
{
    static const struct verdict_case cases[] = {
        {"{" ENVIRONMENT "}", NULL, "[]",
         "fine: Python 3.11.2 on /v, with 1 python-path item in front, imports the application"},
        {"{'baseline': {'kind': 'system'}, 'python': {'version': '3.8.1'}}", NULL, "[]",
         "fine: Python 3.8.1 on the system's libraries, imports the application"},
        {"{" ENVIRONMENT SHADOW "}", NULL, "['/s/typing.py shadows']",
         "fine, but /s/typing.py shadows the standard library's typing: rename it, or leave its folder out "
         "of sys.path"},
        {"{" ENVIRONMENT EXTENSION "}", NULL, "[]",
         "fine, but 1 extension module cannot be loaded, as /v/num/_core.cpython-312.so, built for "
         "cpython-312: install "
         "again with /v/bin/python -m pip install --force-reinstall"},
        {"{" ENVIRONMENT EXTENSION SHADOW "}", NULL, "['python-home /v was made from /gone: make it anew']",
         "fine, but python-home /v was made from /gone: make it anew; and see what else stands above"},
        {"{" ENVIRONMENT "}", NULL, "['sockets were left open\\nand more']",
         "fine, but sockets were left open"},
        {"{" ENVIRONMENT ", 'closed': [{'path': '/r/x', 'component': '/r'}]}", NULL, "[]",
         "fine, but /r is closed to its user: let it in (chmod o+rx /r), or take /r/x out"},
        {"{}", "python-home: /env is missing; /venv beside it\nmore", "[]",
         "broken: python-home: /env is missing; /venv beside it"},
        {"{" ENVIRONMENT "}", "cannot run script /s: ModuleNotFoundError: No module named 'flask'\nTraceback",
         "[]",
         "broken: cannot run script /s: ModuleNotFoundError: No module named 'flask'; no folder on sys.path "
         "has flask: "
         "install it (/v/bin/python -m pip install ...), or list the folder that has it in python-path"},
        {"{" ENVIRONMENT "}",
         "application at /x: cannot run script /s: ModuleNotFoundError: No module named 'y'", "[]",
         "broken: application at /x: cannot run script /s: ModuleNotFoundError: No module named 'y'; no "
         "folder on sys.path "
         "has y: install it (/v/bin/python -m pip install ...), or list the folder that has it in "
         "python-path"},
        {"{" ENVIRONMENT "}",
         "cannot import a:b: ModuleNotFoundError: No module named 'a' (the folder that holds it is neither "
         "in python-path "
         "nor chdir)",
         "[]",
         "broken: cannot import a:b: ModuleNotFoundError: No module named 'a' (the folder that holds it is "
         "neither in "
         "python-path nor chdir)"},
        {"{" ENVIRONMENT "}",
         "cannot import a.b:c: ModuleNotFoundError: No module named 'a.b' (the package a in /s/a has no b)",
         "[]",
         "broken: cannot import a.b:c: ModuleNotFoundError: No module named 'a.b' (the package a in /s/a has "
         "no b)"},
        {"{" ENVIRONMENT "}", "cannot run script /s: ModuleNotFoundError: No module named 'a.b.c'\nTraceback",
         "[]",
         "broken: cannot run script /s: ModuleNotFoundError: No module named 'a.b.c'; a.b is there, but has "
         "no "
         "c: perhaps it is of another release (/v/bin/python -m pip show a), or a folder of the same name "
         "stands "
         "before it on sys.path"},
        {"{" ENVIRONMENT EXTENSION "}",
         "cannot run script /s: ModuleNotFoundError: No module named 'num._core'\nT", "[]",
         "broken: cannot run script /s: ModuleNotFoundError: No module named 'num._core'; "
         "/v/num/_core.cpython-312.so was "
         "built for cpython-312, and this is cpython-311: install its package again with /v/bin/python -m "
         "pip install "
         "--force-reinstall"},
        {"{" ENVIRONMENT SHADOW "}",
         "cannot run script /s: ImportError: cannot import name 'Any'\n  File \"/s/typing.py\"", "[]",
         "broken: cannot run script /s: ImportError: cannot import name 'Any'; /s/typing.py shadows the "
         "standard "
         "library's typing: rename it, or leave its folder out of sys.path"},
        {"{" ENVIRONMENT EXTENSION "}", "cannot run script /s: ValueError: _core", "[]",
         "broken: cannot run script /s: ValueError: _core"},
        {"{" ENVIRONMENT SHADOW "}", "cannot run script /s: ValueError: 5\nTraceback", "[]",
         "broken: cannot run script /s: ValueError: 5; /s/typing.py shadows the standard library's typing, "
         "which may "
         "be why: rename it, or leave its folder out of sys.path"},
        {"[]", "it did not become ready within startup-timeout", "{}",
         "broken: it did not become ready within startup-timeout"},
        {"{}", "", "[1]", "broken: "},
        {"{}", NULL, "[1]", "fine: imports the application"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *facts_text = json_of(cases[i].facts), *warnings_text = json_of(cases[i].warnings);
        json_t *facts = json_loads(facts_text, 0, NULL), *warnings = json_loads(warnings_text, 0, NULL);
        assert_non_null(facts);
        assert_non_null(warnings);
        char *verdict = pm_explain_verdict(facts, cases[i].failure, warnings);
        assert_string_equal(verdict, cases[i].verdict);
        assert_null(strchr(verdict, '\n'));
        free(verdict);
        json_decref(facts);
        json_decref(warnings);
        free(facts_text);
        free(warnings_text);
    }
}

/* Printable ------------------------------------------------------------------------------------------ */

static void test_lines_get_their_prefix_and_bytes_their_escape(void **state)
{
    char *text = NULL;
    size_t size;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    printable_write_lines(out, "a: ", "one\n\xff\ttwo\x1b\xc2\x9b\n\nend\xe2\x80\xae", 20);
    fclose(out);
    assert_string_equal(text, "a: one\na: \\xff\ttwo\\x1b\\x9b\na: \na: end\\u202e\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts_are_printed_in_words),
        cmocka_unit_test(test_what_is_not_there_is_not_printed),
        cmocka_unit_test(test_long_lists_are_cut_but_never_sys_path),
        cmocka_unit_test(test_control_characters_reach_no_terminal),
        cmocka_unit_test(test_what_cannot_be_read_is_a_note),
        cmocka_unit_test(test_wrong_types_and_unknown_keys_are_left_out),
        cmocka_unit_test(test_too_much_is_dropped_and_said),
        cmocka_unit_test(test_what_comes_after_the_end_is_ignored),
        cmocka_unit_test(test_only_the_named_process_is_believed),
        cmocka_unit_test(test_deep_and_long_values_do_no_harm),
        cmocka_unit_test(test_damaged_explanations_do_no_harm),
        cmocka_unit_test(test_each_situation_has_its_verdict),
        cmocka_unit_test(test_lines_get_their_prefix_and_bytes_their_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
