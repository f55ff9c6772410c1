"""Everything an application can do wrong, chosen by the path."""

OK = [('Content-Type', 'text/plain')]


class Body:
    """A result whose close() leaves a line in the log."""

    def __init__(self, pieces, label):
        self.pieces = iter(pieces)
        self.label = label

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        print(f'closed {self.label}', flush=True)


def raises(environ, start_response):
    raise ZeroDivisionError('before the headers')


def raises_after_start(environ, start_response):
    start_response('200 OK', OK)
    raise ZeroDivisionError('after start_response')


def raises_in_iterator(environ, start_response):
    def body():
        yield b'a piece that is out'
        raise ZeroDivisionError('in the middle')
    start_response('200 OK', OK)
    return Body(body(), 'the broken one')


def raises_in_close(environ, start_response):
    class Closes(Body):
        def close(self):
            raise ZeroDivisionError('in close')
    start_response('200 OK', OK)
    return Closes([b'whole'], '')


def returns_none(environ, start_response):
    start_response('200 OK', OK)


def returns_str(environ, start_response):
    start_response('200 OK', OK)
    return 'text'


def returns_int(environ, start_response):
    start_response('200 OK', OK)
    return 42


def yields_str(environ, start_response):
    start_response('200 OK', OK)
    return ['text']


def returns_bytes(environ, start_response):
    start_response('200 OK', OK)
    return b'bare bytes'


def never_starts(environ, start_response):
    return [b'no headers']


def starts_twice(environ, start_response):
    start_response('200 OK', OK)
    start_response('200 OK', OK)
    return [b'twice']


def starts_twice_properly(environ, start_response):
    import sys
    start_response('200 OK', OK)
    try:
        raise ValueError('replaced')
    except ValueError:
        start_response('503 Sorry', OK, sys.exc_info())
    return [b'replaced']


def exc_info_too_late(environ, start_response):
    import sys
    send = start_response('200 OK', OK)
    send(b'x' * 100)
    try:
        raise ValueError('too late to replace')
    except ValueError:
        start_response('503 Sorry', OK, sys.exc_info())
    return [b'never seen']


def bad_status(environ, start_response):
    start_response('OK', OK)
    return [b'']


def status_number(environ, start_response):
    start_response(200, OK)
    return [b'']


def status_injection(environ, start_response):
    start_response('200 OK\r\nX-Injected: yes', OK)
    return [b'']


def header_injection(environ, start_response):
    start_response('200 OK', [('X-Value', 'a\r\nX-Injected: yes')])
    return [b'']


def header_nul(environ, start_response):
    start_response('200 OK', [('X-Value', 'a\0b')])
    return [b'']


def header_name_injection(environ, start_response):
    start_response('200 OK', [('X-Name\nX-Injected', 'yes')])
    return [b'']


def header_not_latin(environ, start_response):
    start_response('200 OK', [('X-Value', '\u20ac')])
    return [b'']


def header_bytes(environ, start_response):
    start_response('200 OK', [(b'X-Value', b'bytes')])
    return [b'']


def header_not_pairs(environ, start_response):
    start_response('200 OK', ['X-Value: a'])
    return [b'']


def headers_none(environ, start_response):
    start_response('200 OK', None)
    return [b'']


def hop_by_hop(environ, start_response):
    start_response('200 OK', [('Connection', 'close')])
    return [b'']


def too_short(environ, start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return [b'four']


def too_long(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    return [b'four and more']


def exits(environ, start_response):
    raise SystemExit(3)


def interrupts(environ, start_response):
    raise KeyboardInterrupt


def application(environ, start_response):
    return globals()[environ['PATH_INFO'].strip('/')](environ, start_response)
