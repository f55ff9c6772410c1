"""Asks the supervisor for a successor, as a host does and as a hostile application could: over descriptor 3.

/pid tells the pid, /retire?REASON asks once, /retire-one-of?PID,PID asks in those, /flood asks a thousand times; with
RETIRE_AT_ONCE in the environment a worker asks at every request. With BROKEN_WHEN, an import fails while that file
exists."""

import os
import socket
import struct
import urllib.parse

WIRE_VERSION = 1
WIRE_RETIRE = 11

if os.path.exists(os.environ.get('BROKEN_WHEN', '')):
    raise RuntimeError('broken on purpose')


def ask(reason):
    channel = socket.socket(fileno=os.dup(3))
    try:
        channel.send(struct.pack('=IIIIQ', WIRE_VERSION, WIRE_RETIRE, 0, 0, 0) + reason)
    finally:
        channel.close()


def application(environ, start_response):
    path, query = environ['PATH_INFO'], urllib.parse.unquote_to_bytes(environ['QUERY_STRING'])
    if path == '/retire':
        ask(query)
    elif path == '/retire-one-of':
        if b'%d' % os.getpid() in query.split(b','):
            ask(b'one of those')
    elif path == '/flood':
        for number in range(1000):
            ask(b'flood %d' % number)
    elif 'RETIRE_AT_ONCE' in os.environ:
        ask(b'at once')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
