/* Compares two fingerprints line by line and words the differences.
 *
 * Pure: no clock, no files, no log. Both texts become sorted records of (kind, what it is about, place); a
 * merge finds those that only one side has, and records of one distribution in one folder are worded
 * together. The merge runs once for each rank of sentences, so that only those that fit are ever made.
 * Any thread. */
#include "pm/drift.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ranks of sentences, and the order they come in. */
enum rank { RANK_PYTHON, RANK_VERSION, RANK_COME_AND_GONE, RANK_FILE, RANK_AGAIN, RANKS };

enum kind { KIND_PYTHON, KIND_DIST, KIND_FILE, KIND_MISSING };

/* Points into a copy of the text that parse() cut into fields. */
struct record {
    enum kind kind;
    char *name;    /* of a distribution, as it is compared: flask, ruamel-yaml */
    char *version; /* of a distribution or of Python */
    char *state;   /* time or hash: differs when the thing was touched */
    char *place;   /* path, or a distribution's folder */
};

struct records {
    char *text;
    struct record *items;
    size_t count;
};

/* ---- reading ----------------------------------------------------------------------------------------- */

/* PEP 503, so that Flask-2.2.2.dist-info and flask-3.0.0.dist-info are the same one. */
static void normalize_name(char *name)
{
    char *to = name;
    for (const char *from = name; *from;) {
        size_t separators = strspn(from, "-_.");
        if (separators > 0) {
            *to++ = '-';
            from += separators;
        } else {
            *to++ = (char)tolower((unsigned char)*from++);
        }
    }
    *to = '\0';
}

static char *take_field(char **rest)
{
    char *field = strsep(rest, " ");
    return field && *field ? field : NULL;
}

/* False for lines of other kinds and those that are not whole. */
static bool parse_line(char *line, struct record *r)
{
    const char *kind = take_field(&line);
    static char nothing[] = "";
    *r = (struct record){.name = nothing, .version = nothing, .state = nothing};
    if (!kind || !line)
        return false;
    if (strcmp(kind, "python") == 0) {
        r->kind = KIND_PYTHON;
        r->version = take_field(&line);
        r->state = take_field(&line);
    } else if (strcmp(kind, "dist") == 0) {
        r->kind = KIND_DIST;
        r->name = take_field(&line);
        r->version = take_field(&line);
        r->state = take_field(&line);
    } else if (strcmp(kind, "file") == 0) {
        r->kind = KIND_FILE;
        r->state = take_field(&line);
    } else if (strcmp(kind, "missing") == 0) {
        r->kind = KIND_MISSING;
    } else {
        return false;
    }
    r->place = line;
    return r->name && r->version && r->state && line && *line;
}

/* What is compared of two records to find the same thing again. */
static int compare_subjects(const struct record *a, const struct record *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == KIND_PYTHON) /* there is one, wherever it lies */
        return 0;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : strcmp(a->place, b->place);
}

static int compare_records(const void *a, const void *b)
{
    const struct record *left = a;
    const struct record *right = b;
    int order = compare_subjects(left, right);
    return order != 0 ? order : strcmp(left->version, right->version);
}

static bool parse(const char *text, struct records *all)
{
    size_t room = 0;
    *all = (struct records){.text = strdup(text)};
    if (!all->text)
        return false;
    char *rest = all->text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (all->count == room) {
            room = room == 0 ? 64 : room * 2;
            struct record *larger = realloc(all->items, room * sizeof *larger);
            if (!larger)
                return false;
            all->items = larger;
        }
        if (!parse_line(line, &all->items[all->count]))
            continue;
        if (all->items[all->count].kind == KIND_DIST)
            normalize_name(all->items[all->count].name);
        all->count++;
    }
    if (all->count > 1)
        qsort(all->items, all->count, sizeof *all->items, compare_records);
    return true;
}

static void free_records(struct records *all)
{
    free(all->items);
    free(all->text);
}

/* ---- wording ----------------------------------------------------------------------------------------- */

/* The length of the UTF-8 character at text, or 0 when there is none. */
static size_t utf8_size(const unsigned char *text)
{
    static const struct {
        unsigned char mask, lead, least_second, most_second;
        size_t size;
    } forms[] = {{0xff, 0xe0, 0xa0, 0xbf, 3}, {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3},
                 {0xff, 0xf0, 0x90, 0xbf, 4}, {0xff, 0xf4, 0x80, 0x8f, 4}, {0xf8, 0xf0, 0x80, 0xbf, 4},
                 {0xe0, 0xc0, 0x80, 0xbf, 2}};
    if (text[0] < 0x80)
        return 1;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((text[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (text[1] < forms[i].least_second || text[1] > forms[i].most_second)
            return 0;
        for (size_t next = 2; next < forms[i].size; next++)
            if ((text[next] & 0xc0) != 0x80)
                return 0;
        return forms[i].size;
    }
    return 0;
}

/* A sentence is data in somebody's terminal and JSON. Owned by the caller; NULL without memory. */
static char *clean(const char *text)
{
    char *cleaned = malloc(strlen(text) * 4 + 1);
    char *to = cleaned;
    for (const unsigned char *from = (const unsigned char *)text; cleaned && *from;) {
        size_t size = utf8_size(from);
        bool is_control = *from < 0x20 || *from == 0x7f || (from[0] == 0xc2 && from[1] < 0xa0);
        if (size == 0 || is_control) {
            to += sprintf(to, "\\x%02x", *from++);
            continue;
        }
        memcpy(to, from, size);
        to += size;
        from += size;
    }
    if (cleaned)
        *to = '\0';
    return cleaned;
}

struct telling {
    enum rank rank; /* of this pass */
    struct pm_drift *drift;
    size_t total; /* sentences there are, made or not */
    bool out_of_memory;
};

static void tell(struct telling *t, enum rank rank, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct telling *t, enum rank rank, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    if (rank != t->rank || t->total++ >= PM_DRIFT_MAX)
        return;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    char *cleaned = text ? clean(text) : NULL;
    free(text);
    if (cleaned)
        t->drift->sentences[t->drift->count++] = cleaned;
    else
        t->out_of_memory = true;
}

/* "2.2.2", or nothing for an egg that does not say. */
static const char *version_of(const struct record *r)
{
    return strcmp(r->version, "-") == 0 ? "" : r->version;
}

static void tell_python(struct telling *t, const struct record *before, const struct record *now)
{
    if (strcmp(before->version, now->version) != 0)
        tell(t, RANK_PYTHON, "base Python %s → %s", before->version, now->version);
    else if (strcmp(before->place, now->place) != 0)
        tell(t, RANK_PYTHON, "base Python %s: %s → %s", now->version, before->place, now->place);
    else if (strcmp(before->state, now->state) != 0)
        tell(t, RANK_PYTHON, "base Python %s reinstalled (%s)", now->version, now->place);
}

/* "pyvenv.cfg of /srv/x changed" */
static void tell_file(struct telling *t, const struct record *r, const char *what)
{
    const char *slash = strrchr(r->place, '/');
    if (!slash || slash == r->place)
        tell(t, RANK_FILE, "%s %s", r->place, what);
    else
        tell(t, RANK_FILE, "%s of %.*s %s", slash + 1, (int)(slash - r->place), r->place, what);
}

static void tell_alone(struct telling *t, const struct record *r, bool is_new)
{
    const char *version = version_of(r);
    if (r->kind == KIND_DIST)
        tell(t, RANK_COME_AND_GONE, "%s%s%s %s", r->name, *version ? " " : "", version,
             is_new ? "added" : "removed");
    else if (r->kind == KIND_FILE)
        tell_file(t, r, is_new ? "added" : "removed");
    else if (r->kind == KIND_MISSING)
        tell(t, RANK_PYTHON, "%s is %s", r->place, is_new ? "missing" : "there again");
}

static void tell_pair(struct telling *t, const struct record *before, const struct record *now)
{
    const char *version = version_of(now);
    if (now->kind == KIND_PYTHON)
        tell_python(t, before, now);
    else if (now->kind == KIND_DIST && strcmp(before->version, now->version) != 0)
        tell(t, RANK_VERSION, "%s %s → %s", now->name, before->version, now->version);
    else if (now->kind == KIND_DIST && strcmp(before->state, now->state) != 0)
        tell(t, RANK_AGAIN, "%s%s%s reinstalled", now->name, *version ? " " : "", version);
    else if (now->kind == KIND_FILE && strcmp(before->state, now->state) != 0)
        tell_file(t, now, "changed");
}

/* ---- merging ----------------------------------------------------------------------------------------- */

/* How many records from i on are about the same thing. */
static size_t count_same(const struct records *all, size_t i)
{
    size_t end = i;
    while (end < all->count && compare_subjects(&all->items[i], &all->items[end]) == 0)
        end++;
    return end - i;
}

/* A broken installation may have two versions of one distribution in one folder: then each counts for itself.
 */
static void tell_several(struct telling *t, const struct record *before, size_t before_count,
                         const struct record *now, size_t now_count)
{
    size_t i = 0;
    size_t j = 0;
    while (i < before_count || j < now_count) {
        int order = i == before_count ? 1 : j == now_count ? -1 : strcmp(before[i].version, now[j].version);
        if (order == 0)
            tell_pair(t, &before[i++], &now[j++]);
        else if (order < 0)
            tell_alone(t, &before[i++], false);
        else
            tell_alone(t, &now[j++], true);
    }
}

static void merge(struct telling *t, const struct records *before, const struct records *now)
{
    size_t i = 0;
    size_t j = 0;
    while (i < before->count || j < now->count) {
        int order = i == before->count ? 1
                    : j == now->count  ? -1
                                       : compare_subjects(&before->items[i], &now->items[j]);
        size_t old = order <= 0 ? count_same(before, i) : 0;
        size_t new = order >= 0 ? count_same(now, j) : 0;
        if (old == 1 && new == 1)
            tell_pair(t, &before->items[i], &now->items[j]);
        else
            tell_several(t, before->items + i, old, now->items + j, new);
        i += old;
        j += new;
    }
}

static void count_the_rest(struct telling *t)
{
    if (t->total <= PM_DRIFT_MAX || t->drift->count < PM_DRIFT_MAX)
        return;
    char **last = &t->drift->sentences[PM_DRIFT_MAX - 1];
    free(*last);
    if (asprintf(last, "and %zu more", t->total - (PM_DRIFT_MAX - 1)) < 0) {
        *last = NULL;
        t->drift->count--;
        t->out_of_memory = true;
    }
}

bool pm_drift_compare(const char *before, const char *now, struct pm_drift *d)
{
    struct records old = {.text = NULL};
    struct records new = {.text = NULL};
    struct telling t = {.drift = d};
    pm_drift_clear(d);
    bool is_read = parse(before, &old) && parse(now, &new);
    for (int rank = 0; is_read && rank < RANKS; rank++) {
        t.rank = (enum rank)rank;
        merge(&t, &old, &new);
    }
    count_the_rest(&t);
    free_records(&old);
    free_records(&new);
    if (is_read && !t.out_of_memory)
        return true;
    pm_drift_clear(d);
    return false;
}

void pm_drift_say(struct pm_drift *d, const char *sentence)
{
    pm_drift_clear(d);
    d->sentences[0] = clean(sentence);
    d->count = d->sentences[0] ? 1 : 0;
}

void pm_drift_clear(struct pm_drift *d)
{
    for (size_t i = 0; i < d->count; i++)
        free(d->sentences[i]);
    *d = (struct pm_drift){.count = 0};
}

char *pm_drift_join(const struct pm_drift *d)
{
    size_t size = 1;
    for (size_t i = 0; i < d->count; i++)
        size += strlen(d->sentences[i]) + 2;
    char *joined = malloc(size);
    char *end = joined;
    if (!joined)
        return NULL;
    *end = '\0';
    for (size_t i = 0; i < d->count; i++)
        end += sprintf(end, "%s%s", i > 0 ? ", " : "", d->sentences[i]);
    return joined;
}
