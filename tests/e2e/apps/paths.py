"""Answers with SCRIPT_NAME, PATH_INFO and QUERY_STRING as repr of real text."""

from urllib.parse import quote


def application(environ, start_response):
    script = environ['SCRIPT_NAME'].encode('latin-1').decode()
    path = environ['PATH_INFO'].encode('latin-1').decode()
    url = quote(environ['SCRIPT_NAME'].encode('latin-1')) + quote(environ['PATH_INFO'].encode('latin-1'))
    body = repr((script, path, environ['QUERY_STRING'], url)).encode()
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    return [body]
