/* Answers what fcgi_look() meets that is no request for a responder: questions about this server
 * (FCGI_GET_VALUES), management records of unknown types, requests of other roles. libfcgi would answer
 * the first only once more bytes follow, and not at all safely. Never blocks; any thread. */
#include "fcgi/look.h"

#include "fcgi/record.h"

#include <sys/socket.h>

/* Connections are watched, not worked on, while they idle: there is no small limit to tell. */
static const struct {
    const char *name;
    const char *value;
} manage_values[] = {
    {FCGI_MAX_CONNS, "1024"},
    {FCGI_MAX_REQS, "1024"},
    {FCGI_MPXS_CONNS, "0"},
};

#define VALUE_COUNT (sizeof manage_values / sizeof *manage_values)

static bool manage_send(int fd, const unsigned char *bytes, size_t size)
{
    return send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

/* Which of our values the record asks for; each is answered once, however often it is named. */
static void manage_find_asked(const unsigned char *content, size_t size, bool asked[VALUE_COUNT])
{
    while (size > 0) {
        uint32_t name_size, value_size;
        size_t name_took = fcgi_record_length(content, size, &name_size);
        size_t value_took = name_took ? fcgi_record_length(content + name_took, size - name_took, &value_size)
                                      : 0;
        if (value_took == 0)
            return;
        content += name_took + value_took;
        size -= name_took + value_took;
        if (name_size > size || value_size > size - name_size)
            return;
        for (size_t i = 0; i < VALUE_COUNT; i++)
            if (strlen(manage_values[i].name) == name_size &&
                memcmp(manage_values[i].name, content, name_size) == 0)
                asked[i] = true;
        content += name_size + value_size;
        size -= name_size + value_size;
    }
}

static bool manage_answer_values(int fd, const unsigned char *content, size_t size)
{
    unsigned char answer[128];
    bool asked[VALUE_COUNT] = {false};
    size_t end = FCGI_HEADER_LEN;
    manage_find_asked(content, size, asked);
    for (size_t i = 0; i < VALUE_COUNT; i++) {
        if (!asked[i])
            continue;
        size_t name_size = strlen(manage_values[i].name), value_size = strlen(manage_values[i].value);
        answer[end++] = (unsigned char)name_size;
        answer[end++] = (unsigned char)value_size;
        memcpy(answer + end, manage_values[i].name, name_size);
        end += name_size;
        memcpy(answer + end, manage_values[i].value, value_size);
        end += value_size;
    }
    fcgi_record_put(answer, FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, end - FCGI_HEADER_LEN);
    return manage_send(fd, answer, end);
}

static bool manage_answer_unknown(int fd, uint8_t type)
{
    unsigned char answer[sizeof(FCGI_UnknownTypeRecord)] = {0};
    fcgi_record_put(answer, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, sizeof(FCGI_UnknownTypeBody));
    answer[FCGI_HEADER_LEN] = type;
    return manage_send(fd, answer, sizeof answer);
}

static bool manage_refuse_role(int fd, uint16_t id)
{
    unsigned char answer[FCGI_RECORD_END_SIZE];
    fcgi_record_put_end(answer, id, FCGI_UNKNOWN_ROLE);
    return manage_send(fd, answer, sizeof answer);
}

bool fcgi_manage_answer(int fd, const unsigned char *bytes, size_t size)
{
    struct fcgi_record record;
    for (size_t at = 0; at < size; at += fcgi_record_size(&record)) {
        bool fine = true;
        fcgi_record_parse(bytes + at, &record);
        if (record.type == FCGI_BEGIN_REQUEST)
            fine = manage_refuse_role(fd, record.id);
        else if (record.id == 0 && record.type == FCGI_GET_VALUES)
            fine = manage_answer_values(fd, bytes + at + FCGI_HEADER_LEN, record.content_size);
        else if (record.id == 0)
            fine = manage_answer_unknown(fd, record.type);
        if (!fine)
            return false;
    }
    return true;
}
