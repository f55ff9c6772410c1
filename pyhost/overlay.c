/* Lays python-path over the baseline environment of one interpreter.
 *
 * The interpreter's own site module reads the .pth files; here is only decided what comes first. An entry
 * that cannot be used fails the whole start, and all of them are named: an application that starts without
 * a part of its environment fails later and somewhere else. mod_wsgi leaves an entry where it is when the
 * baseline has it already; listed here means in front, always. Runs once per interpreter, on the main thread,
 * with the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/overlay.h"

#include "base/err.h"
#include "config/config.h"
#include "config/venv.h"
#include "pyhost/host.h"

#include <stdio.h>
#include <string.h>

/* Index of item in list, or -1 when it is not there; -2 with an exception. */
static Py_ssize_t index_of(PyObject *list, PyObject *item)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        int same = PyObject_RichCompareBool(PyList_GET_ITEM(list, i), item, Py_EQ);
        if (same < 0)
            return -2;
        if (same > 0)
            return i;
    }
    return -1;
}

/* Appends the items of from that are neither in to nor in except (may be NULL). 0, or -1 with an exception.
 */
static int append_missing(PyObject *to, PyObject *from, PyObject *except)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(from); i++) {
        PyObject *item = PyList_GET_ITEM(from, i); /* borrowed */
        Py_ssize_t in_except = except ? index_of(except, item) : -1;
        Py_ssize_t in_to = index_of(to, item);
        if (in_except == -2 || in_to == -2)
            return -1;
        if (in_except == -1 && in_to == -1 && PyList_Append(to, item) < 0)
            return -1;
    }
    return 0;
}

/* Brings the listed folders that were there before into front; from the last to the first, so that each finds
 * its successor in place. 0, or -1 with an exception. */
static int insert_listed(PyObject *front, PyObject *listed)
{
    Py_ssize_t place = PyList_GET_SIZE(front);
    for (Py_ssize_t i = PyList_GET_SIZE(listed) - 1; i >= 0; i--) {
        PyObject *folder = PyList_GET_ITEM(listed, i); /* borrowed */
        Py_ssize_t found = index_of(front, folder);
        if (found == -2 || (found == -1 && PyList_Insert(front, place, folder) < 0))
            return -1;
        if (found >= 0)
            place = found;
    }
    return 0;
}

PyObject *host_overlay_order(PyObject *before, PyObject *after, PyObject *listed)
{
    PyObject *ordered = PyList_New(0);
    if (!ordered)
        return NULL;
    if (append_missing(ordered, after, before) < 0 || insert_listed(ordered, listed) < 0 ||
        append_missing(ordered, after, NULL) < 0)
        Py_CLEAR(ordered);
    return ordered;
}

static int append_path(PyObject *list, const char *path)
{
    PyObject *item = PyUnicode_DecodeFSDefault(path);
    if (!item)
        return -1;
    int result = PyList_Append(list, item);
    Py_DECREF(item);
    return result;
}

/* Resolves every entry into folders. 0, or -1 with the reasons added to *e (or an exception). mount: of the
 * application that has the entries, or NULL. */
static int resolve_entries(const struct cfg_list *entries, const char *mount, PyObject *folders,
                           struct err *e)
{
    int result = 0;
    for (size_t i = 0; i < entries->count; i++) {
        char folder[4096];
        struct err one;
        if (venv_overlay_folder(entries->items[i], HOST_PYTHON_VERSION, folder, &one) < 0) {
            err_prefix(&one, "python-path");
            if (mount)
                err_prefix(&one, "application at %.200s", mount);
            result = err_append(e, &one);
        } else if (append_path(folders, folder) < 0) {
            return -1;
        }
    }
    return result;
}

/* The entries of every application in the interpreter, then the group's. 0 or -1, as resolve_entries(). */
static int resolve_all(const struct cfg_group *group, const char *interpreter, PyObject *folders,
                       struct err *e)
{
    int result = 0;
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        if (strcmp(a->interpreter, interpreter) == 0 &&
            resolve_entries(&a->python_path, a->mount, folders, e) < 0)
            result = -1;
        if (PyErr_Occurred())
            return -1;
    }
    return resolve_entries(&group->python_path, NULL, folders, e) < 0 ? -1 : result;
}

/* Of a folder that is listed twice only the first stays: its .pth files are obeyed once. 0, or -1 with an
 * exception. */
static int drop_repeated(PyObject *folders)
{
    PyObject *once = PyList_New(0);
    int result = once ? append_missing(once, folders, NULL) : -1;
    if (result == 0)
        result = PyList_SetSlice(folders, 0, PyList_GET_SIZE(folders), once);
    Py_XDECREF(once);
    return result;
}

/* site.addsitedir() makes paths absolute; the comparison afterwards needs the same spelling. */
static int make_absolute(PyObject *folders)
{
    PyObject *path = PyImport_ImportModule("os.path");
    int result = path ? 0 : -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(folders) && result == 0; i++) {
        PyObject *absolute = PyObject_CallMethod(path, "abspath", "O", PyList_GET_ITEM(folders, i));
        result = absolute ? PyList_SetItem(folders, i, absolute) : -1;
    }
    Py_XDECREF(path);
    return result;
}

static int add_site_folders(PyObject *folders)
{
    PyObject *site = PyImport_ImportModule("site");
    int result = site ? 0 : -1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(folders) && result == 0; i++) {
        PyObject *known = PyObject_CallMethod(site, "addsitedir", "O", PyList_GET_ITEM(folders, i));
        Py_XDECREF(known);
        result = known ? 0 : -1;
    }
    Py_XDECREF(site);
    return result;
}

static PyObject *copy_of_sys_path(void)
{
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    if (path && PyList_Check(path))
        return PyList_GetSlice(path, 0, PyList_GET_SIZE(path));
    PyErr_SetString(PyExc_RuntimeError, "sys.path is not a list");
    return NULL;
}

/* In place: modules may hold a reference to the list. */
static int replace_sys_path(PyObject *items)
{
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    return PyList_SetSlice(path, 0, PyList_GET_SIZE(path), items);
}

/* The folder that the processes work in comes last of the overlay and is no site folder: its files can be
 * imported, as gunicorn's --chdir and mod_wsgi's home= allow, but its .pth files are not obeyed and it
 * shadows nothing of the environments. */
static int list_working_folder(PyObject *folders, const struct cfg_group *group)
{
    return group->chdir ? append_path(folders, group->chdir) : 0;
}

int host_overlay_apply(const struct cfg_group *group, const char *interpreter, struct err *e)
{
    int result = -1;
    PyObject *before = NULL, *after = NULL, *ordered = NULL;
    PyObject *folders = PyList_New(0);
    e->text[0] = '\0';
    if (!folders || resolve_all(group, interpreter, folders, e) < 0 || make_absolute(folders) < 0 ||
        drop_repeated(folders) < 0)
        goto out;
    before = copy_of_sys_path();
    if (!before || add_site_folders(folders) < 0 || list_working_folder(folders, group) < 0 ||
        make_absolute(folders) < 0)
        goto out;
    after = copy_of_sys_path();
    ordered = after ? host_overlay_order(before, after, folders) : NULL;
    if (ordered)
        result = replace_sys_path(ordered);
out:
    if (result < 0 && e->text[0] == '\0') {
        char text[8192];
        host_pyerr_format(text, sizeof text);
        err_set(e, "the overlay of python-path failed\n%s", text);
    }
    PyErr_Clear();
    Py_XDECREF(ordered);
    Py_XDECREF(after);
    Py_XDECREF(before);
    Py_XDECREF(folders);
    return result;
}
