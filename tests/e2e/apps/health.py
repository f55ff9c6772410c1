"""Answers /health with the status that the environment names, and notes every request in a folder."""

import os

STATUS = os.environ.get('HEALTH', '200 OK')
NOTES = os.environ['NOTES']


def application(environ, start_response):
    if environ['PATH_INFO'] != '/health':
        start_response('200 OK', [])
        return [STATUS.encode()]
    with open(f'{NOTES}/{os.getpid()}', 'a') as f:
        f.write('{REQUEST_METHOD} {PATH_INFO}?{QUERY_STRING} {HTTP_USER_AGENT}\n'.format(**environ))
    if STATUS == 'raises':
        raise RuntimeError('unwell')
    start_response(STATUS, [('Content-Type', 'text/plain')])
    return [b'x' * 300000]
