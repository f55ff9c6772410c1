/* Speaks to the supervisor: the messages of a template or worker, and the log records of both.
 *
 * Messages wait for room on the channel; there are few, and whoever sends one has nothing better to do. Log
 * records may come from code that holds the GIL, where waiting for a supervisor that does not read would
 * stop every thread of the process: they wait a tenth of a second at most, then they are dropped, counted,
 * and the count is told with the next record that gets through. Nothing in here writes to the log, so a
 * channel that is gone ends in a return value and never in a loop. Any thread; no Python. */
#include "base/clock.h"
#include "base/log.h"
#include "base/wire.h"
#include "pyhost/host.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LINK_LOG_WAIT_MS 100

/* Records dropped since the last one that got through; any thread adds, the next sender takes. */
static atomic_uint lost_records;

static void prepare(const struct host *h, struct wire_msg *m, int wire_type, uint32_t flags)
{
    wire_init(m, (enum wire_type)wire_type);
    m->slot = h->slot;
    m->serial = h->serial;
    m->flags = flags;
}

/* How much of text goes into one message: all of it, or up to a line's end, or up to a character's end. */
static size_t chunk_size(const char *text, size_t text_size)
{
    if (text_size <= WIRE_TEXT_MAX)
        return text_size;
    const char *newline = memrchr(text, '\n', WIRE_TEXT_MAX);
    if (newline && newline > text)
        return (size_t)(newline - text) + 1;
    size_t size = WIRE_TEXT_MAX;
    while (size > WIRE_TEXT_MAX - 4 && ((unsigned char)text[size] & 0xc0) == 0x80)
        size--;
    return size;
}

/* 0, or -1 when the channel stayed full for the whole wait or is gone. */
static int send_record(int channel, const struct wire_msg *m)
{
    int64_t deadline_ms = clock_now_ms() + LINK_LOG_WAIT_MS;
    while (wire_try_send(channel, m) < 0) {
        int64_t left_ms = deadline_ms - clock_now_ms();
        if (errno != EAGAIN || left_ms <= 0)
            return -1;
        struct pollfd waiting = {.fd = channel, .events = POLLOUT};
        if (poll(&waiting, 1, (int)left_ms) < 0 && errno != EINTR)
            return -1;
    }
    return 0;
}

static void tell_losses(const struct host *h, struct wire_msg *m)
{
    unsigned lost = atomic_exchange(&lost_records, 0);
    if (lost == 0)
        return;
    char text[128];
    int size = snprintf(text, sizeof text,
                        "%u log records were dropped: the supervisor did not read them in time", lost);
    prepare(h, m, WIRE_LOG, LOG_LEVEL_WARNING);
    wire_set_text(m, text, (size_t)size);
    if (wire_try_send(h->channel, m) < 0)
        atomic_fetch_add(&lost_records, lost);
}

static void send_log(void *context, enum log_level level, const char *text, size_t text_size)
{
    const struct host *h = context;
    int saved = errno;
    struct wire_msg m;
    do {
        size_t size = chunk_size(text, text_size);
        prepare(h, &m, WIRE_LOG, level);
        wire_set_text(&m, text, size);
        if (send_record(h->channel, &m) < 0) {
            atomic_fetch_add(&lost_records, 1);
            break;
        }
        text += size;
        text_size -= size;
    } while (text_size > 0);
    if (text_size == 0)
        tell_losses(h, &m);
    errno = saved;
}

void host_link_start(struct host *h)
{
    atomic_store(&lost_records, 0);
    log_set_sink(send_log, h);
}

/* Any other message comes once, its text cut. */
static bool comes_in_pieces(int wire_type)
{
    return wire_type == WIRE_LOG || wire_type == WIRE_EXPLAIN;
}

int host_link_send(const struct host *h, int wire_type, uint32_t flags, const char *text)
{
    struct wire_msg m;
    size_t text_size = strlen(text);
    do {
        size_t size = chunk_size(text, text_size);
        prepare(h, &m, wire_type, flags);
        wire_set_text(&m, text, size);
        if (wire_send(h->channel, &m) < 0)
            return -1;
        text += size;
        text_size -= size;
    } while (comes_in_pieces(wire_type) && text_size > 0);
    return 0;
}
