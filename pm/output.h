/* What the application prints: a pipe per process, turned into marked log lines. */
#ifndef PM_OUTPUT_H
#define PM_OUTPUT_H

#include <sys/types.h>
#include <uv.h>

struct err;
struct pm_output;

/* Makes the pipe of one process; *write_end is the caller's, to pass on. Lines are logged until every writer
 * has closed it, daemons that the application started included; then the object frees itself. NULL with *e.
 */
struct pm_output *pm_output_new(uv_loop_t *loop, const char *group, int *write_end, struct err *e);

/* Sets the pid that lines are marked with, when it becomes known. */
void pm_output_set_pid(struct pm_output *o, pid_t pid);

/* The owner forgets it: the object lives on alone until end of file. *o becomes NULL; NULL is fine. */
void pm_output_release(struct pm_output **o);

/* Logs what is waiting now; before the end of its process is reported. */
void pm_output_flush(struct pm_output *o);

/* Closes every pipe that is still open; when the supervisor ends. */
void pm_output_close_all(void);

#endif
