"""The control socket: who may use it, what is said on it, and that nobody can misuse it."""

import os
import pwd
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import time

import pytest

import fastcgi
import processes
from control import Control, ask, group
from processes import SLOWNESS, wait_until
from pyfpm import IS_ROOT, ROOT

root_only = pytest.mark.skipif(not IS_ROOT, reason='needs root')


def start_hello(fpm, apps, **keys):
    return fpm.start({'shop': {'script': str(apps / 'hello.py'), **keys}})


# The socket and who may use it ------------------------------------------------------------------------------


def test_the_socket_is_closed_to_others(fpm, apps):
    start_hello(fpm, apps)
    found = os.stat(fpm.control)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.geteuid()


def test_the_socket_is_removed_at_the_end(fpm, apps):
    start_hello(fpm, apps)
    fpm.stop()
    assert not os.path.exists(fpm.control)


AS_NOBODY = '''
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b'{"verb": "stop"}\\n')
    sys.stdout.buffer.write(s.makefile('rb').read())
except (PermissionError, ConnectionResetError, BrokenPipeError) as error:
    print(type(error).__name__)
'''


def as_nobody(path):
    return subprocess.run([sys.executable, '-c', AS_NOBODY, path], capture_output=True, text=True, check=True).stdout


@root_only
def test_another_user_is_refused(fpm, apps):
    start_hello(fpm, apps)
    assert as_nobody(fpm.control) == 'PermissionError\n'
    os.chmod(fpm.control, 0o666)  # even when somebody opened the file
    said = as_nobody(fpm.control)
    assert re.search('"ok":false.*user 65534 may not control this pyfpm', said) or said.endswith('Error\n')
    assert fpm.is_running() and ask(fpm.control, 'status')[-1]['ok']


@root_only
def test_the_commands_of_another_user_say_why_they_cannot(fpm, apps):
    start_hello(fpm, apps)
    nobody = pwd.getpwnam('nobody').pw_uid
    done = fpm.command('status', user=nobody, group=nobody, extra_groups=[])
    assert done.returncode == 1
    assert f'{fpm.control} is closed to you' in done.stderr


def test_a_stale_socket_file_is_taken_over(fpm, apps):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(fpm.control)
    start_hello(fpm, apps)
    assert ask(fpm.control, 'status')[-1]['ok']


def test_a_living_one_stops_the_start(fpm, apps):
    fpm.expect('alert: cannot start: control socket: .* is in use')
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(fpm.control)
        living.listen()
        fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
        fpm.launch()
        fpm.expected_exit = 1
        assert fpm.wait_exit() == 1
        assert os.path.exists(fpm.control)
    assert not os.path.exists(fpm.socket('shop'))


def test_a_socket_that_was_asked_for_and_cannot_be_stops_the_start(fpm, apps):
    fpm.expect('alert: cannot start: control socket: .* the folder /nonexistent is missing')
    fpm.control = '/nonexistent/control.sock'
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.launch()
    fpm.expected_exit = 1
    assert fpm.wait_exit() == 1


@pytest.mark.parametrize('value, words', [('relative.sock', 'neither none nor an absolute path'),
                                          ('/' + 'x' * 120, 'bytes')])
def test_a_path_that_cannot_be_is_an_error_of_the_file(fpm, apps, value, words):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'control': value}})
    for command in ('check', 'status'):
        done = fpm.command(command)
        assert done.returncode == 78
        assert words in done.stderr and 'pyfpm.yaml:' in done.stderr


def test_a_group_may_not_listen_there(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'listen': fpm.control}})
    done = fpm.command('check')
    assert done.returncode == 78
    assert f'{fpm.control} is the control socket' in done.stderr


def test_none_means_none(fpm, apps):
    fpm.control = 'none'
    start_hello(fpm, apps)
    assert [path for path in fpm.folder.rglob('*') if path.is_socket()] == [fpm.folder / 'shop.sock']
    done = fpm.command('status')
    assert done.returncode == 1
    assert 'control: none' in done.stderr


IN_OWN_RUN = 'mount -t tmpfs -o "$1" tmpfs /run && shift && exec "$@"'


def start_with_default(fpm, apps, options):
    """/run of its own, so that the system's is not touched."""
    fpm.control = None
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.launch(wrapper=[shutil.which('unshare'), '--mount', 'sh', '-c', IN_OWN_RUN, 'sh', options])
    fpm.wait_ready()


@root_only
@pytest.mark.parametrize('umask', [0o022, 0o077])
def test_the_default_is_made_with_its_folder(fpm, apps, umask):
    before = os.umask(umask)
    try:
        start_with_default(fpm, apps, 'mode=755')
    finally:
        os.umask(before)
    run = f'/proc/{fpm.pid}/root/run/pyfpm'
    assert stat.S_IMODE(os.stat(run).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f'{run}/control.sock').st_mode) == 0o600
    assert ask(f'{run}/control.sock', 'status')[-1]['ok']


@root_only
def test_pyfpm_runs_without_a_default_that_cannot_be(fpm, apps):
    start_with_default(fpm, apps, 'ro')
    assert fpm.log.find(r'warning: control socket: cannot listen on /run/pyfpm/control\.sock.*runs without it')
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


@pytest.mark.skipif(IS_ROOT or os.access('/run/pyfpm', os.W_OK), reason='for an ordinary user')
def test_an_ordinary_user_runs_without_the_default(fpm, apps):
    fpm.control = None
    start_hello(fpm, apps)
    assert fpm.log.find('warning: control socket: .*runs without it')


def test_a_reload_moves_the_socket(fpm, apps):
    start_hello(fpm, apps)
    old = fpm.control
    fpm.control = str(fpm.folder / 'elsewhere.sock')
    with Control(old) as before:
        before.ask('status')
        fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
        fpm.reload()
        assert before.ask('status')[-1]['ok']  # who was there stays
    wait_until(lambda: not os.path.exists(old), 'the old socket is gone')
    assert ask(fpm.control, 'status')[-1]['ok']
    fpm.control = old
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.reload()
    assert ask(fpm.control, 'status')[-1]['ok']


def test_a_reload_to_a_socket_that_cannot_be_changes_nothing(fpm, apps):
    start_hello(fpm, apps)
    workers = fpm.workers('shop')
    fpm.expect('reload failed: control socket: .*nothing changed')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'control': '/nonexistent/c.sock'}})
    lines = ask(fpm.control, 'reload')
    assert not lines[-1]['ok'] and lines[-1]['error'].endswith('nothing changed')
    assert fpm.workers('shop') == workers


def test_a_reload_brings_back_a_socket_file_that_was_deleted(fpm, apps):
    start_hello(fpm, apps)
    os.unlink(fpm.control)
    fpm.reload()
    assert ask(fpm.control, 'status')[-1]['ok']


def test_hosts_do_not_inherit_the_socket_or_a_connection(fpm, apps):
    start_hello(fpm, apps)
    expected = {pid: len(processes.descriptors(pid)) for pid in fpm.workers('shop')}
    with Control(fpm.control) as control:
        control.ask('reload')
        worker, = fpm.wait_workers('shop', 1, other_than=expected)
        assert len(processes.descriptors(worker)) == max(expected.values())


# Lines -----------------------------------------------------------------------------------------------------------


def sentence_or_close(control):
    """The sentence with which something was refused; '' for a mere close."""
    line = control.line()
    if line is None:
        return ''
    assert line['done'] is True and line['ok'] is False and line['error']
    return line['error']


@pytest.mark.parametrize('sent, words', [
    (b'\n\n \n{"verb": "nonsense"}\n', 'there is no verb "nonsense"'),
    (b'[]\n', 'a request is an object with a verb'),
    (b'17\n', ''),
    (b'null\n', ''),
    (b'{}\n', 'a request is an object with a verb'),
    (b'{"verb": 7}\n', 'a request is an object with a verb'),
    (b'{"verb": "status", "verb": "stop"}\n', 'duplicate object key'),
    (b'{"verb": "status", "grops": []}\n', 'the verb status has no member "grops"'),
    (b'{"verb": "status", "groups": "shop"}\n', '"groups" must be a list of names'),
    (b'{"verb": "status", "groups": [1]}\n', '"groups" must be a list of names'),
    (b'{"verb": "status", "groups": []}\n', '"groups" names no group'),
    (b'{"verb": "reload", "groups": []}\n', '"groups" names no group'),
    (b'{"verb": "status", "groups": ["shot"]}\n', 'no group "shot" is running'),
    (b'{"verb": "reload", "groups": ["shot"]}\n', 'there is no group "shot"'),
    (b'{"verb": "status", "processes": 1}\n', '"processes" must be true or false'),
    (b'{"verb": "stop", "now": "yes"}\n', '"now" must be true or false'),
    (b'{"verb": "status", "config": []}\n', '"config" must be the path of a file'),
    (b'{"verb": "stop", "config": "/another.yaml"}\n', 'the pyfpm at this control socket runs'),
    (b'{"verb": "status"\n', 'this is no JSON object'),
    (b'{"verb": "status"} trailing\n', 'this is no JSON object'),
    (b'{"verb": "sta\0tus"}\n', 'this is no JSON object'),
    (b'{"verb": "sta\\u0000tus"}\n', 'this is no JSON object'),
    (b'\0\0\0\0\n', 'this is no JSON object'),
    (b'{"verb": "\xff\xfe"}\n', 'this is no JSON object'),
    (b'{"verb": "status", "x": 1e999}\n', 'this is no JSON object'),
    (b'{"verb": "status", "x": ' + b'9' * 400 + b'}\n', 'this is no JSON object'),
    (b'[' * 16000 + b'\n', 'this is no JSON object'),
    (b'{"a":' * 3000 + b'\n', 'this is no JSON object'),
    (b'GET / HTTP/1.0\r\n\r\n', 'this is no JSON object'),
    (fastcgi.request(fastcgi.environ()) + b'\n', 'this is no JSON object'),
    (b'x' * 16384, 'too long'),
    (b'{"verb": "status", "groups": ["' + b'x' * 100000 + b'"]}\n', 'too long'),
], ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else '')
def test_what_is_no_request_gets_a_sentence(fpm, apps, sent, words):
    start_hello(fpm, apps)
    fpm.expect('reload failed: there is no group')
    with Control(fpm.control) as control:
        try:
            control.send(sent)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was too much before all of it was sent
        assert words in sentence_or_close(control)
    assert ask(fpm.control, 'status')[-1]['ok']


def test_random_bytes_harm_nobody(fpm, apps):
    start_hello(fpm, apps)
    for _ in range(50):
        with Control(fpm.control) as control:
            try:
                control.send(os.urandom(3000) + b'\n')
            except (BrokenPipeError, ConnectionResetError):
                pass
            sentence_or_close(control)
    assert ask(fpm.control, 'status')[-1]['ok']


def test_several_requests_on_one_connection_are_answered_in_turn(fpm, apps):
    start_hello(fpm, apps)
    with Control(fpm.control) as control:
        control.send(b'{"verb": "status"}\n' * 3 + b'{"verb": "nonsense"}\n\r\n{"verb": "status"}\n')
        for _ in range(3):
            assert [line.get('kind') for line in control.lines()] == ['supervisor', 'group', None]
        assert not control.lines()[-1]['ok']
        assert control.lines()[-1]['ok']


def test_more_requests_than_fit_are_answered_all(fpm, apps):
    start_hello(fpm, apps)
    with Control(fpm.control) as control:
        control.socket.setblocking(False)
        asked, data = 0, b''
        line = b'{"verb": "status", "groups": []}   ' + b' ' * 80 + b'\n'

        def go_on():
            nonlocal asked, data
            try:
                while asked < 2000:
                    control.socket.send(line)  # whole: the buffer of a unix socket takes a datagram or nothing
                    asked += 1
            except BlockingIOError:
                pass
            try:
                while piece := control.socket.recv(1 << 20):
                    data += piece
                raise AssertionError(f'the connection ended after {data[-300:]}')
            except BlockingIOError:
                pass
            return asked == 2000 and data.count(b'"done":true') == 2000
        wait_until(go_on, 'two thousand answers')


def test_a_last_line_may_lack_its_end(fpm, apps):
    """As printf '{"verb": "status"}' | nc -U sends it."""
    start_hello(fpm, apps)
    with Control(fpm.control) as control:
        control.send(b'{"verb": "status"}')
        control.socket.shutdown(socket.SHUT_WR)
        assert control.lines()[-1]['ok']
        assert control.line() is None


# Hostile callers ---------------------------------------------------------------------------------------------


def rss_bytes(pid):
    with open(f'/proc/{pid}/statm') as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def test_callers_that_are_silent_or_drip_are_closed_in_time(fpm, apps):
    start_hello(fpm, apps)
    silent, dripping, half = (Control(fpm.control) for _ in range(3))
    half.send(b'{"verb": "sta')
    begun = time.monotonic()
    end = begun + 20 * SLOWNESS
    dripping.socket.settimeout(0.2)
    said = b''
    while time.monotonic() < end:
        try:
            dripping.send(b' ')
            said = dripping.socket.recv(1000)
            break
        except socket.timeout:
            continue
    assert b'no request came in time' in said
    assert 5 < time.monotonic() - begun
    for control in (silent, half):
        assert 'in time' in sentence_or_close(control)
        assert control.line() is None
        control.close()
    dripping.close()


def test_silent_callers_keep_nobody_out(fpm, apps):
    start_hello(fpm, apps)
    crowd = [Control(fpm.control) for _ in range(100)]
    for _ in range(5):
        assert ask(fpm.control, 'status')[-1]['ok']
    assert fpm.command('status').returncode == 0
    for control in crowd:
        control.close()


def test_a_caller_that_does_not_read_is_dropped_and_costs_no_memory(fpm, apps):
    fpm.start({f'group{number}': {'script': str(apps / 'hello.py')} for number in range(10)})
    ask(fpm.control, 'status', processes=True)
    before = rss_bytes(fpm.pid)
    greedy = [Control(fpm.control) for _ in range(10)]
    sent = 0
    for control in greedy:
        control.socket.setblocking(False)
        try:
            for _ in range(20000):
                sent += control.socket.send(b'{"verb": "status", "processes": true}\n')
        except BlockingIOError:
            pass
    assert sent > 100000
    begun = time.monotonic()
    assert ask(fpm.control, 'status')[-1]['ok']
    assert time.monotonic() - begun < 5 * SLOWNESS
    assert rss_bytes(fpm.pid) - before < (8 << 20) * (8 if SLOWNESS > 1 else 1)

    def dropped():
        return processes.descriptors(fpm.pid) == fpm.descriptors_at_start
    wait_until(dropped, 'they are dropped', 20 * SLOWNESS)
    for control in greedy:
        control.close()


def test_callers_that_hang_up_at_any_moment_leave_nothing(fpm, apps):
    start_hello(fpm, apps)
    for cut in range(0, 40, 3):
        for verb in (b'status', b'reload'):
            control = Control(fpm.control)
            control.send(b'{"verb": "%s", "groups": []}\n' % verb[:cut] if cut < 20 else
                         b'{"verb": "%s"}\n' % verb)
            control.close()
    wait_until(lambda: group(fpm.control, 'shop')['last_reload']['outcome'] == 'done', 'the reloads are over')
    fpm.wait_workers('shop', 1)


def test_no_descriptor_left_is_survived(fpm, apps):
    start_hello(fpm, apps)
    fpm.expect('control socket: cannot let anybody in')
    used = max(int(name) for name in os.listdir(f'/proc/{fpm.pid}/fd')) + 1
    limits = resource.prlimit(fpm.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(fpm.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    with Control(fpm.control) as control:
        control.request('status')
        since = fpm.log.position()
        begun = time.monotonic()
        fpm.log.wait_for('cannot let anybody in: Too many open files', count=2)
        assert time.monotonic() - begun > 0.5 or len(fpm.log.find('cannot let', since)) < 3  # it does not spin
        resource.prlimit(fpm.pid, resource.RLIMIT_NOFILE, limits)
        assert control.lines()[-1]['ok']


# Another pyfpm ----------------------------------------------------------------------------------------------


def test_a_command_for_another_file_is_refused(fpm, apps):
    """Two that have the same socket in their files: the second one's stop must not stop the first."""
    start_hello(fpm, apps)
    other = fpm.folder / 'other.yaml'
    shutil.copy(fpm.config_file, other)
    for command in ('stop', 'reload', 'status', 'reopen'):
        done = fpm.run(command, '--config', other)
        assert done.returncode == 1
        assert f'runs {fpm.config_file}, not {other}' in done.stderr
    assert fpm.run('status', '--config', fpm.folder / 'x' / '..' / 'pyfpm.yaml').returncode == 78
    link = fpm.folder / 'link.yaml'
    link.symlink_to(fpm.config_file)
    assert fpm.run('status', '--config', link).returncode == 0
    assert fpm.run('status', '--config', other, '--socket', fpm.control).returncode == 0


# The manual ---------------------------------------------------------------------------------------------------


def members_of(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from members_of(inner)
    if isinstance(value, list):
        for inner in value:
            yield from members_of(inner)


def test_the_manual_names_every_member(fpm, apps):
    manual = (ROOT / 'docs' / 'pyfpm-control.7').read_text().replace('\\-', '-')
    start_hello(fpm, apps)
    lines = (ask(fpm.control, 'status', processes=True) + ask(fpm.control, 'reload', groups=['shop'])
             + ask(fpm.control, 'nonsense') + ask(fpm.control, 'stop'))
    for name in set(members_of(lines)):
        assert re.search(rf'\b{name}\b', manual), name
    assert fpm.wait_exit() == 0
