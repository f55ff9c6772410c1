/* What this program was built from: the version and a fingerprint of the sources of pyfpm and its hosts.
 *
 * The build writes the function (cmake/WriteHostKit.cmake). Supervisor and hosts with the same stamp have the
 * same messages, scoreboard and configuration; a host of another one is refused. */
#ifndef BASE_STAMP_H
#define BASE_STAMP_H

/* "0.1.0-3fa9c2d41b77" */
const char *stamp_of_build(void);

#endif
