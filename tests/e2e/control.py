"""The control socket as a program sees it, without the commands of pyfpm."""

import json
import socket

from processes import DEADLINE


class Control:
    """One connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(DEADLINE)
        self.file = self.socket.makefile('rb')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, verb, **members):
        self.send(json.dumps({'verb': verb, **members}).encode() + b'\n')

    def line(self):
        """The next line, or None when the connection has ended."""
        try:
            text = self.file.readline()
        except ConnectionResetError:
            return None
        return json.loads(text) if text else None

    def lines(self):
        """Every line of one answer, the last one included."""
        lines = []
        while not lines or not lines[-1].get('done'):
            line = self.line()
            assert line is not None, f'the connection ended after {lines}'
            lines.append(line)
        return lines

    def ask(self, verb, **members):
        self.request(verb, **members)
        return self.lines()


def ask(path, verb, **members):
    """One request on a connection of its own."""
    with Control(path) as control:
        return control.ask(verb, **members)


def group(path, name):
    """What status says of one group, its processes included."""
    _, found, last = ask(path, 'status', groups=[name], processes=True)
    assert last == {'done': True, 'ok': True}
    return found
