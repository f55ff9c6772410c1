"""Takes its time in the way that PATH_INFO says; the query names a file whose coming ends it."""

import os
import re
import time

GATE = os.environ.get('GATE', '/nonexistent')


def is_open(name):
    return os.path.exists(f'{GATE}/{name}.go')


def loops(name):
    while not is_open(name):
        pass


def sleeps(name):
    while not is_open(name):
        time.sleep(0.01)


def holds(name):
    """One call of C code that keeps the GIL for hours."""
    re.match('(a+)+$', 'a' * 60 + 'b')


def catches(name):
    try:
        loops(name)
    except BaseException as error:
        return f'caught {type(error).__module__}.{type(error).__name__}'.encode()


def yields(name):
    def body():
        yield b'begun\n'
        loops(name)
        yield b'ended\n'
    return body()


def answers(name):
    return b'at once\n'


DEEDS = {deed.__name__: deed for deed in (loops, sleeps, holds, catches, yields, answers)}


def application(environ, start_response):
    name = environ['QUERY_STRING']
    open(f'{GATE}/{name}.in', 'w').close()
    found = DEEDS[environ['PATH_INFO'].strip('/')](name)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if found is None:
        found = b'finished\n'
    return [found] if isinstance(found, bytes) else found
