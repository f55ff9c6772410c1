/* Notices an interpreter that runs on the standard library of another release.
 *
 * An environment brings the standard library of the installation it was made from. When that is another
 * installation of the same X.Y than the host was built for, interpreter and library may be of two releases,
 * and parts of the library that rely on the interpreter's insides fail much later: multiprocessing of 3.11.7
 * on the interpreter of 3.11.2 cannot start a process. Most of it works, so this is a warning. An upgrade in
 * place moves both and is not meant. Runs once, on the main thread. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/library.h"

#include "base/log.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANDMARK "lib/python" HOST_PYTHON_VERSION "/os.py"

/* Cuts that many components off the end. */
static void cut(char *path, unsigned count)
{
    char *slash;
    while (count-- > 0 && (slash = strrchr(path, '/')) != NULL)
        *slash = '\0';
}

/* The prefix whose library the interpreter uses, links followed; false when it has no file, as in a zip. */
static bool find_used_prefix(char prefix[PATH_MAX])
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *file = os ? PyObject_GetAttrString(os, "__file__") : NULL;
    const char *path = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    bool is_found = path && realpath(path, prefix) != NULL;
    Py_XDECREF(file);
    Py_XDECREF(os);
    PyErr_Clear();
    if (is_found)
        cut(prefix, 3);
    return is_found;
}

/* The prefix of the Python that the host was built for, the same way; false when its library is gone. */
static bool find_own_prefix(char prefix[PATH_MAX])
{
    char path[PATH_MAX];
    snprintf(prefix, PATH_MAX, "%s", HOST_PYTHON_EXECUTABLE);
    cut(prefix, 2);
    if (snprintf(path, sizeof path, "%s/" LANDMARK, prefix) >= (int)sizeof path || !realpath(path, prefix))
        return false;
    cut(prefix, 3);
    return true;
}

/* Takes the release from the installation's patchlevel.h; leaves it empty when that is not installed. */
static void read_release(const char *prefix, char release[32])
{
    char path[PATH_MAX], line[256];
    release[0] = '\0';
    if (snprintf(path, sizeof path, "%s/include/python" HOST_PYTHON_VERSION "/patchlevel.h", prefix) >=
        (int)sizeof path)
        return;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (release[0] == '\0' && fgets(line, sizeof line, file))
        if (sscanf(line, "#define PY_VERSION \"%31[^\"]\"", release) != 1)
            release[0] = '\0';
    fclose(file);
}

void host_library_compare(const char *home)
{
    char used[PATH_MAX], own[PATH_MAX], release[32], embedded[32];
    if (!find_used_prefix(used) || !find_own_prefix(own) || strcmp(used, own) == 0)
        return;
    read_release(used, release);
    snprintf(embedded, sizeof embedded, "%.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    if (strcmp(release, embedded) == 0)
        return;
    log_write(LOG_LEVEL_WARNING, NULL,
              "python-home %s brings the standard library of another Python (%s%s%s), and this host embeds "
              "%s (%s): "
              "what relies on the other's insides fails; build the host for that one (pyfpm add-python "
              "--force), or "
              "make the environment from this one",
              home, release, release[0] ? " in " : "in ", used, embedded, own);
}
