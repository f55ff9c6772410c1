"""Starts Python the ways that applications do, and answers what came out, one line each."""

import multiprocessing
import subprocess
import sys


def application(environ, start_response):
    child = subprocess.run([sys.executable, '-c', 'import sys, parrot; print(sys.prefix, parrot.VERSION)'],
                           capture_output=True, text=True)
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        doubled = pool.apply(abs, (-21,)) * 2
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{child.stdout.strip()}\n{doubled}\n'.encode()]
