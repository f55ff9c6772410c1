/* links: pm base config
 *
 * A group's user may own the folder of its socket, and swap what lies there while the socket is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config.h"
#include "pm/listener.h"

static char base[64]; /* the test's folder */
static char socket_path[128];
static char treasure[128]; /* somebody else's file that must stay as it is */
static void (*swap)(void); /* done once, between the making of the socket and the first look at it */

/* In the place of the C library's. */
int lstat(const char *restrict path, struct stat *restrict status)
{
    void (*now)(void) = swap;
    swap = NULL;
    if (now)
        now();
    return fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

static void put_file_there(void)
{
    assert_int_equal(rename(treasure, socket_path), 0);
}

static void put_second_name_there(void)
{
    assert_int_equal(unlink(socket_path), 0);
    assert_int_equal(link(treasure, socket_path), 0);
}

static struct pm_listener *acquire(struct err *e)
{
    const struct cfg_group group = {
        .name = (char *)"shop", .listen = socket_path, .listen_backlog = 5, .listen_mode = 0666};
    return pm_listener_acquire(&group, e);
}

static void check_mode(const char *path, mode_t mode)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, mode);
}

static void test_a_file_in_the_sockets_place_is_left_alone(void **state)
{
    struct err e;
    (void)state;
    int fd = open(treasure, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    swap = put_file_there;
    assert_null(acquire(&e));
    assert_non_null(strstr(e.text, "is not the socket that was made there"));
    check_mode(socket_path, 0600);
}

static void test_another_socket_in_its_place_is_left_alone(void **state)
{
    struct err e;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)state;
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, treasure);
    assert_int_equal(bind(other, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(chmod(treasure, 0600), 0);
    swap = put_second_name_there;
    assert_null(acquire(&e));
    check_mode(treasure, 0600);
    close(other);
}

static void test_a_socket_that_nobody_touches_gets_its_mode(void **state)
{
    struct err e;
    (void)state;
    struct pm_listener *listener = acquire(&e);
    assert_non_null(listener);
    check_mode(socket_path, 0666);
    pm_listener_release(&listener);
    assert_int_equal(access(socket_path, F_OK), -1);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/pyfpm-listener-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    snprintf(socket_path, sizeof socket_path, "%s/shop.sock", base);
    snprintf(treasure, sizeof treasure, "%s/treasure", base);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(socket_path);
    unlink(treasure);
    return rmdir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_in_the_sockets_place_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_socket_in_its_place_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_socket_that_nobody_touches_gets_its_mode, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
