"""A private nginx and a private lighttpd, started on the very files of packaging/examples.

Only the port and the socket are put in; what surrounds the example (pid file, logs, temporary folders) is
what a distribution's main file would say."""

import http.client
import os
import re
import shutil
import socket
import subprocess

from processes import DEADLINE, wait_until
from pyfpm import IS_ROOT, ROOT, WEB_USER

EXAMPLES = ROOT / 'packaging' / 'examples'
SBIN = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.reason = response.reason
        self.headers = response.getheaders()
        self.body = body

    def header(self, name):
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


def with_locations(sockets):
    """An edit of nginx's example that serves more groups: prefix → the group's socket."""
    more = ''.join(f'    location {prefix} {{\n        include pyfpm_params;\n        fastcgi_keep_conn on;\n'
                   f'        fastcgi_pass unix:{path};\n    }}\n' for prefix, path in sockets.items())
    return lambda text: text.replace('    server_name _;\n', f'    server_name _;\n{more}', 1)


class WebServer:
    name = ''

    def __init__(self, folder, listen, edit=lambda text: text):
        """listen: what the group listens on (a path, or host:port). edit: changes the example's text."""
        self.folder = folder / self.name
        self.folder.mkdir()
        self.port = free_port()
        self.process = None
        self.error_log = self.folder / 'error.log'
        self.write(listen, edit)
        self.start()

    def launch(self, command):
        with open(self.folder / 'output.log', 'wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            assert self.process.poll() is None, (self.folder / 'output.log').read_text()
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return True
            except OSError:
                return False
        wait_until(answers, f'{self.name} listens')

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def connect(self, timeout=DEADLINE):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)

    def ask(self, path='/', method='GET', body=None, headers=None, connection=None):
        """One request; http.client.IncompleteRead and the like pass through."""
        own = connection is None
        connection = connection or self.connect()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            if own:
                connection.close()

    def raw(self, data):
        """Sends bytes as they are and returns everything that comes until the server closes."""
        with socket.create_connection(('127.0.0.1', self.port), DEADLINE) as s:
            s.sendall(data)
            answer = b''
            while piece := s.recv(65536):
                answer += piece
            return answer


class Nginx(WebServer):
    name = 'nginx'

    def write(self, listen, edit):
        address = listen if not listen.startswith('/') else 'unix:' + listen
        example = (EXAMPLES / 'nginx.conf').read_text()
        example = example.replace('unix:/run/pyfpm/shop.sock', address).replace(
            'listen 80;', f'listen 127.0.0.1:{self.port};')
        (self.folder / 'site.conf').write_text(edit(example))
        shutil.copy(EXAMPLES / 'pyfpm_params', self.folder)
        user = f'user {WEB_USER};' if IS_ROOT else ''
        temporary = ''.join(f'    {kind}_temp_path {self.folder}/{kind};\n'
                            for kind in ('client_body', 'fastcgi', 'proxy', 'scgi', 'uwsgi'))
        (self.folder / 'nginx.conf').write_text(
            f'{user}\ndaemon off;\nworker_processes 1;\npid {self.folder}/pid;\n'
            f'error_log {self.error_log} info;\n'
            'events { worker_connections 1024; }\n'
            f'http {{\n    access_log off;\n{temporary}    include site.conf;\n}}\n')

    def start(self):
        self.launch([shutil.which('nginx', path=SBIN), '-p', str(self.folder), '-e', str(self.error_log),
                     '-c', str(self.folder / 'nginx.conf')])


class Lighttpd(WebServer):
    name = 'lighttpd'

    def write(self, listen, edit):
        example = (EXAMPLES / 'lighttpd.conf').read_text()
        if listen.startswith('/'):
            example = example.replace('/run/pyfpm/shop.sock', listen)
        else:
            host, port = listen.rsplit(':', 1)
            example = re.sub('"socket" => "[^"]*"', f'"host" => "{host}", "port" => {port}', example)
        (self.folder / 'site.conf').write_text(edit(example))
        uploads = self.folder / 'uploads'
        uploads.mkdir(mode=0o777)
        uploads.chmod(0o777)
        self.error_log.touch()
        self.error_log.chmod(0o666)
        user = f'server.username = "{WEB_USER}"\nserver.groupname = "{WEB_USER}"\n' if IS_ROOT else ''
        (self.folder / 'lighttpd.conf').write_text(
            f'{user}server.bind = "127.0.0.1"\nserver.port = {self.port}\n'
            f'server.document-root = "{self.folder}"\nserver.errorlog = "{self.error_log}"\n'
            f'server.upload-dirs = ( "{uploads}" )\n'
            f'include "{self.folder}/site.conf"\n')

    def start(self):
        self.launch([shutil.which('lighttpd', path=SBIN), '-D', '-f', str(self.folder / 'lighttpd.conf')])


SERVERS = {'nginx': Nginx, 'lighttpd': Lighttpd}
