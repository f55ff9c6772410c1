/* Memory that is freed all at once, for commands that read something, turn it over and print it.
 *
 * Nothing here fails: when there is no memory the program ends with a sentence. So only commands use it,
 * never the supervisor. */
#ifndef PM_POOL_H
#define PM_POOL_H

#include <stddef.h>

struct pool;

struct pool *pool_new(void);
void pool_free(struct pool *p); /* NULL is fine */

/* Zeroed. */
void *pool_take(struct pool *p, size_t size);

/* A copy of so many bytes, with a NUL behind them. */
char *pool_copy(struct pool *p, const char *bytes, size_t size);
char *pool_format(struct pool *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Pointers in the order of their coming; zeroed is empty. */
struct pool_list {
    void **items;
    size_t count;
    size_t room;
};
void pool_list_add(struct pool *p, struct pool_list *list, void *item);

#endif
