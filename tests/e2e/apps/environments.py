"""Tells which Python and which environment it runs in, and what of the package "known" it found."""

import json
import sys

import known


def application(environ, start_response):
    body = json.dumps({'release': '%d.%d.%d' % sys.version_info[:3], 'prefix': sys.prefix,
                       'known': known.VERSION}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
