/* FastCGI records as bytes. The numbers come from fastcgi.h; this says how a header is laid out. */
#ifndef FCGI_RECORD_H
#define FCGI_RECORD_H

#include <fastcgi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FCGI_RECORD_CONTENT_MAX 65528 /* of the records we send: the largest that needs no padding */
#define FCGI_RECORD_END_SIZE    (FCGI_HEADER_LEN + 8)

struct fcgi_record {
    uint8_t type;
    uint16_t id;
    uint16_t content_size;
    uint8_t padding_size;
};

/* Reads a header of FCGI_HEADER_LEN bytes. False when it is of another version of FastCGI, or of none. */
static inline bool fcgi_record_parse(const unsigned char *bytes, struct fcgi_record *r)
{
    r->type = bytes[1];
    r->id = (uint16_t)(bytes[2] << 8 | bytes[3]);
    r->content_size = (uint16_t)(bytes[4] << 8 | bytes[5]);
    r->padding_size = bytes[6];
    return bytes[0] == FCGI_VERSION_1;
}

/* Header, content and padding. */
static inline size_t fcgi_record_size(const struct fcgi_record *r)
{
    return FCGI_HEADER_LEN + (size_t)r->content_size + r->padding_size;
}

/* Writes the header of an unpadded record. content_size <= 65535. */
static inline void fcgi_record_put(unsigned char *bytes, uint8_t type, uint16_t id, size_t content_size)
{
    bytes[0] = FCGI_VERSION_1;
    bytes[1] = type;
    bytes[2] = (unsigned char)(id >> 8);
    bytes[3] = (unsigned char)id;
    bytes[4] = (unsigned char)(content_size >> 8);
    bytes[5] = (unsigned char)content_size;
    bytes[6] = 0;
    bytes[7] = 0;
}

/* Writes a whole END_REQUEST record, FCGI_RECORD_END_SIZE bytes, with appStatus 0. */
static inline void fcgi_record_put_end(unsigned char *bytes, uint16_t id, uint8_t protocol_status)
{
    fcgi_record_put(bytes, FCGI_END_REQUEST, id, 8);
    memset(bytes + FCGI_HEADER_LEN, 0, 8);
    bytes[FCGI_HEADER_LEN + 4] = protocol_status;
}

/* Reads the length of a name or value: one byte, or four with the first one's high bit set. Returns how
 * many bytes it took, 0 when size is too small for it. */
static inline size_t fcgi_record_length(const unsigned char *bytes, size_t size, uint32_t *length)
{
    if (size >= 1 && bytes[0] < 0x80) {
        *length = bytes[0];
        return 1;
    }
    if (size < 4)
        return 0;
    *length = (uint32_t)(bytes[0] & 0x7f) << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
              bytes[3];
    return 4;
}

#endif
