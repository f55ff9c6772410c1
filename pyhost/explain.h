/* What pyfpm check learns of a group's environment: facts for --explain, and warnings in any case. */
#ifndef PYHOST_EXPLAIN_H
#define PYHOST_EXPLAIN_H

struct host;

/* Before Python: sends what the files say (WIRE_EXPLAIN). Does nothing without --explain. */
void host_explain_files(struct host *h);

/* After the interpreter started, before the overlay: remembers the baseline's sys.path. With the GIL. */
void host_explain_baseline(struct host *h);

/* After the overlay, done or failed: warns of what shadows the standard library, and with --explain forks the
 * process that will explain, while nothing of the application is in it. With the GIL. */
void host_explain_overlay(struct host *h);

/* After the application was imported, or could not be: gives sys.path, as it is now, to that process and
 * waits until it is done. Nothing is left to do a second time. With the GIL. */
void host_explain_finish(struct host *h);

#endif
