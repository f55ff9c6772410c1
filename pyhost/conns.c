/* Keeps the registry of connections.
 *
 * One word per entry holds its state and the number of its last parking, and changes hands by
 * compare-and-swap. The number goes into the epoll data, so every parking has events of its own: an event
 * of an earlier one, or of an earlier connection in the same entry, does not match and is dropped. The lock
 * is for the list of free entries only. Does no system call. Any thread. */
#include "pyhost/conns.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#define STATE_BITS  3
#define STATE_MASK  ((1u << STATE_BITS) - 1)
#define NUMBER_MASK (UINT32_MAX >> STATE_BITS)

struct host_conns {
    struct host_conn *entries;
    uint32_t capacity;
    _Atomic uint32_t size;  /* entries ever used; grows under the lock */
    _Atomic uint32_t count; /* entries in use */
    pthread_mutex_t lock;
    struct host_conn *free; /* under the lock */
};

static uint32_t word_of(uint32_t number, enum host_conn_state state)
{
    return (number & NUMBER_MASK) << STATE_BITS | (uint32_t)state;
}

static uint32_t number_of(uint32_t word)
{
    return word >> STATE_BITS;
}

static bool swap_state(struct host_conn *c, uint32_t number, enum host_conn_state from,
                       enum host_conn_state to)
{
    uint32_t expected = word_of(number, from);
    return atomic_compare_exchange_strong(&c->word, &expected, word_of(number, to));
}

struct host_conns *host_conns_new(uint32_t capacity)
{
    struct host_conns *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->entries = calloc(capacity, sizeof *s->entries);
    if (!s->entries) {
        free(s);
        return NULL;
    }
    s->capacity = capacity;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void host_conns_free(struct host_conns *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s->entries);
    free(s);
}

struct host_conn *host_conns_add(struct host_conns *s)
{
    pthread_mutex_lock(&s->lock);
    struct host_conn *c = s->free;
    uint32_t size = atomic_load(&s->size);
    if (c) {
        s->free = c->next_free;
    } else if (size < s->capacity) {
        c = &s->entries[size];
        atomic_store(&s->size, size + 1);
    }
    pthread_mutex_unlock(&s->lock);
    if (!c)
        return NULL;
    atomic_fetch_add(&s->count, 1);
    c->fd = -1;
    c->in_ready_set = false;
    c->is_fresh = true;
    c->is_over = false;
    atomic_store(&c->deadline_ms, INT64_MAX);
    atomic_store(&c->word, word_of(number_of(atomic_load(&c->word)), HOST_CONN_OWNED));
    return c;
}

void host_conns_remove(struct host_conns *s, struct host_conn *c)
{
    atomic_store(&c->word, word_of(number_of(atomic_load(&c->word)) + 1, HOST_CONN_FREE));
    pthread_mutex_lock(&s->lock);
    c->next_free = s->free;
    s->free = c;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&s->count, 1);
}

uint32_t host_conns_count(const struct host_conns *s)
{
    return atomic_load(&s->count);
}

uint32_t host_conns_size(const struct host_conns *s)
{
    return atomic_load(&s->size);
}

struct host_conn *host_conns_at(struct host_conns *s, uint32_t index)
{
    return &s->entries[index];
}

enum host_conn_state host_conn_state(const struct host_conn *c)
{
    return (enum host_conn_state)(atomic_load(&c->word) & STATE_MASK);
}

uint64_t host_conn_park(struct host_conns *s, struct host_conn *c)
{
    uint32_t number = (number_of(atomic_load(&c->word)) + 1) & NUMBER_MASK;
    atomic_store(&c->word, word_of(number, HOST_CONN_ARMING));
    return (uint64_t)number << 32 | (uint64_t)(c - s->entries);
}

/* NULL when the token is of no entry at all. */
static struct host_conn *entry_of(struct host_conns *s, uint64_t token)
{
    uint32_t index = (uint32_t)token;
    return index < atomic_load(&s->size) ? &s->entries[index] : NULL;
}

void host_conn_settle(struct host_conns *s, uint64_t token, enum host_conn_state state)
{
    swap_state(entry_of(s, token), (uint32_t)(token >> 32), HOST_CONN_ARMING, state);
}

void host_conn_unpark(struct host_conns *s, uint64_t token)
{
    swap_state(entry_of(s, token), (uint32_t)(token >> 32), HOST_CONN_ARMING, HOST_CONN_OWNED);
}

static bool is_parked(uint32_t word)
{
    uint32_t state = word & STATE_MASK;
    return state == HOST_CONN_ARMING || state == HOST_CONN_IDLE || state == HOST_CONN_WAITING;
}

struct host_conn *host_conn_take_event(struct host_conns *s, uint64_t token)
{
    struct host_conn *c = entry_of(s, token);
    if (!c)
        return NULL;
    uint32_t number = (uint32_t)(token >> 32);
    uint32_t word = atomic_load(&c->word);
    /* Again when the parking thread went from ARMING on in between. */
    while (number_of(word) == number && is_parked(word))
        if (atomic_compare_exchange_weak(&c->word, &word, word_of(number, HOST_CONN_OWNED)))
            return c;
    return NULL;
}

static bool take_in_state(struct host_conn *c, enum host_conn_state state)
{
    return swap_state(c, number_of(atomic_load(&c->word)), state, HOST_CONN_OWNED);
}

bool host_conn_take_idle(struct host_conn *c)
{
    return take_in_state(c, HOST_CONN_IDLE);
}

bool host_conn_take_waiting(struct host_conn *c)
{
    return take_in_state(c, HOST_CONN_WAITING);
}

void host_conn_wait_on(struct host_conn *c)
{
    atomic_store(&c->word, word_of(number_of(atomic_load(&c->word)), HOST_CONN_WAITING));
}
