/* links: base config
 *
 * What folders say of themselves: made by hand, in the manner of venv, virtualenv and uv. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "config/venv.h"

static char base[64]; /* the test's folder */

/* base/NAME; the texts of a few calls stay valid. */
static const char *in_base(const char *name)
{
    static char texts[8][512];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof(texts[0]), "%s/%s", base, name);
    return text;
}

static void make_folders(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s/", base, name);
    for (char *c = path + 1; *c != '\0'; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        mkdir(path, 0755);
        *c = '/';
    }
}

static void make_file(const char *name, const char *text)
{
    FILE *file = fopen(in_base(name), "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int make_base(void **state)
{
    (void)state;
    strcpy(base, "/tmp/pyfpm-venv-XXXXXX");
    return mkdtemp(base) == NULL ? -1 : chmod(base, 0755);
}

static int remove_base(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r '%s'", base);
    return system(command);
}

static void make_venv(const char *name, const char *pyvenv, const char *lib)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/lib/%s/site-packages", name, lib);
    make_folders(path);
    snprintf(path, sizeof(path), "%s/pyvenv.cfg", name);
    make_file(path, pyvenv);
}

/* Asking as somebody else ------------------------------------------------------------------------------ */

/* Runs the question as nobody, in a child, and brings its error here; false when we are not root. */
static bool ask_as_nobody(int (*question)(const char *, struct err *), const char *argument, struct err *e)
{
    int ends[2], status;
    if (geteuid() != 0)
        return false;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct err answer = {"no error"};
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(1);
        question(argument, &answer);
        _exit(write(ends[1], &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t part; (part = read(ends[0], (char *)e + got, sizeof(*e) - got)) > 0;)
        got += (size_t)part;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return true;
}

static int inspect(const char *folder, struct err *e)
{
    struct venv v;
    return venv_inspect(folder, &v, e);
}

static int overlay(const char *entry, struct err *e)
{
    char folder[4096];
    return venv_overlay_folder(entry, "3.12", folder, e);
}

static void assert_error(int (*question)(const char *, struct err *), const char *argument,
                         const char *format, ...)
{
    char wanted[1024];
    struct err e = {"no error"};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wanted, sizeof(wanted), format, arguments);
    va_end(arguments);
    assert_int_equal(question(argument, &e), -1);
    assert_string_equal(e.text, wanted);
}

/* venv_inspect
 * -------------------------------------------------------------------------------------------------- */

struct version_case {
    const char *pyvenv, *lib, *version;
};

static void test_the_version_is_read_as_each_tool_writes_it(void **state)
{
    static const struct version_case cases[] = {
        {"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n", "python3.11", "3.11"},
        {"home = /usr/bin\nimplementation = CPython\nversion_info = 3.12.1.final.0\nvirtualenv = 20.25.0\n",
         "python3.12", "3.12"},
        {"home = /usr/bin\nuv = 0.4.0\nversion_info = 3.12.1\n", "python3.12", "3.12"},
        {"HOME=/usr/bin\r\nVersion=3.10\r\n", "python3.10", "3.10"},
        {"version_info = 3.9.1\nversion = 3.8.2\n", "python3.8", "3.8"},
        {"version = unknown\nversion_info = 3.9.1\n", "python3.9", "3.9"},
        {"version = 3.13.0\n", "python3.13t", "3.13t"},
        {"home = /usr/bin\n", "python3.12", "3.12"},
        {"home = /usr/bin\n", "python3.13t", "3.13t"},
        {"version = 2.7.18\n", "python2.7", ""},
        {"version = 3.x\nversion 3.9\n= 3.9\n", "python", ""},
        {"", "python3.", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[32];
        struct venv v;
        struct err e = {""};
        snprintf(name, sizeof(name), "v%zu", i);
        make_venv(name, cases[i].pyvenv, cases[i].lib);
        assert_int_equal(venv_inspect(in_base(name), &v, &e), 0);
        assert_true(v.is_venv);
        assert_string_equal(v.version, cases[i].version);
        assert_int_equal(v.source[0] != '\0', cases[i].version[0] != '\0');
    }
}

static void test_the_source_and_the_base_are_named(void **state)
{
    struct venv v;
    struct err e;
    (void)state;
    make_venv("v", "home =   /opt/py/bin  \nversion = 3.12.1\n", "python3.12");
    assert_int_equal(venv_inspect(in_base("v/"), &v, &e), 0);
    assert_string_equal(v.home, "/opt/py/bin");
    assert_string_equal(v.source, in_base("v/pyvenv.cfg"));
    make_venv("w", "", "python3.12");
    assert_int_equal(venv_inspect(in_base("w"), &v, &e), 0);
    assert_string_equal(v.home, "");
    assert_string_equal(v.source, in_base("w/lib/python3.12"));
}

static void test_a_prefix_says_its_version_when_it_has_only_one(void **state)
{
    struct venv v;
    struct err e;
    (void)state;
    make_folders("prefix/lib/python3.11");
    make_folders("prefix/lib/python3");
    make_file("prefix/lib/python3.12", "no folder");
    assert_int_equal(venv_inspect(in_base("prefix"), &v, &e), 0);
    assert_false(v.is_venv);
    assert_string_equal(v.version, "3.11");
    make_folders("prefix/lib/python3.13");
    assert_int_equal(venv_inspect(in_base("prefix"), &v, &e), 0);
    assert_string_equal(v.version, "");
    assert_string_equal(v.source, "");
}

static void test_folders_inside_a_venv_have_no_version(void **state)
{
    struct venv v;
    struct err e;
    (void)state;
    make_venv("v", "version = 3.12.1\n", "python3.12");
    make_folders("v/bin");
    assert_int_equal(venv_inspect(in_base("v/bin"), &v, &e), 0);
    assert_false(v.is_venv);
    assert_string_equal(v.version, "");
    assert_int_equal(venv_inspect(in_base("v/lib/python3.12"), &v, &e), 0);
    assert_string_equal(v.version, "");
}

static void test_the_first_component_in_the_way_is_named(void **state)
{
    (void)state;
    make_folders("a");
    make_file("file", "");
    assert_error(inspect, in_base("none"), "%s/none is missing", base);
    assert_error(inspect, in_base("a/none/b/c"), "%s/a/none/b/c: %s/a/none is missing", base, base);
    assert_error(inspect, in_base("file"), "%s/file is not a folder", base);
    assert_error(inspect, in_base("file/b"), "%s/file/b: %s/file is not a folder", base, base);
    assert_int_equal(symlink("/nowhere/at/all", in_base("link")), 0);
    assert_error(inspect, in_base("link/b"),
                 "%s/link/b: %s/link is a link to /nowhere/at/all, which is missing", base, base);
}

static void test_a_missing_folder_inside_a_venv_names_the_venv(void **state)
{
    (void)state;
    make_venv("v", "version = 3.12.1\n", "python3.12");
    assert_error(inspect, in_base("v/lib/python3.11"),
                 "%s/v/lib/python3.11 is missing (%s/v is a virtual environment)", base, base);
}

static void test_a_folder_that_nobody_may_enter_names_both(void **state)
{
    struct err e;
    char wanted[512];
    (void)state;
    make_venv("closed/v", "version = 3.12.1\n", "python3.12");
    chmod(in_base("closed"), 0700);
    if (!ask_as_nobody(inspect, in_base("closed/v"), &e))
        skip();
    snprintf(wanted, sizeof(wanted),
             "%s/closed/v: user nobody (uid 65534) may not enter %s/closed; let it in (chmod o+x %s/closed) "
             "or move "
             "what it needs elsewhere",
             base, base, base);
    assert_string_equal(e.text, wanted);
    assert_true(ask_as_nobody(inspect, in_base("closed"), &e));
    snprintf(wanted, sizeof(wanted),
             "%s/closed: user nobody (uid 65534) may not enter it; let it in (chmod o+x %s/closed)", base,
             base);
    assert_string_equal(e.text, wanted);
}

/* What find_closed says, in the manner of an error. */
static int closed(const char *path, struct err *e)
{
    char component[4096];
    return venv_find_closed(path, component) ? err_set(e, "%s", component) : err_set(e, "open");
}

static void test_a_closed_folder_behind_a_link_is_named_by_its_own_name(void **state)
{
    struct err e;
    char wanted[512];
    (void)state;
    make_venv("closed/v", "version = 3.12.1\n", "python3.12");
    make_folders("open/v");
    make_file("open/secret", "");
    assert_int_equal(symlink("closed/v", in_base("link")), 0);
    assert_int_equal(symlink("loop", in_base("loop")), 0);
    chmod(in_base("closed"), 0700);
    chmod(in_base("open/secret"), 0600);
    assert_error(closed, in_base("none"), "open");
    assert_error(closed, in_base("loop"), "open");
    if (!ask_as_nobody(inspect, in_base("link"), &e))
        skip();
    snprintf(wanted, sizeof(wanted), "may not enter %s/closed; ", base);
    assert_non_null(strstr(e.text, wanted));
    assert_true(ask_as_nobody(closed, in_base("link/lib"), &e));
    assert_string_equal(e.text, in_base("closed"));
    assert_true(ask_as_nobody(closed, in_base("closed/v/lib/none"), &e));
    assert_string_equal(e.text, in_base("closed"));
    assert_true(ask_as_nobody(closed, in_base("open/secret"), &e));
    assert_string_equal(e.text, in_base("open/secret"));
    assert_true(ask_as_nobody(closed, in_base("open/v"), &e));
    assert_string_equal(e.text, "open");
}

static void test_a_misspelt_environment_is_met_with_its_neighbour(void **state)
{
    (void)state;
    make_venv("shop/venv", "version = 3.11.1\n", "python3.11");
    make_folders("shop/src");
    assert_error(inspect, in_base("shop/env"),
                 "%s/shop/env is missing; %s/shop/venv beside it is a virtual environment of Python 3.11",
                 base, base);
    assert_error(
        inspect, in_base("shop/virtualenv"),
        "%s/shop/virtualenv is missing; %s/shop/venv beside it is a virtual environment of Python 3.11", base,
        base);
    assert_error(
        inspect, in_base("shpo/venv"),
        "%s/shpo/venv: %s/shpo is missing; %s/shop/venv beside it is a virtual environment of Python 3.11",
        base, base, base);
    assert_error(inspect, in_base("shop/static"), "%s/shop/static is missing", base);
    make_venv("shop/.venv", "", "python3.11");
    assert_error(inspect, in_base("shop/.env"),
                 "%s/shop/.env is missing; %s/shop/.venv beside it is a virtual environment of Python 3.11",
                 base, base);
}

static void test_a_pyvenv_that_cannot_be_read_is_an_error(void **state)
{
    struct err e;
    char wanted[512];
    (void)state;
    make_venv("v", "version = 3.12.1\n", "python3.12");
    make_folders("w/pyvenv.cfg");
    make_folders("x");
    assert_int_equal(mkfifo(in_base("x/pyvenv.cfg"), 0666), 0);
    assert_error(inspect, in_base("w"), "%s/w/pyvenv.cfg is not a regular file", base);
    assert_error(inspect, in_base("x"), "%s/x/pyvenv.cfg is not a regular file", base);
    chmod(in_base("v/pyvenv.cfg"), 0600);
    if (!ask_as_nobody(inspect, in_base("v"), &e))
        skip();
    snprintf(wanted, sizeof(wanted), "%s/v/pyvenv.cfg: user nobody (uid 65534) may not read it", base);
    assert_string_equal(e.text, wanted);
}

/* Opening some devices is a deed, and root's look at a user's folder must not do it. */
static void test_what_is_no_regular_file_is_not_even_opened(void **state)
{
    struct err e;
    struct venv v;
    char event[sizeof(struct inotify_event) + 256];
    (void)state;
    make_folders("x");
    assert_int_equal(mkfifo(in_base("pipe"), 0666), 0);
    assert_int_equal(symlink("../pipe", in_base("x/pyvenv.cfg")), 0);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, in_base("pipe"), IN_OPEN) >= 0);
    assert_int_equal(venv_inspect(in_base("x"), &v, &e), -1);
    assert_int_equal(read(watch, event, sizeof(event)), -1);
    assert_int_equal(errno, EAGAIN);
    close(watch);
}

static void test_a_long_pyvenv_does_no_harm(void **state)
{
    struct venv v;
    struct err e;
    char *text = malloc(100001);
    (void)state;
    memset(text, 'a', 100000);
    memcpy(text, "version=3.", 10);
    memcpy(text + 9000, "\nhome=", 6);
    text[100000] = '\0';
    make_venv("v", text, "python3.12");
    assert_int_equal(venv_inspect(in_base("v"), &v, &e), 0);
    assert_string_equal(v.version, "3.12");
    memset(text, '1', 9000);
    memcpy(text, "version=3.", 10);
    make_venv("v", text, "python3.12");
    assert_int_equal(venv_inspect(in_base("v"), &v, &e), 0);
    assert_string_equal(v.version, "3.12");
    free(text);
}

/* venv_root_of
 * ---------------------------------------------------------------------------------------------------- */

static void test_the_root_above_site_packages_is_found(void **state)
{
    char root[4096];
    (void)state;
    make_venv("v", "version = 3.12.1\n", "python3.12");
    make_venv("t", "version = 3.13.1\n", "python3.13t");
    make_folders("prefix/lib/python3.12/site-packages");
    assert_true(venv_root_of(in_base("v/lib/python3.12/site-packages"), root));
    assert_string_equal(root, in_base("v"));
    assert_true(venv_root_of(in_base("v/lib/python3.12/site-packages//"), root));
    assert_string_equal(root, in_base("v"));
    assert_true(venv_root_of(in_base("t/lib/python3.13t/site-packages"), root));
    assert_false(venv_root_of(in_base("v"), root));
    assert_false(venv_root_of(in_base("v/lib/python3.12"), root));
    assert_false(venv_root_of(in_base("v/lib/python/site-packages"), root));
    assert_false(venv_root_of(in_base("prefix/lib/python3.12/site-packages"), root));
    assert_false(venv_root_of("/", root));
    assert_false(venv_root_of("", root));
    assert_false(venv_root_of("site-packages", root));
    assert_false(venv_root_of("/site-packages", root));
    assert_false(venv_root_of("/lib/python3.12/site-packages", root));
}

/* venv_overlay_folder
 * ------------------------------------------------------------------------------------------------ */

static void test_an_overlay_is_the_site_packages_of_a_venv_or_the_folder(void **state)
{
    char folder[4096];
    struct err e;
    (void)state;
    make_venv("v", "version = 3.12.1\n", "python3.12");
    make_venv("t", "version = 3.13.0\n", "python3.13t");
    make_folders("src");
    assert_int_equal(venv_overlay_folder(in_base("v"), "3.12", folder, &e), 0);
    assert_string_equal(folder, in_base("v/lib/python3.12/site-packages"));
    assert_int_equal(venv_overlay_folder(in_base("v//"), "3.12", folder, &e), 0);
    assert_string_equal(folder, in_base("v/lib/python3.12/site-packages"));
    assert_int_equal(venv_overlay_folder(in_base("t"), "3.13t", folder, &e), 0);
    assert_string_equal(folder, in_base("t/lib/python3.13t/site-packages"));
    assert_int_equal(venv_overlay_folder(in_base("src"), "3.12", folder, &e), 0);
    assert_string_equal(folder, in_base("src"));
}

static void test_an_overlay_of_another_python_is_refused(void **state)
{
    (void)state;
    make_venv("v", "version = 3.11.1\n", "python3.11");
    assert_error(overlay, in_base("v"),
                 "%s/v is a virtual environment of Python 3.11 (%s/v/pyvenv.cfg), and this is Python 3.12",
                 base, base);
    make_venv("t", "version = 3.12.1\n", "python3.12t");
    assert_error(overlay, in_base("t"),
                 "%s/t is a virtual environment of Python 3.12t (%s/t/pyvenv.cfg), and this is Python 3.12",
                 base, base);
}

static void test_an_overlay_that_cannot_be_used_says_why(void **state)
{
    struct err e;
    char wanted[1024];
    (void)state;
    make_folders("src");
    make_file("file", "");
    make_folders("empty/lib");
    make_file("empty/pyvenv.cfg", "version = 3.12.0\n");
    assert_error(overlay, in_base("none/a"), "%s/none/a: %s/none is missing", base, base);
    assert_error(overlay, in_base("file"), "%s/file is not a folder", base);
    assert_error(overlay, in_base("empty"),
                 "%s/empty/lib/python3.12/site-packages: %s/empty/lib/python3.12 is missing (%s/empty is a "
                 "virtual environment)",
                 base, base, base);
    chmod(in_base("src"), 0711);
    if (!ask_as_nobody(overlay, in_base("src"), &e))
        skip();
    snprintf(wanted, sizeof(wanted),
             "%s/src: user nobody (uid 65534) may not read it; let it (chmod o+r %s/src)", base, base);
    assert_string_equal(e.text, wanted);
}

static void test_paths_that_are_too_long_are_refused(void **state)
{
    struct err e = {""};
    struct venv v;
    char path[5000], folder[4096];
    (void)state;
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(venv_inspect(path, &v, &e), -1);
    assert_non_null(strstr(e.text, "is too long"));
    assert_int_equal(venv_overlay_folder(path, "3.12", folder, &e), -1);
    assert_false(venv_root_of(path, folder));
}

#define VENV_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, make_base, remove_base)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VENV_TEST(test_the_version_is_read_as_each_tool_writes_it),
        VENV_TEST(test_the_source_and_the_base_are_named),
        VENV_TEST(test_a_prefix_says_its_version_when_it_has_only_one),
        VENV_TEST(test_folders_inside_a_venv_have_no_version),
        VENV_TEST(test_the_first_component_in_the_way_is_named),
        VENV_TEST(test_a_missing_folder_inside_a_venv_names_the_venv),
        VENV_TEST(test_a_folder_that_nobody_may_enter_names_both),
        VENV_TEST(test_a_closed_folder_behind_a_link_is_named_by_its_own_name),
        VENV_TEST(test_a_misspelt_environment_is_met_with_its_neighbour),
        VENV_TEST(test_a_pyvenv_that_cannot_be_read_is_an_error),
        VENV_TEST(test_what_is_no_regular_file_is_not_even_opened),
        VENV_TEST(test_a_long_pyvenv_does_no_harm),
        VENV_TEST(test_the_root_above_site_packages_is_found),
        VENV_TEST(test_an_overlay_is_the_site_packages_of_a_venv_or_the_folder),
        VENV_TEST(test_an_overlay_of_another_python_is_refused),
        VENV_TEST(test_an_overlay_that_cannot_be_used_says_why),
        VENV_TEST(test_paths_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
