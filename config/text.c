/* UTF-8 decoding, escaping for messages, and the edit distance behind "did you mean".
 *
 * Pure functions over bytes; any thread. */
#include "config/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t cfg_text_decode(const char *bytes, size_t size, uint32_t *code_point)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)bytes;
    size_t length = u[0] < 0x80 ? 1 : u[0] >> 5 == 6 ? 2 : u[0] >> 4 == 14 ? 3 : u[0] >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t value = length == 1 ? u[0] : u[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (u[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code_point = value;
    return length;
}

size_t cfg_text_find_invalid(const char *bytes, size_t size)
{
    size_t offset = 0;
    while (offset < size) {
        uint32_t code_point;
        size_t length = cfg_text_decode(bytes + offset, size - offset, &code_point);
        if (length == 0)
            return offset;
        offset += length;
    }
    return size;
}

bool cfg_text_is_shown(uint32_t code_point)
{
    static const uint32_t hidden[][2] = {
        {0, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0xfeff, 0xfeff},
        {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (code_point >= hidden[i][0] && code_point <= hidden[i][1])
            return false;
    }
    return true;
}

static size_t escape_one(const char *at, size_t left, char **out)
{
    uint32_t code_point;
    size_t length = cfg_text_decode(at, left, &code_point);
    if (length == 0) {
        *out += sprintf(*out, "\\x%02x", (unsigned char)*at);
        return 1;
    }
    if (cfg_text_is_shown(code_point)) {
        memcpy(*out, at, length);
        *out += length;
    } else if (code_point == '\n') {
        *out += sprintf(*out, "\\n");
    } else if (code_point == '\t') {
        *out += sprintf(*out, "\\t");
    } else if (code_point < 0x100) {
        *out += sprintf(*out, "\\x%02x", code_point);
    } else {
        *out += sprintf(*out, code_point < 0x10000 ? "\\u%04x" : "\\U%08x", code_point);
    }
    return length;
}

char *cfg_text_escape(const char *text)
{
    size_t size = strlen(text);
    char *escaped = malloc(size * 4 + 1); /* the worst: \xNN for one byte */
    if (escaped == NULL)
        return NULL;
    char *out = escaped;
    for (size_t i = 0; i < size;)
        i += escape_one(text + i, size - i, &out);
    *out = '\0';
    return escaped;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned cfg_text_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size >= LONGEST || b_size >= LONGEST)
        return UINT_MAX;

    unsigned rows[3][LONGEST];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_size; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned best = smaller(last[j], now[j - 1]) + 1;
            best = smaller(best, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = smaller(best, before[j - 2] + 1);
            now[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b_size];
}
