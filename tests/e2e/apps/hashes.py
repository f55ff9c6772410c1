"""POST answers with the length and SHA-256 of the body; GET /SIZE sends that many bytes, hash in a header."""

import hashlib

BLOCK = bytes(range(256)) * 256


def application(environ, start_response):
    if environ['REQUEST_METHOD'] == 'POST':
        digest, size = hashlib.sha256(), 0
        while piece := environ['wsgi.input'].read(1 << 20):
            digest.update(piece)
            size += len(piece)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [f'{size} {digest.hexdigest()}'.encode()]
    count = int(environ['PATH_INFO'].strip('/')) // len(BLOCK)
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(BLOCK)
    start_response('200 OK', [('Content-Type', 'application/octet-stream'), ('X-Hash', digest.hexdigest())])
    return (BLOCK for _ in range(count))
