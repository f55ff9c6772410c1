"""Dies in the way that PATH_INFO says."""

import ctypes
import os
import signal
import sys
import threading


def in_c():
    ctypes.string_at(0)


def by_abort():
    os.abort()


def by_signal():
    os.kill(os.getpid(), signal.SIGFPE)


def in_another_thread():
    thread = threading.Thread(target=in_c)
    thread.start()
    thread.join()


def by_recursion():
    """Through C frames only, deeper than any stack."""
    sys.setrecursionlimit(1 << 30)
    nested = []
    for _ in range(2_000_000):
        nested = [nested]
    repr(nested)


def in_a_child():
    pid = os.fork()
    if pid == 0:
        in_c()
    os.waitpid(pid, 0)


DEEDS = {'/in-c': in_c, '/in-a-child': in_a_child, '/by-abort': by_abort, '/by-signal': by_signal, '/in-another-thread': in_another_thread,
         '/by-recursion': by_recursion}


def application(environ, start_response):
    deed = DEEDS.get(environ['PATH_INFO'])
    if deed:
        deed()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'alive\n']
