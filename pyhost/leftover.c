/* Finds what an import left behind that a forked worker must not share: threads (they do not exist in the
 * child, their locks do), connected sockets (two processes would talk into one conversation) and event
 * queues (epoll and io_uring belong to both, and each sees the other's events).
 *
 * Sockets to the system log are let pass: a datagram on a unix socket is whole by itself, whoever sends it.
 * Looks only at /proc and at the threading module's list; judges nothing else. Runs in the template's main
 * thread. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/leftover.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LEFTOVER_WAIT_MS 250

/* Calls visit with every number in a folder of /proc. False when the folder cannot be read. */
static bool visit_numbers(const char *folder, void (*visit)(void *context, int number), void *context)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
            visit(context, atoi(entry->d_name));
    closedir(dir);
    return true;
}

static void note_fd(void *context, int fd)
{
    struct leftover_before *before = context;
    if (fd < LEFTOVER_FDS_MAX)
        before->fds[fd / 8] |= (unsigned char)(1U << (fd % 8));
}

static void note_thread(void *context, int thread)
{
    struct leftover_before *before = context;
    if (before->thread_count < LEFTOVER_THREADS_MAX)
        before->threads[before->thread_count++] = thread;
}

void host_leftover_note(struct leftover_before *before)
{
    memset(before, 0, sizeof *before);
    visit_numbers("/proc/self/fd", note_fd, before);
    visit_numbers("/proc/self/task", note_thread, before);
}

/* A search under way. */
struct search {
    const struct leftover_before *before;
    char *text;
    size_t used;
    unsigned found; /* things that were not there before */
    bool quiet;     /* count only */
};

__attribute__((format(printf, 2, 3))) static void add_finding(struct search *s, const char *format, ...)
{
    s->found++;
    if (s->quiet || s->used + 8 >= LEFTOVER_TEXT_MAX)
        return;
    if (s->used > 0)
        s->used += (size_t)snprintf(s->text + s->used, LEFTOVER_TEXT_MAX - s->used, ", ");
    va_list args;
    va_start(args, format);
    int size = vsnprintf(s->text + s->used, LEFTOVER_TEXT_MAX - s->used, format, args);
    va_end(args);
    s->used += (size_t)size;
    if (s->used >= LEFTOVER_TEXT_MAX)
        s->used = LEFTOVER_TEXT_MAX - 1;
}

/* The name that Python knows a thread by: "" when it is not one of Python's, or when asking failed. */
static void name_of_python_thread(int thread, char *name, size_t name_size)
{
    name[0] = '\0';
    PyObject *threading = PyDict_GetItemString(PyImport_GetModuleDict(), "threading"); /* borrowed */
    PyObject *threads = threading ? PyObject_CallMethod(threading, "enumerate", NULL) : NULL;
    for (Py_ssize_t i = 0; threads && PyList_Check(threads) && i < PyList_GET_SIZE(threads); i++) {
        PyObject *item = PyList_GET_ITEM(threads, i); /* borrowed */
        PyObject *id = PyObject_GetAttrString(item, "native_id");
        PyObject *its_name = PyObject_GetAttrString(item, "name");
        if (id && its_name && PyLong_Check(id) && PyUnicode_Check(its_name) && PyLong_AsLong(id) == thread) {
            const char *utf8 = PyUnicode_AsUTF8(its_name);
            snprintf(name, name_size, "%s", utf8 ? utf8 : "");
        }
        Py_XDECREF(its_name);
        Py_XDECREF(id);
        PyErr_Clear();
    }
    Py_XDECREF(threads);
    PyErr_Clear();
}

static void name_of_task(int thread, char *name, size_t name_size)
{
    char path[64];
    name[0] = '\0';
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", thread);
    FILE *comm = fopen(path, "re");
    if (!comm)
        return;
    if (fgets(name, (int)name_size, comm))
        name[strcspn(name, "\n")] = '\0';
    fclose(comm);
}

static void look_at_thread(void *context, int thread)
{
    struct search *s = context;
    for (unsigned i = 0; i < s->before->thread_count; i++)
        if (s->before->threads[i] == thread)
            return;
    char name[128];
    if (!s->quiet)
        name_of_python_thread(thread, name, sizeof name);
    if (!s->quiet && name[0] == '\0')
        name_of_task(thread, name, sizeof name);
    if (s->quiet)
        s->found++;
    else
        add_finding(s, "thread \"%s\" (%d)", name, thread);
}

static void describe_address(const struct sockaddr_storage *address, socklen_t size, char *text,
                             size_t text_size)
{
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    size_t path_size = size > offsetof(struct sockaddr_un, sun_path)
                           ? size - offsetof(struct sockaddr_un, sun_path)
                           : 0;
    if (address->ss_family == AF_INET && inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host))
        snprintf(text, text_size, "%s:%u", host, ntohs(v4->sin_port));
    else if (address->ss_family == AF_INET6 && inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host))
        snprintf(text, text_size, "[%s]:%u", host, ntohs(v6->sin6_port));
    else if (address->ss_family == AF_UNIX && path_size > 0 && local->sun_path[0])
        snprintf(text, text_size, "%.*s", (int)path_size, local->sun_path);
    else
        snprintf(text, text_size, "an unnamed peer");
}

static void look_at_socket(struct search *s, int fd)
{
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    int type = 0;
    socklen_t type_size = sizeof type;
    memset(&peer, 0, sizeof peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_DGRAM &&
        peer.ss_family == AF_UNIX)
        return;
    char address[160];
    describe_address(&peer, peer_size, address, sizeof address);
    add_finding(s, "socket %d connected to %s", fd, address);
}

static void look_at_fd(void *context, int fd)
{
    struct search *s = context;
    if (fd < LEFTOVER_FDS_MAX && (s->before->fds[fd / 8] & (1U << (fd % 8))))
        return;
    struct stat status;
    if (fstat(fd, &status) < 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        look_at_socket(s, fd);
        return;
    }
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, target, sizeof target - 1);
    target[size > 0 ? size : 0] = '\0';
    if (strcmp(target, "anon_inode:[eventpoll]") == 0)
        add_finding(s, "epoll descriptor %d", fd);
    else if (strcmp(target, "anon_inode:[io_uring]") == 0)
        add_finding(s, "io_uring descriptor %d", fd);
}

/* A thread that was joined is listed until the kernel is done with it. */
static void wait_for_ending_threads(const struct leftover_before *before)
{
    int64_t deadline_ms = clock_now_ms() + LEFTOVER_WAIT_MS;
    for (;;) {
        struct search s = {.before = before, .quiet = true};
        visit_numbers("/proc/self/task", look_at_thread, &s);
        if (s.found == 0 || clock_now_ms() >= deadline_ms)
            return;
        Py_BEGIN_ALLOW_THREADS;
        usleep(2000);
        Py_END_ALLOW_THREADS;
    }
}

bool host_leftover_find(const struct leftover_before *before, char text[LEFTOVER_TEXT_MAX])
{
    struct search s = {.before = before, .text = text};
    text[0] = '\0';
    wait_for_ending_threads(before);
    if (!visit_numbers("/proc/self/task", look_at_thread, &s) ||
        !visit_numbers("/proc/self/fd", look_at_fd, &s))
        add_finding(&s, "what cannot be seen, because /proc is missing (inside the chroot)");
    return s.found > 0;
}
