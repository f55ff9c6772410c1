"""An application that does to its worker, on request, what no application should."""

import array
import os
import resource
import signal
import socket
import threading
import time

def close_descriptors():
    os.closerange(3, 1000)


def replace_descriptors():
    null = os.open('/dev/null', os.O_RDWR)
    for fd in range(10):
        os.dup2(null, fd)


def replace(fd):
    os.dup2(os.open('/dev/null', os.O_RDWR), fd)


def replace_listener():
    replace(6)


def replace_handover():
    replace(7)


def close_event_queues():
    for fd in range(3, 100):
        try:
            if 'eventpoll' in os.readlink(f'/proc/self/fd/{fd}'):
                os.close(fd)
        except FileNotFoundError:
            pass


def hoard_descriptors():
    """Those that it has stay; nothing new can be opened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def fork_and_return():
    os.fork()


def ignore_signals():
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass


def scribble_on_the_scoreboard():
    for size in (0, 1 << 30):
        try:
            os.ftruncate(5, size)
        except OSError:
            pass
    for size in (65536, 4096, 512, 256, 128):
        try:
            os.pwrite(5, b'\xff' * size, 0)
        except OSError:
            pass


def send_garbage_to_the_supervisor():
    channel = socket.socket(fileno=os.dup(3))
    channel.setblocking(False)
    try:
        for size in range(80):
            channel.sendmsg([os.urandom(size)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1]))])
    except OSError:
        pass


def hand_over_no_connections():
    queue = socket.socket(fileno=os.dup(8))
    listening = socket.create_server(('127.0.0.1', 0))
    for fd in (os.open('/etc/passwd', os.O_RDONLY), os.open('/', os.O_RDONLY), listening.fileno()):
        queue.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))])
    queue.send(b'nothing')


def steal_messages_of_the_supervisor():
    def eat():
        while os.read(3, 100000):
            pass
    threading.Thread(target=eat, daemon=True).start()


def leave_a_child_and_fail():
    parent = os.getpid()
    yield b'x' * 100000
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(0.02)
        os._exit(0)
    raise RuntimeError('after the headers')


def application(environ, start_response):
    deed = environ['PATH_INFO'].strip('/')
    result = globals()[deed]() if deed else None
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return result or [b'%d' % os.getpid()]
