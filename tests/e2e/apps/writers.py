"""Calls write() on a thread of its own and returns a small body meanwhile.

The headers are large, so that what is gathered has to move when more is added. Returns once the file of $GATE
is there: the test makes it when it has seen that write() is sending."""

import os
import threading
import time

WRITTEN = 3_000_000
RETURNED = 16_000


def application(environ, start_response):
    large = [(f'X-Large-{number}', 'h' * 65000) for number in range(8)]
    write = start_response('200 OK', [('Content-Type', 'text/plain'), *large])
    threading.Thread(target=write, args=(b'w' * WRITTEN,)).start()
    while not os.path.exists(os.environ['GATE']):
        time.sleep(0.005)
    return [b'r' * RETURNED]
