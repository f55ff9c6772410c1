/* Which extension module will not be loaded outside of the main interpreter. */
#ifndef PYHOST_REFUSAL_H
#define PYHOST_REFUSAL_H

#include <stddef.h>

struct err;

#define HOST_REFUSAL_TEXT_MAX 1024

/* Notes which extension modules fail to load, in the current interpreter and until host_refusal_unwatch() is
 * called in it. One interpreter at a time, on the main thread, with the GIL. 0, or -1 with *e. */
int host_refusal_watch(struct err *e);
void host_refusal_unwatch(void);

/* When the current exception comes from an extension module that was noted: what to do about it, as the end
 * of a sentence (" (the extension module …)"), else "". Keeps the exception. With the GIL. */
void host_refusal_explain(char text[HOST_REFUSAL_TEXT_MAX]);

#endif
