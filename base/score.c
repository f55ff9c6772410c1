/* Makes, seals, maps and reads scoreboards. The number of slots is kept outside the shared memory, where
 * no application can change it. No locks: every field is one atomic word with one writer. */
#include "base/score.h"

#include "base/err.h"
#include "base/fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct score {
    struct score_slot *slots; /* shared */
    uint32_t slot_count;      /* private, from the sealed size */
};

struct score *score_map(int fd, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        err_errno(e, "scoreboard");
        return NULL;
    }
    size_t slot_count = (size_t)status.st_size / sizeof(struct score_slot);
    if (slot_count == 0 || slot_count > SCORE_SLOTS_MAX) {
        err_set(e, "scoreboard: a size of %lld bytes makes no sense", (long long)status.st_size);
        return NULL;
    }
    struct score *s = malloc(sizeof *s);
    if (!s) {
        err_errno(e, "scoreboard");
        return NULL;
    }
    void *memory = mmap(NULL, slot_count * sizeof(struct score_slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                        0);
    if (memory == MAP_FAILED) {
        err_errno(e, "cannot map the scoreboard");
        free(s);
        return NULL;
    }
    s->slots = memory;
    s->slot_count = (uint32_t)slot_count;
    return s;
}

struct score *score_create(const char *group, uint32_t slot_count, int *fd, struct err *e)
{
    struct score *s = NULL;
    *fd = fd_memory("pyfpm-scoreboard");
    if (*fd < 0 || ftruncate(*fd, (off_t)(slot_count * sizeof(struct score_slot))) < 0 ||
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        err_errno(e, "cannot make the scoreboard of group %s", group);
    else
        s = score_map(*fd, e);
    if (!s)
        fd_close(fd);
    return s;
}

void score_free(struct score *s)
{
    if (!s)
        return;
    munmap(s->slots, s->slot_count * sizeof(struct score_slot));
    free(s);
}

uint32_t score_slot_count(const struct score *s)
{
    return s->slot_count;
}

struct score_slot *score_slot(struct score *s, uint32_t index)
{
    return &s->slots[index];
}

void score_clear(struct score *s, uint32_t index)
{
    struct score_slot *slot = &s->slots[index];
    atomic_store(&slot->state, SCORE_FREE);
    atomic_store(&slot->threads, 0);
    atomic_store(&slot->busy, 0);
    atomic_store(&slot->kept, 0);
    atomic_store(&slot->requests, 0);
    atomic_store(&slot->busy_since_ms, 0);
}

struct score_view score_read(const struct score *s, uint32_t index)
{
    const struct score_slot *slot = &s->slots[index];
    uint32_t state = atomic_load(&slot->state);
    struct score_view view = {
        .state = state < SCORE_STATE_END ? (enum score_state)state : SCORE_FREE,
        .threads = atomic_load(&slot->threads),
        .busy = atomic_load(&slot->busy),
        .kept = atomic_load(&slot->kept),
        .requests = atomic_load(&slot->requests),
    };
    if (view.threads > SCORE_THREADS_MAX)
        view.threads = SCORE_THREADS_MAX;
    if (view.busy > view.threads)
        view.busy = view.threads;
    if (view.kept > SCORE_KEPT_MAX)
        view.kept = SCORE_KEPT_MAX;
    if (view.requests > SCORE_REQUESTS_MAX)
        view.requests = SCORE_REQUESTS_MAX;
    return view;
}
