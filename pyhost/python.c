/* Starts the interpreter; the only file that knows PyConfig.
 *
 * Starts from the isolated configuration, so PYTHON* variables and the user's site folder have no say, in
 * UTF-8 mode. A venv is named through program_name and never through home, which would turn the search for
 * pyvenv.cfg off. Before that it looks at the folders itself, because CPython does not: a venv of another X.Y
 * starts without its site-packages, and a missing standard library is "No module named 'encodings'" whatever
 * the cause. Runs once per host, on the only thread. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/python.h"

#include "base/err.h"
#include "base/log.h"
#include "base/stamp.h"
#include "config/config.h"
#include "config/venv.h"
#include "pyhost/fingerprint.h"
#include "pyhost/host.h"
#include "pyhost/streams.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Joins into path; what does not fit is a path that does not exist anyway. */
static const char *join(char path[4096], const char *folder, const char *name)
{
    int size = snprintf(path, 4096, "%s/%s", folder, name);
    return size > 0 && size < 4096 ? path : "";
}

/* The file that shows a standard library is there: its own copy, or the zip of an embeddable build. */
static bool has_standard_library(const char *prefix)
{
    static const char *const landmarks[] = {
        "lib/python" HOST_PYTHON_VERSION "/encodings/__init__.py",
        "lib64/python" HOST_PYTHON_VERSION "/encodings/__init__.py",
    };
    char path[4096];
    for (size_t i = 0; i < sizeof landmarks / sizeof landmarks[0]; i++)
        if (access(join(path, prefix, landmarks[i]), R_OK) == 0)
            return true;
    char zip[64];
    snprintf(zip, sizeof zip, "lib/python%d%d.zip", PY_MAJOR_VERSION, PY_MINOR_VERSION);
    return access(join(path, prefix, zip), R_OK) == 0;
}

/* The prefix that a bin folder is in; false when the path has no folder above it. */
static bool prefix_above(const char *bin, char prefix[4096])
{
    snprintf(prefix, 4096, "%s", bin);
    size_t size = strlen(prefix);
    while (size > 1 && prefix[size - 1] == '/')
        prefix[--size] = '\0';
    char *slash = strrchr(prefix, '/');
    if (!slash)
        return false;
    slash[slash == prefix ? 1 : 0] = '\0';
    return true;
}

/* True, with the sentence, when there is no standard library for us in a prefix. */
static bool lacks_standard_library(const char *prefix, struct err *why)
{
    char path[4096], folder[4096];
    if (has_standard_library(prefix))
        return false;
    if (venv_overlay_folder(join(path, prefix, "lib/python" HOST_PYTHON_VERSION), HOST_PYTHON_VERSION, folder,
                            why) == 0)
        err_set(why, "uid %u can read no encodings package in %s", (unsigned)geteuid(), path);
    return true;
}

/* The environment or installation that a folder lies in; false when it is in none. */
static bool find_home_above(const char *folder, char above[4096], bool *is_venv)
{
    char path[4096];
    snprintf(above, 4096, "%s", folder);
    for (char *slash; (slash = strrchr(above, '/')) != NULL && slash != above;) {
        *slash = '\0';
        *is_venv = access(join(path, above, "pyvenv.cfg"), F_OK) == 0;
        if (*is_venv || has_standard_library(above))
            return true;
    }
    return false;
}

/* Why a prefix has no standard library for us; *e gets the sentence. Always -1. */
static int explain_prefix(const char *home, struct err *e)
{
    char path[4096], above[4096];
    bool is_library = access(join(path, home, "encodings"), F_OK) == 0, is_venv;
    if (find_home_above(home, above, &is_venv))
        return err_set(e, "python-home %s is %s of the %s %s; say python-home: %s", home,
                       is_library ? "the library folder" : "a folder",
                       is_venv ? "virtual environment" : "Python installation", above, above);
    if (is_library)
        return err_set(e, "python-home %s is the library folder of a Python; give the folder above its lib",
                       home);
    if (access(join(path, home, "lib/python" HOST_PYTHON_VERSION), F_OK) < 0 && errno != EACCES)
        return err_set(e,
                       "python-home %s is not an environment of Python %s: it has neither pyvenv.cfg nor "
                       "lib/python%s; give the root of a virtual environment or the prefix of a Python",
                       home, HOST_PYTHON_VERSION, HOST_PYTHON_VERSION);
    lacks_standard_library(home, e);
    return err_prefix(e, "python-home %s", home);
}

/* Looks at the installation that the standard library has to come from: the venv's base, or the Python that
 * this host was built for. Not being there is no error yet: CPython has places of its own to fall back to,
 * and mostly it works. So this is a warning (venv) or, when the start fails after all, the reason. */
static void diagnose_base(const char *home, const struct venv *v, struct err *diagnosis)
{
    char prefix[4096], bin[4096];
    struct err why;
    diagnosis->text[0] = '\0';
    if (home && (!v->is_venv || v->home[0] == '\0'))
        return;
    if (!home && !prefix_above(HOST_PYTHON_EXECUTABLE, bin))
        return;
    if (!prefix_above(home ? v->home : bin, prefix) || !lacks_standard_library(prefix, &why))
        return;
    if (home)
        err_set(diagnosis,
                "python-home %s was made from the Python in %s, which cannot be used: %.8000s; %smake the "
                "environment anew (python%s -m venv --clear %s)",
                home, v->home, why.text, venv_find_closed(prefix, bin) ? "or " : "put that Python back, or ",
                HOST_PYTHON_VERSION, home);
    else
        err_set(diagnosis, "the Python that this host was built for cannot be used: %.8000s", why.text);
}

static int compare_version(const struct cfg_group *group, const char *key, const char *folder,
                           const struct venv *v, struct err *e)
{
    if (v->version[0] == '\0' || strcmp(v->version, HOST_PYTHON_VERSION) == 0)
        return 0;
    bool is_asked_for = strcmp(group->python_version, "auto") != 0;
    return err_set(
        e,
        "%s %s belongs to Python %s (so says %s), but this host runs Python %s%s; %smake it anew with "
        "python%s",
        key, folder, v->version, v->source, HOST_PYTHON_VERSION,
        is_asked_for ? ", which python-version asks for" : "",
        is_asked_for ? "take python-version out, or " : "", HOST_PYTHON_VERSION);
}

static int check_home(const struct cfg_group *group, struct venv *v, struct err *e)
{
    const char *home = group->python_home;
    if (venv_inspect(home, v, e) < 0)
        return err_prefix(e, "python-home");
    if (compare_version(group, "python-home", home, v, e) < 0)
        return -1;
    return v->is_venv || has_standard_library(home) ? 0 : explain_prefix(home, e);
}

/* mount: of the application that has the entry, or NULL. */
static int check_path_entry(const struct cfg_group *group, const char *mount, const char *entry,
                            struct err *e)
{
    char key[512] = "python-path";
    struct venv v;
    struct err ignored;
    char root[4096], folder[4096];
    if (!venv_root_of(entry, root))
        snprintf(root, sizeof root, "%s", entry);
    if (mount)
        snprintf(key, sizeof key, "application at %.400s: python-path", mount);
    if (venv_inspect(root, &v, &ignored) == 0 && v.is_venv && compare_version(group, key, entry, &v, e) < 0)
        return -1;
    if (venv_overlay_folder(entry, HOST_PYTHON_VERSION, folder, e) < 0)
        return err_prefix(e, "%s", key);
    return 0;
}

static int check_path_entries(const struct cfg_group *group, const char *mount,
                              const struct cfg_list *entries, struct err *e)
{
    struct err one;
    int result = 0;
    for (size_t i = 0; i < entries->count; i++)
        if (check_path_entry(group, mount, entries->items[i], &one) < 0)
            result = err_append(e, &one);
    return result;
}

/* Everything that is wrong with the folders that the group and its applications name, a line each. 0, or -1
 * with *e. */
static int check_folders(const struct cfg_group *group, struct venv *v, struct err *e)
{
    struct err one;
    int result = 0;
    e->text[0] = '\0';
    if (group->python_home && check_home(group, v, &one) < 0)
        result = err_append(e, &one);
    result |= check_path_entries(group, NULL, &group->python_path, e);
    for (size_t i = 0; i < group->applications.count; i++)
        result |= check_path_entries(group, group->applications.items[i].mount,
                                     &group->applications.items[i].python_path, e);
    return result;
}

/* The reason that CPython gives; before it what the file system shows, if it shows any. Always -1. */
static int explain_status(PyStatus status, const struct err *diagnosis, struct err *e)
{
    char cause[2048] = "";
    struct err reason;
    *e = *diagnosis;
    if (PyStatus_IsExit(status)) {
        err_set(&reason, "Python %s would not start: it asked to exit with status %d", HOST_PYTHON_VERSION,
                status.exitcode);
    } else {
        if (PyGILState_GetThisThreadState() && PyErr_Occurred())
            host_pyerr_summarize(cause, sizeof cause);
        err_set(&reason, "Python %s would not start: %s%s%s%s%s", HOST_PYTHON_VERSION,
                status.func ? status.func : "", status.func ? ": " : "",
                status.err_msg ? status.err_msg : "no reason given", cause[0] ? "; " : "", cause);
    }
    return err_append(e, &reason);
}

/* What sys.executable will be, and with it where CPython looks for pyvenv.cfg and for its library. A venv's
 * is called what its users call it; an installation's has the name that does not move to the next X.Y. */
static void choose_program(const char *home, const struct venv *v, char program[4096])
{
    static const char *const names[] = {"bin/python", "bin/python3", "bin/python" HOST_PYTHON_VERSION};
    static const size_t count = sizeof names / sizeof names[0];
    snprintf(program, 4096, "%s", HOST_PYTHON_EXECUTABLE);
    for (size_t i = 0; home && i < count; i++)
        if (access(join(program, home, names[v->is_venv ? i : count - 1 - i]), X_OK) == 0)
            return;
    if (home && v->is_venv)
        join(program, home, names[0]);
}

static PyStatus preinitialize(const struct cfg_group *group)
{
    PyPreConfig config;
    PyPreConfig_InitIsolatedConfig(&config);
    config.utf8_mode = 1;
    config.configure_locale = 1; /* LC_CTYPE for C libraries; Python itself speaks UTF-8 whatever it is */
    config.dev_mode = group->python_dev_mode;
#if PY_VERSION_HEX < 0x03090000
    /* 3.8 aborts at the exit of a forked process in development mode: with the debugging allocator, the locks
     * that fork made anew are freed by another allocator than they came from (CPython 3.8.18). */
    config.allocator = PYMEM_ALLOCATOR_DEFAULT;
#endif
    return Py_PreInitialize(&config);
}

/* What the pre-initialization was told, for sys._xoptions: multiprocessing starts its children with these. */
static PyStatus add_implementation_options(PyConfig *config)
{
    return PyWideStringList_Append(&config->xoptions, L"utf8");
}

static PyStatus add_warning_options(PyConfig *config, const struct cfg_list *options)
{
    PyStatus status = PyStatus_Ok();
    for (size_t i = 0; i < options->count && !PyStatus_Exception(status); i++) {
        wchar_t *option = Py_DecodeLocale(options->items[i], NULL);
        status = option ? PyWideStringList_Append(&config->warnoptions, option) : PyStatus_NoMemory();
        PyMem_RawFree(option);
    }
    return status;
}

/* Environment-independent start. install_signal_handlers stays 0: SIGINT and SIGPIPE are the host's business.
 */
static PyStatus initialize(const struct cfg_group *group, const struct venv *v)
{
    char *arguments[] = {(char *)"pyfpm"};
    char program[4096];
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.parse_argv = 0;
    config.user_site_directory = 0;
    config.install_signal_handlers = 0;
    config.optimization_level = (int)group->python_optimize;
    config.dev_mode = group->python_dev_mode;
    config.faulthandler = group->python_dev_mode; /* isolated turns it off, -X dev has it on */

    choose_program(group->python_home, v, program);
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if (!PyStatus_Exception(status) && group->python_home && !v->is_venv)
        status = PyConfig_SetBytesString(&config, &config.home, group->python_home);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesArgv(&config, 1, arguments);
    if (!PyStatus_Exception(status))
        status = add_implementation_options(&config);
    if (!PyStatus_Exception(status))
        status = add_warning_options(&config, &group->python_warnings);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

int host_python_start(const struct cfg_group *group, struct err *e)
{
    struct venv v = {.is_venv = false};
    struct err diagnosis = {.text = ""};
    if (check_folders(group, &v, e) < 0)
        return -1;
    diagnose_base(group->python_home, &v, &diagnosis);

    PyStatus status = preinitialize(group);
    if (!PyStatus_Exception(status))
        status = initialize(group, &v);
    if (PyStatus_Exception(status))
        return explain_status(status, &diagnosis, e);
    if (group->python_home && diagnosis.text[0])
        log_write(LOG_LEVEL_WARNING, NULL, "%s", diagnosis.text);
    return host_streams_buffer_lines(e);
}

const char *host_python_library(void)
{
    static Dl_info library; /* the name in it is the dynamic linker's */
    return dladdr((const void *)&Py_GetVersion, &library) != 0 && library.dli_fname ? library.dli_fname : "-";
}

void host_python_identify(struct host_base *base)
{
    char bin[4096];
    struct stat status;
    memset(base, 0, sizeof *base);
    base->version_xy = HOST_PYTHON_VERSION;
    snprintf(base->version, sizeof base->version, "%.*s", (int)strcspn(Py_GetVersion(), " "),
             Py_GetVersion());
    base->library = host_python_library();
    if (stat(base->library, &status) == 0) {
        base->library_mtime = status.st_mtim;
        base->library_size = (long long)status.st_size;
    }
    if (!prefix_above(HOST_PYTHON_EXECUTABLE, bin) || !prefix_above(bin, base->prefix))
        base->prefix[0] = '\0';
}

int host_python_describe(void)
{
    const char *flags = "-";
#if defined(Py_GIL_DISABLED) && defined(Py_DEBUG)
    flags = "td";
#elif defined(Py_GIL_DISABLED)
    flags = "t";
#elif defined(Py_DEBUG)
    flags = "d";
#endif
    const char *version = Py_GetVersion(); /* of the library that is loaded: "3.11.2 (main, ...) [GCC ...]" */
    int written = printf("%s\t%.*s\t%s\t%s\t%s\t%s\n", HOST_PYTHON_VERSION, (int)strcspn(version, " "),
                         version, flags, stamp_of_build(), HOST_PYTHON_EXECUTABLE, host_python_library());
    return written > 0 && fflush(stdout) == 0 ? 0 : -1;
}
