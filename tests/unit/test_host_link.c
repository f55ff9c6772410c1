/* links: base
 * sources: pyhost/link.c
 *
 * The host's end of the channel: nothing is cut that should not be, and nothing waits for ever. */
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "pyhost/host.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct ends {
    struct host h;
    int supervisor;
};

static int open_channel(void **state)
{
    static struct ends ends;
    struct err e;
    memset(&ends, 0, sizeof ends);
    *state = &ends;
    if (wire_pair(&ends.supervisor, &ends.h.channel, &e) < 0)
        return -1;
    ends.h.slot = 3;
    ends.h.serial = 99;
    host_link_start(&ends.h);
    return 0;
}

static int close_channel(void **state)
{
    struct ends *ends = *state;
    fd_close(&ends->supervisor);
    fd_close(&ends->h.channel);
    return 0;
}

static void fill(char *text, size_t size, const char *line)
{
    size_t line_size = strlen(line);
    for (size_t i = 0; i < size; i++)
        text[i] = line[i % line_size];
    text[size] = '\0';
}

static void test_message_carries_slot_and_serial(void **state)
{
    struct ends *ends = *state;
    struct wire_msg m;
    assert_int_equal(host_link_send(&ends->h, WIRE_WORKER_FAILED, 5, "why"), 0);
    assert_int_equal(wire_receive(ends->supervisor, &m, false), 1);
    assert_int_equal(m.type, WIRE_WORKER_FAILED);
    assert_int_equal(m.slot, 3);
    assert_int_equal(m.serial, 99);
    assert_int_equal(m.flags, 5);
    assert_string_equal(m.text, "why");
}

static void test_long_log_record_arrives_whole_in_pieces_that_end_with_a_line(void **state)
{
    struct ends *ends = *state;
    static char text[40006], received[60000];
    size_t used = 0;
    struct wire_msg m;
    fill(text, 40005, "a line of text\n");
    log_write_text(LOG_LEVEL_ERROR, NULL, NULL, text, 40005);
    while (wire_receive(ends->supervisor, &m, false) == 1) {
        assert_int_equal(m.type, WIRE_LOG);
        assert_int_equal(m.flags, LOG_LEVEL_ERROR);
        memcpy(received + used, m.text, m.text_size);
        used += m.text_size;
        assert_int_equal(received[used - 1], '\n');
    }
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(used, 40005);
    assert_memory_equal(received, text, used);
}

static void test_pieces_do_not_split_a_character(void **state)
{
    struct ends *ends = *state;
    static char text[30001];
    struct wire_msg m;
    size_t total = 0;
    fill(text, 30000, "xy\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
    log_write_text(LOG_LEVEL_ERROR, NULL, NULL, text, 30000);
    while (wire_receive(ends->supervisor, &m, false) == 1) {
        assert_int_not_equal((unsigned char)m.text[0] & 0xc0, 0x80);
        total += m.text_size;
    }
    assert_int_equal(total, 30000);
}

static void test_text_of_other_messages_is_cut_to_one(void **state)
{
    struct ends *ends = *state;
    static char text[20001];
    struct wire_msg m;
    fill(text, 20000, "no newline here ");
    assert_int_equal(host_link_send(&ends->h, WIRE_TEMPLATE_FAILED, 0, text), 0);
    assert_int_equal(wire_receive(ends->supervisor, &m, false), 1);
    assert_int_equal(m.text_size, WIRE_TEXT_MAX);
    assert_int_equal(wire_receive(ends->supervisor, &m, false), -1);
}

static void test_full_channel_drops_records_and_tells_how_many(void **state)
{
    struct ends *ends = *state;
    struct wire_msg m;
    wire_init(&m, WIRE_LOG);
    while (wire_try_send(ends->h.channel, &m) == 0)
        continue;
    assert_int_equal(errno, EAGAIN);
    log_write(LOG_LEVEL_ERROR, NULL, "lost one"); /* returns, although nobody reads */
    log_write(LOG_LEVEL_ERROR, NULL, "lost two");
    while (wire_receive(ends->supervisor, &m, false) == 1)
        assert_int_equal(m.text_size, 0);
    log_write(LOG_LEVEL_ERROR, NULL, "arrives");
    assert_int_equal(wire_receive(ends->supervisor, &m, false), 1);
    assert_string_equal(m.text, "arrives");
    assert_int_equal(wire_receive(ends->supervisor, &m, false), 1);
    assert_int_equal(m.flags, LOG_LEVEL_WARNING);
    assert_non_null(strstr(m.text, "2 log records were dropped"));
}

static void test_supervisor_gone_is_an_error_and_logging_still_returns(void **state)
{
    struct ends *ends = *state;
    fd_close(&ends->supervisor);
    assert_int_equal(host_link_send(&ends->h, WIRE_WORKER_READY, 0, ""), -1);
    log_write(LOG_LEVEL_ERROR, NULL, "nobody hears");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define ON_CHANNEL(test) cmocka_unit_test_setup_teardown(test, open_channel, close_channel)
    const struct CMUnitTest tests[] = {
        ON_CHANNEL(test_message_carries_slot_and_serial),
        ON_CHANNEL(test_long_log_record_arrives_whole_in_pieces_that_end_with_a_line),
        ON_CHANNEL(test_pieces_do_not_split_a_character),
        ON_CHANNEL(test_text_of_other_messages_is_cut_to_one),
        ON_CHANNEL(test_full_channel_drops_records_and_tells_how_many),
        ON_CHANNEL(test_supervisor_gone_is_an_error_and_logging_still_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
