/* links: base fcgi */
/* fcgi_walk(): what is taken for a request, and what is not. Pure bytes, no sockets. */
#include "tests/unit/test_fcgi_common.h"

static struct bytes input;
static struct bytes pairs;

static int clear(void **state)
{
    (void)state;
    input.size = pairs.size = 0;
    return 0;
}

/* Copies into exactly as much memory as there are bytes, so that the address sanitizer sees one too many. */
static enum fcgi_look walk_exact(size_t size, size_t *consume, const char **why)
{
    unsigned char *exact = calloc(1, size ? size : 1);
    memcpy(exact, input.data, size);
    enum fcgi_look found = fcgi_walk(exact, size, consume, why);
    free(exact);
    return found;
}

static void assert_bad(const char *reason)
{
    size_t consume;
    const char *why = NULL;
    assert_int_equal(walk_exact(input.size, &consume, &why), FCGI_LOOK_BAD);
    assert_string_equal(why, reason);
}

static void assert_whole(void)
{
    size_t consume;
    const char *why;
    assert_int_equal(walk_exact(input.size, &consume, &why), FCGI_LOOK_WHOLE);
    assert_int_equal(consume, 0);
}

/* PARTIAL at every cut before the end, EMPTY before the first byte, WHOLE at the end. */
static void assert_whole_only_at_end(void)
{
    size_t consume;
    assert_int_equal(walk_exact(0, &consume, NULL), FCGI_LOOK_EMPTY);
    for (size_t size = 1; size < input.size; size++) {
        assert_int_equal(walk_exact(size, &consume, NULL), FCGI_LOOK_PARTIAL);
        assert_int_equal(consume, 0);
    }
    assert_whole();
}

static void test_header_is_partial_at_every_byte_until_whole(void **state)
{
    (void)state;
    put_header(&input, 1, true, "REQUEST_METHOD", "GET");
    assert_whole_only_at_end();
}

static void test_header_without_params_is_whole(void **state)
{
    (void)state;
    put_header(&input, 65535, false, NULL, NULL);
    assert_whole_only_at_end();
}

static void test_pair_may_be_split_anywhere_across_records(void **state)
{
    (void)state;
    char name[200], value[300];
    memset(name, 'N', sizeof name);
    memset(value, 'v', sizeof value);
    put_length(&pairs, sizeof name, true);
    put_length(&pairs, sizeof value, true);
    put(&pairs, name, sizeof name);
    put(&pairs, value, sizeof value);
    put_pair(&pairs, "A", "");
    for (size_t cut = 1; cut < pairs.size; cut++) {
        input.size = 0;
        put_begin(&input, 3, RESPONDER, 0);
        put_record_of(&input, 1, PARAMS, 3, pairs.data, cut, cut % 9);
        put_record(&input, PARAMS, 3, pairs.data + cut, pairs.size - cut);
        put_record(&input, PARAMS, 3, NULL, 0);
        assert_whole();
    }
}

static void test_one_byte_records_are_walked(void **state)
{
    (void)state;
    put_pair(&pairs, "PATH_INFO", "/a");
    put_begin(&input, 1, RESPONDER, 0);
    for (size_t i = 0; i < pairs.size; i++)
        put_record(&input, PARAMS, 1, pairs.data + i, 1);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_whole_only_at_end();
}

static void test_short_length_may_be_written_in_four_bytes(void **state)
{
    (void)state;
    put_length(&pairs, 1, true);
    put_length(&pairs, 1, true);
    put(&pairs, "Av", 2);
    put_begin(&input, 1, RESPONDER, 0);
    put_record(&input, PARAMS, 1, pairs.data, pairs.size);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_whole_only_at_end();
}

static void test_padded_params_are_whole(void **state)
{
    (void)state;
    put_pair(&pairs, "A", "b");
    put_begin(&input, 1, RESPONDER, 0);
    put_record_of(&input, 1, PARAMS, 1, pairs.data, pairs.size, 255);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_whole_only_at_end();
}

static void test_what_follows_the_header_is_not_walked(void **state)
{
    (void)state;
    put_header(&input, 1, false, "A", "b");
    put(&input, "anything at all", 15);
    assert_whole();
}

static void test_as_many_params_as_allowed_are_whole_and_one_more_is_bad(void **state)
{
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        clear(NULL);
        for (int i = 0; i < FCGI_PARAMS_MAX + extra; i++)
            put_pair(&pairs, "HTTP_X", "some value");
        put_begin(&input, 1, RESPONDER, 0);
        put_record(&input, PARAMS, 1, pairs.data, pairs.size);
        put_record(&input, PARAMS, 1, NULL, 0);
        if (extra == 0)
            assert_whole();
        else
            assert_bad("too many parameters");
    }
}

/* A header of exactly total bytes, in records of at most 60000 bytes of content. */
static void put_header_of_size(size_t total)
{
    size_t content_size = total - 16 - 8 - (total / 60000 + 1) * 8;
    put_length(&pairs, 4, true);
    put_length(&pairs, content_size - 12, true);
    put(&pairs, "NAME", 4);
    memset(pairs.data + pairs.size, 'v', content_size - 12);
    pairs.size = content_size;
    put_begin(&input, 1, RESPONDER, 0);
    for (size_t at = 0; at < content_size; at += 60000)
        put_record(&input, PARAMS, 1, pairs.data + at, content_size - at < 60000 ? content_size - at : 60000);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_int_equal(input.size, total);
}

static void test_header_as_long_as_allowed_is_whole(void **state)
{
    (void)state;
    put_header_of_size(FCGI_HEADER_BYTES_MAX);
    assert_whole();
}

static void test_header_one_byte_too_long_is_bad(void **state)
{
    (void)state;
    put_header_of_size(FCGI_HEADER_BYTES_MAX + 1);
    assert_bad("a header that is too long");
}

static void test_too_long_record_is_bad_before_it_arrives(void **state)
{
    (void)state;
    put_begin(&input, 1, RESPONDER, 0);
    put_length(&pairs, 1, false);
    put_length(&pairs, 150 * 1024, true);
    memset(pairs.data + pairs.size, 'v', 60000);
    for (int i = 0; i < 2; i++)
        put_record(&input, PARAMS, 1, pairs.data + (i ? 10 : 0), 60000);
    put(&input, "\1\4\0\1\377\377\0\0", 8);
    assert_bad("a header that is too long");
}

static void test_hostile_bytes_are_bad(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        size_t size;
        const char *bytes;
    } rows[] = {
        {"not FastCGI", 1, "G"},
        {"not FastCGI", 18, "GET / HTTP/1.1\r\n\r\n"},
        {"not FastCGI", 8, "\2\1\0\1\0\10\0\0"},
        {"not FastCGI", 17, "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0\7"},
        {"a request's record with request id 0", 8, "\1\1\0\0\0\10\0\0"},
        {"a request's record with request id 0", 8, "\1\5\0\0\0\10\0\0"},
        {"a record that belongs to no request", 8, "\1\4\0\1\0\0\0\0"},
        {"a record that belongs to no request", 8, "\1\2\0\1\0\0\0\0"},
        {"a record that belongs to no request", 8, "\1\11\0\1\0\0\0\0"},
        {"a record that belongs to no request", 8, "\1\143\0\1\0\0\0\0"},
        {"a BEGIN_REQUEST of the wrong size", 8, "\1\1\0\1\0\7\0\0"},
        {"a BEGIN_REQUEST of the wrong size", 8, "\1\1\0\1\0\11\0\0"},
        {"padding on BEGIN_REQUEST", 8, "\1\1\0\1\0\10\1\0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        input.size = 0;
        put(&input, rows[i].bytes, rows[i].size);
        assert_bad(rows[i].why);
    }
}

static void test_hostile_params_are_bad(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        size_t size;
        const char *bytes; /* after BEGIN of request 1 */
    } rows[] = {
        {"not FastCGI", 8, "\0\4\0\1\0\0\0\0"},
        {"a record of another request inside a request", 8, "\1\4\0\2\0\0\0\0"},
        {"a record of another request inside a request", 8, "\1\1\0\2\0\10\0\0"},
        {"a management record inside a request", 8, "\1\11\0\0\0\0\0\0"},
        {"aborted by the web server", 8, "\1\2\0\1\0\0\0\0"},
        {"not a PARAMS record where one has to be", 8, "\1\1\0\1\0\10\0\0"},
        {"not a PARAMS record where one has to be", 8, "\1\5\0\1\0\0\0\0"},
        {"not a PARAMS record where one has to be", 8, "\1\143\0\1\0\0\0\0"},
        {"padding on the empty PARAMS record", 8, "\1\4\0\1\0\0\10\0"},
        {"a NUL byte in a parameter", 12, "\1\4\0\1\0\4\0\0\1\1\0v"},
        {"a NUL byte in a parameter", 12, "\1\4\0\1\0\4\0\0\1\1N\0"},
        {"a parameter that claims more than was sent", 17, "\1\4\0\1\0\1\0\0\1\1\4\0\1\0\0\0\0"},
        {"a parameter that claims more than was sent", 18, "\1\4\0\1\0\2\0\0\1\1\1\4\0\1\0\0\0\0"},
        {"a parameter that claims more than was sent", 19, "\1\4\0\1\0\3\0\0\1\1N\1\4\0\1\0\0\0\0"},
        {"a parameter that claims more than was sent", 18, "\1\4\0\1\0\2\0\0\200\0\1\4\0\1\0\0\0\0"},
        {"a parameter that claims to be longer than the whole header may be", 13,
         "\1\4\0\1\0\5\0\0\1\377\377\377\377"},
        {"a parameter that claims to be longer than the whole header may be", 16,
         "\1\4\0\1\0\10\0\0\377\377\377\377\377\377\377\377"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        input.size = 0;
        put_begin(&input, 1, RESPONDER, 0);
        put(&input, rows[i].bytes, rows[i].size);
        assert_bad(rows[i].why);
    }
}

static void test_management_records_are_to_be_consumed(void **state)
{
    (void)state;
    size_t consume;
    put_record_of(&input, 1, GET_VALUES, 0, "\16\0FCGI_MAX_CONNS", 16, 3);
    put_record(&input, 77, 0, NULL, 0);
    size_t management = input.size;
    assert_int_equal(walk_exact(input.size, &consume, NULL), FCGI_LOOK_EMPTY);
    assert_int_equal(consume, management);
    assert_int_equal(walk_exact(input.size - 1, &consume, NULL), FCGI_LOOK_PARTIAL);
    assert_int_equal(consume, 8 + 16 + 3);

    put_header(&input, 1, false, "A", "b");
    assert_int_equal(walk_exact(input.size - 1, &consume, NULL), FCGI_LOOK_PARTIAL);
    assert_int_equal(walk_exact(input.size, &consume, NULL), FCGI_LOOK_WHOLE);
    assert_int_equal(consume, management);
}

static void put_authorizer(int flags, bool with_end)
{
    put_begin(&input, 9, AUTHORIZER, flags);
    put_record(&input, PARAMS, 9, NULL, 0);
    if (with_end)
        put_record(&input, STDIN, 9, NULL, 0);
}

static void test_other_role_is_consumed_and_its_kept_connection_goes_on(void **state)
{
    (void)state;
    size_t consume;
    put_authorizer(1, true);
    size_t refused = input.size;
    put_header(&input, 1, true, "A", "b");
    assert_int_equal(walk_exact(input.size, &consume, NULL), FCGI_LOOK_WHOLE);
    assert_int_equal(consume, refused);
    assert_int_equal(walk_exact(refused, &consume, NULL), FCGI_LOOK_EMPTY);
    assert_int_equal(consume, refused);
}

static void test_other_role_ends_a_connection_that_is_not_kept_or_not_at_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t consume;
        const char *why;
        clear(NULL);
        put_authorizer(i, i == 0);
        assert_int_equal(walk_exact(input.size, &consume, &why), FCGI_LOOK_BAD);
        assert_string_equal(why, "a role other than responder");
        assert_int_equal(consume, input.size);
        assert_int_equal(walk_exact(20, &consume, &why), FCGI_LOOK_PARTIAL);
        assert_int_equal(consume, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_header_is_partial_at_every_byte_until_whole, clear),
        cmocka_unit_test_setup(test_header_without_params_is_whole, clear),
        cmocka_unit_test_setup(test_pair_may_be_split_anywhere_across_records, clear),
        cmocka_unit_test_setup(test_one_byte_records_are_walked, clear),
        cmocka_unit_test_setup(test_short_length_may_be_written_in_four_bytes, clear),
        cmocka_unit_test_setup(test_padded_params_are_whole, clear),
        cmocka_unit_test_setup(test_what_follows_the_header_is_not_walked, clear),
        cmocka_unit_test_setup(test_as_many_params_as_allowed_are_whole_and_one_more_is_bad, clear),
        cmocka_unit_test_setup(test_header_as_long_as_allowed_is_whole, clear),
        cmocka_unit_test_setup(test_header_one_byte_too_long_is_bad, clear),
        cmocka_unit_test_setup(test_too_long_record_is_bad_before_it_arrives, clear),
        cmocka_unit_test_setup(test_hostile_bytes_are_bad, clear),
        cmocka_unit_test_setup(test_hostile_params_are_bad, clear),
        cmocka_unit_test_setup(test_management_records_are_to_be_consumed, clear),
        cmocka_unit_test_setup(test_other_role_is_consumed_and_its_kept_connection_goes_on, clear),
        cmocka_unit_test_setup(test_other_role_ends_a_connection_that_is_not_kept_or_not_at_its_end, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
