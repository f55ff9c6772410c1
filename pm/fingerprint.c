/* Puts a fingerprint together from messages, within bounds. Runs on the supervisor's only thread. */
#include "pm/fingerprint.h"

#include "base/wire.h"

#include <stdlib.h>
#include <string.h>

/* What a host keeps to, and room for its last line. */
#define SIZE_MAX_BYTES (1024 * 1024 + 4096)

static void give_up(struct pm_fingerprint *f)
{
    pm_fingerprint_clear(f);
    f->complete = true;
}

void pm_fingerprint_take(struct pm_fingerprint *f, const struct wire_msg *m)
{
    if (f->complete)
        return;
    char *larger = f->size + m->text_size <= SIZE_MAX_BYTES ? realloc(f->text, f->size + m->text_size + 1)
                                                            : NULL;
    if (!larger || memchr(m->text, '\0', m->text_size)) {
        if (larger)
            f->text = larger;
        give_up(f);
        return;
    }
    memcpy(larger + f->size, m->text, m->text_size);
    f->text = larger;
    f->size += m->text_size;
    f->text[f->size] = '\0';
    f->complete = m->flags & WIRE_FINGERPRINT_END;
    f->is_hot = m->flags & WIRE_FINGERPRINT_HOT;
}

void pm_fingerprint_clear(struct pm_fingerprint *f)
{
    free(f->text);
    *f = (struct pm_fingerprint){0};
}

void pm_fingerprint_move(struct pm_fingerprint *to, struct pm_fingerprint *from)
{
    free(to->text);
    *to = *from;
    *from = (struct pm_fingerprint){0};
}

bool pm_fingerprint_is_known(const struct pm_fingerprint *f)
{
    return f->complete && f->text;
}

bool pm_fingerprint_has_gaps(const struct pm_fingerprint *f)
{
    return f->text && (strncmp(f->text, "missing ", 8) == 0 || strstr(f->text, "\nmissing "));
}
