"""Requests that take as long as the test wants, without a clock.

GET /wait?NAME creates the file NAME.in in the folder of $GATE and answers once NAME.go is there.
Anything else answers at once with the pid."""

import os
import time

GATE = os.environ['GATE']


def application(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        name = os.path.join(GATE, environ['QUERY_STRING'])
        with open(name + '.in', 'w'):
            pass
        while not os.path.exists(name + '.go'):
            time.sleep(0.005)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
