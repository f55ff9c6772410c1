/* The explanation of a group's environment: collected from its host, given a known shape, judged. */
#ifndef PM_EXPLAIN_H
#define PM_EXPLAIN_H

#include "base/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct cfg_group;

/* What arrived so far. Start with zeroes; free with pm_explain_free(). */
struct pm_explain {
    struct pm_explain_section {
        char *text; /* not NUL-terminated */
        size_t size;
        bool is_complete;
    } sections[WIRE_EXPLAIN_SECTIONS];
    pid_t sender; /* of what Python tells, as the host named it before it imported the application; 0: not yet
                   */
    bool is_too_long;
};

/* Takes a WIRE_EXPLAIN message. What is too much in all is dropped and said later; what somebody else than
 * the named process sends for it is ignored. */
void pm_explain_take(struct pm_explain *x, const struct wire_msg *m);

/* Is there something that the host has not sent? */
bool pm_explain_is_awaited(const struct pm_explain *x);

/* Puts what arrived into the shape of docs/check-explain.md: unknown keys, values of a wrong type and what is
 * too much are left out, whatever was sent; what could not be read is a sentence among "notes". Of a group
 * that no host told of, what pyfpm itself sees in the files. New reference; NULL without memory. */
json_t *pm_explain_facts(const struct pm_explain *x, const struct cfg_group *group);

void pm_explain_free(struct pm_explain *x);

/* explain_verdict.c: one sentence that starts with "fine" or "broken". failure: why the group is broken, or
 * NULL; warnings: array of strings. The caller frees it; NULL without memory. */
char *pm_explain_verdict(const json_t *facts, const char *failure, const json_t *warnings);

/* explain_text.c: prints facts of the right shape (anything else is left out) for a person to read. */
void pm_explain_print(const json_t *facts, FILE *out);

#endif
