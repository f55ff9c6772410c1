"""A small FastCGI client for tests: whole requests, kept connections, and any bytes one likes.

Written from the FastCGI specification (29 April 1996)."""

import socket
import struct

from processes import DEADLINE

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = 0, 1, 2, 3


def record(kind, content=b'', request_id=1, padding=0):
    return struct.pack('>BBHHBx', 1, kind, request_id, len(content), padding) + content + bytes(padding)


def stream(kind, content, request_id=1):
    """A stream as records, with the empty record that ends it."""
    pieces = [content[i:i + 65535] for i in range(0, len(content), 65535)]
    return b''.join(record(kind, piece, request_id) for piece in [*pieces, b''])


def length(number):
    return bytes([number]) if number < 128 else struct.pack('>I', number | 0x80000000)


def pair(name, value):
    name = name.encode('latin-1') if isinstance(name, str) else name
    value = value.encode('latin-1') if isinstance(value, str) else value
    return length(len(name)) + length(len(value)) + name + value


def begin(keep=False, role=RESPONDER, request_id=1):
    return record(BEGIN_REQUEST, struct.pack('>HB5x', role, 1 if keep else 0), request_id)


def environ(path='/', method='GET', query='', body=None, **more):
    params = {
        'GATEWAY_INTERFACE': 'CGI/1.1', 'REQUEST_METHOD': method, 'SCRIPT_NAME': '', 'PATH_INFO': path,
        'QUERY_STRING': query, 'REQUEST_URI': path + ('?' + query if query else ''), 'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'REMOTE_ADDR': '127.0.0.1'}
    if body is not None:
        params['CONTENT_LENGTH'] = str(len(body))
    return {**params, **more}


def request(params, body=b'', keep=False, role=RESPONDER, request_id=1):
    """A whole request as bytes. params: dict, or list of pairs."""
    pairs = params.items() if isinstance(params, dict) else params
    return (begin(keep, role, request_id) + stream(PARAMS, b''.join(pair(*p) for p in pairs), request_id)
            + stream(STDIN, body, request_id))


class Closed(Exception):
    """The other end closed the connection before END_REQUEST. .response holds what came until then."""

    def __init__(self, response):
        super().__init__(f'closed after {len(response.stdout)} bytes')
        self.response = response


class Response:
    def __init__(self):
        self.stdout = b''
        self.stderr = b''
        self.app_status = None
        self.protocol_status = None

    @property
    def _head(self):
        return self.stdout.partition(b'\r\n\r\n')[0].decode('latin-1').split('\r\n')

    @property
    def body(self):
        return self.stdout.partition(b'\r\n\r\n')[2]

    @property
    def headers(self):
        """List of (name, value), "Status" included."""
        return [tuple(line.split(': ', 1)) for line in self._head]

    @property
    def status(self):
        return int(dict(self.headers).get('Status', '200').split()[0])


class Connection:
    def __init__(self, address):
        """address: path of a unix socket, or (host, port)."""
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(address))
        self.socket.settimeout(DEADLINE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _read(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                return None
            data += piece
        return data

    def record(self):
        """(kind, request id, content) of the next record, or None when the connection is closed."""
        try:
            head = self._read(8)
            if head is None:
                return None
            _, kind, request_id, size, padding = struct.unpack('>BBHHBx', head)
            content = self._read(size + padding)
        except ConnectionResetError:
            return None
        return None if content is None else (kind, request_id, content[:size])

    def receive(self, on_piece=None):
        """Reads one response to its END_REQUEST. on_piece(bytes) is called with each piece of STDOUT."""
        response = Response()
        while True:
            got = self.record()
            if got is None:
                raise Closed(response)
            kind, _, content = got
            if kind == STDOUT:
                response.stdout += content
                if on_piece and content:
                    on_piece(content)
            elif kind == STDERR:
                response.stderr += content
            elif kind == END_REQUEST:
                response.app_status, response.protocol_status = struct.unpack('>IB3x', content)
                return response

    def ask(self, params, body=b'', keep=False):
        self.send(request(params, body, keep))
        return self.receive()

    def is_closed(self):
        """True once the other end has closed; waits for that until the deadline."""
        try:
            return self.socket.recv(1) == b''
        except ConnectionResetError:
            return True


def ask(address, path='/', method='GET', body=None, **params):
    """One request on a connection of its own."""
    with Connection(address) as connection:
        return connection.ask(environ(path, method, body=body, **params), body or b'')
