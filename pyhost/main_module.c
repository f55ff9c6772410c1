/* Names a main file, so that multiprocessing works from a request as it does from a script.
 *
 * The methods spawn and forkserver start the environment's python, run the file of the parent's __main__ in
 * it and only then unpickle what the child shall do. The __main__ of an embedded interpreter has no file, and
 * a function of the WSGI script could not be found: its module's name is of our making. The script itself is
 * not named: every child would import the whole application, and one that starts children at import would
 * never stop. Runs on the main thread, before the application. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/main_module.h"

#include "base/err.h"
#include "base/log.h"
#include "pyhost/host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHILD_MAIN "child_main.py"

static char child_main[4096]; /* set once, by host_main_module_locate() */

void host_main_module_locate(void)
{
    char program[sizeof child_main - sizeof CHILD_MAIN];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    program[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        snprintf(child_main, sizeof child_main, "%.*s/" CHILD_MAIN, (int)(slash - program), program);
}

int host_main_module_prepare(struct err *e)
{
    if (access(child_main, R_OK) < 0) {
        log_write(LOG_LEVEL_DEBUG, NULL,
                  "uid %u cannot read %s: children of multiprocessing cannot import the script",
                  (unsigned)geteuid(), child_main[0] ? child_main : CHILD_MAIN);
        return 0;
    }
    PyObject *module = PyImport_AddModule("__main__"); /* borrowed */
    PyObject *path = PyUnicode_DecodeFSDefault(child_main);
    int result = module && path ? PyModule_AddObject(module, "__file__", path) : -1;
    if (result == 0)
        return 0;
    Py_XDECREF(path);
    char text[1024];
    host_pyerr_format(text, sizeof text);
    return err_set(e, "__main__ cannot be prepared: %s", text);
}
