"""Waits until as many requests as $MEETING are inside at once: only threads or processes enough let it answer."""

import os
import threading

MEETING = threading.Barrier(int(os.environ['MEETING']))


def application(environ, start_response):
    MEETING.wait(60)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{os.getpid()} {threading.get_ident()} {environ["wsgi.multithread"]} '
            f'{environ["wsgi.multiprocess"]}'.encode()]
