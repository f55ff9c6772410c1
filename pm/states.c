/* The two state tables, each on one screen. Pure; no clock, no system calls. */
#include "pm/states.h"

#define T(name) PM_TEMPLATE_##name
#define W(name) PM_WORKER_##name
#define NO      PM_NO_MOVE

/* clang-format off */
static const signed char template_moves[PM_TEMPLATE_STATES][PM_TEMPLATE_EVENTS] = {
    /*                 START         IS_UP     REFUSES    STOP       EXIT    */
    [T(NONE)]     = {T(STARTING),  NO,       NO,        NO,        NO     },
    [T(STARTING)] = {NO,           T(READY), T(ENDING), T(ENDING), T(NONE)},
    [T(READY)]    = {NO,           NO,       NO,        T(ENDING), T(NONE)},
    [T(ENDING)]   = {NO,           NO,       NO,        T(ENDING), T(NONE)},
};

static const signed char worker_moves[PM_WORKER_STATES][PM_WORKER_EVENTS] = {
    /*                 HELLO         READY        DRAIN        KILL       EXIT    */
    [W(FORKING)]  = {W(STARTING),  NO,          W(GONE),     W(GONE),   W(GONE)},
    [W(STARTING)] = {NO,           W(SERVING),  W(DRAINING), W(KILLED), W(GONE)},
    [W(SERVING)]  = {NO,           NO,          W(DRAINING), W(KILLED), W(GONE)},
    [W(DRAINING)] = {NO,           W(DRAINING), W(DRAINING), W(KILLED), W(GONE)},
    [W(KILLED)]   = {NO,           W(KILLED),   W(KILLED),   W(KILLED), W(GONE)},
    [W(GONE)]     = {NO,           NO,          NO,          NO,        NO     },
};
/* clang-format on */

int pm_template_next(enum pm_template_state state, enum pm_template_event event)
{
    return template_moves[state][event];
}

int pm_worker_next(enum pm_worker_state state, enum pm_worker_event event)
{
    return worker_moves[state][event];
}

const char *pm_template_state_name(enum pm_template_state state)
{
    static const char *const names[PM_TEMPLATE_STATES] = {"none", "starting", "ready", "ending"};
    return names[state];
}

const char *pm_worker_state_name(enum pm_worker_state state)
{
    static const char *const names[PM_WORKER_STATES] = {"forking",  "starting", "serving",
                                                        "draining", "killed",   "gone"};
    return names[state];
}
