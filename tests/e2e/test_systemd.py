"""What systemd and pyfpm exchange, with a stand-in for the manager: a datagram socket and passed descriptors."""

import os
import re
import shutil
import socket
import subprocess
import sys

import fastcgi
import pytest
from processes import DEADLINE, wait_until
from pyfpm import BUILD

# Puts sockets where sd_listen_fds(3) has them, and becomes the program.
PASS = '''
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(',') if fd]
kept = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]   # out of the way
for i, fd in enumerate(kept):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ['LISTEN_PID'] = os.environ['WATCHDOG_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = str(len(fds))
os.execv(sys.argv[2], sys.argv[2:])
'''


class Manager:
    """Receives notifications."""

    def __init__(self, folder, abstract=False):
        name = f'pyfpm-test-{os.getpid()}-{folder.name}'
        self.address = '\0' + name if abstract else str(folder / 'notify')
        self.variable = '@' + name if abstract else self.address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(self.address)
        self.messages = []

    def receive(self):
        while True:
            try:
                self.messages.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return self.messages

    def wait_for(self, pattern, count=1):
        wait_until(lambda: sum(bool(re.search(pattern, m)) for m in self.receive()) >= count,
                   f'{count} × {pattern!r} among {self.messages}')

    def close(self):
        self.socket.close()
        if not self.address.startswith('\0'):
            os.unlink(self.address)


@pytest.fixture(params=['a path', 'an abstract name'])
def manager(folder, request):
    made = Manager(folder, request.param != 'a path')
    yield made
    made.close()


def launch(fpm, manager, sockets=(), names=None, **env):
    fds = [s.fileno() for s in sockets]
    for fd in fds:
        os.set_inheritable(fd, True)
    env['NOTIFY_SOCKET'] = manager.variable
    if names is not None:
        env['LISTEN_FDNAMES'] = ':'.join(names)
    with open(fpm.log.path, 'ab') as log:
        fpm.process = subprocess.Popen(
            [sys.executable, '-c', PASS, ','.join(map(str, fds)), BUILD / 'bin' / 'pyfpm', '--config', fpm.config_file],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**fpm.environment(), **env}, pass_fds=fds)


def listening(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.listen(16)
    os.chmod(path, 0o666)
    return s


def test_ready_reloading_and_stopping_are_told(fpm, apps, manager):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    launch(fpm, manager)
    manager.wait_for(r'^READY=1\nSTATUS=1 of 1 groups serving$')
    fpm.reload()
    manager.wait_for(r'^RELOADING=1\nMONOTONIC_USEC=\d+$')
    manager.wait_for(r'^READY=1\n', 2)
    assert fpm.stop() == 0
    manager.wait_for(r'^STOPPING=1\n')


def test_a_group_that_cannot_start_does_not_keep_the_service_from_ready(fpm, apps, manager):
    fpm.expect('cannot start')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')},
                      'broken': {'script': str(apps / 'broken_import.py')}})
    launch(fpm, manager)
    manager.wait_for(r'^READY=1\nSTATUS=1 of 2 groups serving$')


def test_a_failed_reload_is_in_the_status(fpm, apps, manager, folder):
    fpm.expect('reload failed')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    launch(fpm, manager)
    manager.wait_for(r'^READY=1\n')
    fpm.write_groups({'shop': {'script': str(apps / 'broken_import.py')}})
    fpm.reload(outcome='reload failed')
    manager.wait_for(r'^READY=1\nSTATUS=1 of 1 groups serving; the reload failed for: shop$')


def test_the_watchdog_is_fed_from_the_loop(fpm, apps, manager):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    launch(fpm, manager, WATCHDOG_USEC='40000')
    manager.wait_for(r'^WATCHDOG=1$', 5)


def test_without_a_watchdog_nothing_is_fed(fpm, apps, manager):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    launch(fpm, manager)
    manager.wait_for(r'^READY=1\n')
    assert not [m for m in manager.receive() if 'WATCHDOG' in m]


def test_groups_take_the_sockets_that_are_passed_by_name(fpm, apps, manager, folder):
    paths = {name: folder / f'passed-{name}.sock' for name in ('shop', 'blog')}
    sockets = {name: listening(path) for name, path in paths.items()}
    with socket.socket() as tcp:
        tcp.bind(('127.0.0.1', 0))
        tcp.listen(16)
        port = tcp.getsockname()[1]
        fpm.write_groups({
            'shop': {'script': str(apps / 'hello.py'), 'listen': 'systemd:web shop', 'listen-group': None},
            'blog': {'script': str(apps / 'about.py'), 'listen': 'systemd:blog', 'listen-group': None},
            'tcp': {'script': str(apps / 'hello.py'), 'listen': 'systemd:tcp', 'listen-group': None}})
        launch(fpm, manager, [sockets['blog'], sockets['shop'], tcp], ['blog', 'web shop', 'tcp'])
        manager.wait_for(r'^READY=1\nSTATUS=3 of 3')
        for s in sockets.values():
            s.close()
    assert fastcgi.ask(str(paths['shop'])).status == 200
    assert b'"version"' in fastcgi.ask(str(paths['blog'])).body
    assert fastcgi.ask(('127.0.0.1', port)).status == 200
    fpm.reload()
    assert fastcgi.ask(str(paths['shop'])).status == 200
    assert fpm.stop() == 0
    assert all(path.exists() for path in paths.values()), 'the files are systemd\'s'
    for path in paths.values():
        path.unlink()


def test_a_group_that_comes_back_finds_its_socket_again(fpm, apps, manager, folder):
    path = folder / 'passed.sock'
    passed = listening(path)
    shop = {'script': str(apps / 'hello.py'), 'listen': 'systemd:shop', 'listen-group': None}
    other = {'script': str(apps / 'hello.py')}
    fpm.write_groups({'shop': shop, 'other': other})
    launch(fpm, manager, [passed], ['shop'])
    passed.close()
    manager.wait_for(r'^READY=1\nSTATUS=2 of 2')
    fpm.write_groups({'other': other})
    fpm.reload()
    fpm.log.wait_for(r'\[group shop\] stopped')
    fpm.write_groups({'shop': shop, 'other': other})
    fpm.reload()
    assert fastcgi.ask(str(path)).status == 200
    assert fpm.stop() == 0
    path.unlink()


def test_a_name_that_was_not_passed_fails_its_group_with_those_that_were(fpm, apps, manager, folder):
    fpm.expect('cannot start')
    path = folder / 'passed.sock'
    passed = listening(path)
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'listen': 'systemd:shop', 'listen-group': None},
                      'other': {'script': str(apps / 'hello.py')}})
    launch(fpm, manager, [passed], ['shpo'])
    passed.close()
    manager.wait_for(r'^READY=1\nSTATUS=1 of 2')
    fpm.log.wait_for(r'no socket of the name "shop" in; there are: shpo')
    assert fpm.stop() == 0
    path.unlink()


def test_a_datagram_socket_is_refused(fpm, apps, manager, folder):
    fpm.expect('cannot start')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as passed:
        passed.bind(str(folder / 'datagram'))
        fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'listen': 'systemd:shop', 'listen-group': None},
                          'other': {'script': str(apps / 'hello.py')}})
        launch(fpm, manager, [passed], ['shop'])
        manager.wait_for(r'^READY=1\nSTATUS=1 of 2')
        fpm.log.wait_for(r'no listening stream socket')
    assert fpm.stop() == 0
    (folder / 'datagram').unlink()


def test_what_is_meant_for_another_process_is_left_alone(fpm, apps, manager):
    """LISTEN_PID of somebody else: an inherited environment."""
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.launch(env={'LISTEN_PID': '1', 'LISTEN_FDS': '3', 'NOTIFY_SOCKET': manager.variable})
    manager.wait_for(r'^READY=1\nSTATUS=1 of 1')


def test_applications_do_not_see_systemds_variables(fpm, apps, manager, folder):
    script = folder / 'environment.wsgi'
    script.write_text('import os\ndef application(environ, start_response):\n'
                      '    start_response("200 OK", [])\n    return [repr(sorted(os.environ)).encode()]\n')
    script.chmod(0o644)
    fpm.write_groups({'shop': {'script': str(script), 'clear-env': False}})
    launch(fpm, manager, WATCHDOG_USEC='30000000')
    manager.wait_for(r'^READY=1\n')
    body = fastcgi.ask(fpm.socket('shop')).body.decode()
    for name in ('NOTIFY_SOCKET', 'LISTEN_', 'WATCHDOG_'):
        assert name not in body


def test_the_unit_file_is_one_that_systemd_understands(folder):
    analyze = shutil.which('systemd-analyze')
    if not analyze:
        pytest.skip('systemd-analyze is not installed')
    unit = folder / 'pyfpm.service'
    text = (BUILD / 'lib/systemd/system/pyfpm.service').read_text()
    unit.write_text(re.sub(r'^ExecStart=\S+', f'ExecStart={BUILD / "bin" / "pyfpm"}', text, flags=re.MULTILINE))
    done = subprocess.run([analyze, 'verify', '--man=no', unit], capture_output=True, text=True, timeout=DEADLINE)
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if 'pyfpm' in line]
    assert not about_it, about_it
