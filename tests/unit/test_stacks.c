/* links: base config python
 * sources: pyhost/stacks.c pyhost/pyerr.c
 *
 * The stack of one thread, whatever it is at: asleep, in a loop, holding the GIL in C code, gone. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/err.h"
#include "pyhost/stacks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char text[HOST_STACK_TEXT_MAX + 1];

static const char source[] = "import re, threading, time\n"
                             "stop = threading.Event()\n"
                             "def nap():\n"
                             "    stop.wait()\n"
                             "def spin():\n"
                             "    while not stop.is_set(): pass\n"
                             "def hold():\n" /* in calls that take a while and never give the GIL up */
                             "    while not stop.is_set(): re.match('(a+)+$', 'a' * 20 + 'b')\n"
                             "def start(function):\n"
                             "    thread = threading.Thread(target=function)\n"
                             "    thread.start()\n"
                             "    threads.append(thread)\n"
                             "    return thread.native_id\n"
                             "threads = []\n"
                             "def join():\n"
                             "    stop.set()\n"
                             "    for thread in threads: thread.join()\n"
                             "    stop.clear()\n"
                             "    threads.clear()\n";

static PyObject *names;

static pid_t start(const char *function)
{
    char call[64];
    snprintf(call, sizeof call, "start(%s)", function);
    PyObject *id = PyRun_String(call, Py_eval_input, names, names);
    assert_non_null(id);
    pid_t thread = (pid_t)PyLong_AsLong(id);
    Py_DECREF(id);
    return thread;
}

static void join(void)
{
    PyObject *done = PyRun_String("join()", Py_eval_input, names, names);
    assert_non_null(done);
    Py_DECREF(done);
}

/* The thread may not have reached its function yet: asks again until it has. */
static void dump_until(pid_t thread, const char *wanted)
{
    Py_BEGIN_ALLOW_THREADS;
    for (int i = 0; i < 200; i++)
        if (host_stacks_dump(thread, text) == 0 && strstr(text, wanted))
            break;
    Py_END_ALLOW_THREADS;
    if (!strstr(text, wanted))
        fail_msg("no %s in:\n%s", wanted, text);
}

static void test_a_thread_that_waits_shows_where(void **state)
{
    (void)state;
    pid_t napping = start("nap"), spinning = start("spin");
    dump_until(napping, "in nap");
    assert_null(strstr(text, "in spin"));
    assert_null(strstr(text, "Stack ("));
    dump_until(spinning, "in spin");
    assert_null(strstr(text, "in nap"));
    join();
}

static void test_a_thread_that_holds_the_gil_in_c_shows_where(void **state)
{
    (void)state;
    dump_until(start("hold"), "in hold");
    join();
}

static void test_a_thread_that_is_gone_is_said_to_be(void **state)
{
    (void)state;
    pid_t thread = start("spin");
    join();
    Py_BEGIN_ALLOW_THREADS;
    for (int i = 0; i < 1000 && !strstr((host_stacks_dump(thread, text), text), "No such process"); i++)
        ;
    Py_END_ALLOW_THREADS;
    assert_non_null(strstr(text, "no stack: No such process"));
}

static int set_up(void **state)
{
    (void)state;
    struct err e;
    Py_InitializeEx(0);
    names = PyDict_New();
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyObject *done = PyRun_String(source, Py_file_input, names, names);
    Py_XDECREF(done);
    return done && host_stacks_prepare(&e) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_waits_shows_where),
        cmocka_unit_test(test_a_thread_that_holds_the_gil_in_c_shows_where),
        cmocka_unit_test(test_a_thread_that_is_gone_is_said_to_be),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
