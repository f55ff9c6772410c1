/* links: base */
/* The channels: what arrives is what the kernel vouches for, and nothing malformed gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ours;
static int theirs;

static int open_channel(void **state)
{
    struct err e;
    (void)state;
    return wire_pair(&ours, &theirs, &e);
}

static int close_channel(void **state)
{
    (void)state;
    fd_close(&ours);
    fd_close(&theirs);
    return 0;
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void test_a_message_arrives_whole_with_its_senders_pid(void **state)
{
    (void)state;
    struct wire_msg sent;
    struct wire_msg got;
    wire_init(&sent, WIRE_WORKER_FAILED);
    sent.slot = 7;
    sent.flags = 3;
    sent.serial = UINT64_MAX - 1;
    wire_set_text(&sent, "why\nit failed", 13);
    assert_int_equal(wire_send(theirs, &sent), 0);
    assert_int_equal(wire_receive(ours, &got, false), 1);
    assert_int_equal(got.type, WIRE_WORKER_FAILED);
    assert_int_equal(got.slot, 7);
    assert_int_equal(got.flags, 3);
    assert_true(got.serial == UINT64_MAX - 1);
    assert_int_equal(got.sender, getpid());
    assert_int_equal(got.text_size, 13);
    assert_string_equal(got.text, "why\nit failed");
}

static void test_descriptors_pass_only_when_they_are_asked_for(void **state)
{
    (void)state;
    struct wire_msg sent;
    struct wire_msg got;
    wire_init(&sent, WIRE_SPAWN);
    sent.fds[0] = STDIN_FILENO;
    sent.fds[1] = STDOUT_FILENO;
    sent.fd_count = 2;
    int before = count_descriptors();

    assert_int_equal(wire_send(ours, &sent), 0);
    assert_int_equal(wire_receive(theirs, &got, true), 1);
    assert_int_equal(got.fd_count, 2);
    assert_true(fcntl(got.fds[1], F_GETFD) & FD_CLOEXEC);
    wire_close_fds(&got);
    assert_int_equal(count_descriptors(), before);

    assert_int_equal(wire_send(theirs, &sent), 0);
    assert_int_equal(wire_receive(ours, &got, false), 1);
    assert_int_equal(got.fd_count, 0);
    assert_int_equal(count_descriptors(), before);
}

static void test_what_is_no_message_is_refused_and_the_channel_goes_on(void **state)
{
    (void)state;
    struct wire_msg m;
    char junk[64];
    memset(junk, 0xff, sizeof junk);
    static const size_t sizes[] = {1, 8, 23, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(send(theirs, junk, sizes[i], 0), (ssize_t)sizes[i]);
        assert_int_equal(wire_receive(ours, &m, false), -1);
        assert_int_equal(errno, EPROTO);
    }
    wire_init(&m, WIRE_WORKER_READY);
    assert_int_equal(wire_send(theirs, &m), 0);
    assert_int_equal(wire_receive(ours, &m, false), 1);
    assert_int_equal(m.type, WIRE_WORKER_READY);
}

static void test_an_empty_datagram_is_not_taken_for_the_end(void **state)
{
    (void)state;
    struct wire_msg m;
    assert_int_equal(send(theirs, "", 0, 0), 0);
    assert_int_equal(wire_receive(ours, &m, false), -1);
    assert_int_equal(errno, EPROTO);
}

static void test_the_end_and_an_empty_channel_are_told_apart(void **state)
{
    (void)state;
    struct wire_msg m;
    assert_int_equal(wire_receive(ours, &m, false), -1);
    assert_int_equal(errno, EAGAIN);
    fd_close(&theirs);
    assert_int_equal(wire_receive(ours, &m, false), 0);
}

static void test_text_is_cut_to_what_a_message_holds(void **state)
{
    (void)state;
    static char text[WIRE_TEXT_MAX * 2];
    struct wire_msg m;
    memset(text, 'a', sizeof text);
    wire_init(&m, WIRE_LOG);
    wire_set_text(&m, text, sizeof text);
    assert_int_equal(wire_send(theirs, &m), 0);
    assert_int_equal(wire_receive(ours, &m, false), 1);
    assert_int_equal(m.text_size, WIRE_TEXT_MAX);
}

static void test_a_connection_passes_to_a_sibling_with_word_whether_it_is_fresh(void **state)
{
    (void)state;
    int pair[2];
    bool is_fresh;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(wire_take_connection(pair[0], &is_fresh), -1);
    assert_int_equal(errno, EAGAIN);
    for (int fresh = 0; fresh < 2; fresh++) {
        assert_int_equal(wire_pass_connection(pair[1], theirs, fresh), 0);
        int taken = wire_take_connection(pair[0], &is_fresh);
        assert_int_equal(is_fresh, fresh);
        assert_true(taken >= 0);
        assert_int_equal(send(taken, "x", 1, 0), 1);
        char byte;
        assert_int_equal(recv(ours, &byte, 1, 0), 1);
        close(taken);
    }
    close(pair[0]);
    close(pair[1]);
}

#define WITH_CHANNEL(test) cmocka_unit_test_setup_teardown(test, open_channel, close_channel)

/* A socket that asks for no credentials has room for more of them in its control buffer. */
static void test_descriptors_beyond_what_a_message_holds_are_closed(void **state)
{
    (void)state;
    struct wire_msg m;
    struct {
        uint32_t version, type, slot, flags;
        uint64_t serial;
    } head = {1, WIRE_SPAWN, 0, 0, 0};
    enum { SENT = 8 };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * SENT)] = {0};
    struct iovec part = {&head, sizeof head};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * SENT);
    for (int i = 0; i < SENT; i++)
        memcpy(CMSG_DATA(rights) + (size_t)i * sizeof(int), &ours, sizeof(int));
    int before = count_descriptors();
    assert_true(sendmsg(ours, &message, 0) > 0);
    assert_int_equal(wire_receive(theirs, &m, true), 1);
    assert_int_equal(m.fd_count, WIRE_FDS_MAX);
    assert_int_equal(count_descriptors(), before + WIRE_FDS_MAX);
    wire_close_fds(&m);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CHANNEL(test_a_message_arrives_whole_with_its_senders_pid),
        WITH_CHANNEL(test_descriptors_pass_only_when_they_are_asked_for),
        WITH_CHANNEL(test_what_is_no_message_is_refused_and_the_channel_goes_on),
        WITH_CHANNEL(test_an_empty_datagram_is_not_taken_for_the_end),
        WITH_CHANNEL(test_the_end_and_an_empty_channel_are_told_apart),
        WITH_CHANNEL(test_text_is_cut_to_what_a_message_holds),
        WITH_CHANNEL(test_a_connection_passes_to_a_sibling_with_word_whether_it_is_fresh),
        WITH_CHANNEL(test_descriptors_beyond_what_a_message_holds_are_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
