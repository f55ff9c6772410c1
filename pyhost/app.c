/* Imports one application into the current interpreter.
 *
 * A script is run as a module of its own, from its source and without a byte-code file: app.wsgi and app.py
 * in one folder would share one. Whatever an import raises, SystemExit and KeyboardInterrupt included,
 * becomes a sentence and its traceback; an import never ends the process. The script's folder is not put on
 * sys.path (mod_wsgi does not either). Runs on the main thread, with the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/err.h"
#include "config/config.h"
#include "config/venv.h"
#include "config/venv_reach.h"
#include "pyhost/host.h"
#include "pyhost/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APP_NAME_MAX 512

/* The sentence first, then the traceback; together they fit a message on the wire. Always NULL. */
static PyObject *fail_with_traceback(struct err *e, const char *deed, const char *what, const char *hint)
{
    char summary[1024], traceback[12000], refusal[HOST_REFUSAL_TEXT_MAX];
    bool is_exit = PyErr_ExceptionMatches(PyExc_SystemExit);
    host_refusal_explain(refusal);
    host_pyerr_summarize(summary, sizeof summary);
    host_pyerr_format(traceback, sizeof traceback);
    err_set(e, "cannot %s %.1024s: %s%s%s%s\n%s", deed, what, is_exit ? "it tried to end the process, " : "",
            summary, hint, refusal, traceback);
    return NULL;
}

/* Follows a dotted name from object. New reference; NULL with an exception. */
static PyObject *follow_name(PyObject *object, const char *dotted)
{
    Py_INCREF(object);
    while (object && *dotted) {
        char part[APP_NAME_MAX];
        size_t size = strcspn(dotted, ".");
        snprintf(part, sizeof part, "%.*s", (int)size, dotted);
        dotted += size + (dotted[size] == '.');
        PyObject *next = PyObject_GetAttrString(object, part);
        Py_DECREF(object);
        object = next;
    }
    return object;
}

static bool is_coroutine_function(PyObject *object)
{
    return object && PyFunction_Check(object) &&
           ((PyCodeObject *)PyFunction_GetCode(object))->co_flags & CO_COROUTINE;
}

/* "async def application(scope, receive, send)", or an object of a class whose __call__ is one. */
static bool is_asgi(PyObject *application)
{
    if (PyFunction_Check(application))
        return is_coroutine_function(application);
    PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(application), "__call__");
    bool result = is_coroutine_function(call);
    Py_XDECREF(call);
    PyErr_Clear();
    return result;
}

/* Takes the reference. Returns it when it can be called, else NULL with *e. */
static PyObject *require_callable(PyObject *application, const char *name, const char *where, struct err *e)
{
    if (is_asgi(application)) {
        err_set(e, "%s of %s is a coroutine function, as ASGI has them; pyfpm serves WSGI applications", name,
                where);
        Py_DECREF(application);
        return NULL;
    }
    if (PyCallable_Check(application))
        return application;
    err_set(e, "%s of %s cannot be called: it is an object of type %s, not a WSGI application", name, where,
            Py_TYPE(application)->tp_name);
    Py_DECREF(application);
    return NULL;
}

/* Looks the name up and checks it. */
static PyObject *find_callable(PyObject *module, const char *name, const char *where, struct err *e)
{
    PyObject *application = follow_name(module, name);
    if (application)
        return require_callable(application, name, where, e);
    if (!PyErr_ExceptionMatches(PyExc_AttributeError))
        return fail_with_traceback(e, "look up the application in", where, "");
    PyErr_Clear();
    err_set(e, "%s has no \"%s\"", where, name);
    return NULL;
}

/* FNV-1a. */
static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return h;
}

/* The name of a script's module: the file's name without its ending, anything unfit for a name replaced, and
 * what tells apart scripts of one name in several folders. Always the same for one script, so that what an
 * application pickles can be loaded by its siblings. */
static void script_module_name(const char *script, char name[APP_NAME_MAX])
{
    const char *slash = strrchr(script, '/');
    const char *base = slash ? slash + 1 : script;
    const char *dot = strrchr(base, '.');
    size_t size = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    int shown = size < APP_NAME_MAX / 2 ? (int)size : APP_NAME_MAX / 2;
    snprintf(name, APP_NAME_MAX, "_pyfpm_script_%.*s_%016llx", shown, base,
             (unsigned long long)hash_of(script));
    for (char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9')))
            *c = '_';
}

/* Compiles through importlib's loader, which honours the source's encoding; reads the source as well when it
 * is NULL. New references; -1 with an exception. */
static int compile_script(PyObject *path, const char *name, PyObject *source, PyObject **loader,
                          PyObject **code)
{
    PyObject *machinery = PyImport_ImportModule("importlib.machinery");
    *code = NULL;
    *loader = machinery ? PyObject_CallMethod(machinery, "SourceFileLoader", "sO", name, path) : NULL;
    Py_XINCREF(source);
    if (*loader && !source)
        source = PyObject_CallMethod(*loader, "get_data", "O", path);
    if (*loader && source)
        *code = PyObject_CallMethod(*loader, "source_to_code", "OO", source, path);
    Py_XDECREF(source);
    Py_XDECREF(machinery);
    if (*code)
        return 0;
    Py_CLEAR(*loader);
    return -1;
}

/* A module with the names that an imported one has, known to sys.modules. New reference. */
static PyObject *create_module(const char *name, PyObject *path, PyObject *loader)
{
    PyObject *module = PyImport_AddModule(name); /* borrowed */
    if (!module)
        return NULL;
    Py_INCREF(module);
    PyObject *names = PyModule_GetDict(module); /* borrowed */
    if (PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) < 0 ||
        PyDict_SetItemString(names, "__file__", path) < 0 ||
        PyDict_SetItemString(names, "__loader__", loader) < 0)
        Py_CLEAR(module);
    return module;
}

static void forget_module(const char *name)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyDict_DelItemString(modules, name) < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

/* The script's module when it was run already (new reference), else NULL. */
static PyObject *find_module(const char *name)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name); /* borrowed */
    Py_XINCREF(module);
    return module;
}

/* Runs source (bytes), or the file's when that is NULL. New reference to the script's module, or NULL with an
 * exception. */
static PyObject *run_script(const char *script, const char *name, PyObject *source)
{
    PyObject *loader = NULL, *code = NULL, *module = NULL, *result = NULL;
    PyObject *path = PyUnicode_DecodeFSDefault(script);
    if (!path || compile_script(path, name, source, &loader, &code) < 0)
        goto out;
    module = create_module(name, path, loader);
    if (module)
        result = PyEval_EvalCode(code, PyModule_GetDict(module), PyModule_GetDict(module));
    if (!result) {
        forget_module(name);
        Py_CLEAR(module);
    }
out:
    Py_XDECREF(result);
    Py_XDECREF(code);
    Py_XDECREF(loader);
    Py_XDECREF(path);
    return module;
}

/* What cannot be run is refused with a sentence. A pipe would keep the reader waiting for ever, and a device
 * may have no end. */
static int require_file(const char *path, const char *where, struct err *e)
{
    struct stat about;
    char user[128], component[VENV_PATH_SIZE];
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return err_set(e, "cannot run %s: it is not a regular file", where);
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
        return 0;
    if (errno != EACCES)
        return err_errno(e, "cannot run %s", where);
    bool is_known = venv_find_closed(path, component);
    bool is_folder = is_known && stat(component, &about) == 0 && S_ISDIR(about.st_mode);
    return err_set(e, "cannot run %s: %s may not %s %s", where, venv_describe_user(user),
                   is_folder ? "enter" : "read", is_known ? component : path);
}

static PyObject *load_script(const struct host_app_source *source, struct err *e)
{
    char where[APP_NAME_MAX + 16], name[APP_NAME_MAX];
    snprintf(where, sizeof where, "script %s", source->script);
    if (require_file(source->script, where, e) != 0)
        return NULL;
    script_module_name(source->script, name);
    PyObject *module = find_module(name);
    if (!module)
        module = run_script(source->script, name, NULL);
    if (!module)
        return fail_with_traceback(e, "run", where, "");
    PyObject *application = find_callable(module, source->callable, where, e);
    Py_DECREF(module);
    return application;
}

PyObject *host_app_run_script(const char *script, const char *source, size_t source_size,
                              const char *callable, struct err *e)
{
    char where[APP_NAME_MAX + 16], name[APP_NAME_MAX];
    snprintf(where, sizeof where, "script %.500s", script);
    script_module_name(script, name);
    forget_module(name);
    PyObject *bytes = PyBytes_FromStringAndSize(source, (Py_ssize_t)source_size);
    PyObject *module = bytes ? run_script(script, name, bytes) : NULL;
    Py_XDECREF(bytes);
    if (!module)
        return fail_with_traceback(e, "run", where, "");
    PyObject *application = find_callable(module, callable, where, e);
    Py_DECREF(module);
    if (!application)
        forget_module(name);
    return application;
}

void host_app_forget_script(const char *script)
{
    char name[APP_NAME_MAX];
    script_module_name(script, name);
    forget_module(name);
}

int host_app_compile_script(const char *script, const char *source, size_t source_size, struct err *e)
{
    char summary[1024], name[APP_NAME_MAX];
    PyObject *loader = NULL, *code = NULL;
    PyObject *path = PyUnicode_DecodeFSDefault(script);
    PyObject *bytes = PyBytes_FromStringAndSize(source, (Py_ssize_t)source_size);
    script_module_name(script, name);
    int failed = path && bytes ? compile_script(path, name, bytes, &loader, &code) : -1;
    if (failed) {
        host_pyerr_summarize(summary, sizeof summary);
        PyErr_Clear();
        err_set(e, "script %.500s cannot be compiled: %s", script, summary);
    }
    Py_XDECREF(code);
    Py_XDECREF(loader);
    Py_XDECREF(bytes);
    Py_XDECREF(path);
    return failed;
}

/* "package.module:name" taken apart; a factory's name loses its parentheses. */
struct app_name {
    char module[APP_NAME_MAX];
    char attribute[APP_NAME_MAX];
    bool is_factory;
};

static int parse_app_name(const char *text, struct app_name *name, struct err *e)
{
    const char *colon = strchr(text, ':');
    size_t attribute_size = colon ? strlen(colon + 1) : 0;
    if (!colon || colon == text || attribute_size == 0 || strlen(text) >= APP_NAME_MAX)
        return err_set(e, "application %.200s is not \"package.module:callable\"", text);
    name->is_factory = attribute_size > 2 && strcmp(colon + 1 + attribute_size - 2, "()") == 0;
    snprintf(name->module, sizeof name->module, "%.*s", (int)(colon - text), text);
    snprintf(name->attribute, sizeof name->attribute, "%.*s",
             (int)(attribute_size - (name->is_factory ? 2 : 0)), colon + 1);
    return 0;
}

/* The folder in which an imported package looks for its modules; false when the module is no package. */
static bool find_package_folder(const char *package, char *folder, size_t size)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), package); /* borrowed */
    PyObject *path = module ? PyObject_GetAttrString(module, "__path__") : NULL;
    PyObject *first = path ? PySequence_GetItem(path, 0) : NULL;
    PyObject *bytes = first && PyUnicode_Check(first) ? PyUnicode_EncodeFSDefault(first) : NULL;
    if (bytes)
        snprintf(folder, size, "%s", PyBytes_AS_STRING(bytes));
    bool is_found = bytes != NULL;
    Py_XDECREF(bytes);
    Py_XDECREF(first);
    Py_XDECREF(path);
    PyErr_Clear();
    return is_found;
}

/* What is known of a module that an import did not find: it, or a package that it is in. */
static void describe_missing(const char *missing, char *hint, size_t size)
{
    char package[APP_NAME_MAX], folder[APP_NAME_MAX];
    const char *dot = strrchr(missing, '.');
    snprintf(package, sizeof package, "%.*s", dot ? (int)(dot - missing) : 0, missing);
    if (!dot)
        snprintf(hint, size, " (the folder that holds it is neither in python-path nor chdir)");
    else if (find_package_folder(package, folder, sizeof folder))
        snprintf(hint, size, " (the package %s in %s has no %s)", package, folder, dot + 1);
}

/* A hint when the current exception says that the module itself, or a package it is in, is not there; none
 * when a module is missing inside of it, which is another matter. Keeps the exception. */
static void hint_at_missing_module(const char *module, char *hint, size_t size)
{
    hint[0] = '\0';
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError))
        return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *missing = value ? PyObject_GetAttrString(value, "name") : NULL;
    const char *name = missing && PyUnicode_Check(missing) ? PyUnicode_AsUTF8(missing) : NULL;
    size_t length = name ? strlen(name) : 0;
    if (name && strncmp(module, name, length) == 0 && (module[length] == '\0' || module[length] == '.'))
        describe_missing(name, hint, size);
    Py_XDECREF(missing);
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

static PyObject *call_factory(PyObject *factory, const char *text, struct err *e)
{
    PyObject *application = PyObject_CallObject(factory, NULL);
    Py_DECREF(factory);
    if (!application)
        return fail_with_traceback(e, "get an application from the factory", text, "");
    return require_callable(application, "the result", text, e);
}

static PyObject *load_from_module(const char *application, struct err *e)
{
    struct app_name name;
    char where[APP_NAME_MAX + 16];
    if (parse_app_name(application, &name, e) < 0)
        return NULL;
    PyObject *module = PyImport_ImportModule(name.module);
    if (!module) {
        char hint[1024];
        hint_at_missing_module(name.module, hint, sizeof hint);
        return fail_with_traceback(e, "import", application, hint);
    }
    snprintf(where, sizeof where, "module %s", name.module);
    PyObject *found = find_callable(module, name.attribute, where, e);
    Py_DECREF(module);
    return found && name.is_factory ? call_factory(found, application, e) : found;
}

PyObject *host_app_load(const struct host_app_source *source, struct err *e)
{
    if (source->script)
        return load_script(source, e);
    if (source->application)
        return load_from_module(source->application, e);
    err_set(e, "the group names no script and no application");
    return NULL;
}
