/* The control socket: who may come, the lines that are said on it, and what is under way for whom.
 *
 * A caller sends requests, one JSON object a line, and is answered by lines, of which the last has "done":
 * true; then comes its next request. docs/pyfpm-control.7 is the contract; control_commands.c has the verbs.
 */
#ifndef PM_CONTROL_H
#define PM_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

struct cfg_global;
struct err;
struct pm;
struct pm_caller; /* one connection */
struct pm_control;
struct pm_listener;

#define PM_CONTROL_LINE_MAX 16384 /* bytes of a request, its newline included */

/* No socket yet. NULL with *e. */
struct pm_control *pm_control_new(struct pm *pm, struct err *e);

/* Makes the socket that the file asks for, or finds the one that is there. *door stays NULL when there is to
 * be none, and after a warning when only the default asks for it and it cannot be had. 0, or -1 with *e. */
int pm_control_open(const struct cfg_global *global, struct pm_listener **door, struct err *e);

/* Takes callers there from now on, or nowhere when *door is NULL; those that came before stay. Takes *door
 * (sets it to NULL). 0, or -1 with *e, nothing changed and *door the caller's. */
int pm_control_use(struct pm_control *c, struct pm_listener **door, struct err *e);

/* While the supervisor settles: lets callers in and begins what they ask for; then goes on with what is under
 * way and says what there is to say. True when there is something to hear again. c may be NULL. */
void pm_control_hear(struct pm_control *c);
bool pm_control_tell(struct pm_control *c);

/* Removes the socket and ends every connection; the loop has to run once more before pm_control_free(). NULL
 * is fine for both. */
void pm_control_close(struct pm_control *c);
void pm_control_free(struct pm_control *c);

/* Says a line to a caller. Takes the object, which may be NULL for want of memory: that ends the connection.
 */
void pm_caller_say(struct pm_caller *caller, json_t *line);

/* What a caller asked for, while it goes on. Made and freed by control_commands.c. */
enum pm_job_step {
    PM_JOB_WAITS, /* for something to happen */
    PM_JOB_MORE,  /* it has more to say at once, which waits only for the caller to read */
    PM_JOB_DONE,  /* the last line was said */
};
struct pm_job {
    enum pm_job_step (*step)(struct pm_job *job, struct pm *pm, struct pm_caller *caller);
    void (*free)(struct pm_job *job);
};

/* Begins what a request asks for. NULL with *e, a sentence for the caller, and nothing begun. */
struct pm_job *pm_control_begin(struct pm *pm, const json_t *request, struct err *e);

/* {"done": true, "ok": …}, with "error" unless that is NULL. NULL without memory. */
json_t *pm_control_last_line(const char *error);

/* A JSON string of text that may be anything: what is not UTF-8 becomes U+FFFD. NULL stays null. */
json_t *pm_json_text(const char *text);

#endif
