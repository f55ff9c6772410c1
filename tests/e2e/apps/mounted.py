"""One of several applications of a process: says where it is, and does by its path what a server can get wrong."""

import json
import os
import string
import sys
import threading


def about(environ):
    import parrot
    return {'pid': os.getpid(), 'thread': threading.get_ident(), 'version': parrot.VERSION, 'file': parrot.__file__,
            'path': sys.path, 'modules': id(sys.modules), 'executable': sys.executable, 'prefix': sys.prefix}


def spin(environ):
    """Computes in Python, allocating objects, and calls itself from other frames."""
    total = 0
    for i in range(3000):
        total += len(json.dumps({'key %d' % i: [i, str(i)]}))
    return total


def boom(environ):
    raise LookupError('boom in ' + environ['SCRIPT_NAME'])


ANSWERS = {
    '/about': about,
    '/spin': spin,
    '/boom': boom,
    '/types': lambda environ: [id(environ['wsgi.file_wrapper']), id(type(environ['wsgi.errors'])),
                               id(type(environ['wsgi.input'])), id(sys.modules)],
    '/where': lambda environ: [environ['SCRIPT_NAME'], environ['PATH_INFO'], environ['QUERY_STRING']],
    '/mark': lambda environ: setattr(string, 'marker', environ['SCRIPT_NAME']),
    '/marked': lambda environ: getattr(string, 'marker', None),
    '/echo': lambda environ: environ['wsgi.input'].read().decode('latin-1'),
    '/lines': lambda environ: [line.decode('latin-1') for line in environ['wsgi.input']],
    '/errors': lambda environ: environ['wsgi.errors'].write('said by ' + environ['SCRIPT_NAME'] + '\n'),
    '/print': lambda environ: print('printed by', environ['SCRIPT_NAME']),
}


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/file':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
    body = json.dumps(ANSWERS.get(path, ANSWERS['/where'])(environ)).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
