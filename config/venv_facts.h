/* What files say about a group's environment, as JSON: the part of an explanation that needs no Python. */
#ifndef CONFIG_VENV_FACTS_H
#define CONFIG_VENV_FACTS_H

#include <stdio.h>

struct cfg_group;

/* The host that would serve the group. */
struct venv_host {
    const char *version;    /* X.Y */
    const char *library;    /* path of its libpython */
    const char *executable; /* of the Python that it was built for */
};

/* Writes one JSON object (docs/check-explain.md names its keys): who asks, baseline, overlay, closed. Looks
 * at the files as the effective user does. host may be NULL: there is none. The text is ASCII; bytes that are
 * no UTF-8 come as \xNN. */
void venv_write_facts(const struct cfg_group *group, const struct venv_host *host, FILE *out);

#endif
