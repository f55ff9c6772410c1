"""Returns files through wsgi.file_wrapper, in the ways that the path names. $FILE is what it sends."""

import os
import tempfile

FILE = os.environ['FILE']
BYTES = [('Content-Type', 'application/octet-stream')]


class NotAFile:
    """Has read() but no descriptor."""

    def __init__(self, f):
        self.f = f

    def read(self, size):
        return self.f.read(size)

    def close(self):
        self.f.close()
        print('closed the reader', flush=True)


def whole(wrapper, start_response):
    start_response('200 OK', BYTES)
    return wrapper(open(FILE, 'rb'))


def with_length(wrapper, start_response):
    start_response('200 OK', BYTES + [('Content-Length', str(os.path.getsize(FILE)))])
    return wrapper(open(FILE, 'rb'), 65536)


def from_the_middle(wrapper, start_response):
    f = open(FILE, 'rb')
    f.seek(1000)
    start_response('200 OK', BYTES)
    return wrapper(f)


def a_part(wrapper, start_response):
    f = open(FILE, 'rb')
    f.seek(10)
    start_response('206 Partial Content', BYTES + [('Content-Length', '100'), ('Content-Range', 'bytes 10-109/*')])
    return wrapper(f)


def written_to(wrapper, start_response):
    """What was written is in the buffer of the file object, not yet in the file."""
    f = tempfile.TemporaryFile()
    with open(FILE, 'rb') as original:
        f.write(original.read())
    f.seek(0)
    f.read(1)
    f.seek(0)  # within what was read ahead, as the next one: nothing is written out for it
    f.write(b'NEW!')
    f.seek(0)
    start_response('200 OK', BYTES)
    return wrapper(f)


def write_only(wrapper, start_response):
    with tempfile.NamedTemporaryFile() as f:
        writer = open(f.name, 'wb', buffering=0)
    writer.write(b'written')
    writer.seek(0)
    start_response('200 OK', BYTES)
    return wrapper(writer)


def not_a_file(wrapper, start_response):
    start_response('200 OK', BYTES)
    return wrapper(NotAFile(open(FILE, 'rb')), 1000)


def wrapped_again(wrapper, start_response):
    start_response('200 OK', BYTES)
    return (piece.upper() for piece in wrapper(open(FILE, 'rb'), 4096))


def application(environ, start_response):
    return globals()[environ['PATH_INFO'].strip('/')](environ['wsgi.file_wrapper'], start_response)
