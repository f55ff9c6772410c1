"""Sends one piece, and the next when the file that the test creates is there; says when it is closed."""

import os
import time

GATE = os.environ['GATE']


class Pieces:
    def __init__(self, name):
        self.name = name
        self.number = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.number == 3:
            raise StopIteration
        while self.number and not os.path.exists(f'{self.name}.{self.number}'):
            time.sleep(0.005)
        self.number += 1
        return f'piece {self.number}\n'.encode()

    def close(self):
        print('closed', flush=True)


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Accel-Buffering', 'no')])
    return Pieces(os.path.join(GATE, environ['QUERY_STRING']))
