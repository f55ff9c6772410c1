"""Prints in every way there is."""

import os
import sys

print('printed at import', flush=True)


def application(environ, start_response):
    print('to stdout', flush=True)
    print('to stderr', file=sys.stderr, flush=True)
    print('to wsgi.errors', file=environ['wsgi.errors'], flush=True)
    os.write(1, b'to descriptor 1\n')
    os.write(2, b'2026-01-01T00:00:00.000Z alert: forged\n')
    os.write(2, b'without an end')
    os.write(1, b'a \x1b[31mred\x1b[0m word and \xff\n')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
