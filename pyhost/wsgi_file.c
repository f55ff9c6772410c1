/* wsgi.file_wrapper: hands a file to the server to send.
 *
 * Returned as the result and around a plain file it is sent with sendfile(2); otherwise, and inside a
 * middleware, it is an iterator over blocks. Only files of the io module's own types are taken for plain:
 * gzip's, bz2's and lzma's have a fileno() too, of the compressed file. With the GIL. */
#include "pyhost/wsgi_request.h"

#include <fcntl.h>
#include <string.h>
#include <structmember.h>
#include <sys/stat.h>

#define BLOCK_SIZE 65536

struct file {
    PyObject_HEAD PyObject *filelike;
    Py_ssize_t block_size;
};

static PyObject *file_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"filelike", "blksize", NULL};
    PyObject *filelike;
    Py_ssize_t block_size = BLOCK_SIZE;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|n:file_wrapper", names, &filelike, &block_size))
        return NULL;
    struct file *f = (struct file *)type->tp_alloc(type, 0);
    if (!f)
        return NULL;
    Py_INCREF(filelike);
    f->filelike = filelike;
    f->block_size = block_size > 0 ? block_size : BLOCK_SIZE;
    return (PyObject *)f;
}

static int file_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((struct file *)self)->filelike);
#if PY_VERSION_HEX >= 0x03090000
    Py_VISIT(Py_TYPE(self));
#endif
    return 0;
}

static int file_clear(PyObject *self)
{
    Py_CLEAR(((struct file *)self)->filelike);
    return 0;
}

static void file_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    file_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *file_next(PyObject *self)
{
    struct file *f = (struct file *)self;
    if (!f->filelike)
        return NULL;
    PyObject *block = PyObject_CallMethod(f->filelike, "read", "n", f->block_size);
    if (!block)
        return NULL;
    Py_ssize_t size = PyObject_Size(block);
    if (size == 0)
        Py_CLEAR(block);
    if (size < 0)
        PyErr_Clear(); /* what has no size is no block: the server says so */
    return block;
}

static PyObject *file_close(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    struct file *f = (struct file *)self;
    PyObject *close = f->filelike ? PyObject_GetAttrString(f->filelike, "close") : NULL;
    if (!close) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    PyObject *result = PyObject_CallObject(close, NULL);
    Py_DECREF(close);
    return result;
}

PyTypeObject *host_file_type_new(void)
{
    static PyMethodDef methods[] = {
        {"close", file_close, METH_NOARGS, "Closes the file, if it can be closed."},
        {NULL, NULL, 0, NULL},
    };
    static PyMemberDef members[] = {
        {"filelike", T_OBJECT, offsetof(struct file, filelike), READONLY, "The file."},
        {"blksize", T_PYSSIZET, offsetof(struct file, block_size), READONLY, "Bytes read at a time."},
        {NULL, 0, 0, 0, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_new, file_new},
        {Py_tp_dealloc, file_dealloc},
        {Py_tp_traverse, file_traverse},
        {Py_tp_clear, file_clear},
        {Py_tp_methods, methods},
        {Py_tp_members, members},
        {Py_tp_iter, PyObject_SelfIter},
        {Py_tp_iternext, file_next},
        {Py_tp_doc, "file_wrapper(filelike, blksize=65536): a file as a response's body."},
        {0, NULL},
    };
    static PyType_Spec spec = {"pyfpm.file_wrapper", sizeof(struct file), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
    return (PyTypeObject *)PyType_FromSpec(&spec);
}

static bool has_type(PyObject *object, const char *module, const char *name)
{
    PyObject *type_module = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__module__");
    bool is_module = type_module && PyUnicode_Check(type_module) &&
                     PyUnicode_CompareWithASCIIString(type_module, module) == 0;
    Py_XDECREF(type_module);
    PyErr_Clear();
    const char *type_name = strrchr(Py_TYPE(object)->tp_name, '.');
    type_name = type_name ? type_name + 1 : Py_TYPE(object)->tp_name;
    return is_module && strcmp(type_name, name) == 0;
}

static bool is_raw_file(PyObject *object)
{
    return has_type(object, "_io", "FileIO");
}

/* The binary file itself, out of a tempfile wrapper. New reference. */
static PyObject *unwrap(PyObject *filelike)
{
    if (has_type(filelike, "tempfile", "_TemporaryFileWrapper"))
        return PyObject_GetAttrString(filelike, "file");
    Py_INCREF(filelike);
    return filelike;
}

static bool is_plain(PyObject *file)
{
    if (is_raw_file(file))
        return true;
    if (!has_type(file, "_io", "BufferedReader") && !has_type(file, "_io", "BufferedRandom"))
        return false;
    PyObject *raw = PyObject_GetAttrString(file, "raw");
    bool is_file = raw && is_raw_file(raw);
    Py_XDECREF(raw);
    return is_file;
}

/* -1 with an exception. */
static int64_t number_of(PyObject *file, const char *method)
{
    PyObject *result = PyObject_CallMethod(file, method, NULL);
    long long number = result ? PyLong_AsLongLong(result) : -1;
    Py_XDECREF(result);
    return number;
}

/* What was written to the file but is in its buffer still has to be in the file. False when that fails. */
static bool flush(PyObject *file)
{
    if (!has_type(file, "_io", "BufferedRandom"))
        return true;
    PyObject *done = PyObject_CallMethod(file, "flush", NULL);
    Py_XDECREF(done);
    return done != NULL;
}

/* Else its read() raises what the application has to hear. */
static bool is_readable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_WRONLY && !(flags & O_PATH);
}

bool host_file_inspect(PyObject *wrapper, struct host_file *file)
{
    struct file *f = (struct file *)wrapper;
    struct stat status;
    PyObject *plain = f->filelike ? unwrap(f->filelike) : NULL;
    int64_t offset = -1, fd = -1;
    if (plain && is_plain(plain) && flush(plain)) {
        fd = number_of(plain, "fileno");
        offset = fd >= 0 ? number_of(plain, "tell") : -1;
    }
    Py_XDECREF(plain);
    PyErr_Clear();
    if (fd < 0 || fd > INT32_MAX || offset < 0 || !is_readable((int)fd))
        return false;
    if (fstat((int)fd, &status) < 0 || !S_ISREG(status.st_mode))
        return false;
    if (offset >= status.st_size) /* nothing to send, or a file of /proc, whose size says nothing */
        return false;
    file->fd = (int)fd;
    file->offset = offset;
    file->size = (size_t)(status.st_size - offset);
    return true;
}
