/* Keeps what each serving thread is at.
 *
 * Written twice a request, read a few times a second at most, so the writer must pay next to nothing: no
 * lock, a copy of some bytes, and a sequence number (a seqlock) that tells a reader whether its copy belongs
 * together. Never touches Python. */
#include "pyhost/busy.h"

#include <sched.h>
#include <string.h>

static uint32_t append(char *text, uint32_t used, const char *more)
{
    size_t size = strnlen(more, HOST_BUSY_TEXT_MAX - used);
    memcpy(text + used, more, size);
    return used + (uint32_t)size;
}

static void open_write(struct host_busy *b)
{
    uint32_t sequence = atomic_load_explicit(&b->sequence, memory_order_relaxed);
    atomic_store_explicit(&b->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void close_write(struct host_busy *b)
{
    uint32_t sequence = atomic_load_explicit(&b->sequence, memory_order_relaxed);
    atomic_store_explicit(&b->sequence, sequence + 1, memory_order_release);
}

void host_busy_begin(struct host_busy *b, uint64_t number, int64_t now_ms, pid_t thread, const char *method,
                     const char *uri)
{
    open_write(b);
    uint32_t used = append(b->text, 0, method ? method : "-");
    if (used < HOST_BUSY_TEXT_MAX)
        b->text[used++] = ' ';
    used = append(b->text, used, uri ? uri : "-");
    atomic_store_explicit(&b->text_size, used, memory_order_relaxed);
    atomic_store_explicit(&b->since_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&b->thread, thread, memory_order_relaxed);
    atomic_store_explicit(&b->number, number, memory_order_relaxed);
    close_write(b);
}

void host_busy_end(struct host_busy *b)
{
    atomic_store_explicit(&b->number, 0, memory_order_release);
}

/* Copies; false when the writer came in between. */
static bool copy(const struct host_busy *b, struct host_busy_view *view)
{
    uint32_t before = atomic_load_explicit(&b->sequence, memory_order_acquire);
    if (before % 2 != 0)
        return false;
    uint32_t size = atomic_load_explicit(&b->text_size, memory_order_relaxed);
    if (size > HOST_BUSY_TEXT_MAX)
        return false;
    view->number = atomic_load_explicit(&b->number, memory_order_relaxed);
    view->since_ms = atomic_load_explicit(&b->since_ms, memory_order_relaxed);
    view->thread = atomic_load_explicit(&b->thread, memory_order_relaxed);
    memcpy(view->text, b->text, size);
    view->text[size] = '\0';
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&b->sequence, memory_order_relaxed) == before;
}

bool host_busy_read(const struct host_busy *b, struct host_busy_view *view)
{
    while (!copy(b, view)) {
        if (atomic_load(&b->number) == 0 && atomic_load(&b->sequence) % 2 == 0)
            return false;
        sched_yield();
    }
    return view->number != 0;
}

bool host_busy_read_last(const struct host_busy *b, struct host_busy_view *view)
{
    while (!copy(b, view))
        sched_yield();
    return view->text[0] != '\0';
}

bool host_busy_is(const struct host_busy *b, uint64_t number)
{
    return atomic_load(&b->number) == number;
}
