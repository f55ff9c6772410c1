/* Makes a request's environ.
 *
 * Every environ starts as a copy of a prototype dict. Names that are known beforehand come as interned keys
 * out of a small hash table, and names whose value hardly ever changes keep the last value as an object. What
 * a client could use against the application is left out: HTTP_PROXY (an environment variable to
 * CGI libraries), HTTP_CONTENT_TYPE and HTTP_CONTENT_LENGTH (nginx sends them beside the real ones), and
 * anything that calls itself wsgi.*. On the serving thread, with the GIL. */
#include "pyhost/wsgi_request.h"

#include "base/err.h"
#include "fcgi/fcgi.h"
#include "pyhost/wsgi.h"
#include "pyhost/wsgi_path.h"

#include <string.h>
#include <strings.h>

enum rule {
    PLAIN,
    STEADY,     /* the same for most requests: the value object is kept */
    LATE,       /* noted, and set once all parameters are known */
    DROP,       /* never set */
    DROP_EMPTY, /* nginx sends it empty when there is none */
};

static const struct name {
    const char *name;
    enum rule rule;
    enum host_param param;
} names[] = {
    {"REQUEST_METHOD", STEADY, HOST_PARAM_METHOD},
    {"SCRIPT_NAME", LATE, HOST_PARAM_SCRIPT_NAME},
    {"PATH_INFO", LATE, HOST_PARAM_PATH_INFO},
    {"REQUEST_URI", PLAIN, HOST_PARAM_REQUEST_URI},
    {"DOCUMENT_URI", PLAIN, HOST_PARAM_DOCUMENT_URI},
    {"SERVER_NAME", LATE, HOST_PARAM_SERVER_NAME},
    {"SERVER_PORT", LATE, HOST_PARAM_SERVER_PORT},
    {"HTTP_HOST", STEADY, HOST_PARAM_HTTP_HOST},
    {"HTTPS", STEADY, HOST_PARAM_HTTPS},
    {"REQUEST_SCHEME", STEADY, HOST_PARAM_SCHEME},
    {"HTTP_PROXY", DROP, HOST_PARAM_NONE},
    {"HTTP_CONTENT_TYPE", DROP, HOST_PARAM_NONE},
    {"HTTP_CONTENT_LENGTH", DROP, HOST_PARAM_NONE},
    {"CONTENT_TYPE", DROP_EMPTY, HOST_PARAM_NONE},
    {"CONTENT_LENGTH", DROP_EMPTY, HOST_PARAM_NONE},
    {"GATEWAY_INTERFACE", STEADY, HOST_PARAM_NONE},
    {"SERVER_SOFTWARE", STEADY, HOST_PARAM_NONE},
    {"SERVER_PROTOCOL", STEADY, HOST_PARAM_NONE},
    {"SERVER_ADDR", STEADY, HOST_PARAM_NONE},
    {"DOCUMENT_ROOT", STEADY, HOST_PARAM_NONE},
    {"REDIRECT_STATUS", STEADY, HOST_PARAM_NONE},
    {"QUERY_STRING", STEADY, HOST_PARAM_NONE},
    {"REMOTE_ADDR", STEADY, HOST_PARAM_NONE},
    {"REMOTE_PORT", PLAIN, HOST_PARAM_NONE},
    {"REMOTE_HOST", PLAIN, HOST_PARAM_NONE},
    {"REMOTE_USER", PLAIN, HOST_PARAM_NONE},
    {"AUTH_TYPE", STEADY, HOST_PARAM_NONE},
    {"SCRIPT_FILENAME", PLAIN, HOST_PARAM_NONE},
    {"PATH_TRANSLATED", PLAIN, HOST_PARAM_NONE},
    {"QUEUE_START", PLAIN, HOST_PARAM_NONE},
    {"HTTP_ACCEPT", STEADY, HOST_PARAM_NONE},
    {"HTTP_ACCEPT_CHARSET", STEADY, HOST_PARAM_NONE},
    {"HTTP_ACCEPT_ENCODING", STEADY, HOST_PARAM_NONE},
    {"HTTP_ACCEPT_LANGUAGE", STEADY, HOST_PARAM_NONE},
    {"HTTP_AUTHORIZATION", PLAIN, HOST_PARAM_NONE},
    {"HTTP_CACHE_CONTROL", STEADY, HOST_PARAM_NONE},
    {"HTTP_CONNECTION", STEADY, HOST_PARAM_NONE},
    {"HTTP_COOKIE", PLAIN, HOST_PARAM_NONE},
    {"HTTP_DNT", STEADY, HOST_PARAM_NONE},
    {"HTTP_EXPECT", STEADY, HOST_PARAM_NONE},
    {"HTTP_FORWARDED", PLAIN, HOST_PARAM_NONE},
    {"HTTP_IF_MATCH", PLAIN, HOST_PARAM_NONE},
    {"HTTP_IF_MODIFIED_SINCE", PLAIN, HOST_PARAM_NONE},
    {"HTTP_IF_NONE_MATCH", PLAIN, HOST_PARAM_NONE},
    {"HTTP_IF_RANGE", PLAIN, HOST_PARAM_NONE},
    {"HTTP_IF_UNMODIFIED_SINCE", PLAIN, HOST_PARAM_NONE},
    {"HTTP_ORIGIN", STEADY, HOST_PARAM_NONE},
    {"HTTP_PRAGMA", STEADY, HOST_PARAM_NONE},
    {"HTTP_PRIORITY", STEADY, HOST_PARAM_NONE},
    {"HTTP_RANGE", PLAIN, HOST_PARAM_NONE},
    {"HTTP_REFERER", PLAIN, HOST_PARAM_NONE},
    {"HTTP_SEC_CH_UA", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_CH_UA_MOBILE", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_CH_UA_PLATFORM", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_FETCH_DEST", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_FETCH_MODE", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_FETCH_SITE", STEADY, HOST_PARAM_NONE},
    {"HTTP_SEC_FETCH_USER", STEADY, HOST_PARAM_NONE},
    {"HTTP_TE", STEADY, HOST_PARAM_NONE},
    {"HTTP_TRANSFER_ENCODING", STEADY, HOST_PARAM_NONE},
    {"HTTP_UPGRADE_INSECURE_REQUESTS", STEADY, HOST_PARAM_NONE},
    {"HTTP_USER_AGENT", STEADY, HOST_PARAM_NONE},
    {"HTTP_VIA", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_FORWARDED_FOR", PLAIN, HOST_PARAM_NONE},
    {"HTTP_X_FORWARDED_HOST", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_FORWARDED_PORT", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_FORWARDED_PROTO", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_REAL_IP", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_REQUESTED_WITH", STEADY, HOST_PARAM_NONE},
    {"HTTP_X_REQUEST_ID", PLAIN, HOST_PARAM_NONE},
};

#define NAME_COUNT (sizeof names / sizeof names[0])
#define TABLE_SIZE 256 /* a power of two, well above NAME_COUNT */
#define NO_NAME    NAME_COUNT

_Static_assert(NAME_COUNT <= HOST_NAMES_MAX, "HOST_NAMES_MAX is too small");

/* One per interpreter. Read-only once made. */
struct host_environ {
    PyObject *keys[NAME_COUNT];      /* interned */
    size_t sizes[NAME_COUNT];        /* of the names */
    unsigned char table[TABLE_SIZE]; /* open addressing: index into names + 1, or 0 */
    PyObject *url_scheme_key, *input_key, *https;
};

/* FNV-1a over the name, which ends at '='. Returns its size; *value is NULL when there is no '='. */
static size_t scan_name(const char *param, uint32_t *hash, const char **value)
{
    uint32_t h = 2166136261u;
    const char *p = param;
    for (; *p != '\0' && *p != '='; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    *hash = h;
    *value = *p == '=' ? p + 1 : NULL;
    return (size_t)(p - param);
}

static size_t find_name(const struct host_environ *e, const char *name, size_t size, uint32_t hash)
{
    for (uint32_t slot = hash % TABLE_SIZE; e->table[slot] != 0; slot = (slot + 1) % TABLE_SIZE) {
        size_t index = e->table[slot] - 1u;
        if (e->sizes[index] == size && memcmp(names[index].name, name, size) == 0)
            return index;
    }
    return NO_NAME;
}

static void enter_name(struct host_environ *e, size_t index)
{
    uint32_t hash;
    const char *value;
    e->sizes[index] = scan_name(names[index].name, &hash, &value);
    uint32_t slot = hash % TABLE_SIZE;
    while (e->table[slot] != 0)
        slot = (slot + 1) % TABLE_SIZE;
    e->table[slot] = (unsigned char)(index + 1);
}

struct host_environ *host_environ_new(void)
{
    struct host_environ *e = PyMem_RawCalloc(1, sizeof *e);
    if (!e) {
        PyErr_NoMemory();
        return NULL;
    }
    e->url_scheme_key = PyUnicode_InternFromString("wsgi.url_scheme");
    e->input_key = PyUnicode_InternFromString("wsgi.input");
    e->https = PyUnicode_InternFromString("https");
    if (!e->url_scheme_key || !e->input_key || !e->https)
        return NULL;
    for (size_t i = 0; i < NAME_COUNT; i++) {
        e->keys[i] = PyUnicode_InternFromString(names[i].name);
        if (!e->keys[i])
            return NULL;
        enter_name(e, i);
    }
    return e;
}

/* Takes value, which may be NULL after an error. */
static int set_string(PyObject *dict, const char *key, PyObject *value)
{
    PyObject *name = PyUnicode_InternFromString(key);
    int failed = name && value ? PyDict_SetItem(dict, name, value) : -1;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return failed;
}

int host_environ_prepare(struct host_wsgi_thread *t)
{
    struct host_wsgi *s = t->wsgi;
    PyObject *d = PyDict_New();
    if (!d)
        return -1;
    t->prototype = d;
    Py_INCREF(t->errors);
    Py_INCREF((PyObject *)s->file_type);
    int failed = 0;
    failed |= set_string(d, "wsgi.version", Py_BuildValue("(ii)", 1, 0));
    failed |= set_string(d, "wsgi.url_scheme", PyUnicode_InternFromString("http"));
    failed |= set_string(d, "wsgi.errors", t->errors);
    failed |= set_string(d, "wsgi.file_wrapper", (PyObject *)s->file_type);
    failed |= set_string(d, "wsgi.multithread", PyBool_FromLong(s->is_multithread));
    failed |= set_string(d, "wsgi.multiprocess", PyBool_FromLong(s->is_multiprocess));
    failed |= set_string(d, "wsgi.run_once", PyBool_FromLong(0));
    failed |= set_string(d, "wsgi.input_terminated", PyBool_FromLong(1));
    failed |= set_string(d, "REQUEST_METHOD", PyUnicode_InternFromString("GET"));
    failed |= set_string(d, "QUERY_STRING", PyUnicode_InternFromString(""));
    failed |= set_string(d, "SERVER_PROTOCOL", PyUnicode_InternFromString("HTTP/1.1"));
    return failed;
}

void host_environ_release(struct host_wsgi_thread *t)
{
    Py_CLEAR(t->prototype);
    for (size_t i = 0; i < HOST_NAMES_MAX; i++)
        Py_CLEAR(t->last_values[i]);
}

/* New reference: the value's last object when it is the same again. */
static PyObject *steady_value(struct host_wsgi_thread *t, size_t index, const char *value, size_t size)
{
    PyObject *last = t->last_values[index]; /* borrowed */
    if (last && (size_t)PyUnicode_GET_LENGTH(last) == size &&
        memcmp(PyUnicode_1BYTE_DATA(last), value, size) == 0) {
        Py_INCREF(last);
        return last;
    }
    PyObject *object = PyUnicode_DecodeLatin1(value, (Py_ssize_t)size, NULL);
    if (object && size < 512) {
        Py_INCREF(object);
        t->last_values[index] = object;
        Py_XDECREF(last);
    }
    return object;
}

static int set_known(struct host_wsgi_thread *t, PyObject *environ, size_t index, const char *value,
                     size_t size)
{
    bool is_steady = names[index].rule == STEADY || names[index].rule == LATE;
    PyObject *object = is_steady ? steady_value(t, index, value, size)
                                 : PyUnicode_DecodeLatin1(value, (Py_ssize_t)size, NULL);
    if (!object)
        return -1;
    int failed = PyDict_SetItem(environ, t->wsgi->environ->keys[index], object);
    Py_DECREF(object);
    return failed;
}

static int set_unknown(PyObject *environ, const char *name, size_t name_size, const char *value)
{
    if (name_size == 0 || strncmp(name, "wsgi.", 5) == 0)
        return 0;
    PyObject *key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)name_size, NULL);
    PyObject *object = PyUnicode_DecodeLatin1(value, (Py_ssize_t)strlen(value), NULL);
    int failed = key && object ? PyDict_SetItem(environ, key, object) : -1;
    Py_XDECREF(key);
    Py_XDECREF(object);
    return failed;
}

static int drop_known(struct host_wsgi_thread *t, PyObject *environ, size_t index)
{
    PyObject *key = t->wsgi->environ->keys[index]; /* borrowed */
    int is_there = PyDict_Contains(environ, key);
    return is_there == 1 ? PyDict_DelItem(environ, key) : is_there;
}

static int add_param(struct host_wsgi_thread *t, PyObject *environ, const char *param)
{
    uint32_t hash;
    const char *value;
    size_t size = scan_name(param, &hash, &value);
    if (!value)
        return 0;
    size_t index = find_name(t->wsgi->environ, param, size, hash);
    if (index == NO_NAME)
        return set_unknown(environ, param, size, value);
    if (names[index].param != HOST_PARAM_NONE)
        t->params[names[index].param] = value;
    switch (names[index].rule) {
    case PLAIN:
    case STEADY:
        return set_known(t, environ, index, value, strlen(value));
    case DROP_EMPTY:
        return *value ? set_known(t, environ, index, value, strlen(value)) : drop_known(t, environ, index);
    case LATE:
    case DROP:
        break;
    }
    return 0;
}

/* The index of a name that stands for a parameter; the first names of the table are in the order of the enum.
 */
static size_t index_of(enum host_param param)
{
    return (size_t)param;
}

_Static_assert(HOST_PARAM_COUNT < NAME_COUNT, "every parameter has a row");

static int set_path(struct host_wsgi_thread *t, PyObject *environ, const struct host_path *path)
{
    if (set_known(t, environ, index_of(HOST_PARAM_SCRIPT_NAME), path->script_name, path->script_name_size) <
        0)
        return -1;
    return set_known(t, environ, index_of(HOST_PARAM_PATH_INFO), path->path_info, path->path_info_size);
}

static int add_path(struct host_wsgi_thread *t, PyObject *environ)
{
    struct host_path path;
    if (t->route->path)
        return set_path(t, environ, t->route->path);
    if (host_path_split(t->params[HOST_PARAM_SCRIPT_NAME], t->params[HOST_PARAM_PATH_INFO],
                        t->params[HOST_PARAM_DOCUMENT_URI], t->params[HOST_PARAM_REQUEST_URI], &path) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    int failed = set_path(t, environ, &path);
    free(path.memory);
    return failed;
}

static bool is_https(const struct host_wsgi_thread *t)
{
    const char *https = t->params[HOST_PARAM_HTTPS], *scheme = t->params[HOST_PARAM_SCHEME];
    if (https && (strcasecmp(https, "on") == 0 || strcmp(https, "1") == 0 || strcasecmp(https, "true") == 0))
        return true;
    return scheme && strcasecmp(scheme, "https") == 0;
}

/* The size of the name in "name:port" or "[v6]:port"; *port is what follows the colon, or NULL. */
static size_t split_host(const char *host, const char **port)
{
    const char *colon = strrchr(host, ':');
    bool has_port = colon && colon[1] != '\0' && colon[1 + strspn(colon + 1, "0123456789")] == '\0';
    if (has_port && host[0] != '[' && strchr(host, ':') != colon)
        has_port = false;
    *port = has_port ? colon + 1 : NULL;
    return has_port ? (size_t)(colon - host) : strlen(host);
}

static bool is_given(const char *value)
{
    return value && *value;
}

/* Both may never be empty (PEP 3333), and nginx without a server_name sends an empty one. */
static int add_server(struct host_wsgi_thread *t, PyObject *environ)
{
    const char *name = t->params[HOST_PARAM_SERVER_NAME], *port = t->params[HOST_PARAM_SERVER_PORT];
    const char *host = t->params[HOST_PARAM_HTTP_HOST], *host_port = NULL;
    size_t host_size = is_given(host) ? split_host(host, &host_port) : 0;
    size_t name_size = name ? strlen(name) : 0;
    if (name_size == 0) {
        name = host_size > 0 ? host : "localhost";
        name_size = host_size > 0 ? host_size : strlen(name);
    }
    if (!is_given(port))
        port = host_port ? host_port : is_https(t) ? "443" : "80";
    if (set_known(t, environ, index_of(HOST_PARAM_SERVER_NAME), name, name_size) < 0)
        return -1;
    return set_known(t, environ, index_of(HOST_PARAM_SERVER_PORT), port, strlen(port));
}

static int add_wsgi(struct host_wsgi_thread *t, PyObject *environ)
{
    struct host_environ *e = t->wsgi->environ;
    PyObject *input = host_input_new(t);
    int failed = input ? PyDict_SetItem(environ, e->input_key, input) : -1;
    Py_XDECREF(input);
    if (failed == 0 && is_https(t))
        failed = PyDict_SetItem(environ, e->url_scheme_key, e->https);
    return failed;
}

PyObject *host_environ_make(struct host_wsgi_thread *t)
{
    PyObject *environ = PyDict_Copy(t->prototype);
    if (!environ)
        return NULL;
    char *const *params = fcgi_request_params(t->request);
    int failed = 0;
    for (size_t i = 0; params[i] && failed == 0; i++)
        failed = add_param(t, environ, params[i]);
    if (failed == 0)
        failed = add_path(t, environ);
    if (failed == 0)
        failed = add_server(t, environ);
    if (failed == 0)
        failed = add_wsgi(t, environ);
    if (failed != 0)
        Py_CLEAR(environ);
    return environ;
}
