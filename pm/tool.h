/* Runs another program for a command of pyfpm (a Python, cmake, a host that describes itself) and waits for
 * it. */
#ifndef PM_TOOL_H
#define PM_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* The end of what it wrote to standard output and standard error, without the newline after it. */
struct pm_tool_output {
    char text[8192]; /* NUL-terminated; what came before is dropped */
    size_t size;
};

/* Runs argv[0] (found in PATH when it has no slash) with an environment of PATH, HOME and LC_ALL=C.UTF-8
 * only, nothing to read, and all other descriptors closed that are close-on-exec. Waits until it and what it
 * started have ended; what it leaves running of its process group is killed. After patience_ms (0: for ever),
 * or when SIGINT, SIGTERM or SIGHUP comes meanwhile, all of it is killed.
 *
 * Returns its exit status; or -1 with *e: it could not be started, was killed by a signal, took too long, or
 * we were told to stop. From the first call on those signals end nothing by themselves: the caller cleans up,
 * then calls pm_tool_end(). Not for the supervisor. */
int pm_tool_run(char *const argv[], int64_t patience_ms, struct pm_tool_output *output, struct err *e);

/* Returns the exit code given, or, when a signal stopped a tool, does not return: ends this process by it, as
 * the caller's shell expects. */
int pm_tool_end(int exit_code);

/* Whether that is so: then there is no use in running more. */
bool pm_tool_is_stopped(void);

/* The first line of what it wrote, for a sentence: the text is cut after it. "nothing" when it wrote none. */
const char *pm_tool_first_line(struct pm_tool_output *output);

#endif
