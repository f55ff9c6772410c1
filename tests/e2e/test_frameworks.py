"""Flask and Django as Debian packages them, behind nginx: what their users do first."""

import hashlib
import http.cookies
import importlib.util
import urllib.parse

import pytest

import venvs
from pythons import DEBIAN

BLOCK = bytes(range(256)) * 256
BLOCKS = 1600  # 100 MiB
FORM = 'application/x-www-form-urlencoded'


def cookies(answer, jar):
    """Adds an answer's cookies to the jar; returns the header that sends them back."""
    for line in answer.header('Set-Cookie'):
        jar.update({name: morsel.value for name, morsel in http.cookies.SimpleCookie(line).items()})
    return {'Cookie': '; '.join(f'{name}={value}' for name, value in jar.items())}


def hash_of_blocks():
    digest = hashlib.sha256()
    for _ in range(BLOCKS):
        digest.update(BLOCK)
    return digest.hexdigest()


def multipart(boundary):
    """A form with one file of 100 MiB, piece by piece, and its length."""
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n'
            'Content-Type: application/octet-stream\r\n\r\n').encode()
    tail = f'\r\n--{boundary}--\r\n'.encode()

    def pieces():
        yield head
        for _ in range(BLOCKS):
            yield BLOCK
        yield tail
    return pieces(), len(head) + BLOCKS * len(BLOCK) + len(tail)


def upload_and_download(server):
    body, size = multipart('frontier')
    answer = server.ask('/upload', 'POST', body, {
        'Content-Type': 'multipart/form-data; boundary=frontier', 'Content-Length': str(size)})
    assert (answer.status, answer.body.decode()) == (200, hash_of_blocks())
    answer = server.ask(f'/download/{BLOCKS}')
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, hash_of_blocks())


@pytest.mark.skipif(not importlib.util.find_spec('flask'), reason='python3-flask is not installed')
def test_flask_with_session_form_upload_and_download(fpm, apps, nginx):
    fpm.start({'shop': {'script': str(apps / 'flask_site.py'), 'processes': 2, 'threads': 2}})
    server = nginx(fpm.socket('shop'))
    assert server.ask('/').body == b'hello from Flask, stranger'
    answer = server.ask('/login', 'POST', 'name=B%C3%A5rd', {'Content-Type': FORM})
    assert (answer.status, answer.header('Location')) == (302, ['/'])
    answer = server.ask('/', headers=cookies(answer, {}))
    assert answer.body.decode() == 'hello from Flask, Bård'
    assert server.ask('/nowhere').status == 404
    upload_and_download(server)


@pytest.mark.skipif(not importlib.util.find_spec('django'), reason='python3-django is not installed')
def test_django_with_session_form_upload_and_download(fpm, apps, nginx):
    fpm.start({'shop': {'application': 'django_site:application', 'python_path': [str(apps)],
                        'processes': 2, 'threads': 2}})
    server = nginx(fpm.socket('shop'))
    assert server.ask('/').body == b'hello from Django, stranger'
    jar = {}
    answer = server.ask('/login')
    form = urllib.parse.urlencode({'name': 'Bård', 'csrfmiddlewaretoken': answer.body.decode()})
    answer = server.ask('/login', 'POST', form, {'Content-Type': FORM, **cookies(answer, jar)})
    assert (answer.status, answer.header('Location')) == (302, ['/'])
    answer = server.ask('/', headers=cookies(answer, jar))
    assert answer.body.decode() == 'hello from Django, Bård'
    assert server.ask('/login', 'POST', 'name=x', {'Content-Type': FORM}).status == 403
    assert server.ask('/file').body == (apps / 'django_site.py').read_bytes()
    upload_and_download(server)


@pytest.mark.skipif(not importlib.util.find_spec('flask'), reason='python3-flask is not installed')
def test_flask_of_the_system_in_a_venv_that_lets_it_through(fpm, apps, nginx, shared):
    venv = venvs.make(shared / 'WITH-SYSTEM', DEBIAN, '--system-site-packages')
    fpm.start({'shop': {'python_home': str(venv.root), 'script': str(apps / 'flask_site.py')}})
    assert nginx(fpm.socket('shop')).ask('/').body == b'hello from Flask, stranger'
