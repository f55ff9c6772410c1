/* links: pm base
 *
 * Watched paths that somebody made to cost much: the supervisor's only thread looks at them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "pm/notify.h"
#include "pm/place.h"

/* A look takes a few ms; what is tested for took many seconds. */
#define LOOK_MOST_MS 1500

static char base[64]; /* the test's folder */
static uv_loop_t loop;
static struct pm_notify *notify;
static unsigned stirred;

static unsigned stat_count;

/* In the place of the C library's, to count. */
int fstatat(int folder, const char *restrict path, struct stat *restrict status, int flags)
{
    struct statx found;
    stat_count++;
    if (statx(folder, path, flags, STATX_BASIC_STATS, &found) < 0)
        return -1;
    *status = (struct stat){.st_mode = found.stx_mode, .st_ino = found.stx_ino};
    return 0;
}

static void on_stirred(void *context)
{
    (void)context;
    stirred++;
}

/* base/NAME; the texts of a few calls stay valid. */
static const char *in_base(const char *name)
{
    static char texts[8][512];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%s/%s", base, name);
    return text;
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    stirred = 0;
    strcpy(base, "/tmp/pyfpm-place-XXXXXX");
    if (!mkdtemp(base) || uv_loop_init(&loop) < 0)
        return -1;
    notify = pm_notify_new(&loop);
    return notify ? 0 : -1;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    uv_close(handle, NULL);
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    pm_notify_free(notify);
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command) == 0 ? uv_loop_close(&loop) : -1;
}

static struct pm_place *new_place(enum pm_place_kind kind, const char *path)
{
    struct pm_place *place = pm_place_new(notify, kind, NULL, path, on_stirred, NULL);
    assert_non_null(place);
    return place;
}

/* link-N leads through x and out of it again as often as a link has room for, then to link-N+1. */
static void make_winding_links(int count)
{
    char target[4096], name[32];
    assert_int_equal(mkdir(in_base("x"), 0755), 0);
    for (int i = 0; i < count; i++) {
        size_t used = 0;
        while (used + 32 < sizeof target)
            used += (size_t)snprintf(target + used, sizeof target - used, "x/../");
        snprintf(target + used, sizeof target - used, i + 1 < count ? "link-%d" : "app.wsgi", i + 1);
        snprintf(name, sizeof name, "link-%d", i);
        assert_int_equal(symlink(target, in_base(name)), 0);
    }
    make_file(in_base("app.wsgi"));
}

static void test_links_that_wind_do_not_hold_the_supervisor_up(void **state)
{
    (void)state;
    make_winding_links(39);
    int64_t begun = clock_now_ms();
    struct pm_place *place = new_place(PM_PLACE_FILE, in_base("link-0"));
    pm_place_look(place);
    pm_place_free(place);
    assert_true(clock_now_ms() - begun < LOOK_MOST_MS);
}

static void test_a_way_through_many_links_is_followed(void **state)
{
    char name[32], target[64];
    (void)state;
    assert_int_equal(mkdir(in_base("x"), 0755), 0);
    for (int i = 0; i < 39; i++) {
        snprintf(name, sizeof name, "link-%d", i);
        snprintf(target, sizeof target, i < 38 ? "x/../link-%d" : "x/../app.wsgi", i + 1);
        assert_int_equal(symlink(target, in_base(name)), 0);
    }
    make_file(in_base("app.wsgi"));
    struct pm_place *place = new_place(PM_PLACE_FILE, in_base("link-0"));
    assert_false(pm_place_look(place));
    assert_int_equal(truncate(in_base("app.wsgi"), 7), 0);
    assert_true(pm_place_look(place));
    assert_false(pm_place_look(place));
    pm_place_free(place);
}

static void test_of_a_tree_of_very_many_files_only_so_many_are_looked_at(void **state)
{
    char name[32];
    (void)state;
    for (int i = 0; i < PM_PLACE_FILES_MAX + 1000; i++) {
        snprintf(name, sizeof name, "%d.jpg", i);
        make_file(in_base(name));
    }
    stat_count = 0;
    struct pm_place *place = new_place(PM_PLACE_TREE, base);
    assert_true(pm_place_is_cut(place));
    assert_int_equal(stat_count, PM_PLACE_FILES_MAX);
    pm_place_free(place);
}

static void test_folders_are_found_among_too_many_files(void **state)
{
    char name[32];
    (void)state;
    assert_int_equal(mkdir(in_base("media"), 0755), 0);
    for (int i = 0; i < PM_PLACE_FILES_MAX + 1000; i++) {
        snprintf(name, sizeof name, "media/%d.jpg", i);
        make_file(in_base(name));
    }
    assert_int_equal(mkdir(in_base("media/code"), 0755), 0);
    struct pm_place *place = new_place(PM_PLACE_TREE, base);
    make_file(in_base("media/code/app.py"));
    uv_run(&loop, UV_RUN_ONCE);
    assert_true(stirred > 0);
    pm_place_free(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_links_that_wind_do_not_hold_the_supervisor_up, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_way_through_many_links_is_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_of_a_tree_of_very_many_files_only_so_many_are_looked_at, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_folders_are_found_among_too_many_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
