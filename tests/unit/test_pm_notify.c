/* links: pm base
 *
 * Events that never end. */
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

#include "pm/notify.h"

/* In seconds; then the test has failed. */
#define PATIENCE_S 60

static char base[64]; /* the test's folder */
static int files[2];
static unsigned heard;

/* Two events for each that is heard of. Of two in a row that are the same the kernel makes one. */
static void touch_both(void)
{
    assert_int_equal(futimens(files[0], NULL), 0);
    assert_int_equal(futimens(files[1], NULL), 0);
}

static void on_event(void *owner, const struct pm_notify_event *event)
{
    (void)owner;
    (void)event;
    heard++;
    touch_both();
}

static void on_time_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    uv_close(handle, NULL);
}

static void test_events_without_end_leave_the_loop_its_turns(void **state)
{
    uv_loop_t loop;
    uv_timer_t timer;
    bool is_time_over = false;
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct pm_notify *notify = pm_notify_new(&loop);
    struct pm_notify_watch *watch = pm_notify_add(notify, base, false, on_event, NULL);
    assert_non_null(watch);
    for (int i = 0; i < 3000; i++) /* more than one read takes */
        touch_both();
    uv_timer_init(&loop, &timer);
    timer.data = &is_time_over;
    uv_timer_start(&timer, on_time_over, 1, 0);
    alarm(PATIENCE_S);
    while (!is_time_over || heard == 0)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
    pm_notify_drop(&watch);
    uv_walk(&loop, close_handle, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    pm_notify_free(notify);
}

static int set_up(void **state)
{
    char path[128];
    (void)state;
    strcpy(base, "/tmp/pyfpm-notify-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d", base, i);
        files[i] = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    }
    return files[0] < 0 || files[1] < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    char path[128];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%d", base, i);
        close(files[i]);
        unlink(path);
    }
    return rmdir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_without_end_leave_the_loop_its_turns, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
