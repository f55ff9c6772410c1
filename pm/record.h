/* How the last start or reload of a group went, and how many went well or badly. Allocates nothing but the
 * reason. */
#ifndef PM_RECORD_H
#define PM_RECORD_H

#include <stdint.h>

enum pm_reload_state {
    PM_RELOAD_NONE,   /* none was asked, or its outcome was collected */
    PM_RELOAD_GOING,  /* starting, or moving over */
    PM_RELOAD_DONE,   /* every worker is of the new generation */
    PM_RELOAD_FAILED, /* the old generation keeps serving */
};

/* Start from zero. */
struct pm_record {
    unsigned number;              /* counts the start and the reloads of a group, from 1 */
    enum pm_reload_state outcome; /* GOING, DONE or FAILED; for who asks later than the one who collects */
    enum pm_reload_state state;   /* the same until it is collected, then NONE */
    char *failure;                /* FAILED: why; else NULL. Owned */
    int64_t ended_at_s;           /* time(2); 0 while it goes on */
    unsigned good, failed;        /* reloads; the start is none */
};

void pm_record_begin(struct pm_record *r);

/* why: of a failure, else NULL. What comes when nothing is going on is another story, and changes nothing. */
void pm_record_end(struct pm_record *r, enum pm_reload_state outcome, const char *why);

/* A reload that could not even begin. One that goes on is not disturbed by it. */
void pm_record_refuse(struct pm_record *r, const char *why);

/* DONE and FAILED are returned once. */
enum pm_reload_state pm_record_collect(struct pm_record *r);

void pm_record_clear(struct pm_record *r);

#endif
