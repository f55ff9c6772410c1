"""Reads wsgi.input in the ways that the query names, and answers with repr()."""


def by_read(stream):
    return stream.read(), stream.read(), stream.read(10)


def by_read_size(stream):
    return stream.read(3), stream.read(0), stream.read(100), stream.read(1)


def by_read_negative(stream):
    return stream.read(-1), stream.read(-1)


def by_readline(stream):
    return stream.readline(), stream.readline(), stream.readline(), stream.readline()


def by_readline_size(stream):
    return stream.readline(2), stream.readline(100), stream.readline(0), stream.readline(-1)


def by_readlines(stream):
    return stream.readlines(), stream.readlines()


def by_readlines_hint(stream):
    return stream.readlines(1), stream.readlines(1000)


def by_iteration(stream):
    return list(stream), list(stream)


def by_mixture(stream):
    return stream.readline(), stream.read(1), next(iter(stream)), stream.read()


def untouched(stream):
    return ()


def application(environ, start_response):
    result = globals()[environ['QUERY_STRING']](environ['wsgi.input'])
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((result, environ.get('wsgi.input_terminated'))).encode()]
