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
#include "config/config.h"
#include "pyhost/host.h"

#include <stdbool.h>
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

/* 0, or -1 with an exception. */
static int name_file(void)
{
    PyObject *module = PyImport_AddModule("__main__"); /* borrowed */
    PyObject *path = module ? PyUnicode_DecodeFSDefault(child_main) : NULL;
    int result = path ? PyObject_SetAttrString(module, "__file__", path) : -1;
    Py_XDECREF(path);
    return result;
}

/* 0, or -1 with an exception. */
static int set_arguments(const char *script)
{
    PyObject *path = PyUnicode_DecodeFSDefault(script);
    PyObject *arguments = path ? PyList_New(1) : NULL;
    if (!arguments) {
        Py_XDECREF(path);
        return -1;
    }
    PyList_SET_ITEM(arguments, 0, path); /* takes it */
    int result = PySys_SetObject("argv", arguments);
    Py_DECREF(arguments);
    return result;
}

/* The one script that is to run in an interpreter; NULL when none or several are. */
static const char *find_only_script(const struct cfg_group *group, const char *interpreter)
{
    const char *script = group->script;
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        if (!a->script || strcmp(a->interpreter, interpreter) != 0)
            continue;
        if (script)
            return NULL;
        script = a->script;
    }
    return script;
}

int host_main_module_prepare(const struct cfg_group *group, const char *interpreter, struct err *e)
{
    const char *script = find_only_script(group, interpreter);
    bool is_readable = access(child_main, R_OK) == 0;
    if (!is_readable)
        log_write(LOG_LEVEL_DEBUG, NULL,
                  "uid %u cannot read %s: children of multiprocessing cannot import the script",
                  (unsigned)geteuid(), child_main[0] ? child_main : CHILD_MAIN);
    if ((!is_readable || name_file() == 0) && (!script || set_arguments(script) == 0))
        return 0;
    char text[1024];
    host_pyerr_format(text, sizeof text);
    return err_set(e, "__main__ cannot be prepared: %s", text);
}
