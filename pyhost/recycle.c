/* Finds out that a worker has served long enough, and asks for a successor.
 *
 * Nothing ends here: the supervisor starts the successor first and drains this worker when that serves.
 * Memory is sampled while requests come, and counts only when several samples in a row are above the limit,
 * since an upload that is just being read is no leak. What was being served when it grew is kept, so that the
 * log can name it. Runs on the watch thread; never touches Python. */
#include "pyhost/recycle.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pyhost/busy.h"
#include "pyhost/host.h"
#include "pyhost/serve.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SAMPLE_EACH_MS   500
#define SAMPLES_IN_A_ROW 3
#define HARD_FACTOR      2         /* of max-rss: no waiting any more */
#define GROWTH_LEAST     (1 << 20) /* between two samples, to be remembered */
#define GROWTHS_MAX      4
#define GROWTH_TEXT      80
#define MEBIBYTE         (1 << 20)

/* What was being served when memory grew. */
struct growth {
    int64_t bytes;
    char text[GROWTH_TEXT];
};

struct host_recycle {
    struct host_worker *w;
    int64_t lifetime_due_ms; /* INT64_MAX: no limit */
    int statm;
    int64_t sample_due_ms;
    int64_t rss_bytes;      /* of the last sample; 0: none yet */
    uint64_t finished_then; /* requests at the last sample */
    unsigned samples_above; /* in a row */
    struct growth growths[GROWTHS_MAX];
    struct host_busy_view view;
    bool is_asked;
};

/* Up to jitter more, so that workers that began together do not end together. */
static int64_t with_jitter(int64_t limit, int64_t jitter)
{
    uint64_t random = 0;
    if (jitter > 0 && getrandom(&random, sizeof random, 0) == (ssize_t)sizeof random)
        limit += (int64_t)(random % ((uint64_t)jitter + 1));
    return limit;
}

struct host_recycle *host_recycle_new(struct host_worker *w, int64_t now_ms)
{
    const struct cfg_group *group = w->host->group;
    struct host_recycle *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->w = w;
    r->statm = group->max_rss_bytes > 0 ? open("/proc/self/statm", O_RDONLY | O_CLOEXEC) : -1;
    atomic_store(&w->samples_memory, r->statm >= 0);
    r->sample_due_ms = now_ms;
    r->lifetime_due_ms = INT64_MAX;
    if (group->max_lifetime_ms > 0)
        r->lifetime_due_ms = now_ms + with_jitter(group->max_lifetime_ms, group->max_lifetime_jitter_ms);
    if (group->max_requests > 0)
        atomic_store(&w->retire_at, (uint64_t)with_jitter(group->max_requests, group->max_requests_jitter));
    return r;
}

void host_recycle_free(struct host_recycle *r)
{
    if (r)
        fd_close(&r->statm);
    free(r);
}

static void ask(struct host_recycle *r, const char *why)
{
    r->is_asked = true;
    host_link_send(r->w->host, WIRE_RETIRE, 0, why);
}

/* ---- memory ---- */

/* -1 when it cannot be read: proc(5), statm. */
static int64_t read_rss(const struct host_recycle *r)
{
    char text[128];
    long long size_pages, resident_pages;
    ssize_t size = r->statm < 0 ? -1 : pread(r->statm, text, sizeof text - 1, 0);
    if (size <= 0)
        return -1;
    text[size] = '\0';
    if (sscanf(text, "%lld %lld", &size_pages, &resident_pages) != 2)
        return -1;
    return resident_pages * sysconf(_SC_PAGESIZE);
}

/* In the place of the smallest that is smaller. */
static void remember(struct host_recycle *r, int64_t bytes, const char *text)
{
    struct growth *smallest = &r->growths[0];
    for (size_t i = 1; i < GROWTHS_MAX; i++)
        if (r->growths[i].bytes < smallest->bytes)
            smallest = &r->growths[i];
    if (bytes <= smallest->bytes)
        return;
    smallest->bytes = bytes;
    snprintf(smallest->text, sizeof smallest->text, "%s", text);
}

/* Whatever was served since the last sample may be the cause; each thread's last request stands for it. */
static void remember_requests(struct host_recycle *r, int64_t bytes)
{
    for (uint32_t i = 0; i < r->w->threads; i++)
        if (host_busy_read_last(&r->w->at_work[i], &r->view))
            remember(r, bytes, r->view.text);
}

static size_t append_growths(const struct host_recycle *r, char *text, size_t size, size_t used)
{
    const char *before = "; it grew by ";
    for (size_t i = 0; i < GROWTHS_MAX && used < size; i++) {
        if (r->growths[i].bytes == 0)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%lld MiB around %s", before,
                                 (long long)(r->growths[i].bytes / MEBIBYTE), r->growths[i].text);
        before = ", ";
    }
    return used;
}

static void describe_rss(const struct host_recycle *r, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "max-rss: it holds %lld MiB of %lld MiB",
                                   (long long)(r->rss_bytes / MEBIBYTE),
                                   (long long)(r->w->host->group->max_rss_bytes / MEBIBYTE));
    append_growths(r, text, size, used);
}

static void leave_at_hard_limit(const struct host_recycle *r)
{
    char text[512];
    describe_rss(r, text, sizeof text);
    log_write(LOG_LEVEL_ERROR, NULL, "%s; leaving at once, that is %d times the limit", text, HARD_FACTOR);
    _exit(EXIT_FAILURE);
}

static void sample(struct host_recycle *r)
{
    int64_t limit = r->w->host->group->max_rss_bytes;
    int64_t rss = read_rss(r);
    if (rss < 0)
        return;
    if (r->rss_bytes > 0 && rss - r->rss_bytes >= GROWTH_LEAST)
        remember_requests(r, rss - r->rss_bytes);
    r->rss_bytes = rss;
    r->samples_above = rss > limit ? r->samples_above + 1 : 0;
    if (rss / HARD_FACTOR > limit)
        leave_at_hard_limit(r);
}

/* While nothing is served nothing is looked at, but for the samples that a last one above still needs. */
static bool is_active(const struct host_recycle *r)
{
    return r->statm >= 0 && (atomic_load(&r->w->finished) != r->finished_then ||
                             atomic_load(&r->w->busy) > 0 || r->samples_above > 0);
}

static void check_memory(struct host_recycle *r, int64_t now_ms)
{
    if (!is_active(r) || now_ms < r->sample_due_ms)
        return;
    r->finished_then = atomic_load(&r->w->finished);
    r->sample_due_ms = now_ms + SAMPLE_EACH_MS;
    sample(r);
    char text[480];
    if (r->samples_above >= SAMPLES_IN_A_ROW && !r->is_asked) {
        describe_rss(r, text, sizeof text);
        ask(r, text);
    }
}

/* ---- all limits ---- */

static bool has_served_enough(const struct host_recycle *r)
{
    uint64_t most = atomic_load(&r->w->retire_at);
    return !r->is_asked && most != 0 && atomic_load(&r->w->finished) >= most;
}

static void check_requests(struct host_recycle *r)
{
    char text[64];
    if (!has_served_enough(r))
        return;
    snprintf(text, sizeof text, "max-requests: it has served %llu",
             (unsigned long long)atomic_load(&r->w->finished));
    ask(r, text);
}

static void check_lifetime(struct host_recycle *r, int64_t now_ms)
{
    if (!r->is_asked && now_ms >= r->lifetime_due_ms)
        ask(r, "max-lifetime: it has lived long enough");
}

void host_recycle_check(struct host_recycle *r, int64_t now_ms)
{
    check_requests(r);
    check_lifetime(r, now_ms);
    check_memory(r, now_ms);
}

int64_t host_recycle_due(const struct host_recycle *r)
{
    if (has_served_enough(r))
        return 0;
    int64_t lifetime_due_ms = r->is_asked ? INT64_MAX : r->lifetime_due_ms;
    int64_t memory_due_ms = is_active(r) ? r->sample_due_ms : INT64_MAX;
    return lifetime_due_ms < memory_due_ms ? lifetime_due_ms : memory_due_ms;
}
