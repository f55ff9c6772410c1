"""Says which process, Python and environment answered."""

import os
import platform
import sys


def application(environ, start_response):
    body = (f'Hello from the group {os.environ.get("DEMO_GROUP", "?")}\n'
            f'path      {environ["PATH_INFO"]}\n'
            f'process   {os.getpid()}, user {os.getuid()}\n'
            f'python    {platform.python_version()}\n'
            f'package   {os.path.dirname(__file__)}\n'
            f'prefix    {sys.prefix}\n').encode()
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8'), ('Content-Length', str(len(body)))])
    return [body]
