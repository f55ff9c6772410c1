/* Keeps PyGILState_Ensure() right on threads with states in several interpreters.
 *
 * C code calls it before it calls back into Python: sqlite3's functions, ctypes' callbacks, what Cython and
 * pybind11 make. From 3.12 on it takes the state that ran last on the thread. Up to 3.11 it takes the first
 * one that the thread ever had, the main interpreter's: the callback then runs in the wrong interpreter, or
 * waits for ever for the GIL that its own thread holds. CPython keeps that state in a thread-specific value,
 * whose key has no name outside of it; so the key is looked for by its value, tried, and used. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/gilstate.h"

#if PY_VERSION_HEX < 0x030c0000

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>

/* Written before threads start. */
static pthread_key_t key;
static bool is_known;

/* Whether CPython takes its state from there: without a value it must find none. */
static bool is_the_key(pthread_key_t candidate, PyThreadState *state)
{
    if (pthread_getspecific(candidate) != state || pthread_setspecific(candidate, NULL) != 0)
        return false;
    bool is_it = PyGILState_GetThisThreadState() == NULL;
    pthread_setspecific(candidate, state);
    return is_it;
}

/* Keys are small numbers to the C libraries of Linux, and those that nobody created have no value. */
void host_gilstate_init(void)
{
    PyThreadState *state = PyGILState_GetThisThreadState();
    is_known = false;
    for (pthread_key_t candidate = 0; state && !is_known && candidate < PTHREAD_KEYS_MAX; candidate++) {
        is_known = is_the_key(candidate, state);
        key = candidate;
    }
}

void host_gilstate_bind(PyThreadState *state)
{
    if (is_known)
        pthread_setspecific(key, state);
}

#else

void host_gilstate_init(void)
{
}

void host_gilstate_bind(PyThreadState *state)
{
    (void)state;
}

#endif
