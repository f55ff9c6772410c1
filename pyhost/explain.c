/* Gathers for pyfpm check what makes up sys.path, without the application having a say in it.
 *
 * The work is explain.py's, which is part of this program. It runs in a process of its own, forked between
 * the overlay and the import of the application: so what it imports is not there when the application is
 * imported (a module that would fail for the application fails, whoever needed it before), and nothing that
 * the application does to sys, json or builtins changes what is said. This process only reads sys.path
 * afterwards, in C, and passes it on through a pipe. When the application takes the whole process with it,
 * the other explains what it has. An explanation that fails is missed, and never the cause of anything. Runs
 * on the main thread, with the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/explain.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "config/venv.h"
#include "config/venv_facts.h"
#include "pyhost/host.h"
#include "pyhost/python.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "explain_py.h" /* host_explain_source: explain.py, made by CMake */

#define EXPLAIN_PATIENCE_S                                                                                   \
    20 /* then the explaining process is ended: a file of the environment may be a pipe */
#define EXPLAIN_STATE_MAX 262144 /* bytes of what this process says of itself */
#define EXPLAIN_ITEMS_MAX 2000

/* Set when there is something to explain; main thread only. */
static PyObject *explainer; /* explain.py's names */
static pid_t helper = -1;
static int helper_pipe = -1;

/* Files -----------------------------------------------------------------------------------------------------
 */

static void send_section(struct host *h, uint32_t section, const char *text)
{
    host_link_send(h, WIRE_EXPLAIN, section, text);
    host_link_send(h, WIRE_EXPLAIN, section | WIRE_EXPLAIN_END, "");
}

void host_explain_files(struct host *h)
{
    if (!h->explain)
        return;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    struct venv_host host = {HOST_PYTHON_VERSION, host_python_library(), HOST_PYTHON_EXECUTABLE};
    venv_write_facts(h->group, &host, out);
    if (fclose(out) == 0)
        send_section(h, WIRE_EXPLAIN_FILES, text);
    free(text);
}

/* explain.py and what it may call
 * ------------------------------------------------------------------------------ */

/* closed(path) → the folder on the way that this user may not enter, or None. */
static PyObject *call_closed(PyObject *self, PyObject *argument)
{
    PyObject *bytes;
    char component[4096];
    (void)self;
    if (!PyUnicode_FSConverter(argument, &bytes))
        return NULL;
    bool is_closed = venv_find_closed(PyBytes_AS_STRING(bytes), component);
    Py_DECREF(bytes);
    if (is_closed)
        return PyUnicode_DecodeFSDefault(component);
    Py_RETURN_NONE;
}

/* send(section, text): "path" or "installed". */
static PyObject *call_send(PyObject *self, PyObject *arguments)
{
    const char *section, *text;
    struct host *h = PyCapsule_GetPointer(self, NULL);
    if (!h || !PyArg_ParseTuple(arguments, "ss", &section, &text))
        return NULL;
    send_section(h, strcmp(section, "path") == 0 ? WIRE_EXPLAIN_PATH : WIRE_EXPLAIN_INSTALLED, text);
    Py_RETURN_NONE;
}

/* (item, its number, the mount of its application or None, folder or None). New reference, NULL with an
 * exception. */
static PyObject *describe_item(const char *item, size_t number, const char *mount)
{
    char folder[4096];
    struct err ignored; /* the overlay says it */
    bool is_good = venv_overlay_folder(item, HOST_PYTHON_VERSION, folder, &ignored) == 0;
    PyObject *name = PyUnicode_DecodeFSDefault(item);
    PyObject *where = is_good ? PyUnicode_DecodeFSDefault(folder) : Py_BuildValue("");
    PyObject *described = name && where ? Py_BuildValue("(OnzO)", name, (Py_ssize_t)number, mount, where)
                                        : NULL;
    Py_XDECREF(where);
    Py_XDECREF(name);
    return described;
}

/* Appends the items of one python-path. 0, or -1 with an exception. */
static int describe_items(PyObject *items, const struct cfg_list *entries, const char *mount)
{
    for (size_t i = 0; i < entries->count; i++) {
        PyObject *item = describe_item(entries->items[i], i + 1, mount);
        int result = item ? PyList_Append(items, item) : -1;
        Py_XDECREF(item);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* What the overlay of the main interpreter consists of, in its order. */
static int describe_overlay(PyObject *items, const struct cfg_group *group)
{
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        if (strcmp(a->interpreter, CFG_INTERPRETER_MAIN) == 0 &&
            describe_items(items, &a->python_path, a->mount) < 0)
            return -1;
    }
    return describe_items(items, &group->python_path, NULL);
}

/* The mounts of applications in other interpreters, whose sys.path is not looked at. */
static int describe_others(PyObject *mounts, const struct cfg_group *group)
{
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        PyObject *mount = PyUnicode_DecodeFSDefault(a->mount);
        bool is_main = strcmp(a->interpreter, CFG_INTERPRETER_MAIN) == 0;
        int result = !mount ? -1 : is_main ? 0 : PyList_Append(mounts, mount);
        Py_XDECREF(mount);
        if (result < 0)
            return -1;
    }
    return 0;
}

static PyObject *describe_group(const struct cfg_group *group)
{
    PyObject *items = PyList_New(0), *others = PyList_New(0), *about = NULL;
    if (items && others && describe_overlay(items, group) == 0 && describe_others(others, group) == 0)
        about = Py_BuildValue("{s:O,s:O,s:z,s:s}", "python_path", items, "others", others, "chdir",
                              group->chdir, "built_for", HOST_PYTHON_EXECUTABLE);
    Py_XDECREF(others);
    Py_XDECREF(items);
    return about;
}

/* Runs explain.py into a dict of its own, so that sys.modules does not have it. NULL with an exception. */
static PyObject *load_explainer(void)
{
    PyObject *names = PyDict_New();
    PyObject *code = Py_CompileString((const char *)host_explain_source, "explain.py", Py_file_input);
    PyObject *done = NULL;
    if (names && code && PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyEval_EvalCode(code, names, names);
    Py_XDECREF(code);
    if (!done)
        Py_CLEAR(names);
    Py_XDECREF(done);
    return names;
}

/* Calls a function of explain.py; takes arguments (a tuple, or NULL with an exception). */
static PyObject *call_explainer(const char *name, PyObject *arguments)
{
    PyObject *function = PyDict_GetItemString(explainer, name); /* borrowed */
    PyObject *result = arguments && function ? PyObject_CallObject(function, arguments) : NULL;
    Py_XDECREF(arguments);
    return result;
}

static void log_failure(const char *deed)
{
    char text[4096];
    host_pyerr_format(text, sizeof text);
    log_write(LOG_LEVEL_WARNING, NULL, "cannot %s: %s", deed, text);
}

void host_explain_baseline(struct host *h)
{
    static PyMethodDef send_method = {"send", call_send, METH_VARARGS, NULL};
    static PyMethodDef closed_method = {"closed", call_closed, METH_O, NULL};
    explainer = load_explainer();
    PyObject *host = PyCapsule_New(h, NULL, NULL);
    PyObject *send = host ? PyCFunction_New(&send_method, host) : NULL;
    PyObject *closed = PyCFunction_New(&closed_method, NULL);
    PyObject *about = describe_group(h->group);
    PyObject *done = explainer && send && closed && about
                         ? call_explainer("start", PyTuple_Pack(3, about, send, closed))
                         : NULL;
    if (!done) {
        log_failure("look at the environment");
        Py_CLEAR(explainer);
    }
    Py_XDECREF(done);
    Py_XDECREF(about);
    Py_XDECREF(closed);
    Py_XDECREF(send);
    Py_XDECREF(host);
}

/* The explaining process -----------------------------------------------------------------------------------
 */

/* Reads what the other process tells, until it has told all, is gone, or nobody waits for the explanation. A
 * process that the application left behind may hold the pipe open. */
static size_t hear_state(int pipe_end, int channel, int parent, char *state, size_t state_size)
{
    size_t used = 0;
    struct pollfd set[3] = {{pipe_end, POLLIN, 0}, {parent, POLLIN, 0}, {channel, 0, 0}};
    while (used < state_size && poll(set, 3, -1) >= 0 && set[2].revents == 0) {
        if (set[0].revents == 0) /* the other process is gone, and the pipe is empty */
            break;
        ssize_t size = read(pipe_end, state + used, state_size - used);
        if (size <= 0)
            break;
        used += (size_t)size;
        if (used >= 3 && memcmp(state + used - 3, "\0e", 3) == 0)
            break;
    }
    return used;
}

static void silence_output(void)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, STDOUT_FILENO);
    dup2(null_fd, STDERR_FILENO);
    fd_close(&null_fd);
}

static _Noreturn void run_helper(const struct host *h, int pipe_end, int parent)
{
    static char state[EXPLAIN_STATE_MAX];
    signal(SIGALRM, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    size_t size = hear_state(pipe_end, h->channel, parent, state, sizeof state);
    alarm(EXPLAIN_PATIENCE_S);
    silence_output();
    PyObject *done = call_explainer("explain", Py_BuildValue("(y#)", state, (Py_ssize_t)size));
    if (!done)
        log_failure("explain the environment");
    _exit(done ? 0 : 1);
}

/* Before the application can say anything. */
static void name_helper(const struct host *h)
{
    struct wire_msg m;
    wire_init(&m, WIRE_EXPLAIN);
    m.flags = WIRE_EXPLAIN_SENDER;
    m.serial = (uint64_t)helper;
    wire_send(h->channel, &m);
}

static void fork_helper(const struct host *h)
{
    int ends[2];
    int self = fd_of_process(getpid());
    if (self < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        fd_close(&self);
        return;
    }
    PyOS_BeforeFork();
    helper = fork();
    if (helper == 0) {
        PyOS_AfterFork_Child();
        fd_close(&ends[1]);
        run_helper(h, ends[0], self);
    }
    PyOS_AfterFork_Parent();
    fd_close(&ends[0]);
    fd_close(&self);
    helper_pipe = fd_take(&ends[1]);
    if (helper > 0)
        name_helper(h);
    else
        fd_close(&helper_pipe);
}

static void warn_of_shadows(void)
{
    PyObject *said = call_explainer("overlaid", PyTuple_New(0));
    for (Py_ssize_t i = 0; said && PyList_Check(said) && i < PyList_GET_SIZE(said); i++) {
        const char *sentence = PyUnicode_AsUTF8(PyList_GET_ITEM(said, i)); /* borrowed */
        if (sentence)
            log_write(LOG_LEVEL_WARNING, NULL, "%s", sentence);
    }
    if (!said || PyErr_Occurred())
        log_failure("look for what shadows the standard library");
    Py_XDECREF(said);
}

void host_explain_overlay(struct host *h)
{
    if (!explainer)
        return;
    warn_of_shadows();
    if (h->explain)
        fork_helper(h);
}

/* After the application ------------------------------------------------------------------------------------
 */

static void put_record(FILE *out, char kind, const char *text)
{
    fputc(kind, out);
    fputs(text, out);
    fputc('\0', out);
}

static void put_path(FILE *out)
{
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    if (!path || !PyList_Check(path)) {
        put_record(out, 'n', path ? Py_TYPE(path)->tp_name : "nothing");
        return;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(path) && i < EXPLAIN_ITEMS_MAX; i++) {
        PyObject *item = PyList_GET_ITEM(path, i); /* borrowed */
        PyObject *bytes = PyUnicode_Check(item) ? PyUnicode_EncodeFSDefault(item) : NULL;
        if (bytes)
            put_record(out, 'p', PyBytes_AS_STRING(bytes));
        else
            put_record(out, 'x', Py_TYPE(item)->tp_name);
        Py_XDECREF(bytes);
        PyErr_Clear();
    }
}

static void put_finders(FILE *out)
{
    PyObject *all = PySys_GetObject("meta_path"); /* borrowed */
    if (!all || !PyList_Check(all))
        return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all) && i < EXPLAIN_ITEMS_MAX; i++) {
        PyObject *item = PyList_GET_ITEM(all, i); /* borrowed */
        const char *name = PyType_Check(item) ? ((PyTypeObject *)item)->tp_name : Py_TYPE(item)->tp_name;
        const char *dot = strrchr(name, '.');
        put_record(out, 'f', dot ? dot + 1 : name);
    }
}

/* Only C reads here: whatever the application did, none of its code runs. */
static void tell_state(void)
{
    FILE *out = fdopen(helper_pipe, "w");
    if (!out) {
        fd_close(&helper_pipe);
        return;
    }
    helper_pipe = -1;
    put_path(out);
    put_finders(out);
    put_record(out, 'e', "");
    fclose(out);
}

void host_explain_finish(struct host *h)
{
    (void)h;
    if (helper <= 0)
        return;
    tell_state();
    pid_t ended;
    do
        ended = waitpid(helper, NULL, 0); /* ECHILD when the application reaps what is not its own */
    while (ended < 0 && errno == EINTR);
    helper = -1;
}
