/* How many workers a group should have: pm static, dynamic and ondemand. Pure; tested as a table. */
#ifndef PM_SCALE_H
#define PM_SCALE_H

#include <stdbool.h>

#define PM_SCALE_STEP_MAX 32 /* workers started in one round at most, as in php-fpm */

/* What is. Counts are of processes. */
struct pm_scale_input {
    int mode;                                        /* enum cfg_pm */
    unsigned processes, start, min_spare, max_spare; /* the group's keys */
    unsigned total;                                  /* serving and coming */
    unsigned coming;                                 /* of them, those that do not serve yet */
    unsigned spare;   /* free threads of those that serve, in whole processes */
    unsigned idle;    /* serving without a request, so that they may be ended */
    unsigned expired; /* of them, idle for longer than idle-timeout */
    unsigned room;    /* how many more all groups together may have */
    unsigned step;    /* what the last round planned as step */
    bool is_first;    /* nothing was planned for this generation yet */
    bool is_pressed;  /* a connection waits, and nobody is free to take it */
};

/* What to do now: start so many, or end so many idle ones; never both. */
struct pm_scale_plan {
    unsigned start;
    unsigned end;
    unsigned step; /* for the next round's input */
};

struct pm_scale_plan pm_scale_plan(const struct pm_scale_input *in);

#endif
