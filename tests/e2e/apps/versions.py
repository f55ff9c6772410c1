"""Answers with the version of a package and where it was found, and with sys.path, as JSON."""

import json
import sys

import parrot


def application(environ, start_response):
    body = json.dumps({'version': parrot.VERSION, 'file': parrot.__file__, 'path': sys.path,
                       'prefix': sys.prefix, 'executable': sys.executable}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
