"""Orders of events that hardly ever happen: each once left the supervisor stuck, dead, or deaf."""

import os
import re
import shutil
import signal
import subprocess

import pytest

import fastcgi
import processes
from processes import wait_until
from pyfpm import IS_ROOT, LIBEXEC, PROGRAM, READY, RELOAD_FAILED
from webserver import free_port

root_only = pytest.mark.skipif(not IS_ROOT, reason='needs root')

BROKEN = ('no_such_module_anywhere', r'\[group bad\]', 'responder')


@pytest.fixture
def gate(folder):
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


def write_script(folder, text, name='app.wsgi'):
    script = folder / name
    script.write_text(text)
    script.chmod(0o644)
    return str(script)


def answering(words):
    return ("def application(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            f"    return [b'{words}']\n")


def wait_inside(address, gate, name='slow'):
    """A connection whose request is inside apps/gate.py."""
    connection = fastcgi.Connection(address)
    connection.send(fastcgi.request(fastcgi.environ('/wait', query=name)))
    wait_until((gate / f'{name}.in').exists, 'the request is inside')
    return connection


def responder_of(fpm):
    found = [pid for pid in processes.children(fpm.pid) if processes.program(pid) == 'responder']
    return found[0] if found else None


def signal_at_once(fpm, *numbers):
    """Has the signals arrive in one batch of events."""
    os.kill(fpm.pid, signal.SIGSTOP)
    wait_until(lambda: processes.stat(fpm.pid)[0] == 'T', 'it is stopped')
    for number in numbers:
        os.kill(fpm.pid, number)
    os.kill(fpm.pid, signal.SIGCONT)


def status_of(address):
    try:
        return fastcgi.ask(address).status
    except (OSError, fastcgi.Closed):
        return None


# Signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('numbers', [(signal.SIGHUP, signal.SIGTERM), (signal.SIGHUP, signal.SIGINT)])
def test_a_reload_and_a_stop_at_once_stop(fpm, apps, numbers):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    signal_at_once(fpm, *numbers)
    assert fpm.wait_exit() == 0


def test_a_stop_during_a_roll_stops(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'processes': 3, 'env': {'GATE': str(gate)}}})
    slow = wait_inside(fpm.socket('shop'), gate)
    since = fpm.log.position()
    fpm.signal(signal.SIGHUP)
    fpm.log.wait_for('generation 2 is serving', since)
    fpm.signal(signal.SIGTERM)
    (gate / 'slow.go').touch()
    assert slow.receive().status == 200
    assert fpm.wait_exit() == 0
    slow.close()


def test_a_reload_before_anything_serves_is_followed(fpm, folder):
    endless = write_script(folder, 'import time\ntime.sleep(3600)\n')
    fpm.write_groups({'shop': {'script': endless}})
    fpm.launch()
    wait_until(lambda: os.path.exists(fpm.socket('shop')), 'the socket is there')
    fpm.write_groups({'shop': {'script': write_script(folder, answering('new'), 'new.wsgi')}})
    fpm.signal(signal.SIGHUP)
    fpm.log.wait_for(READY)
    assert fastcgi.ask(fpm.socket('shop')).body == b'new'


def test_signals_that_its_parent_blocked_are_heard(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    with open(fpm.log.path, 'ab') as log:
        fpm.process = subprocess.Popen(
            [PROGRAM, '--config', fpm.config_file], stdin=subprocess.DEVNULL, stderr=log, env=fpm.environment(),
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD}))
    fpm.log.wait_for(READY)
    assert fpm.stop(signal.SIGTERM) == 0


# The responder -------------------------------------------------------------------------------------------------


def test_a_reload_right_after_the_responder_died_is_done(fpm, apps):
    fpm.expect(*BROKEN)
    bad = {'script': str(apps / 'broken_import.py'), 'restart_delay': '1h', 'restart_delay_max': '1h'}
    fpm.start({'bad': bad, 'leaves': {**bad}, 'good': {'script': str(apps / 'hello.py')}})
    fpm.expect(RELOAD_FAILED, r'\[group leaves\]')
    fpm.checks_descriptors = False
    for name in ('bad', 'leaves'):
        assert fastcgi.ask(fpm.socket(name)).status == 503
    victim = responder_of(fpm)
    fpm.write_groups({'bad': bad, 'good': {'script': str(apps / 'hello.py')}})
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(victim), 'the responder is gone')
    fpm.reload(outcome=RELOAD_FAILED)
    assert fastcgi.ask(fpm.socket('good')).body == b'hello\n'
    wait_until(lambda: status_of(fpm.socket('bad')) == 503, 'a new responder answers')
    assert not os.path.exists(fpm.socket('leaves'))


def test_a_responder_that_could_not_be_started_is_tried_again(fpm, apps, folder):
    """As when there are no processes or descriptors left for a moment."""
    tree = folder / 'tree'
    (tree / 'libexec' / 'pyfpm').mkdir(parents=True)
    (tree / 'bin').mkdir()
    shutil.copy(PROGRAM, tree / 'bin')
    for host in LIBEXEC.glob('host-*'):
        shutil.copy(host, tree / 'libexec' / 'pyfpm')
    fpm.expect(*BROKEN)
    fpm.checks_descriptors = False
    fpm.write_groups({'bad': {'script': str(apps / 'broken_import.py')}})
    with open(fpm.log.path, 'ab') as log:
        fpm.process = subprocess.Popen([tree / 'bin' / 'pyfpm', '--config', fpm.config_file], stderr=log,
                                       stdin=subprocess.DEVNULL, env=fpm.environment())
    fpm.log.wait_for('error: cannot start .*responder')
    shutil.copy(LIBEXEC / 'responder', tree / 'libexec' / 'pyfpm' / 'new')
    (tree / 'libexec' / 'pyfpm' / 'new').rename(tree / 'libexec' / 'pyfpm' / 'responder')
    wait_until(lambda: status_of(fpm.socket('bad')) == 503, 'the responder answers')


# Templates -----------------------------------------------------------------------------------------------------


def test_startup_timeout_0_is_none(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'startup_timeout': 0},
               'each': {'script': str(apps / 'hello.py'), 'startup_timeout': 0, 'preload': False}})
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


HANGS_AT_ITS_END = """
import sys, time
class Stream:
    def write(self, text): return len(text)
    def flush(self): time.sleep(3600)
sys.stdout = Stream()
raise RuntimeError('on purpose')
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_template_that_fails_and_then_hangs_does_not_hold_up_the_stop(fpm, folder, number):
    fpm.expect('on purpose', r'\[group shop\]')
    patience = '100ms' if number == signal.SIGTERM else '1h'
    fpm.start({'shop': {'script': write_script(folder, HANGS_AT_ITS_END), 'shutdown_timeout': patience}})
    assert fpm.stop(number) == 0


def test_a_template_that_does_not_fork_any_more_is_replaced(fpm, apps):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 2, 'startup_timeout': '2s'}})
    workers = fpm.wait_workers('shop', 2)
    template, = wait_until(fpm.templates, 'a template')
    os.kill(template, signal.SIGSTOP)
    os.kill(workers[0], signal.SIGKILL)
    fpm.wait_workers('shop', 2, other_than=workers[:1])
    assert not processes.is_alive(template)


def test_a_worker_killed_before_its_hello_is_replaced_at_once(fpm, folder, gate):
    text = ("import os, signal\n"
            "def die_once():\n"
            "    try:\n"
            f"        os.close(os.open('{gate}/died', os.O_CREAT | os.O_EXCL))\n"
            "    except FileExistsError:\n"
            "        return\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "os.register_at_fork(after_in_child=die_once)\n")
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': write_script(folder, text + answering('alive')), 'startup_timeout': '1h'}})
    wait_until(lambda: status_of(fpm.socket('shop')) == 200, 'its successor serves')
    fpm.note_descriptors()
    assert (gate / 'died').exists()


# Workers -------------------------------------------------------------------------------------------------------


def test_a_worker_without_its_channel_finishes_all_the_same(fpm, folder):
    text = ("import os\n"
            "def application(environ, start_response):\n"
            "    os.close(3)\n"
            "    start_response('200 OK', [])\n    return [b'closed']\n")
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': write_script(folder, text), 'graceful_timeout': 0}})
    assert fastcgi.ask(fpm.socket('shop')).body == b'closed'
    assert fpm.stop() == 0


def test_a_stopped_worker_is_killed_at_graceful_timeout(fpm, apps):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'graceful_timeout': '200ms', 'shutdown_timeout': '100ms'}})
    os.kill(fpm.wait_workers('shop', 1)[0], signal.SIGSTOP)
    assert fpm.stop() == 0


def test_all_that_a_worker_said_is_logged_although_it_died(fpm, folder):
    text = ("import os\n"
            "def application(environ, start_response):\n"
            "    for i in range(150):\n"
            "        print('line', i, file=environ['wsgi.errors'])\n"
            "    os._exit(7)\n")
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': write_script(folder, text)}})
    os.kill(fpm.pid, signal.SIGSTOP)
    wait_until(lambda: processes.stat(fpm.pid)[0] == 'T', 'it is stopped')
    assert status_of(fpm.socket('shop')) is None
    os.kill(fpm.pid, signal.SIGCONT)
    fpm.log.wait_for('exited with status 7')
    assert len(fpm.log.find(r'error: \[group shop pid \d+\] line \d+$')) == 150


# Sockets -------------------------------------------------------------------------------------------------------


def test_a_socket_file_that_was_removed_comes_back_with_a_reload(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    os.unlink(fpm.socket('shop'))
    fpm.reload()
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


@root_only
def test_a_reload_gives_away_no_file_that_took_the_place_of_the_socket(fpm, apps, folder):
    fpm.expect(RELOAD_FAILED, r'\[group shop\]')
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    treasure = folder / 'treasure'
    treasure.write_text('of root')
    treasure.chmod(0o600)
    os.rename(fpm.socket('shop'), folder / 'aside.sock')
    os.symlink(treasure, fpm.socket('shop'))
    fpm.reload(outcome=RELOAD_FAILED)
    found = treasure.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o600)
    os.rename(folder / 'aside.sock', fpm.socket('shop'))
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_a_tcp_group_may_come_back_while_it_still_drains(fpm, apps, gate):
    address = ('127.0.0.1', free_port())
    shop = {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}, 'listen': '%s:%d' % address}
    stays = {'script': str(apps / 'hello.py')}
    fpm.start({'stays': stays, 'shop': shop})
    slow = wait_inside(address, gate)
    old = fpm.wait_workers('shop', 1)
    fpm.write_groups({'stays': stays})
    fpm.reload()
    fpm.write_groups({'stays': stays, 'shop': shop})
    fpm.reload()
    assert fastcgi.ask(address).body.decode() not in map(str, old)
    (gate / 'slow.go').touch()
    assert slow.receive().body.decode() == str(old[0])
    slow.close()
    fpm.wait_workers('shop', 1, other_than=old)


def test_two_groups_may_swap_their_addresses(fpm, folder):
    one = {'script': write_script(folder, answering('one'), 'one.wsgi'), 'listen': fpm.socket('a')}
    two = {'script': write_script(folder, answering('two'), 'two.wsgi'), 'listen': fpm.socket('b')}
    fpm.start({'one': one, 'two': two})
    fpm.write_groups({'one': {**one, 'listen': fpm.socket('b')}, 'two': {**two, 'listen': fpm.socket('a')}})
    fpm.reload()
    wait_until(lambda: {fastcgi.ask(fpm.socket('a')).body for _ in range(8)} == {b'two'}, 'two is at a')
    wait_until(lambda: {fastcgi.ask(fpm.socket('b')).body for _ in range(8)} == {b'one'}, 'one is at b')


def test_a_group_may_change_its_name_and_keep_its_address(fpm, apps):
    shop = {'script': str(apps / 'hello.py'), 'listen': fpm.socket('kept')}
    fpm.start({'old': shop})
    fpm.write_groups({'new': shop})
    fpm.reload()
    fpm.wait_workers('old', 0)
    assert fastcgi.ask(fpm.socket('kept')).body == b'hello\n'


def test_a_new_address_whose_code_is_broken_leaves_the_old_one_serving(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.expect(RELOAD_FAILED, 'no_such_module_anywhere', r'\[group shop\]')
    fpm.start({'shop': hello})
    elsewhere = str(fpm.folder / 'elsewhere.sock')
    fpm.write_groups({'shop': {'script': str(apps / 'broken_import.py'), 'listen': elsewhere}})
    fpm.reload(outcome=RELOAD_FAILED)
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
    wait_until(lambda: not os.path.exists(elsewhere), 'the other socket is gone')


# The log -------------------------------------------------------------------------------------------------------


def test_a_log_that_cannot_be_opened_at_reload_changes_nothing(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.expect(RELOAD_FAILED, re.escape('/nowhere/pyfpm.log'))
    fpm.start({'shop': hello})
    before = fpm.workers('shop')
    fpm.write_groups({'shop': hello}, **{'global': {'log': '/nowhere/pyfpm.log'}})
    fpm.reload(outcome=RELOAD_FAILED)
    assert fpm.workers('shop') == before
