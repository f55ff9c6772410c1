/* The legal lives of templates and workers, as tables of state × event.
 *
 * Nobody assigns a state: pm_template_next() and pm_worker_next() look the move up, and the owners
 * (generation.c, worker.c) have the only door each. PM_NO_MOVE marks what cannot happen; the door logs it
 * and ignores the event, because templates and workers run application code and may say anything. */
#ifndef PM_STATES_H
#define PM_STATES_H

#define PM_NO_MOVE (-1)

enum pm_template_state {
    PM_TEMPLATE_NONE,     /* not started, or gone and may be started again */
    PM_TEMPLATE_STARTING, /* exec'd; interpreter and, with preload, application coming up */
    PM_TEMPLATE_READY,    /* forks workers on request */
    PM_TEMPLATE_ENDING,   /* killed or about to exit by itself; not reaped yet */
    PM_TEMPLATE_STATES
};

enum pm_template_event {
    PM_TEMPLATE_START,   /* the supervisor exec'd it */
    PM_TEMPLATE_IS_UP,   /* it said so */
    PM_TEMPLATE_REFUSES, /* it said that it cannot, or that preloading was unsafe */
    PM_TEMPLATE_STOP,    /* the supervisor killed it */
    PM_TEMPLATE_EXIT,    /* it was reaped */
    PM_TEMPLATE_EVENTS
};

enum pm_worker_state {
    PM_WORKER_FORKING,  /* asked of the template; pid unknown */
    PM_WORKER_STARTING, /* said hello; importing unless preloaded */
    PM_WORKER_SERVING,  /* accepts; idle or busy is in the scoreboard */
    PM_WORKER_DRAINING, /* finishes its requests */
    PM_WORKER_KILLED,   /* SIGKILL is on its way, not reaped yet */
    PM_WORKER_GONE,     /* reaped, or never came to be */
    PM_WORKER_STATES
};

enum pm_worker_event {
    PM_WORKER_HELLO, /* its first message, with credentials */
    PM_WORKER_READY, /* it accepts */
    PM_WORKER_DRAIN, /* the supervisor asks it to finish */
    PM_WORKER_KILL,  /* the supervisor kills it */
    PM_WORKER_EXIT,  /* it was reaped, or the fork failed */
    PM_WORKER_EVENTS
};

/* The state after an event, or PM_NO_MOVE. Pure. */
int pm_template_next(enum pm_template_state state, enum pm_template_event event);
int pm_worker_next(enum pm_worker_state state, enum pm_worker_event event);

const char *pm_template_state_name(enum pm_template_state state);
const char *pm_worker_state_name(enum pm_worker_state state);

#endif
