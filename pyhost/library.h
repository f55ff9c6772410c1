/* The standard library that the interpreter found, against the one that it belongs to. */
#ifndef PYHOST_LIBRARY_H
#define PYHOST_LIBRARY_H

/* Warns in the log when the standard library in use is that of another installation and another release of
 * the same X.Y. home is the group's python-home, for the sentence. With the GIL, after the start. */
void host_library_compare(const char *home);

#endif
