/* links: base fcgi */
/* libfcgi as it is (Debian's 2.4.2): each fact that fcgi/conn.c works around or relies on. When one of
 * these fails with another libfcgi, conn.c's first paragraph has to be read again. */
#include "tests/unit/test_fcgi_common.h"

#include <fcgiapp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct bytes input;
static struct bytes output;
static int sockets[2];
static FCGX_Request request;

static int open_request(void **state)
{
    (void)state;
    input.size = output.size = 0;
    open_pair(sockets);
    FCGX_InitRequest(&request, -1, 0);
    request.ipcFd = sockets[1];
    request.keepConnection = 1;
    request.detached = 1;
    fcgi_set_io_timeout(sockets[1], 50);
    return 0;
}

static int close_request(void **state)
{
    (void)state;
    FCGX_Free(&request, 0);
    close(sockets[0]);
    if (fd_is_open(sockets[1]))
        close(sockets[1]);
    return 0;
}

static int accept_sent(void)
{
    send_bytes(sockets[0], &input);
    return FCGX_Accept_r(&request);
}

static void test_init_replaces_term_and_usr1_handlers_even_when_ignored(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct sigaction term, usr1, pipe_action;
        signal(SIGTERM, SIG_IGN);
        signal(SIGUSR1, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        FCGX_Init();
        sigaction(SIGTERM, NULL, &term);
        sigaction(SIGUSR1, NULL, &usr1);
        sigaction(SIGPIPE, NULL, &pipe_action);
        _exit(term.sa_handler != SIG_IGN && usr1.sa_handler != SIG_IGN && pipe_action.sa_handler != SIG_IGN
                  ? 0
                  : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void test_accept_serves_a_connection_that_was_put_in(void **state)
{
    (void)state;
    put_header(&input, 5, true, "A", "b");
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(request.requestId, 5);
    assert_string_equal(request.envp[0], "FCGI_ROLE=RESPONDER");
    assert_string_equal(request.envp[1], "A=b");
    assert_null(request.envp[2]);
}

static void test_accept_closes_a_connection_without_keep_connection_set(void **state)
{
    (void)state;
    request.keepConnection = 0;
    put_header(&input, 1, true, "A", "b");
    assert_true(accept_sent() < 0);
    assert_false(fd_is_open(sockets[1]));
}

static void test_begin_request_overwrites_keep_connection(void **state)
{
    (void)state;
    put_header(&input, 1, false, "A", "b");
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(request.keepConnection, 0);
}

static void test_accept_without_listening_socket_fails_after_garbage_and_has_closed(void **state)
{
    (void)state;
    put(&input, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_true(accept_sent() < 0);
    assert_false(fd_is_open(sockets[1]));
}

static void *free_and_close(void *argument)
{
    FCGX_Free(argument, 1);
    return NULL;
}

/* Closing waits for the peer unless detached: the peer can still send after it saw the end. */
static void test_close_lingers_unless_detached(void **state)
{
    (void)state;
    for (int detached = 0; detached < 2; detached++) {
        pthread_t thread;
        char byte;
        FCGX_InitRequest(&request, -1, 0);
        request.ipcFd = sockets[1];
        request.detached = detached;
        pthread_create(&thread, NULL, free_and_close, &request);
        assert_int_equal(recv(sockets[0], &byte, 1, 0), 0);
        if (!detached)
            assert_int_equal(send(sockets[0], "x", 1, MSG_NOSIGNAL), 1);
        shutdown(sockets[0], SHUT_RDWR);
        pthread_join(thread, NULL);
        assert_false(fd_is_open(sockets[1]));
        if (detached)
            break;
        close(sockets[0]);
        open_pair(sockets);
    }
}

static void test_half_a_parameter_blocks_until_the_receive_timeout(void **state)
{
    (void)state;
    put_begin(&input, 1, RESPONDER, 1);
    put_record(&input, PARAMS, 1, "\4\4NAM", 5);
    assert_true(accept_sent() < 0);
}

static void test_header_that_ends_between_two_parameters_is_taken_for_whole(void **state)
{
    (void)state;
    put_begin(&input, 1, RESPONDER, 1);
    put_record(&input, PARAMS, 1, "\1\1Ab", 4);
    assert_int_equal(accept_sent(), 0);
    assert_int_not_equal(FCGX_GetError(request.in), 0);
}

static void test_write_to_a_stalled_reader_ends_with_the_send_timeout(void **state)
{
    (void)state;
    static char zeros[4096];
    put_header(&input, 1, true, "A", "b");
    assert_int_equal(accept_sent(), 0);
    int result = 0;
    for (int i = 0; i < 10000 && result >= 0; i++)
        result = FCGX_PutStr(zeros, sizeof zeros, request.out);
    assert_true(result < 0);
    assert_int_equal(FCGX_GetError(request.out), EAGAIN);
}

static void test_output_buffer_holds_8_kib_less_a_header(void **state)
{
    (void)state;
    put_header(&input, 1, true, "A", "b");
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(request.out->stop - request.out->wrNext, 8192 - 8);
}

static void test_body_bytes_are_read_along_with_the_header(void **state)
{
    (void)state;
    char byte;
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, "body", 4);
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(recv(sockets[1], &byte, 1, MSG_DONTWAIT), -1);
    assert_memory_equal(request.in->rdNext, "\1\5\0\1\0\4\0\0body", 12);
}

static void test_body_can_be_read_past_content_length(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "CONTENT_LENGTH", "2");
    put_record(&input, STDIN, 1, "body", 4);
    put_record(&input, STDIN, 1, NULL, 0);
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(FCGX_GetStr(body, sizeof body, request.in), 4);
}

static void test_padding_on_begin_loses_the_parameters(void **state)
{
    (void)state;
    unsigned char body[8] = {0, RESPONDER, 1};
    put_record_of(&input, 1, BEGIN, 1, body, 8, 8);
    put_record(&input, PARAMS, 1, "\1\1Ab", 4);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_true(accept_sent() < 0 || !request.envp[1]);
}

static void test_padding_on_the_empty_params_loses_the_body(void **state)
{
    (void)state;
    char body[16];
    put_begin(&input, 1, RESPONDER, 1);
    put_record(&input, PARAMS, 1, "\1\1Ab", 4);
    put_record_of(&input, 1, PARAMS, 1, NULL, 0, 8);
    put_record(&input, STDIN, 1, "body", 4);
    put_record(&input, STDIN, 1, NULL, 0);
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(FCGX_GetStr(body, sizeof body, request.in), 0);
}

static void test_other_roles_than_the_three_are_closed_and_not_refused(void **state)
{
    (void)state;
    put_begin(&input, 1, 77, 1);
    put_record(&input, PARAMS, 1, NULL, 0);
    assert_true(accept_sent() < 0);
    read_to_end(sockets[0], &output);
    assert_int_equal(output.size, 0);
}

static void test_get_values_alone_gets_no_answer(void **state)
{
    (void)state;
    put_record(&input, GET_VALUES, 0, "\17\0FCGI_MPXS_CONNS", 17);
    assert_true(accept_sent() < 0);
    read_to_end(sockets[0], &output);
    assert_int_equal(output.size, 0);
}

/* In a child that is expected to crash: without cmocka's handlers, which would go on with the next test. */
static void die_quietly(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct rlimit no_core = {0, 0};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
}

static void test_get_values_in_a_body_with_repeated_names_overruns_libfcgis_stack(void **state)
{
    (void)state;
    static struct bytes question;
    question.size = 0;
    for (int i = 0; i < 40; i++)
        put_pair(&question, "FCGI_MAX_CONNS", "");
    put_header(&input, 1, true, "A", "b");
    put_record(&input, GET_VALUES, 0, question.data, question.size);
    put_record(&input, STDIN, 1, NULL, 0);
    pid_t child = fork();
    if (child == 0) {
        char body[16];
        die_quietly();
        send_bytes(sockets[0], &input);
        FCGX_Accept_r(&request);
        FCGX_GetStr(body, sizeof body, request.in);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status == 0) {
        print_message("this libfcgi has been mended\n");
        skip();
    }
}

static void test_claimed_length_is_allocated_before_its_bytes_come(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the shadow memory leaves no address space to limit */
#endif
    pid_t child = fork();
    if (child == 0) {
        struct rlimit little = {512 << 20, 512 << 20};
        die_quietly();
        setrlimit(RLIMIT_AS, &little);
        put_begin(&input, 1, RESPONDER, 0);
        put_record(&input, PARAMS, 1, "\300\0\0\0\1Nv", 7); /* a name of 1 GiB */
        _exit(accept_sent() < 0 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void test_abort_request_is_taken_for_an_error(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "A", "b");
    put_record(&input, ABORT, 1, NULL, 0);
    assert_int_equal(accept_sent(), 0);
    assert_int_equal(FCGX_GetStr(body, sizeof body, request.in), 0);
    assert_int_equal(FCGX_GetError(request.in), FCGX_PROTOCOL_ERROR);
}

static void test_second_request_inside_a_request_is_refused(void **state)
{
    (void)state;
    char body[16];
    put_header(&input, 1, true, "A", "b");
    put_begin(&input, 2, RESPONDER, 1);
    put_record(&input, STDIN, 1, NULL, 0);
    assert_int_equal(accept_sent(), 0);
    FCGX_GetStr(body, sizeof body, request.in);
    assert_int_equal(recv(sockets[0], output.data, sizeof output.data, MSG_DONTWAIT), 16);
    assert_memory_equal(output.data, "\1\3\0\2\0\10\0\0\0\0\0\0\1\0\0\0", 16);
}

static void test_unread_body_ends_a_kept_connection(void **state)
{
    (void)state;
    static char large[20000];
    put_header(&input, 1, true, "A", "b");
    put_record(&input, STDIN, 1, large, sizeof large);
    put_record(&input, STDIN, 1, NULL, 0);
    assert_int_equal(accept_sent(), 0);
    FCGX_Finish_r(&request);
    input.size = 0;
    put_header(&input, 1, true, "A", "b");
    assert_true(accept_sent() < 0);
}

static void test_next_request_in_the_reading_buffer_is_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        put_header(&input, 1, true, "A", "b");
        put_record(&input, STDIN, 1, NULL, 0);
    }
    assert_int_equal(accept_sent(), 0);
    input.size = 0;
    assert_true(accept_sent() < 0);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, open_request, close_request)

static int init(void **state)
{
    (void)state;
    int result = FCGX_Init();
    signal(SIGPIPE, SIG_IGN);
    return result;
}

int main(void)
{
    const struct CMUnitTest before_init[] = {
        cmocka_unit_test(test_init_replaces_term_and_usr1_handlers_even_when_ignored),
    };
    const struct CMUnitTest tests[] = {
        FACT(test_accept_serves_a_connection_that_was_put_in),
        FACT(test_accept_closes_a_connection_without_keep_connection_set),
        FACT(test_begin_request_overwrites_keep_connection),
        FACT(test_accept_without_listening_socket_fails_after_garbage_and_has_closed),
        FACT(test_close_lingers_unless_detached),
        FACT(test_half_a_parameter_blocks_until_the_receive_timeout),
        FACT(test_header_that_ends_between_two_parameters_is_taken_for_whole),
        FACT(test_write_to_a_stalled_reader_ends_with_the_send_timeout),
        FACT(test_output_buffer_holds_8_kib_less_a_header),
        FACT(test_body_bytes_are_read_along_with_the_header),
        FACT(test_body_can_be_read_past_content_length),
        FACT(test_padding_on_begin_loses_the_parameters),
        FACT(test_padding_on_the_empty_params_loses_the_body),
        FACT(test_other_roles_than_the_three_are_closed_and_not_refused),
        FACT(test_get_values_alone_gets_no_answer),
        FACT(test_get_values_in_a_body_with_repeated_names_overruns_libfcgis_stack),
        FACT(test_claimed_length_is_allocated_before_its_bytes_come),
        FACT(test_abort_request_is_taken_for_an_error),
        FACT(test_second_request_inside_a_request_is_refused),
        FACT(test_unread_body_ends_a_kept_connection),
        FACT(test_next_request_in_the_reading_buffer_is_lost),
    };
    int failed = cmocka_run_group_tests(before_init, NULL, NULL);
    return failed + cmocka_run_group_tests(tests, init, NULL);
}
