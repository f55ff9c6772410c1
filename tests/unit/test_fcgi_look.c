/* links: base fcgi */
/* fcgi_look() on real sockets: what it leaves alone, what it takes away and answers, when it gives up. */
#include "tests/unit/test_fcgi_common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

static struct bytes input;
static struct bytes output;
static int sockets[2];

static int open_connection(void **state)
{
    (void)state;
    input.size = output.size = 0;
    open_pair(sockets);
    return 0;
}

static int close_connection(void **state)
{
    (void)state;
    close(sockets[0]);
    close(sockets[1]);
    return 0;
}

static void assert_look(enum fcgi_look expected)
{
    assert_int_equal(fcgi_look(sockets[1], NULL), expected);
}

static void assert_bad(const char *reason)
{
    const char *why = NULL;
    assert_int_equal(fcgi_look(sockets[1], &why), FCGI_LOOK_BAD);
    assert_string_equal(why, reason);
}

/* Exactly these bytes came back, and no more. */
static void assert_answer(const void *bytes, size_t size)
{
    ssize_t got = recv(sockets[0], output.data, sizeof output.data, MSG_DONTWAIT);
    assert_int_equal(got, size);
    assert_memory_equal(output.data, bytes, size);
}

static void test_silent_connection_is_empty(void **state)
{
    (void)state;
    assert_look(FCGI_LOOK_EMPTY);
}

static void test_closed_connection_is_gone(void **state)
{
    (void)state;
    shutdown(sockets[0], SHUT_WR);
    assert_look(FCGI_LOOK_GONE);
}

static void test_no_socket_is_gone(void **state)
{
    (void)state;
    assert_int_equal(fcgi_look(-1, NULL), FCGI_LOOK_GONE);
}

static void test_header_that_drips_in_is_partial_until_whole_and_never_taken(void **state)
{
    (void)state;
    put_header(&input, 1, true, "REQUEST_METHOD", "GET");
    for (size_t i = 0; i < input.size; i++) {
        assert_int_equal(send(sockets[0], input.data + i, 1, 0), 1);
        assert_look(i + 1 < input.size ? FCGI_LOOK_PARTIAL : FCGI_LOOK_WHOLE);
    }
    assert_look(FCGI_LOOK_WHOLE);
    assert_int_equal(recv(sockets[1], output.data, sizeof output.data, MSG_DONTWAIT), input.size);
    assert_memory_equal(output.data, input.data, input.size);
}

static void test_half_a_header_of_a_peer_that_left_is_gone(void **state)
{
    (void)state;
    put_header(&input, 1, true, "REQUEST_METHOD", "GET");
    input.size--;
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_PARTIAL);
    shutdown(sockets[0], SHUT_WR);
    assert_look(FCGI_LOOK_GONE);
}

static void test_whole_header_of_a_peer_that_left_is_still_whole(void **state)
{
    (void)state;
    put_header(&input, 1, true, "REQUEST_METHOD", "GET");
    send_bytes(sockets[0], &input);
    shutdown(sockets[0], SHUT_WR);
    assert_look(FCGI_LOOK_WHOLE);
}

static void test_garbage_is_bad(void **state)
{
    (void)state;
    put(&input, "GET / HTTP/1.1\r\n\r\n", 18);
    send_bytes(sockets[0], &input);
    assert_bad("not FastCGI");
}

/* A header longer than the small buffer, of about size bytes. */
static void put_long_header(size_t size)
{
    static struct bytes pairs;
    static char value[1001];
    memset(value, 'v', 1000);
    put_begin(&input, 1, RESPONDER, 0);
    while (input.size + 8 * 1013 < size) {
        pairs.size = 0;
        for (int i = 0; i < 8; i++)
            put_pair(&pairs, "HTTP_X", value);
        put_record(&input, PARAMS, 1, pairs.data, pairs.size);
    }
    put_record(&input, PARAMS, 1, NULL, 0);
}

static void test_long_header_in_pieces_over_a_unix_socket_is_whole(void **state)
{
    (void)state;
    put_long_header(FCGI_HEADER_BYTES_MAX);
    for (size_t at = 0; at < input.size;) {
        size_t now = input.size - at < 4096 ? input.size - at : 4096;
        assert_int_equal(send(sockets[0], input.data + at, now, MSG_DONTWAIT), now);
        at += now;
        assert_look(at < input.size ? FCGI_LOOK_PARTIAL : FCGI_LOOK_WHOLE);
    }
}

static void make_tcp_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(pair[0], (struct sockaddr *)&address, sizeof address), 0);
    pair[1] = accept(listener, NULL, NULL);
    assert_true(pair[1] >= 0);
    close(listener);
}

/* The kernel's window for a connection that nobody reads is smaller than a header may be. */
static void test_long_header_over_tcp_is_whole(void **state)
{
    (void)state;
    close_connection(NULL);
    make_tcp_pair(sockets);
    put_long_header(FCGI_HEADER_BYTES_MAX);
    fcntl(sockets[0], F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    for (int i = 0; i < 1000 && fcgi_look(sockets[1], NULL) != FCGI_LOOK_WHOLE; i++) {
        struct pollfd more = {.fd = sockets[1], .events = POLLIN};
        ssize_t now = send(sockets[0], input.data + sent, input.size - sent, MSG_NOSIGNAL);
        sent += now > 0 ? (size_t)now : 0;
        poll(&more, 1, 100);
    }
    assert_look(FCGI_LOOK_WHOLE);
}

static void test_get_values_is_answered_at_once(void **state)
{
    (void)state;
    static const char question[] = "\17\0FCGI_MPXS_CONNS\16\0FCGI_MAX_CONNS\5\0OTHER\15\0FCGI_MAX_REQS";
    static const char answer[] =
        "\1\12\0\0\0\71\0\0\16\4FCGI_MAX_CONNS1024\15\4FCGI_MAX_REQS1024\17\1FCGI_MPXS_CONNS0";
    put_record_of(&input, 1, GET_VALUES, 0, question, sizeof question - 1, 5);
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_EMPTY);
    assert_answer(answer, sizeof answer - 1);
    assert_look(FCGI_LOOK_EMPTY);
}

static void test_value_named_often_is_answered_once(void **state)
{
    (void)state;
    static struct bytes question;
    static const char answer[] = "\1\12\0\0\0\22\0\0\17\1FCGI_MPXS_CONNS0";
    for (int i = 0; i < 3000; i++)
        put_pair(&question, "FCGI_MPXS_CONNS", "");
    put_record(&input, GET_VALUES, 0, question.data, question.size);
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_EMPTY);
    assert_answer(answer, sizeof answer - 1);
}

static void test_get_values_with_lying_lengths_is_answered_without_them(void **state)
{
    (void)state;
    put_record(&input, GET_VALUES, 0, "\17\0FCGI_MPXS_CONNS\377\377\377\377\377\377\377\377x", 26);
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_EMPTY);
    static const char answer[] = "\1\12\0\0\0\22\0\0\17\1FCGI_MPXS_CONNS0";
    assert_answer(answer, sizeof answer - 1);
}

static void test_unknown_management_type_is_answered_and_the_request_behind_it_found(void **state)
{
    (void)state;
    put_record(&input, 200, 0, "what", 4);
    put_header(&input, 1, true, "A", "b");
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_WHOLE);
    assert_answer("\1\13\0\0\0\10\0\0\310\0\0\0\0\0\0\0", 16);
    assert_look(FCGI_LOOK_WHOLE);
}

static void test_other_role_is_refused_and_a_kept_connection_goes_on(void **state)
{
    (void)state;
    put_begin(&input, 258, FILTER, 1);
    put_record(&input, PARAMS, 258, "\1\1Ab", 4);
    put_record(&input, PARAMS, 258, NULL, 0);
    put_record(&input, STDIN, 258, "body", 4);
    put_record(&input, STDIN, 258, NULL, 0);
    put_record(&input, DATA, 258, NULL, 0);
    put_header(&input, 3, true, "A", "b");
    send_bytes(sockets[0], &input);
    assert_look(FCGI_LOOK_WHOLE);
    assert_answer("\1\3\1\2\0\10\0\0\0\0\0\0\3\0\0\0", 16);
}

static void test_other_role_is_refused_and_an_unkept_connection_ends(void **state)
{
    (void)state;
    put_begin(&input, 1, 77, 0);
    put_record(&input, PARAMS, 1, NULL, 0);
    put_record(&input, STDIN, 1, NULL, 0);
    send_bytes(sockets[0], &input);
    assert_bad("a role other than responder");
    assert_answer("\1\3\0\1\0\10\0\0\0\0\0\0\3\0\0\0", 16);
}

static void test_peer_that_never_reads_its_answers_is_bad(void **state)
{
    (void)state;
    enum fcgi_look found = FCGI_LOOK_EMPTY;
    for (int i = 0; i < 100; i++)
        put_record(&input, 200, 0, NULL, 0);
    for (int i = 0; i < 10000 && found == FCGI_LOOK_EMPTY; i++) {
        send_bytes(sockets[0], &input);
        found = fcgi_look(sockets[1], NULL);
    }
    assert_int_equal(found, FCGI_LOOK_BAD);
}

#define LOOK_TEST(name) cmocka_unit_test_setup_teardown(name, open_connection, close_connection)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOK_TEST(test_silent_connection_is_empty),
        LOOK_TEST(test_closed_connection_is_gone),
        LOOK_TEST(test_no_socket_is_gone),
        LOOK_TEST(test_header_that_drips_in_is_partial_until_whole_and_never_taken),
        LOOK_TEST(test_half_a_header_of_a_peer_that_left_is_gone),
        LOOK_TEST(test_whole_header_of_a_peer_that_left_is_still_whole),
        LOOK_TEST(test_garbage_is_bad),
        LOOK_TEST(test_long_header_in_pieces_over_a_unix_socket_is_whole),
        LOOK_TEST(test_long_header_over_tcp_is_whole),
        LOOK_TEST(test_get_values_is_answered_at_once),
        LOOK_TEST(test_value_named_often_is_answered_once),
        LOOK_TEST(test_get_values_with_lying_lengths_is_answered_without_them),
        LOOK_TEST(test_unknown_management_type_is_answered_and_the_request_behind_it_found),
        LOOK_TEST(test_other_role_is_refused_and_a_kept_connection_goes_on),
        LOOK_TEST(test_other_role_is_refused_and_an_unkept_connection_ends),
        LOOK_TEST(test_peer_that_never_reads_its_answers_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
