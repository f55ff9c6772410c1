/* An arena: pieces in a chain, freed together. For one-shot commands; ends the program without memory. */
#include "pm/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    struct piece *next;
    max_align_t bytes[];
};

struct pool {
    struct piece *pieces;
};

static void *or_end(void *memory)
{
    if (memory)
        return memory;
    fputs("pyfpm: out of memory\n", stderr);
    exit(EXIT_FAILURE);
}

struct pool *pool_new(void)
{
    return or_end(calloc(1, sizeof(struct pool)));
}

void pool_free(struct pool *p)
{
    while (p && p->pieces) {
        struct piece *next = p->pieces->next;
        free(p->pieces);
        p->pieces = next;
    }
    free(p);
}

void *pool_take(struct pool *p, size_t size)
{
    struct piece *piece = or_end(calloc(1, sizeof *piece + size));
    piece->next = p->pieces;
    p->pieces = piece;
    return piece->bytes;
}

char *pool_copy(struct pool *p, const char *bytes, size_t size)
{
    char *copy = pool_take(p, size + 1);
    memcpy(copy, bytes, size);
    return copy;
}

char *pool_format(struct pool *p, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    or_end(size < 0 ? NULL : text);
    char *copy = pool_copy(p, text, (size_t)size);
    free(text);
    return copy;
}

void pool_list_add(struct pool *p, struct pool_list *list, void *item)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 8;
        void **items = pool_take(p, room * sizeof *items);
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
}
