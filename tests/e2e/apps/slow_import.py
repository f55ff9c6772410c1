"""Takes 300 ms to import, as real applications do. Answers with its generation; a POST with its body."""

import os
import time

time.sleep(0.3)
GENERATION = os.environ.get('GENERATION', '0')


def application(environ, start_response):
    if environ['REQUEST_METHOD'] == 'POST':
        body = environ['wsgi.input'].read()
    else:
        body = b'generation ' + GENERATION.encode()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
