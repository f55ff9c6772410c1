"""A set of applications behind wsgiref.validate, chosen by the first part of the path."""

import io
from wsgiref.validate import validator

PLAIN = ('Content-Type', 'text/plain')


def text(environ, start_response):
    start_response('200 OK', [PLAIN, ('Content-Length', '5')])
    return [b'text\n']


def pieces(environ, start_response):
    start_response('200 OK', [PLAIN])
    return iter([b'one ', b'', b'two ', b'three'])


def write(environ, start_response):
    send = start_response('200 OK', [PLAIN])
    send(b'written ')
    send(b'twice ')
    return [b'and returned']


def empty(environ, start_response):
    start_response('200 OK', [PLAIN, ('Content-Length', '0')])
    return []


def nothing(environ, start_response):
    start_response('204 No Content', [])
    return []


def not_modified(environ, start_response):
    start_response('304 Not Modified', [('ETag', '"x"')])
    return []


def created(environ, start_response):
    start_response('201 Created', [PLAIN, ('Location', '/made')])
    return [b'made']


def teapot(environ, start_response):
    start_response("418 I'm a teapot, short and stout", [PLAIN])
    return [b'tea']


def twice(environ, start_response):
    start_response('200 OK', [PLAIN, ('Set-Cookie', 'a=1; Path=/'), ('Set-Cookie', 'b=2; Path=/'),
                              ('X-Twice', 'first'), ('X-Twice', 'second')])
    return [b'cookies']


def echo(environ, start_response):
    body = b''.join(iter(lambda: environ['wsgi.input'].read(1000), b''))
    start_response('200 OK', [PLAIN, ('Content-Length', str(len(body)))])
    return [body]


def lines(environ, start_response):
    found = list(environ['wsgi.input'])
    start_response('200 OK', [PLAIN])
    return [str(len(found)).encode()]


def file(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])
    return environ['wsgi.file_wrapper'](io.BytesIO(b'f' * 100000), 4096)


def errors(environ, start_response):
    environ['wsgi.errors'].write('a word for the log\n')
    environ['wsgi.errors'].writelines(['two ', 'pieces\n'])
    environ['wsgi.errors'].flush()
    start_response('200 OK', [PLAIN])
    return [b'said']


APPLICATIONS = {f.__name__: validator(f) for f in (
    text, pieces, write, empty, nothing, not_modified, created, teapot, twice, echo, lines, file, errors)}


def application(environ, start_response):
    return APPLICATIONS[environ['PATH_INFO'].strip('/')](environ, start_response)
