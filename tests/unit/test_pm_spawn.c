/* links: pm base */
/* Starting a program: what is said when it cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/err.h"
#include "pm/spawn.h"

static pid_t spawn_true(struct err *e)
{
    char program[] = "/bin/true";
    char *argv[] = {program, NULL};
    const int fds[PM_SPAWN_FDS_MAX] = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
    return pm_spawn(program, argv, fds, e);
}

static void test_a_limit_of_descriptors_is_called_by_its_name(void **state)
{
    (void)state;
    struct rlimit before, low;
    struct err e;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 32;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    pid_t pid = spawn_true(&e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(pid, -1);
    assert_string_equal(e.text, "cannot start /bin/true: Too many open files");
}

static void test_with_descriptors_enough_it_runs(void **state)
{
    (void)state;
    struct err e;
    int wait_status = -1;
    pid_t pid = spawn_true(&e);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_int_equal(wait_status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_limit_of_descriptors_is_called_by_its_name),
        cmocka_unit_test(test_with_descriptors_enough_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
