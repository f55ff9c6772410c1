"""An application that turns on the processes around it; PATH_INFO says how. Answers JSON."""

import array
import errno
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
from urllib.parse import parse_qs

CHANNEL, SCORE = 3, 5       # base/wire.h, enum wire_host_fd
VERSION = 1                 # base/wire.c


def outcome(deed, *arguments):
    """The name of the errno that a deed fails with, or 'done'."""
    try:
        deed(*arguments)
        return 'done'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def scribble():
    board = mmap.mmap(SCORE, os.fstat(SCORE).st_size)
    board[:] = b'\xff' * len(board)
    board.close()


def score(query):
    return {'truncate': outcome(os.ftruncate, SCORE, 0), 'grow': outcome(os.ftruncate, SCORE, 1 << 30),
            'scribble': outcome(scribble)}


def channel(query):
    victim = int(query['pid'][0])
    s = socket.socket(fileno=os.dup(CHANNEL))
    forged = struct.pack('=iII', victim, 0, 0)
    result = {'forge': outcome(s.sendmsg, [b'x'], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, forged)])}
    null = os.open('/dev/null', os.O_RDONLY)
    fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [null]))]
    for kind in range(0, 40):
        for slot in (0, 1, 0xffffffff):
            head = struct.pack('=IIIIQ', VERSION, kind, slot, 0xffffffff, 1)
            outcome(s.sendmsg, [head, str(victim).encode()], fds)
            outcome(s.sendmsg, [head[:7]])
    outcome(s.send, b'')
    os.close(null)
    s.close()
    return result


def peek(query):
    pid = int(query['pid'][0])
    deeds = {name: outcome(lambda name=name: os.close(os.open(f'/proc/{pid}/{name}', os.O_RDONLY)))
             for name in ('mem', 'environ', 'maps')}
    deeds['fd'] = outcome(os.listdir, f'/proc/{pid}/fd')
    deeds['kill'] = outcome(os.kill, pid, 0)
    return deeds


def links(folder):
    found = {}
    for name in os.listdir(folder):
        try:
            found[name] = os.readlink(f'{folder}/{name}')
        except OSError:
            pass            # the listing's own
    return found


LIST = '''
import os
for name in os.listdir('/proc/self/fd'):
    if os.path.lexists('/proc/self/fd/' + name):        # not the listing's own
        print(name)
'''


def descriptors(query):
    child = subprocess.run([sys.executable, '-I', '-c', LIST], close_fds=False, capture_output=True, text=True,
                           check=True)
    return {'own': links('/proc/self/fd'), 'child': child.stdout.split()}


DEEDS = {'/score': score, '/channel': channel, '/peek': peek, '/descriptors': descriptors}


def application(environ, start_response):
    deed = DEEDS.get(environ['PATH_INFO'])
    answer = deed(parse_qs(environ['QUERY_STRING'])) if deed else {'pid': os.getpid()}
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(answer).encode()]
