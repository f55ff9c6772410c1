/* The fingerprint of an environment on the supervisor's side: text put together from what a host sends.
 *
 * Its lines are described in pyhost/fingerprint.h; nothing in it is trusted. */
#ifndef PM_FINGERPRINT_H
#define PM_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>

struct wire_msg;

struct pm_fingerprint {
    char *text;    /* NUL-terminated lines; NULL: none */
    size_t size;   /* without the NUL */
    bool complete; /* the last piece has come */
    bool is_hot;   /* files were written a moment before it was taken */
};

/* Appends the piece in a WIRE_FINGERPRINT message. Ignored once it is complete; what is more than a host may
 * send, or does not fit into memory, makes it empty and complete, so that it equals nothing. */
void pm_fingerprint_take(struct pm_fingerprint *f, const struct wire_msg *m);

void pm_fingerprint_clear(struct pm_fingerprint *f);

/* Frees *to and moves from there, which is empty afterwards. */
void pm_fingerprint_move(struct pm_fingerprint *to, struct pm_fingerprint *from);

/* True when there is something to compare. */
bool pm_fingerprint_is_known(const struct pm_fingerprint *f);

/* True when an item of python-home or python-path is not there, so that nothing can be started from it. */
bool pm_fingerprint_has_gaps(const struct pm_fingerprint *f);

#endif
