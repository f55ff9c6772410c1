"""Sends until its client is gone; close() then leaves a line in the log."""


class Endless:
    def __iter__(self):
        return self

    def __next__(self):
        return b'x' * 65536

    def close(self):
        print('closed endless', flush=True)


def application(environ, start_response):
    if environ['PATH_INFO'] == '/hello':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'hello']
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])
    return Endless()
