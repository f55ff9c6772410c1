/* Escapes what a terminal would obey. No state; any thread. */
#include "pm/printable.h"

#include "config/text.h"

#include <string.h>

void printable_write(FILE *out, const char *text, size_t text_size)
{
    while (text_size > 0) {
        uint32_t c;
        size_t size = cfg_text_decode(text, text_size, &c);
        if (size == 0)
            fprintf(out, "\\x%02x", (unsigned char)*text);
        else if (c == '\t' || cfg_text_is_shown(c))
            fwrite(text, 1, size, out);
        else
            fprintf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
        text += size ? size : 1;
        text_size -= size ? size : 1;
    }
}

void printable_write_lines(FILE *out, const char *prefix, const char *text, size_t text_size)
{
    while (text_size > 0) {
        const char *newline = memchr(text, '\n', text_size);
        size_t size = newline ? (size_t)(newline - text) : text_size;
        fputs(prefix, out);
        printable_write(out, text, size);
        putc('\n', out);
        text += newline ? size + 1 : size;
        text_size -= newline ? size + 1 : size;
    }
}
