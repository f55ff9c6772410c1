/* links: base fcgi */
/* A request from begin to end, as a worker thread runs it: bodies, answers, and what becomes of the
 * connection. The web server's side is bytes put together by hand, or a thread with fcgi_client_*(). */
#include "tests/unit/test_fcgi_common.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

static struct bytes input;
static struct bytes output;
static int sockets[2];
static struct fcgi_request *request;
static struct answer answer;

static int open_connection(void **state)
{
    (void)state;
    input.size = output.size = 0;
    open_pair(sockets);
    fcgi_set_io_timeout(sockets[1], 50);
    request = fcgi_request_new();
    memset(&answer, 0, sizeof answer);
    return request ? 0 : -1;
}

/* The request object may still hold the connection: freeing it closes that. */
static int close_connection(void **state)
{
    (void)state;
    fcgi_request_free(request);
    free(answer.text);
    close(sockets[0]);
    if (sockets[1] >= 0)
        close(sockets[1]);
    return 0;
}

static void begin(void)
{
    assert_int_equal(fcgi_look(sockets[1], NULL), FCGI_LOOK_WHOLE);
    assert_true(fcgi_request_begin(request, &sockets[1]));
    assert_int_equal(sockets[1], -1);
}

static void begin_sent(void)
{
    send_bytes(sockets[0], &input);
    begin();
}

static void write_text(const char *text)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(fcgi_request_write(request, &part, 1), 0);
}

static void assert_kept(void)
{
    sockets[1] = fcgi_request_end(request);
    assert_true(sockets[1] >= 0);
}

/* A byte pattern in which a lost or doubled piece shows. */
static unsigned char *make_pattern(size_t size)
{
    unsigned char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
    return bytes;
}

/* ---- parameters ---- */

static void test_params_come_in_the_order_sent_with_duplicates_and_the_last_one_wins(void **state)
{
    (void)state;
    static struct bytes pairs;
    pairs.size = 0;
    put_pair(&pairs, "A", "first");
    put_pair(&pairs, "AB", "");
    put_pair(&pairs, "A", "second");
    put_begin(&input, 1, RESPONDER, 0);
    put_record(&input, PARAMS, 1, pairs.data, pairs.size);
    put_record(&input, PARAMS, 1, NULL, 0);
    begin_sent();
    char *const *params = fcgi_request_params(request);
    assert_string_equal(params[0], "A=first");
    assert_string_equal(params[1], "AB=");
    assert_string_equal(params[2], "A=second");
    assert_null(params[3]);
    assert_string_equal(fcgi_request_param(request, "A"), "second");
    assert_string_equal(fcgi_request_param(request, "AB"), "");
    assert_null(fcgi_request_param(request, "B"));
    assert_null(fcgi_request_param(request, "FCGI_ROLE"));
}

static void test_as_many_and_as_long_params_as_allowed_come_through(void **state)
{
    (void)state;
    char *params[FCGI_PARAMS_MAX + 1];
    char text[80];
    struct err e;
    memset(text, 'x', sizeof text);
    for (int i = 0; i < FCGI_PARAMS_MAX; i++) {
        params[i] = malloc(sizeof text);
        snprintf(params[i], sizeof text, "HTTP_X_%04d=%.*s", i, 60, text);
    }
    params[FCGI_PARAMS_MAX] = NULL;
    assert_int_equal(fcgi_client_send(sockets[0], params, NULL, 0, true, &e), 0);
    begin();
    for (int i = 0; i < FCGI_PARAMS_MAX; i++)
        assert_string_equal(fcgi_request_params(request)[i], params[i]);
    assert_null(fcgi_request_params(request)[FCGI_PARAMS_MAX]);
    assert_kept();
    for (int i = 0; i < FCGI_PARAMS_MAX; i++)
        free(params[i]);
}

static void test_one_param_of_100_kib_comes_through(void **state)
{
    (void)state;
    static char param[100 * 1024];
    char *params[] = {param, "CONTENT_LENGTH=4", NULL};
    char body[8];
    struct err e;
    memset(param, 'v', sizeof param - 1);
    memcpy(param, "HTTP_COOKIE=", 12);
    assert_int_equal(fcgi_client_send(sockets[0], params, "body", 4, true, &e), 0);
    begin();
    assert_string_equal(fcgi_request_params(request)[0], param);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    assert_memory_equal(body, "body", 4);
    assert_kept();
}

static void test_header_cut_after_the_look_is_refused_and_closed(void **state)
{
    (void)state;
    put_begin(&input, 1, RESPONDER, 1);
    put_record(&input, PARAMS, 1, "\1\1Ab", 4);
    send_bytes(sockets[0], &input);
    int fd = sockets[1];
    assert_false(fcgi_request_begin(request, &sockets[1]));
    assert_int_equal(sockets[1], -1);
    assert_false(fd_is_open(fd));
}

/* ---- CONTENT_LENGTH ---- */

static void test_content_length_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second; /* NULL: not sent */
        int64_t left;
        bool bad;
    } rows[] = {
        {NULL, NULL, -1, false},
        {"", NULL, -1, false},
        {"0", NULL, 0, false},
        {"17", NULL, 17, false},
        {"17", "17", 17, false},
        {"", "17", 17, false},
        {"9223372036854775799", NULL, 9223372036854775799, false},
        {"9223372036854775808", NULL, 0, true},
        {"99999999999999999999999", NULL, 0, true},
        {"-1", NULL, 0, true},
        {"+1", NULL, 0, true},
        {" 1", NULL, 0, true},
        {"1 ", NULL, 0, true},
        {"0x10", NULL, 0, true},
        {"ten", NULL, 0, true},
        {"17", "18", 0, true},
        {"x", "18", 0, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct bytes pairs;
        char byte;
        pairs.size = input.size = 0;
        put_pair(&pairs, "CONTENT_LENGTHS", "5");
        if (rows[i].first)
            put_pair(&pairs, "CONTENT_LENGTH", rows[i].first);
        if (rows[i].second)
            put_pair(&pairs, "CONTENT_LENGTH", rows[i].second);
        put_begin(&input, 1, RESPONDER, 1);
        put_record(&input, PARAMS, 1, pairs.data, pairs.size);
        put_record(&input, PARAMS, 1, NULL, 0);
        put_record(&input, STDIN, 1, NULL, 0);
        begin_sent();
        assert_int_equal(fcgi_request_body_left(request), rows[i].left);
        assert_int_equal(fcgi_request_length_is_bad(request), rows[i].bad);
        if (rows[i].left <= 0)
            assert_int_equal(fcgi_request_read(request, &byte, 1), 0);
        assert_kept();
    }
}

static void test_read_stops_at_content_length_and_the_rest_is_drained(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "CONTENT_LENGTH", "2");
    put_record(&input, STDIN, 1, "body", 4);
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 2);
    assert_int_equal(fcgi_request_body_left(request), 0);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 0);
    assert_kept();
}

static void test_body_without_length_ends_with_the_stream(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "CONTENT_LENGTH", "");
    put_record(&input, STDIN, 1, "body", 4);
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 0);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 0);
    assert_kept();
}

static void test_stream_that_ends_before_content_length_fails_with_epipe_but_can_be_answered(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "CONTENT_LENGTH", "9");
    put_record(&input, STDIN, 1, "body", 4);
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    for (int i = 0; i < 2; i++) {
        errno = 0;
        assert_int_equal(fcgi_request_read(request, body, sizeof body), -1);
        assert_int_equal(errno, EPIPE);
    }
    assert_false(fcgi_request_is_broken(request));
    write_text("Status: 400\r\n\r\n");
    assert_kept();
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
}

/* ---- reading ---- */

static void wait_for_header(void)
{
    struct pollfd readable = {.fd = sockets[1], .events = POLLIN};
    while (fcgi_look(sockets[1], NULL) != FCGI_LOOK_WHOLE)
        assert_int_equal(poll(&readable, 1, 5000), 1);
}

static void *drip_input(void *argument)
{
    for (size_t i = 0; i < input.size; i++)
        send(sockets[0], input.data + i, 1, MSG_NOSIGNAL);
    return argument;
}

static void test_body_in_records_of_any_size_and_padding_is_read_whole(void **state)
{
    (void)state;
    char body[100];
    size_t have = 0;
    put_header(&input, 1, true, "CONTENT_LENGTH", "78");
    for (size_t i = 1; i <= 12; i++) {
        char piece[12];
        memset(piece, (int)('a' + i), sizeof piece);
        put_record_of(&input, 1, STDIN, 1, piece, i, i * 21);
    }
    put_record_of(&input, 1, STDIN, 1, NULL, 0, 255);
    /* byte by byte, so that the reader stands at every place there is */
    pthread_t thread;
    fcgi_set_io_timeout(sockets[1], 5000);
    pthread_create(&thread, NULL, drip_input, NULL);
    wait_for_header();
    begin();
    ssize_t got;
    while ((got = fcgi_request_read(request, body + have, 5)) > 0)
        have += (size_t)got;
    assert_int_equal(got, 0);
    assert_int_equal(have, 78);
    for (size_t i = 1, at = 0; i <= 12; at += i++)
        for (size_t j = 0; j < i; j++)
            assert_int_equal(body[at + j], 'a' + i);
    assert_kept();
    pthread_join(thread, NULL);
}

struct upload {
    const unsigned char *bytes;
    size_t size;
    int fd;
    bool keep;
    struct answer answer;
    int sent;
    int received;
};

static void *upload_thread(void *argument)
{
    struct upload *u = argument;
    char length[64];
    char *params[] = {"REQUEST_METHOD=POST", length, NULL};
    struct err e;
    snprintf(length, sizeof length, "CONTENT_LENGTH=%zu", u->size);
    u->sent = fcgi_client_send(u->fd, params, u->bytes, u->size, u->keep, &e);
    u->received = receive_answer(u->fd, &u->answer);
    return NULL;
}

static void test_large_bodies_go_both_ways_unchanged_on_a_kept_connection(void **state)
{
    (void)state;
    enum { SIZE = 5 * 1024 * 1024 + 12345 };
    unsigned char *pattern = make_pattern(SIZE), *received = malloc(SIZE);
    fcgi_set_io_timeout(sockets[1], 5000);
    for (int round = 0; round < 3; round++) {
        struct upload u = {.bytes = pattern, .size = SIZE, .fd = sockets[0], .keep = true};
        pthread_t thread;
        size_t have = 0;
        pthread_create(&thread, NULL, upload_thread, &u);
        wait_for_header();
        begin();
        ssize_t got;
        while ((got = fcgi_request_read(request, received + have, SIZE - have)) > 0)
            have += (size_t)got;
        assert_int_equal(have, SIZE);
        assert_memory_equal(received, pattern, SIZE);
        struct iovec parts[] = {{"A: b\r\n\r\n", 8}, {pattern, SIZE}, {NULL, 0}, {"end", 3}};
        assert_int_equal(fcgi_request_write(request, parts, 4), 0);
        assert_kept();
        pthread_join(thread, NULL);
        assert_int_equal(u.sent, 0);
        assert_int_equal(u.received, 0);
        assert_int_equal(u.answer.size, 8 + SIZE + 3);
        assert_memory_equal(u.answer.text, "A: b\r\n\r\n", 8);
        assert_memory_equal(u.answer.text + 8, pattern, SIZE);
        free(u.answer.text);
    }
    free(pattern);
    free(received);
}

static void test_slow_body_times_out_and_can_still_be_answered(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, false, "CONTENT_LENGTH", "9");
    put_record(&input, STDIN, 1, "body", 4);
    begin_sent();
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    errno = 0;
    assert_int_equal(fcgi_request_read(request, body, sizeof body), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_false(fcgi_request_is_broken(request));
    write_text("Status: 408\r\n\r\n");
    shutdown(sockets[0], SHUT_WR);
    assert_int_equal(fcgi_request_end(request), -1);
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    assert_string_equal(answer.text, "Status: 408\r\n\r\n");
}

static void test_peer_that_vanishes_in_its_body_breaks_the_request(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "CONTENT_LENGTH", "9");
    put_record(&input, STDIN, 1, "body", 4);
    begin_sent();
    shutdown(sockets[0], SHUT_RDWR);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    errno = 0;
    assert_int_equal(fcgi_request_read(request, body, sizeof body), -1);
    assert_int_equal(errno, EPIPE);
    assert_true(fcgi_request_is_broken(request));
    assert_int_equal(fcgi_request_end(request), -1);
}

static void test_records_that_do_not_belong_in_a_body_break_the_request(void **state)
{
    (void)state;
    static const struct {
        int version, type, id;
    } rows[] = {{1, ABORT, 1}, {1, STDIN, 2}, {1, BEGIN, 2},      {1, PARAMS, 1}, {1, DATA, 1},
                {2, STDIN, 1}, {1, 77, 1},    {1, GET_VALUES, 0}, {1, 77, 0},     {0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[16];
        input.size = 0;
        put_header(&input, 1, true, "CONTENT_LENGTH", "9");
        put_record(&input, STDIN, 1, "body", 4);
        put_record_of(&input, rows[i].version, rows[i].type, rows[i].id, "12345678", 8, 0);
        put_record(&input, STDIN, 1, NULL, 0);
        begin_sent();
        assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
        assert_int_equal(fcgi_request_read(request, body, sizeof body), -1);
        assert_int_equal(errno, EPIPE);
        assert_true(fcgi_request_is_broken(request));
        assert_int_equal(fcgi_request_end(request), -1);
        close(sockets[0]);
        open_pair(sockets);
    }
}

static void test_get_values_that_would_overrun_libfcgi_in_a_body_is_harmless(void **state)
{
    (void)state;
    static struct bytes question;
    question.size = 0;
    for (int i = 0; i < 400; i++)
        put_pair(&question, "FCGI_MAX_CONNS", "");
    put_header(&input, 1, true, "A", "b");
    put_record(&input, GET_VALUES, 0, question.data, question.size);
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    assert_int_equal(fcgi_request_end(request), -1);
}

/* ---- keeping and closing ---- */

static void test_a_peer_that_did_not_end_its_request_is_answered_and_read_away_by_the_caller(void **state)
{
    (void)state;
    bool lingers = false;
    put_header(&input, 1, false, "CONTENT_LENGTH", "9");
    put_record(&input, STDIN, 1, "body", 4);
    begin_sent();
    write_text("Status: 200\r\n\r\n");
    sockets[1] = fcgi_request_end_early(request, &lingers);
    assert_true(lingers);
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    assert_string_equal(answer.text, "Status: 200\r\n\r\n");
    assert_true(fcgi_linger(sockets[1])); /* nothing came yet */
    assert_int_equal(write(sockets[0], "more", 4), 4);
    assert_true(fcgi_linger(sockets[1]));
    shutdown(sockets[0], SHUT_WR);
    assert_false(fcgi_linger(sockets[1]));
}

static void test_kept_connection_serves_many_requests(void **state)
{
    (void)state;
    for (int i = 1; i <= 300; i++) {
        char text[32];
        struct err e;
        char *params[] = {"CONTENT_LENGTH=4", text, NULL};
        snprintf(text, sizeof text, "N=%d", i);
        assert_int_equal(fcgi_client_send(sockets[0], params, "body", 4, true, &e), 0);
        begin();
        assert_string_equal(fcgi_request_params(request)[1], text);
        write_text(text);
        if (i % 3 == 0)
            assert_int_equal(fcgi_request_flush(request), 0);
        assert_kept();
        assert_int_equal(receive_answer(sockets[0], &answer), 0);
        assert_string_equal(answer.text, text);
        assert_int_equal(answer.status, 0);
        free(answer.text);
        answer.text = NULL;
        assert_int_equal(fcgi_look(sockets[1], NULL), FCGI_LOOK_EMPTY);
    }
}

static void test_connection_is_closed_when_the_peer_did_not_ask_to_keep_it(void **state)
{
    (void)state;
    put_header(&input, 1, false, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    write_text("x");
    assert_int_equal(fcgi_request_end(request), -1);
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    char byte;
    assert_int_equal(recv(sockets[0], &byte, 1, 0), 0);
}

static void *send_large_body(void *argument)
{
    static unsigned char piece[65535];
    struct bytes body = {0};
    (void)argument;
    for (int i = 0; i < 64; i++) {
        body.size = 0;
        put_record(&body, STDIN, 1, piece, sizeof piece);
        send_bytes(sockets[0], &body);
    }
    body.size = 0;
    put_record(&body, STDIN, 1, NULL, 0);
    put_header(&body, 2, true, "SECOND", "yes");
    send_bytes(sockets[0], &body);
    return NULL;
}

/* nginx reuses a connection as soon as it has sent the whole body and seen the end of the answer. */
static void test_large_unread_body_keeps_the_connection(void **state)
{
    (void)state;
    pthread_t thread;
    put_header(&input, 1, true, "A", "b");
    begin_sent();
    pthread_create(&thread, NULL, send_large_body, NULL);
    assert_kept();
    pthread_join(thread, NULL);
    begin();
    assert_string_equal(fcgi_request_param(request, "SECOND"), "yes");
}

static void test_unread_body_that_does_not_end_is_answered_and_the_connection_closed(void **state)
{
    (void)state;
    unsigned char *pattern = make_pattern(65535);
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, pattern, 65535);
    begin_sent();
    write_text("x");
    shutdown(sockets[0], SHUT_WR);
    assert_int_equal(fcgi_request_end(request), -1);
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    free(pattern);
}

static void *send_late_end(void *argument)
{
    struct bytes *late = argument;
    struct answer ignored;
    receive_answer(sockets[0], &ignored); /* END_REQUEST has arrived: only now the body goes on */
    free(ignored.text);
    send_bytes(sockets[0], late);
    return NULL;
}

static void test_end_of_body_that_comes_a_moment_late_keeps_the_connection(void **state)
{
    (void)state;
    static struct bytes late;
    pthread_t thread;
    late.size = 0;
    put_header(&input, 1, true, "CONTENT_LENGTH", "4");
    put_record_of(&input, 1, STDIN, 1, "body", 4, 4);
    put_record(&late, STDIN, 1, NULL, 0);
    begin_sent();
    pthread_create(&thread, NULL, send_late_end, &late);
    assert_kept();
    pthread_join(thread, NULL);
}

static void *send_on_after_answer(void *argument)
{
    char piece[1000] = {0};
    struct answer *a = argument;
    bool sent = true;
    for (int i = 0; i < 40; i++)
        sent = sent && send(sockets[0], piece, sizeof piece, MSG_NOSIGNAL) == (ssize_t)sizeof piece;
    bool received = receive_answer(sockets[0], a) == 0;
    shutdown(sockets[0], SHUT_WR);
    char byte;
    bool ended = recv(sockets[0], &byte, 1, 0) == 0; /* and not ECONNRESET */
    return sent && received && ended ? argument : NULL;
}

static void test_peer_that_is_still_sending_gets_its_answer_and_no_reset(void **state)
{
    (void)state;
    static unsigned char large[65535];
    pthread_t thread;
    void *fine;
    put_header(&input, 1, false, "CONTENT_LENGTH", "1000000");
    put_record(&input, STDIN, 1, large, 100);
    put(&input, "\1\5\0\1\377\377\0\0", 8);
    begin_sent();
    pthread_create(&thread, NULL, send_on_after_answer, &answer);
    write_text("Status: 413\r\n\r\n");
    assert_int_equal(fcgi_request_end(request), -1);
    pthread_join(thread, &fine);
    assert_non_null(fine);
}

static void test_pipelined_request_that_libfcgi_swallowed_closes_the_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        put_header(&input, 1, true, "A", "b");
        put_record(&input, STDIN, 1, NULL, 0);
    }
    begin_sent();
    shutdown(sockets[0], SHUT_WR);
    write_text("x");
    assert_int_equal(fcgi_request_end(request), -1);
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    free(answer.text);
    assert_int_equal(receive_answer(sockets[0], &answer), -1);
    assert_string_equal(answer.err.text, "the connection closed before END_REQUEST");
}

static void test_pipelined_request_still_in_the_socket_is_served(void **state)
{
    (void)state;
    static unsigned char body[20000];
    unsigned char *buffer = malloc(sizeof body);
    put_header(&input, 1, true, "CONTENT_LENGTH", "20000");
    put_record_of(&input, 1, STDIN, 1, body, sizeof body, 9);
    put_record_of(&input, 1, STDIN, 1, NULL, 0, 7);
    put_header(&input, 2, true, "SECOND", "yes");
    begin_sent();
    while (fcgi_request_read(request, buffer, sizeof body) > 0)
        ;
    assert_kept();
    begin();
    assert_string_equal(fcgi_request_param(request, "SECOND"), "yes");
    free(buffer);
}

static void test_break_closes_without_end_request(void **state)
{
    (void)state;
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    write_text("half of");
    assert_int_equal(fcgi_request_flush(request), 0);
    write_text("never sent");
    fcgi_request_break(request);
    assert_int_equal(receive_answer(sockets[0], &answer), -1);
    assert_string_equal(answer.text, "half of");
    assert_string_equal(answer.err.text, "the connection closed before END_REQUEST");
}

/* ---- writing ---- */

/* A connection that keeps the boundaries of each write. */
static void use_packets(void)
{
    close(sockets[0]);
    close(sockets[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
}

static int count_packets(void)
{
    int count = 0;
    while (recv(sockets[0], output.data, sizeof output.data, MSG_DONTWAIT) > 0)
        count++;
    return count;
}

static void test_small_response_leaves_in_one_write(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 14, 5000, 8192 - 8 - 31};
    static char text[8192];
    use_packets();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (i > 0)
            begin_sent();
        for (size_t written = 0; written < sizes[i];) {
            size_t now = sizes[i] - written < 700 ? sizes[i] - written : 700;
            struct iovec part = {text, now};
            assert_int_equal(fcgi_request_write(request, &part, 1), 0);
            written += now;
        }
        assert_kept();
        assert_int_equal(count_packets(), 1);
    }
}

static void test_response_that_leaves_no_room_for_its_end_leaves_before_it(void **state)
{
    (void)state;
    static char text[8192 - 8 - 30];
    struct iovec part = {text, sizeof text};
    use_packets();
    assert_int_equal(fcgi_request_write(request, &part, 1), 0);
    assert_int_equal(count_packets(), 1);
    assert_kept();
    assert_int_equal(count_packets(), 1);
}

static void test_large_piece_leaves_with_what_was_gathered_in_one_write(void **state)
{
    (void)state;
    static char large[150000];
    use_packets();
    struct iovec parts[] = {{"A: b\r\n\r\n", 8}, {large, sizeof large}};
    assert_int_equal(fcgi_request_write(request, parts, 2), 0);
    assert_int_equal(count_packets(), 1);
    assert_kept();
    assert_int_equal(count_packets(), 1);
}

static void test_empty_parts_and_flushes_do_not_end_the_stream(void **state)
{
    (void)state;
    put_header(&input, 1, false, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    struct iovec parts[] = {{NULL, 0}, {"", 0}, {"a", 1}, {NULL, 0}};
    assert_int_equal(fcgi_request_flush(request), 0);
    assert_int_equal(fcgi_request_write(request, parts, 0), 0);
    assert_int_equal(fcgi_request_write(request, parts, 4), 0);
    assert_int_equal(fcgi_request_flush(request), 0);
    assert_int_equal(fcgi_request_flush(request), 0);
    assert_int_equal(fcgi_request_write(request, parts, 2), 0);
    assert_int_equal(fcgi_request_write(request, parts, 4), 0);
    fcgi_request_end(request);
    read_to_end(sockets[0], &output);
    /* a, then a padded to eight bytes, the end of the stream, END_REQUEST */
    static const char expected[] = "\1\6\0\1\0\1\0\0a"
                                   "\1\6\0\1\0\1\7\0a\0\0\0\0\0\0\0"
                                   "\1\6\0\1\0\0\0\0"
                                   "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0";
    assert_int_equal(output.size, sizeof expected - 1);
    assert_memory_equal(output.data, expected, sizeof expected - 1);
}

static void test_pieces_of_every_size_arrive_unchanged(void **state)
{
    (void)state;
    enum { SIZE = 400000 };
    unsigned char *pattern = make_pattern(SIZE);
    struct upload u = {.fd = sockets[0]};
    pthread_t thread;
    size_t written = 0, step = 1;
    fcgi_set_io_timeout(sockets[1], 5000);
    pthread_create(&thread, NULL, upload_thread, &u);
    wait_for_header();
    begin();
    while (written < SIZE) {
        size_t now = SIZE - written < step ? SIZE - written : step;
        struct iovec part = {pattern + written, now};
        assert_int_equal(fcgi_request_write(request, &part, 1), 0);
        written += now;
        step = step * 3 % 70001 + 1;
    }
    assert_int_equal(fcgi_request_end(request), -1);
    pthread_join(thread, NULL);
    assert_int_equal(u.received, 0);
    assert_int_equal(u.answer.size, SIZE);
    assert_memory_equal(u.answer.text, pattern, SIZE);
    free(u.answer.text);
    free(pattern);
}

static void test_stalled_reader_times_out_and_every_later_write_fails(void **state)
{
    (void)state;
    static char large[4 << 20];
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    struct iovec part = {large, sizeof large};
    for (int i = 0; i < 2; i++) {
        errno = 0;
        assert_int_equal(fcgi_request_write(request, &part, 1), -1);
        assert_int_equal(errno, ETIMEDOUT);
        part.iov_len = 1;
    }
    assert_true(fcgi_request_is_broken(request));
    assert_int_equal(fcgi_request_flush(request), -1);
    assert_int_equal(fcgi_request_end(request), -1);
}

static void test_writing_to_a_vanished_peer_fails_with_epipe_and_no_signal(void **state)
{
    (void)state;
    static char large[100000];
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    shutdown(sockets[0], SHUT_RDWR);
    struct iovec part = {large, sizeof large};
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(fcgi_request_write(request, &part, 1), -1);
    assert_int_equal(errno, EPIPE);
    signal(SIGPIPE, SIG_IGN);
    assert_true(fcgi_request_is_broken(request));
    assert_int_equal(fcgi_request_end(request), -1);
}

static void test_small_answer_to_a_vanished_peer_is_no_harm(void **state)
{
    (void)state;
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    shutdown(sockets[0], SHUT_RDWR);
    write_text("x");
    assert_int_equal(fcgi_request_end(request), -1);
}

static void ignore_signal(int number)
{
    (void)number;
}

struct pestering {
    pthread_t victim;
    atomic_bool stop;
    int count;
};

static void *pester(void *argument)
{
    struct pestering *p = argument;
    for (; !atomic_load(&p->stop); p->count++) {
        struct timespec pause = {0, 100000};
        pthread_kill(p->victim, SIGRTMIN + 3);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *pester_then_send_body(void *argument)
{
    struct pestering *p = argument;
    for (; p->count < 30; p->count++) {
        struct timespec pause = {0, 1000000};
        pthread_kill(p->victim, SIGRTMIN + 3);
        nanosleep(&pause, NULL);
    }
    send(sockets[0], "\1\5\0\1\0\4\0\0body", 12, MSG_NOSIGNAL);
    return NULL;
}

static void test_signals_do_not_end_the_wait_for_a_body(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_signal};
    struct pestering pestering = {.victim = pthread_self()};
    pthread_t thread;
    char body[16];
    sigaction(SIGRTMIN + 3, &action, NULL);
    fcgi_set_io_timeout(sockets[1], 5000);
    put_header(&input, 1, true, "CONTENT_LENGTH", "4");
    begin_sent();
    pthread_create(&thread, NULL, pester_then_send_body, &pestering);
    assert_int_equal(fcgi_request_read(request, body, sizeof body), 4);
    pthread_join(thread, NULL);
}

static void *pester_then_read(void *argument)
{
    struct pestering *p = argument;
    for (; p->count < 30; p->count++) {
        struct timespec pause = {0, 1000000};
        pthread_kill(p->victim, SIGRTMIN + 3);
        nanosleep(&pause, NULL);
    }
    while (!atomic_load(&p->stop))
        recv(sockets[0], output.data, sizeof output.data, MSG_DONTWAIT);
    return NULL;
}

static void test_signals_do_not_end_the_wait_for_the_last_write(void **state)
{
    (void)state;
    static char junk[4096];
    struct sigaction action = {.sa_handler = ignore_signal};
    struct pestering pestering = {.victim = pthread_self()};
    pthread_t thread;
    sigaction(SIGRTMIN + 3, &action, NULL);
    fcgi_set_io_timeout(sockets[1], 5000);
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    int fd = sockets[1];
    begin_sent();
    write_text("some");
    assert_int_equal(fcgi_request_flush(request), 0);
    while (send(fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
        ;
    write_text("more");
    pthread_create(&thread, NULL, pester_then_read, &pestering);
    assert_kept();
    atomic_store(&pestering.stop, true);
    pthread_join(thread, NULL);
}

static void test_signals_during_reads_and_writes_lose_nothing(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct sigaction action = {.sa_handler = ignore_signal};
    struct pestering pestering = {.victim = pthread_self()};
    unsigned char *pattern = make_pattern(SIZE), *received = malloc(SIZE);
    struct upload u = {.bytes = pattern, .size = SIZE, .fd = sockets[0], .keep = true};
    pthread_t client, pest;
    size_t have = 0;
    sigaction(SIGRTMIN + 3, &action, NULL);
    fcgi_set_io_timeout(sockets[1], 5000);
    pthread_create(&client, NULL, upload_thread, &u);
    wait_for_header();
    begin();
    pthread_create(&pest, NULL, pester, &pestering);
    ssize_t got;
    while ((got = fcgi_request_read(request, received + have, SIZE - have)) > 0)
        have += (size_t)got;
    struct iovec part = {received, have};
    int written = fcgi_request_write(request, &part, 1);
    write_text("end");
    sockets[1] = fcgi_request_end(request);
    atomic_store(&pestering.stop, true);
    pthread_join(pest, NULL);
    pthread_join(client, NULL);
    assert_int_equal(have, SIZE);
    assert_int_equal(written, 0);
    assert_true(sockets[1] >= 0);
    assert_true(pestering.count > 0);
    assert_int_equal(u.answer.size, SIZE + 3);
    assert_memory_equal(u.answer.text, pattern, SIZE);
    free(u.answer.text);
    free(pattern);
    free(received);
}

/* ---- files ---- */

static int make_file(const void *bytes, size_t size)
{
    int file = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(write(file, bytes, size), size);
    return file;
}

static void test_file_is_sent_from_its_offset(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20, OFFSET = 4321 };
    unsigned char *pattern = make_pattern(SIZE);
    int file = make_file(pattern, SIZE);
    struct upload u = {.fd = sockets[0], .keep = true};
    pthread_t thread;
    size_t sent;
    fcgi_set_io_timeout(sockets[1], 5000);
    pthread_create(&thread, NULL, upload_thread, &u);
    wait_for_header();
    begin();
    write_text("A: b\r\n\r\n");
    assert_int_equal(fcgi_request_sendfile(request, file, OFFSET, SIZE - OFFSET, &sent), 1);
    assert_int_equal(sent, SIZE - OFFSET);
    write_text("end");
    assert_kept();
    pthread_join(thread, NULL);
    assert_int_equal(u.received, 0);
    assert_int_equal(u.answer.size, 8 + SIZE - OFFSET + 3);
    assert_memory_equal(u.answer.text + 8, pattern + OFFSET, SIZE - OFFSET);
    free(u.answer.text);
    free(pattern);
    close(file);
}

static void test_file_that_ends_early_says_where(void **state)
{
    (void)state;
    int file = make_file("0123456789", 10);
    size_t sent;
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    assert_int_equal(fcgi_request_sendfile(request, file, 4, 100, &sent), 0);
    assert_int_equal(sent, 6);
    assert_int_equal(fcgi_request_sendfile(request, file, 10, 1, &sent), 0);
    assert_int_equal(sent, 0);
    assert_int_equal(fcgi_request_sendfile(request, file, 3, 0, &sent), 1);
    assert_kept();
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    assert_string_equal(answer.text, "456789");
    close(file);
}

static void test_what_is_no_sendable_file_is_refused_with_nothing_sent(void **state)
{
    (void)state;
    int ends[2];
    size_t sent;
    int proc = open("/proc/self/status", O_RDONLY);
    assert_int_equal(pipe(ends), 0);
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, NULL, 0);
    begin_sent();
    const int files[] = {ends[0], sockets[0], proc, -1};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        errno = 0;
        assert_int_equal(fcgi_request_sendfile(request, files[i], 0, 10, &sent), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(sent, 0);
    }
    assert_false(fcgi_request_is_broken(request));
    assert_kept();
    assert_int_equal(receive_answer(sockets[0], &answer), 0);
    assert_int_equal(answer.size, 0);
    close(ends[0]);
    close(ends[1]);
    close(proc);
}

static void test_file_to_a_vanished_peer_fails_with_epipe(void **state)
{
    (void)state;
    int file = make_file("0123456789", 10);
    size_t sent;
    put_header(&input, 1, true, "A", "b");
    begin_sent();
    shutdown(sockets[0], SHUT_RDWR);
    assert_int_equal(fcgi_request_sendfile(request, file, 0, 10, &sent), -1);
    assert_int_equal(errno, EPIPE);
    assert_true(fcgi_request_is_broken(request));
    close(file);
}

static void test_a_file_that_cannot_be_read_fails_with_eio_and_is_no_vanished_peer(void **state)
{
    (void)state;
    char path[64];
    size_t sent;
    int file = make_file("0123456789", 10);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int write_only = open(path, O_WRONLY);
    assert_true(write_only >= 0);
    put_header(&input, 1, true, "A", "b");
    begin_sent();
    assert_int_equal(fcgi_request_sendfile(request, write_only, 0, 10, &sent), -1);
    assert_int_equal(errno, EIO);
    assert_true(fcgi_request_is_broken(request));
    close(write_only);
    close(file);
}

static int init(void **state)
{
    (void)state;
    static struct err e;
    if (fcgi_init(&e) < 0)
        print_error("%s\n", e.text);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    return e.text[0] ? -1 : 0;
}

#define REQUEST_TEST(name) cmocka_unit_test_setup_teardown(name, open_connection, close_connection)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REQUEST_TEST(test_params_come_in_the_order_sent_with_duplicates_and_the_last_one_wins),
        REQUEST_TEST(test_as_many_and_as_long_params_as_allowed_come_through),
        REQUEST_TEST(test_one_param_of_100_kib_comes_through),
        REQUEST_TEST(test_header_cut_after_the_look_is_refused_and_closed),
        REQUEST_TEST(test_content_length_is_checked),
        REQUEST_TEST(test_read_stops_at_content_length_and_the_rest_is_drained),
        REQUEST_TEST(test_body_without_length_ends_with_the_stream),
        REQUEST_TEST(test_stream_that_ends_before_content_length_fails_with_epipe_but_can_be_answered),
        REQUEST_TEST(test_body_in_records_of_any_size_and_padding_is_read_whole),
        REQUEST_TEST(test_large_bodies_go_both_ways_unchanged_on_a_kept_connection),
        REQUEST_TEST(test_slow_body_times_out_and_can_still_be_answered),
        REQUEST_TEST(test_a_peer_that_did_not_end_its_request_is_answered_and_read_away_by_the_caller),
        REQUEST_TEST(test_peer_that_vanishes_in_its_body_breaks_the_request),
        REQUEST_TEST(test_records_that_do_not_belong_in_a_body_break_the_request),
        REQUEST_TEST(test_get_values_that_would_overrun_libfcgi_in_a_body_is_harmless),
        REQUEST_TEST(test_kept_connection_serves_many_requests),
        REQUEST_TEST(test_connection_is_closed_when_the_peer_did_not_ask_to_keep_it),
        REQUEST_TEST(test_large_unread_body_keeps_the_connection),
        REQUEST_TEST(test_unread_body_that_does_not_end_is_answered_and_the_connection_closed),
        REQUEST_TEST(test_end_of_body_that_comes_a_moment_late_keeps_the_connection),
        REQUEST_TEST(test_peer_that_is_still_sending_gets_its_answer_and_no_reset),
        REQUEST_TEST(test_pipelined_request_that_libfcgi_swallowed_closes_the_connection),
        REQUEST_TEST(test_pipelined_request_still_in_the_socket_is_served),
        REQUEST_TEST(test_break_closes_without_end_request),
        REQUEST_TEST(test_small_response_leaves_in_one_write),
        REQUEST_TEST(test_response_that_leaves_no_room_for_its_end_leaves_before_it),
        REQUEST_TEST(test_large_piece_leaves_with_what_was_gathered_in_one_write),
        REQUEST_TEST(test_empty_parts_and_flushes_do_not_end_the_stream),
        REQUEST_TEST(test_pieces_of_every_size_arrive_unchanged),
        REQUEST_TEST(test_stalled_reader_times_out_and_every_later_write_fails),
        REQUEST_TEST(test_writing_to_a_vanished_peer_fails_with_epipe_and_no_signal),
        REQUEST_TEST(test_small_answer_to_a_vanished_peer_is_no_harm),
        REQUEST_TEST(test_signals_do_not_end_the_wait_for_a_body),
        REQUEST_TEST(test_signals_do_not_end_the_wait_for_the_last_write),
        REQUEST_TEST(test_signals_during_reads_and_writes_lose_nothing),
        REQUEST_TEST(test_file_is_sent_from_its_offset),
        REQUEST_TEST(test_file_that_ends_early_says_where),
        REQUEST_TEST(test_what_is_no_sendable_file_is_refused_with_nothing_sent),
        REQUEST_TEST(test_file_to_a_vanished_peer_fails_with_epipe),
        REQUEST_TEST(test_a_file_that_cannot_be_read_fails_with_eio_and_is_no_vanished_peer),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
