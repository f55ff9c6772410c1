/* links: base */
/* The scoreboard: nobody can resize it, and nonsense in it stays inside its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/score.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void test_nobody_can_resize_a_board(void **state)
{
    (void)state;
    struct err e;
    int fd;
    struct score *s = score_create("g", 4, &fd, &e);
    assert_non_null(s);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 1 << 20), -1);
    score_free(s);
    close(fd);
}

static void test_two_mappings_see_the_same_numbers(void **state)
{
    (void)state;
    struct err e;
    int fd;
    struct score *ours = score_create("g", 4, &fd, &e);
    struct score *theirs = score_map(fd, &e);
    assert_non_null(ours);
    assert_non_null(theirs);
    assert_int_equal(score_slot_count(theirs), 4);
    atomic_store(&score_slot(theirs, 2)->requests, 41);
    atomic_store(&score_slot(theirs, 2)->state, SCORE_SERVING);
    assert_int_equal(score_read(ours, 2).requests, 41);
    assert_int_equal(score_read(ours, 2).state, SCORE_SERVING);
    assert_int_equal(score_read(ours, 1).requests, 0);
    score_clear(ours, 2);
    assert_int_equal(score_read(theirs, 2).state, SCORE_FREE);
    score_free(ours);
    score_free(theirs);
    close(fd);
}

static void test_scribbled_values_are_brought_into_range(void **state)
{
    (void)state;
    struct err e;
    int fd;
    struct score *s = score_create("g", 2, &fd, &e);
    assert_non_null(s);
    memset(score_slot(s, 0), 0xff, sizeof(struct score_slot));
    struct score_view view = score_read(s, 0);
    assert_int_equal(view.state, SCORE_FREE);
    assert_in_range(view.threads, 0, 4096);
    assert_true(view.busy <= view.threads);
    score_free(s);
    close(fd);
}

static void test_a_file_of_no_size_is_no_board(void **state)
{
    (void)state;
    struct err e;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    assert_null(score_map(pipe_ends[0], &e));
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_can_resize_a_board),
        cmocka_unit_test(test_two_mappings_see_the_same_numbers),
        cmocka_unit_test(test_scribbled_values_are_brought_into_range),
        cmocka_unit_test(test_a_file_of_no_size_is_no_board),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
