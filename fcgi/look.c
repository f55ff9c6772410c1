/* Looks at what waits on a connection without taking it, and decides whether a thread may begin on it.
 *
 * libfcgi blocks until a header is complete and allocates what the peer claims, so it gets only headers
 * that were walked here: complete, within bounds, of the kind it reads correctly. The walk is pure. Peeking
 * first uses a small buffer, which nearly always holds the whole header; only longer ones are looked at
 * again in a large one. Never blocks; any thread. */
#include "fcgi/fcgi.h"

#include "fcgi/look.h"
#include "fcgi/record.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define LOOK_SMALL_SIZE 8192
#define LOOK_ROUNDS_MAX 16 /* batches of management records answered in one look */

/* ---- name-value pairs, which run through the PARAMS records regardless of where one ends ---- */

struct pairs {
    unsigned char lengths[8]; /* of name and value, as far as they came */
    size_t lengths_have;
    size_t left; /* bytes of the current name and value still to come */
    unsigned count;
};

/* Completes a pair's lengths from the next byte on. False with *why when they claim too much. */
static bool pairs_take_length_byte(struct pairs *p, unsigned char byte, const char **why)
{
    uint32_t name_size, value_size;
    p->lengths[p->lengths_have++] = byte;
    size_t name_took = fcgi_record_length(p->lengths, p->lengths_have, &name_size);
    if (name_took == 0)
        return true;
    if (fcgi_record_length(p->lengths + name_took, p->lengths_have - name_took, &value_size) == 0)
        return true;

    p->lengths_have = 0;
    p->left = (size_t)name_size + value_size;
    if (p->left > FCGI_HEADER_BYTES_MAX)
        *why = "a parameter that claims to be longer than the whole header may be";
    else if (++p->count > FCGI_PARAMS_MAX)
        *why = "too many parameters";
    else
        return true;
    return false;
}

static bool pairs_feed(struct pairs *p, const unsigned char *bytes, size_t size, const char **why)
{
    while (size > 0) {
        if (p->left == 0) {
            if (!pairs_take_length_byte(p, *bytes, why))
                return false;
            bytes++;
            size--;
            continue;
        }
        size_t now = p->left < size ? p->left : size;
        if (memchr(bytes, '\0', now)) {
            *why = "a NUL byte in a parameter";
            return false;
        }
        p->left -= now;
        bytes += now;
        size -= now;
    }
    return true;
}

static bool pairs_are_complete(const struct pairs *p)
{
    return p->left == 0 && p->lengths_have == 0;
}

/* ---- the walk ---- */

/* What stands at the front: a request for us, or something to be answered and taken away. */
struct walk_unit {
    bool is_request;
    bool closes; /* nothing can follow it on this connection */
    size_t size; /* when it is no request */
};

static enum fcgi_look walk_bad(const char **why, const char *text)
{
    *why = text;
    return FCGI_LOOK_BAD;
}

/* Reads the record header at the front. WHOLE when it is there. */
static enum fcgi_look walk_header(const unsigned char *bytes, size_t size, struct fcgi_record *record,
                                  const char **why)
{
    if (size > 0 && bytes[0] != FCGI_VERSION_1)
        return walk_bad(why, "not FastCGI");
    if (size < FCGI_HEADER_LEN)
        return FCGI_LOOK_PARTIAL;
    fcgi_record_parse(bytes, record);
    return FCGI_LOOK_WHOLE;
}

static enum fcgi_look walk_management(const struct fcgi_record *record, size_t size, struct walk_unit *unit,
                                      const char **why)
{
    if (record->type >= FCGI_BEGIN_REQUEST && record->type <= FCGI_DATA)
        return walk_bad(why, "a request's record with request id 0");
    unit->size = fcgi_record_size(record);
    return size < unit->size ? FCGI_LOOK_PARTIAL : FCGI_LOOK_WHOLE;
}

/* Says why a record has no place among the PARAMS of request id; NULL when it has one. */
static const char *walk_misplaced(const struct fcgi_record *record, uint16_t id)
{
    if (record->id == 0)
        return "a management record inside a request";
    if (record->id != id)
        return "a record of another request inside a request";
    if (record->type == FCGI_ABORT_REQUEST)
        return "aborted by the web server";
    if (record->type != FCGI_PARAMS)
        return "not a PARAMS record where one has to be";
    if (record->content_size == 0 && record->padding_size > 0)
        return "padding on the empty PARAMS record"; /* libfcgi then loses the body */
    return NULL;
}

/* The PARAMS stream of request id. WHOLE with *end behind its empty record. */
static enum fcgi_look walk_params(const unsigned char *bytes, size_t size, uint16_t id, size_t *end,
                                  const char **why)
{
    struct pairs pairs = {.count = 0};
    size_t at = *end;
    for (;;) {
        struct fcgi_record record;
        enum fcgi_look header = walk_header(bytes + at, size - at, &record, why);
        if (header != FCGI_LOOK_WHOLE)
            return header;
        const char *misplaced = walk_misplaced(&record, id);
        if (misplaced)
            return walk_bad(why, misplaced);

        size_t next = at + fcgi_record_size(&record);
        if (next > FCGI_HEADER_BYTES_MAX)
            return walk_bad(why, "a header that is too long");
        size_t content = at + FCGI_HEADER_LEN;
        size_t have = size - content < record.content_size ? size - content : record.content_size;
        if (!pairs_feed(&pairs, bytes + content, have, why))
            return FCGI_LOOK_BAD;
        if (size < next)
            return FCGI_LOOK_PARTIAL;
        at = next;
        if (record.content_size == 0)
            break;
    }
    if (!pairs_are_complete(&pairs))
        return walk_bad(why, "a parameter that claims more than was sent");
    *end = at;
    return FCGI_LOOK_WHOLE;
}

/* A request of a role that is not served: takes the records that came with it along. The connection can
 * go on only when the peer wants that and the request's end is among them. */
static void walk_refused(const unsigned char *bytes, size_t size, uint16_t id, bool keep,
                         struct walk_unit *unit)
{
    struct fcgi_record record;
    bool input_ended = false;
    while (size - unit->size >= FCGI_HEADER_LEN && fcgi_record_parse(bytes + unit->size, &record) &&
           record.id == id && record.type != FCGI_BEGIN_REQUEST &&
           size - unit->size >= fcgi_record_size(&record)) {
        unit->size += fcgi_record_size(&record);
        if (record.type == FCGI_STDIN && record.content_size == 0)
            input_ended = true;
    }
    unit->closes = !(keep && input_ended);
}

static enum fcgi_look walk_request(const unsigned char *bytes, size_t size, const struct fcgi_record *begin,
                                   struct walk_unit *unit, const char **why)
{
    if (begin->content_size != sizeof(FCGI_BeginRequestBody))
        return walk_bad(why, "a BEGIN_REQUEST of the wrong size");
    if (begin->padding_size > 0)
        return walk_bad(why, "padding on BEGIN_REQUEST"); /* libfcgi then loses the parameters */
    size_t end = sizeof(FCGI_BeginRequestRecord);
    if (size < end)
        return FCGI_LOOK_PARTIAL;
    enum fcgi_look params = walk_params(bytes, size, begin->id, &end, why);
    if (params != FCGI_LOOK_WHOLE)
        return params;

    const unsigned char *body = bytes + FCGI_HEADER_LEN;
    unit->is_request = (body[0] << 8 | body[1]) == FCGI_RESPONDER;
    unit->size = end;
    if (!unit->is_request)
        walk_refused(bytes, size, begin->id, body[2] & FCGI_KEEP_CONN, unit);
    return FCGI_LOOK_WHOLE;
}

static enum fcgi_look walk_one(const unsigned char *bytes, size_t size, struct walk_unit *unit,
                               const char **why)
{
    struct fcgi_record record;
    enum fcgi_look header = walk_header(bytes, size, &record, why);
    if (header != FCGI_LOOK_WHOLE)
        return header;
    if (record.id == 0)
        return walk_management(&record, size, unit, why);
    if (record.type != FCGI_BEGIN_REQUEST)
        return walk_bad(why, "a record that belongs to no request");
    return walk_request(bytes, size, &record, unit, why);
}

enum fcgi_look fcgi_walk(const unsigned char *bytes, size_t size, size_t *consume, const char **why)
{
    const char *ignored;
    *consume = 0;
    if (!why)
        why = &ignored;
    *why = NULL;
    while (*consume < size) {
        struct walk_unit unit = {.size = 0};
        enum fcgi_look found = walk_one(bytes + *consume, size - *consume, &unit, why);
        if (found != FCGI_LOOK_WHOLE || unit.is_request)
            return found;
        *consume += unit.size;
        if (unit.closes)
            return walk_bad(why, "a role other than responder");
    }
    return FCGI_LOOK_EMPTY;
}

/* ---- peeking ---- */

struct look {
    int fd;
    unsigned char *buffer;
    size_t capacity;
    size_t size; /* bytes seen last */
    size_t consume;
};

static enum fcgi_look look_peek(struct look *l, const char **why)
{
    ssize_t got;
    do
        got = recv(l->fd, l->buffer, l->capacity, MSG_PEEK | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    l->consume = 0;
    l->size = got > 0 ? (size_t)got : 0;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return FCGI_LOOK_EMPTY;
    if (got <= 0)
        return FCGI_LOOK_GONE;
    return fcgi_walk(l->buffer, l->size, &l->consume, why);
}

/* Takes the records away that fcgi_walk() named, and answers them. */
static bool look_consume(struct look *l)
{
    size_t have = 0;
    while (have < l->consume) {
        ssize_t got = recv(l->fd, l->buffer + have, l->consume - have, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return fcgi_manage_answer(l->fd, l->buffer, l->consume);
}

static bool look_peer_hung_up(const struct look *l)
{
    struct pollfd asked = {.fd = l->fd, .events = POLLRDHUP};
    return poll(&asked, 1, 0) > 0;
}

/* TCP's window does not grow while nobody reads, and starts smaller than the longest header. Best effort:
 * without it such a header stays PARTIAL until its deadline. */
static void look_make_room(int fd)
{
    int wanted = 2 * FCGI_HEADER_BYTES_MAX, have = 0;
    socklen_t size = sizeof have;
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &have, &size) == 0 && have < wanted)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted);
}

static enum fcgi_look look_with(struct look *l, const char **why)
{
    bool hung_up = false;
    for (int round = 0; round < LOOK_ROUNDS_MAX; round++) {
        enum fcgi_look found = look_peek(l, why);
        if (l->consume > 0) {
            if (!look_consume(l))
                return walk_bad(why, "no room for the answer to a management record");
            if (found == FCGI_LOOK_BAD)
                return found;
            continue;
        }
        if (found != FCGI_LOOK_PARTIAL || l->size == l->capacity)
            return found;
        if (hung_up)
            return FCGI_LOOK_GONE;
        hung_up = look_peer_hung_up(l); /* then what there is now is all: look once more */
        if (!hung_up)
            return found;
    }
    return walk_bad(why, "management records without end");
}

enum fcgi_look fcgi_look(int fd, const char **why)
{
    const char *ignored;
    unsigned char small[LOOK_SMALL_SIZE];
    struct look l = {.fd = fd, .buffer = small, .capacity = sizeof small};
    if (!why)
        why = &ignored;
    *why = NULL;

    enum fcgi_look found = look_with(&l, why);
    if (found != FCGI_LOOK_PARTIAL || l.size < l.capacity)
        return found;
    l.capacity = FCGI_HEADER_BYTES_MAX + 1;
    l.buffer = malloc(l.capacity);
    if (!l.buffer)
        return walk_bad(why, "out of memory");
    found = look_with(&l, why);
    free(l.buffer);
    if (found == FCGI_LOOK_PARTIAL)
        look_make_room(fd);
    return found;
}
