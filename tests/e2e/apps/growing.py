"""Keeps as many MiB as the query says, for ever."""

import os

kept = []


def application(environ, start_response):
    if environ['QUERY_STRING']:
        kept.append(b'\1' * (int(environ['QUERY_STRING']) << 20))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
