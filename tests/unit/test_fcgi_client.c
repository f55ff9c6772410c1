/* links: base fcgi */
/* The web server's side: fcgi_client_send() makes what fcgi_walk() accepts, fcgi_client_receive() takes
 * any answer that the specification allows and says what is wrong with others. */
#include "tests/unit/test_fcgi_common.h"

#include <stdio.h>

static struct bytes input;
static struct bytes output;
static int sockets[2];
static struct answer answer;

static int open_connection(void **state)
{
    (void)state;
    input.size = output.size = 0;
    memset(&answer, 0, sizeof answer);
    open_pair(sockets);
    return 0;
}

static int close_connection(void **state)
{
    (void)state;
    free(answer.text);
    close(sockets[0]);
    close(sockets[1]);
    return 0;
}

static void put_end(unsigned char app_status, unsigned char protocol_status)
{
    unsigned char body[8] = {1, 2, 3, app_status, protocol_status};
    put_record_of(&input, 1, END, 1, body, sizeof body, 3);
}

static void assert_received(int expected)
{
    send_bytes(sockets[1], &input);
    shutdown(sockets[1], SHUT_WR);
    assert_int_equal(receive_answer(sockets[0], &answer), expected);
}

static void test_small_request_is_exactly_these_bytes(void **state)
{
    (void)state;
    static const char expected[] = "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
                                   "\1\4\0\1\0\6\0\0\1\3Ab=c"
                                   "\1\4\0\1\0\0\0\0"
                                   "\1\5\0\1\0\4\0\0body"
                                   "\1\5\0\1\0\0\0\0";
    char *params[] = {"A=b=c", NULL};
    struct err e;
    assert_int_equal(fcgi_client_send(sockets[0], params, "body", 4, true, &e), 0);
    assert_int_equal(recv(sockets[1], output.data, sizeof output.data, MSG_DONTWAIT), sizeof expected - 1);
    assert_memory_equal(output.data, expected, sizeof expected - 1);
}

static void test_request_without_params_or_body_is_whole(void **state)
{
    (void)state;
    char *params[] = {NULL};
    struct err e;
    assert_int_equal(fcgi_client_send(sockets[0], params, NULL, 0, false, &e), 0);
    assert_int_equal(recv(sockets[1], output.data, sizeof output.data, MSG_DONTWAIT), 16 + 8 + 8);
    assert_int_equal(output.data[10], 0);
    size_t consume;
    assert_int_equal(fcgi_walk(output.data, 32, &consume, NULL), FCGI_LOOK_WHOLE);
}

static void test_param_without_name_is_refused_and_nothing_sent(void **state)
{
    (void)state;
    static char *const rows[] = {"novalue", "=nameless", ""};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *params[] = {rows[i], NULL};
        struct err e;
        assert_int_equal(fcgi_client_send(sockets[0], params, NULL, 0, false, &e), -1);
        assert_non_null(strstr(e.text, "is no NAME=VALUE"));
        assert_int_equal(recv(sockets[1], output.data, 1, MSG_DONTWAIT), -1);
    }
}

static void test_sending_to_a_closed_peer_is_an_error_and_no_signal(void **state)
{
    (void)state;
    char *params[] = {"A=b", NULL};
    struct err e;
    signal(SIGPIPE, SIG_DFL);
    shutdown(sockets[1], SHUT_RDWR);
    assert_int_equal(fcgi_client_send(sockets[0], params, NULL, 0, false, &e), -1);
    assert_string_equal(e.text, "sending the request: Broken pipe");
}

struct heard {
    char out[64], err[64];
};

static int hear(void *context, bool is_error, const void *bytes, size_t size)
{
    struct heard *h = context;
    strncat(is_error ? h->err : h->out, bytes, size);
    return 0;
}

static void test_answer_of_padded_and_interleaved_records_is_told_apart(void **state)
{
    (void)state;
    struct heard heard = {.out = ""};
    uint32_t status;
    struct err e;
    put_record_of(&input, 1, STDOUT, 1, "one ", 4, 255);
    put_record_of(&input, 1, 7, 1, "oops", 4, 1);
    put_record(&input, 10, 0, "ignored", 7);
    put_record_of(&input, 1, STDOUT, 1, "two", 3, 0);
    put_record(&input, 7, 1, NULL, 0);
    put_record_of(&input, 1, STDOUT, 1, NULL, 0, 8);
    put_end(4, 0);
    put(&input, "next", 4);
    send_bytes(sockets[1], &input);
    assert_int_equal(fcgi_client_receive(sockets[0], hear, &heard, &status, &e), 0);
    assert_string_equal(heard.out, "one two");
    assert_string_equal(heard.err, "oops");
    assert_int_equal(status, 0x01020304);
    assert_int_equal(recv(sockets[0], output.data, 100, 0), 4); /* not a byte too far */
}

static void test_largest_record_is_received(void **state)
{
    (void)state;
    static char large[65535];
    memset(large, 'x', sizeof large);
    put_record_of(&input, 1, STDOUT, 1, large, sizeof large, 255);
    put_end(0, 0);
    assert_received(0);
    assert_int_equal(answer.size, sizeof large);
    assert_memory_equal(answer.text, large, sizeof large);
}

static void test_close_before_the_end_is_said(void **state)
{
    (void)state;
    put_record(&input, STDOUT, 1, "half", 4);
    put_record(&input, STDOUT, 1, NULL, 0);
    assert_received(-1);
    assert_string_equal(answer.text, "half");
    assert_string_equal(answer.err.text, "the connection closed before END_REQUEST");
}

static void test_close_inside_a_record_is_said(void **state)
{
    (void)state;
    put_record(&input, STDOUT, 1, "half", 4);
    input.size -= 2;
    assert_received(-1);
    assert_string_equal(answer.err.text, "the connection closed before END_REQUEST");
}

static void test_refusals_are_said_in_words(void **state)
{
    (void)state;
    static const char *const rows[] = {"does not multiplex", "is overloaded", "serves no such role",
                                       "status 4"};
    for (unsigned char i = 1; i <= 4; i++) {
        input.size = 0;
        put_end(0, i);
        free(answer.text);
        send_bytes(sockets[1], &input);
        assert_int_equal(receive_answer(sockets[0], &answer), -1);
        assert_non_null(strstr(answer.err.text, rows[i - 1]));
    }
}

static void test_answers_that_are_not_fastcgi_are_errors(void **state)
{
    (void)state;
    put(&input, "HTTP/1.1 400 Bad Request\r\n", 26);
    assert_received(-1);
    assert_string_equal(answer.err.text, "the answer is not FastCGI");
}

static void test_end_request_of_the_wrong_size_is_an_error(void **state)
{
    (void)state;
    put_record(&input, END, 1, "1234567", 7);
    assert_received(-1);
    assert_string_equal(answer.err.text, "an END_REQUEST of 7 bytes");
}

static int refuse(void *context, bool is_error, const void *bytes, size_t size)
{
    (void)context, (void)is_error, (void)bytes, (void)size;
    return -1;
}

static void test_sink_that_refuses_ends_the_receiving(void **state)
{
    (void)state;
    uint32_t status;
    struct err e;
    put_record(&input, STDOUT, 1, "x", 1);
    send_bytes(sockets[1], &input);
    assert_int_equal(fcgi_client_receive(sockets[0], refuse, NULL, &status, &e), -1);
    assert_string_equal(e.text, "the answer was not wanted to its end");
}

static void test_silent_server_ends_with_the_time_limit(void **state)
{
    (void)state;
    fcgi_set_io_timeout(sockets[0], 50);
    assert_int_equal(receive_answer(sockets[0], &answer), -1);
    assert_non_null(strstr(answer.err.text, "reading the answer: "));
}

#define CLIENT_TEST(name) cmocka_unit_test_setup_teardown(name, open_connection, close_connection)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_small_request_is_exactly_these_bytes),
        CLIENT_TEST(test_request_without_params_or_body_is_whole),
        CLIENT_TEST(test_param_without_name_is_refused_and_nothing_sent),
        CLIENT_TEST(test_sending_to_a_closed_peer_is_an_error_and_no_signal),
        CLIENT_TEST(test_answer_of_padded_and_interleaved_records_is_told_apart),
        CLIENT_TEST(test_largest_record_is_received),
        CLIENT_TEST(test_close_before_the_end_is_said),
        CLIENT_TEST(test_close_inside_a_record_is_said),
        CLIENT_TEST(test_refusals_are_said_in_words),
        CLIENT_TEST(test_answers_that_are_not_fastcgi_are_errors),
        CLIENT_TEST(test_end_request_of_the_wrong_size_is_an_error),
        CLIENT_TEST(test_sink_that_refuses_ends_the_receiving),
        CLIENT_TEST(test_silent_server_ends_with_the_time_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
