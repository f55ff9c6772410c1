"""pyfpm status, reload, stop and reopen."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

import fastcgi
import processes
import venvs
from control import Control, ask, group
from load import Load
from processes import wait_until
from pyfpm import IS_ROOT, PROGRAM, RELOAD_FAILED
from test_reload import ask_by_turns, slow_group

COMMANDS = ('status', 'reload', 'stop', 'reopen')


def begin(fpm, *arguments):
    """A command that goes on while the test does something else."""
    return subprocess.Popen([PROGRAM, *map(str, arguments), '--config', fpm.config_file], text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=fpm.environment())


def finish(command):
    """(exit status, stdout, stderr)"""
    out, err = command.communicate(timeout=processes.DEADLINE)
    assert 'Sanitizer' not in err
    return command.returncode, out, err


def answering(word):
    return ("def application(environ, start_response):\n"
            f"    start_response('200 OK', [])\n    return [b'{word}']\n")


@pytest.fixture
def script(folder):
    path = folder / 'app.wsgi'
    path.write_text(answering('sound'))
    path.chmod(0o644)
    return path


@pytest.fixture
def gate(folder):
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


# Common to all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_has_help_with_an_example(fpm, command):
    done = fpm.run(command, '--help')
    assert done.returncode == 0
    assert 'example: ' in done.stdout and f'pyfpm {command}' in done.stdout


@pytest.mark.parametrize('command', COMMANDS)
def test_a_pyfpm_that_does_not_run_is_said_so(fpm, apps, command):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    done = fpm.command(command)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == f'pyfpm: pyfpm is not running: nobody answers at {fpm.control}\n'


@pytest.mark.parametrize('arguments', [['status', '--nonsense'], ['stop', 'shop'], ['reopen', 'shop'], ['reload', '--json']])
def test_bad_usage_is_64(fpm, apps, arguments):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    assert fpm.command(*arguments).returncode == 64


@pytest.mark.parametrize('command', COMMANDS)
def test_a_missing_file_is_78(fpm, command):
    done = fpm.run(command, '--config', '/nonexistent/pyfpm.yaml')
    assert done.returncode == 78
    assert '/nonexistent/pyfpm.yaml' in done.stderr


def test_a_supervisor_that_is_stopped_is_not_waited_for_by_a_check(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    os.kill(fpm.pid, signal.SIGSTOP)
    try:
        assert fpm.command('check').returncode == 0
    finally:
        os.kill(fpm.pid, signal.SIGCONT)


def test_a_check_asks_no_pyfpm_that_runs_another_file(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    fpm.write_groups({'shop': {'script': str(apps / 'broken_import.py')}})
    assert fpm.command('check').returncode == 1  # as without one that runs


# status ----------------------------------------------------------------------------------------------------------


def test_status_is_a_table_with_a_line_for_each_group(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 2, 'threads': 3},
               'blog': {'script': str(apps / 'hello.py')}})
    for _ in range(7):
        fastcgi.ask(fpm.socket('shop'))
    wait_until(lambda: group(fpm.control, 'shop')['requests'] == 7, 'seven requests are counted')
    done = fpm.command('status')
    assert (done.returncode, done.stderr) == (0, '')
    version = re.escape(fpm.run('--version').stdout.split()[1])
    assert re.match(rf'pyfpm {version}, pid {fpm.pid}, up \d+s, {re.escape(str(fpm.config_file))}\n', done.stdout)
    assert re.search(r'^GROUP +STATE +GEN +PYTHON +WORKERS +BUSY +KEPT +REQUESTS +DIED$', done.stdout, re.MULTILINE)
    assert re.search(r'^shop +serving +1 +3\.\d+ +2/2 +0/6 +0 +7 +0$', done.stdout, re.MULTILINE)
    assert re.search(r'^blog +serving ', done.stdout, re.MULTILINE)
    assert '\x1b' not in done.stdout


def test_status_of_named_groups_shows_those(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}, 'blog': {'script': str(apps / 'hello.py')}})
    out = fpm.command('status', 'blog').stdout
    assert 'blog' in out and 'shop' not in out
    done = fpm.command('status', 'blok')
    assert done.returncode == 1
    assert 'no group "blok" is running' in done.stderr


def test_numbers_are_right_after_requests_and_after_workers_are_gone(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 3}})
    for _ in range(40):
        fastcgi.ask(fpm.socket('shop'))
    wait_until(lambda: group(fpm.control, 'shop')['requests'] == 40, 'all are counted')
    found = group(fpm.control, 'shop')
    workers = [process for process in found['processes'] if process['role'] == 'worker']
    assert sum(worker['requests'] for worker in workers) == 40
    assert sorted(worker['pid'] for worker in workers) == sorted(fpm.workers('shop'))
    for worker in workers:
        assert worker['state'] == 'serving' and worker['generation'] == 1 and worker['age_ms'] >= 0
        assert worker['rss_bytes'] > 1 << 20
    assert found['workers'] == {'wanted': 3, 'serving': 3, 'busy': 0, 'starting': 0, 'draining': 0}
    assert fpm.command('reload').returncode == 0
    fpm.wait_workers('shop', 3, other_than=[worker['pid'] for worker in workers])
    wait_until(lambda: group(fpm.control, 'shop')['workers']['draining'] == 0, 'the old workers are gone')
    found = group(fpm.control, 'shop')
    assert (found['requests'], found['generation'], found['restarts']) == (40, 2, 0)
    assert found['reloads'] == {'good': 1, 'failed': 0}
    assert abs(found['last_reload']['ended_at'] - time.time()) < 60


def test_busy_threads_and_kept_connections_are_counted(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}, 'threads': 4}})
    kept = [fastcgi.Connection(fpm.socket('shop')) for _ in range(3)]
    for connection in kept:
        connection.ask(fastcgi.environ(), keep=True)
    busy = fastcgi.Connection(fpm.socket('shop'))
    busy.send(fastcgi.request(fastcgi.environ('/wait', query='a')))

    def counted():
        found = group(fpm.control, 'shop')
        return (found['threads'], found['workers']['busy'], found['kept']) == ({'all': 4, 'busy': 1}, 1, 3)
    wait_until(counted, 'one busy, three kept')
    (gate / 'a.go').touch()
    assert busy.receive().status == 200
    wait_until(lambda: group(fpm.control, 'shop')['threads']['busy'] == 0, 'none is busy any more')
    for connection in [busy, *kept]:
        connection.close()


def test_workers_that_die_are_counted(fpm, apps):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 2}})
    os.kill(fpm.workers('shop')[0], signal.SIGKILL)
    wait_until(lambda: group(fpm.control, 'shop')['restarts'] == 1, 'it is counted')
    wait_until(lambda: group(fpm.control, 'shop')['workers']['serving'] == 2, 'it is replaced')


def test_a_group_that_cannot_start_says_why(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py'), 'restart_delay': '1h', 'restart_delay_max': '1h'},
               'good': {'script': str(apps / 'hello.py')}})
    fpm.checks_descriptors = False
    found = group(fpm.control, 'bad')
    assert (found['state'], found['generation'], found['failures']) == ('failed', 0, 1)
    assert 0 < found['retry_in_ms'] <= 3600 * 1000
    assert 'No module named' in found['failure'] and found['last_reload']['outcome'] == 'failed'
    out = fpm.command('status').stdout
    assert re.search('^bad +failed', out, re.MULTILINE)
    assert re.search(r'^    failures: 1 in a row, the next try in \d+ ms$', out, re.MULTILINE)
    assert re.search(r"^    failure: .*\n(        .*\n)*.*No module named 'no_such_module_anywhere'", out, re.MULTILINE)


def test_a_group_whose_workers_all_died_backs_off(fpm, apps):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'restart_delay': '1h', 'restart_delay_max': '1h'}})
    fpm.checks_descriptors = False
    os.kill(fpm.workers('shop')[0], signal.SIGKILL)
    wait_until(lambda: group(fpm.control, 'shop')['state'] == 'backoff', 'it backs off')


def test_a_template_that_cannot_be_started_again_says_why_in_full_once(fpm, script):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(script), 'preload': True, 'restart_delay': '20ms', 'restart_delay_max': '50ms'}})
    fpm.checks_descriptors = False
    script.write_text('import no_such_module_anywhere\n')
    os.kill(fpm.templates()[0], signal.SIGKILL)
    fpm.log.wait_for('the template cannot be started again', count=4)
    assert len(fpm.log.find('Traceback')) == 1
    assert 'no_such_module_anywhere' in group(fpm.control, 'shop')['failure']


def test_a_failure_that_is_over_is_shown_no_more(fpm, script):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(script), 'preload': False, 'restart_delay': '20ms', 'restart_delay_max': '50ms'}})
    fpm.checks_descriptors = False
    script.write_text('import no_such_module_anywhere\n')
    os.kill(fpm.workers('shop')[0], signal.SIGKILL)
    wait_until(lambda: group(fpm.control, 'shop')['failure'], 'the failure is shown')
    script.write_text(answering('sound'))
    wait_until(lambda: group(fpm.control, 'shop')['failures'] == 0, 'it is forgiven')
    assert group(fpm.control, 'shop')['failure'] is None


def test_starting_and_stopping_groups_are_shown_as_such(fpm, apps, folder, gate):
    endless = folder / 'endless.wsgi'
    endless.write_text('import time\ntime.sleep(3600)\n')
    endless.chmod(0o644)
    fpm.expect('.')
    fpm.write_groups({'slow': {'script': str(endless)}, 'goes': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    fpm.launch()
    wait_until(lambda: os.path.exists(fpm.control) and fpm.workers('goes'), 'one of them serves')
    assert group(fpm.control, 'slow')['state'] == 'starting'
    busy = fastcgi.Connection(fpm.socket('goes'))
    busy.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
    wait_until((gate / 'a.in').exists, 'the request is inside')
    stop = begin(fpm, 'stop')
    wait_until(lambda: group(fpm.control, 'goes')['state'] == 'stopping', 'it stops')
    assert ' (stopping)\n' in fpm.command('status').stdout
    assert fpm.command('reload').returncode == 1
    (gate / 'a.go').touch()
    assert busy.receive().status == 200
    busy.close()
    code, out, err = finish(stop)
    assert (code, err) == (0, '')
    assert 'left' in out
    assert fpm.wait_exit() == 0


def test_a_lying_scoreboard_is_shown_within_its_range(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hostile.py'), 'processes': 2}})
    fastcgi.ask(fpm.socket('shop'), '/scribble_on_the_scoreboard')
    done = fpm.command('status', '--json')
    assert done.returncode == 0
    found = json.loads(done.stdout)['groups'][0]
    assert 0 <= found['requests'] <= 1 << 53
    for worker in found['processes']:
        if worker['role'] == 'worker':
            assert 0 <= worker['busy'] <= worker['threads'] <= 4096 and 0 <= worker['kept'] <= 1 << 20
    assert fpm.command('status').returncode == 0


def test_text_of_an_application_cannot_control_the_terminal(fpm, folder):
    script = folder / 'app.wsgi'
    script.write_text('raise RuntimeError("\\x1b[31mred\\x07 " + chr(0xdc80) + "ü")\n')
    script.chmod(0o644)
    fpm.expect('RuntimeError', r'\[group bad\]')
    fpm.write_groups({'bad': {'script': str(script), 'restart_delay': '1h', 'restart_delay_max': '1h'}})
    fpm.checks_descriptors = False
    fpm.launch()
    fpm.log.wait_for('ready: 0 of 1')
    out = fpm.command('status').stdout
    assert 'RuntimeError' in out and '\\x1b[31mred\\x07' in out
    assert '\x1b' not in out and '\x07' not in out
    assert 'RuntimeError' in json.loads(fpm.command('status', '--json').stdout)['groups'][0]['failure']


def test_a_stale_environment_is_shown_by_status_and_check(fpm, apps, folder):
    wheels = folder / 'wheels'
    wheels.mkdir()
    old, new = (venvs.package(wheels, 'parrot', version) for version in ('1.0', '2.0'))
    venv = venvs.make(folder / 'VENV')
    venv.install(old)
    group_on_it = {'script': str(apps / 'versions.py'), 'python_home': str(venv.root)}
    fpm.start({'shop': group_on_it, 'blog': {'script': str(apps / 'hello.py')}})
    assert 'stale' not in fpm.command('status').stdout + fpm.command('check').stdout
    venv.upgrade('parrot', new)
    wait_until(lambda: group(fpm.control, 'shop')['stale'] == ['parrot 1.0 → 2.0'], 'it is noticed')
    assert '    stale: parrot 1.0 → 2.0\n' in fpm.command('status').stdout
    assert 'shop: stale: parrot 1.0 → 2.0\n' in fpm.command('check').stdout
    assert 'stale' not in fpm.command('check', 'blog').stdout
    document = json.loads(fpm.command('check', '--json').stdout)
    assert {about['name']: about.get('stale') for about in document['groups']} == {
        'shop': ['parrot 1.0 → 2.0'], 'blog': None}
    assert (document['ok'], fpm.command('check').returncode) == (True, 0)
    assert fpm.command('reload').returncode == 0
    wait_until(lambda: group(fpm.control, 'shop')['stale'] == [], 'it is fresh again')


def on_a_terminal(fpm, **env):
    """What pyfpm status prints when its output is a terminal."""
    main, side = os.openpty()
    command = subprocess.Popen([PROGRAM, 'status', '--config', fpm.config_file], stdin=subprocess.DEVNULL, stdout=side,
                               stderr=side, env={**fpm.environment(), 'TERM': 'xterm', **env})
    os.close(side)
    text = b''
    try:
        while True:
            piece = os.read(main, 65536)
            if not piece:
                break
            text += piece
    except OSError:
        pass  # EIO: the other end is closed
    os.close(main)
    assert command.wait() == 0
    return text.decode()


def test_colours_are_for_terminals_that_want_them(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    assert '\x1b[32mserving\x1b[0m' in on_a_terminal(fpm)
    assert '\x1b' not in on_a_terminal(fpm, NO_COLOR='1')
    assert '\x1b[32m' in on_a_terminal(fpm, NO_COLOR='')
    assert '\x1b' not in on_a_terminal(fpm, TERM='dumb')


# reload --------------------------------------------------------------------------------------------------------------


def test_reload_says_how_it_comes_along_and_ends_with_0(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 3}})
    before = fpm.wait_workers('shop', 3)
    done = fpm.command('reload')
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    assert lines[0] == 'group shop: generation 2 is starting'
    assert lines[-2:] == ['group shop: 3 of 3 workers moved', 'group shop: generation 2 is serving']
    fpm.wait_workers('shop', 3, other_than=before)


@pytest.mark.parametrize('preload', [True, False])
def test_a_broken_import_arrives_with_its_traceback(fpm, script, preload):
    fpm.start({'shop': {'script': str(script), 'processes': 2, 'preload': preload}})
    before = fpm.wait_workers('shop', 2)
    script.write_text('raise RuntimeError("broken on purpose")\n')
    fpm.expect(RELOAD_FAILED, 'broken on purpose', r'error: \[group shop\]')
    done = fpm.command('reload')
    assert done.returncode == 1
    assert re.search(r'^group shop: failed, generation 1 keeps serving: .*\n(    .*\n)*    RuntimeError: broken on purpose$',
                     done.stdout, re.MULTILINE)
    assert 'Traceback (most recent call last)' in done.stdout
    assert done.stderr == 'pyfpm: reload failed for: shop\n'
    assert fpm.workers('shop') == before
    assert fastcgi.ask(fpm.socket('shop')).body == b'sound'
    found = group(fpm.control, 'shop')
    assert (found['state'], found['generation'], found['degraded']) == ('serving', 1, not preload)
    assert found['reloads'] == {'good': 0, 'failed': 1}
    assert 'broken on purpose' in found['last_reload']['failure']
    out = fpm.command('status').stdout
    assert re.search(r'^    reload: failed at \d+-\d\d-\d\d .*\(0 good, 1 failed since the start\)$', out, re.MULTILINE)
    assert 'broken on purpose' in out and ('degraded:' in out) == (not preload)
    script.write_text(answering('repaired'))
    assert fpm.command('reload').returncode == 0
    found = group(fpm.control, 'shop')
    assert (found['degraded'], found['last_reload']['failure']) == (False, None)


@pytest.mark.parametrize('text, place', [
    ('groups:\n  shop:\n    no-such-key: 1\n', '3:5'),
    ('groups:\n  shop: [\n', ''),
    ('groups: {shop: {listen: /x, script: /y, user: nobody, env: {A: "${NO_SUCH_VARIABLE}"}}}\n', '1:'),
    ('\x01', '')], ids=['unknown key', 'no YAML', 'unknown variable', 'control character'])
def test_errors_of_the_file_arrive_and_nothing_changes(fpm, apps, text, place):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.expect(RELOAD_FAILED, str(fpm.config_file))
    fpm.write(f'global:\n  control: {fpm.control}\n{text}')
    done = fpm.command('reload')
    assert done.returncode == 1
    line, _, column = place.partition(':')
    assert f'{fpm.config_file}:{int(line) + 2}:{column}' in done.stderr if place else str(fpm.config_file) in done.stderr
    assert done.stderr.endswith(f'pyfpm: {fpm.config_file} has errors; nothing changed\n')
    assert fpm.workers('shop') == before
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_a_named_group_is_reloaded_alone(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'shop': hello, 'blog': hello, 'wiki': hello, 'goes': hello})
    before = {name: fpm.workers(name) for name in ('shop', 'blog', 'wiki', 'goes')}
    fpm.write_groups({'shop': {**hello, 'processes': 2}, 'blog': {**hello, 'processes': 3}, 'wiki': hello, 'comes': hello},
                     **{'global': {'rlimit-files': 4096}})
    done = fpm.command('reload', 'shop')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'group shop: generation 2 is serving\n' in done.stdout
    for what in ('group blog', 'group comes', 'group goes', 'global'):
        assert f'{what}: the file changes this too' in done.stdout
    assert 'wiki' not in done.stdout
    fpm.wait_workers('shop', 2, other_than=before['shop'])
    for name in ('blog', 'wiki', 'goes'):
        assert fpm.workers(name) == before[name]
    assert not os.path.exists(fpm.socket('comes'))
    assert fpm.command('reload', 'comes', 'goes').returncode == 0
    assert fastcgi.ask(fpm.socket('comes')).body == b'hello\n'
    wait_until(lambda: not os.path.exists(fpm.socket('goes')), 'the removed group goes')
    assert fpm.workers('blog') == before['blog']
    fpm.checks_descriptors = False  # other groups than at the start


def test_a_reload_whose_later_workers_crash_ends_and_says_so(fpm, folder, script):
    fpm.expect(r'\[group shop', RELOAD_FAILED)
    fpm.start({'shop': {'script': str(script), 'processes': 2, 'preload': False, 'restart_delay_max': '500ms'}})
    fpm.checks_descriptors = False
    lock = folder / 'lock'
    folder.chmod(0o777)
    script.write_text('import os\ntry:\n'
                      f'    os.mkdir({str(lock)!r})\nexcept FileExistsError:\n    os.abort()\n' + answering('sound'))
    code, out, err = finish(begin(fpm, 'reload'))
    assert code == 1
    assert 'group shop: failed, generation 2 keeps serving: it was killed by signal 6 (Aborted) before it was ready' in out
    assert 'reload failed for: shop' in err


def test_an_unknown_name_changes_nothing(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.expect('reload failed: there is no group "shot"')
    done = fpm.command('reload', 'shop', 'shot')
    assert done.returncode == 1
    assert 'there is no group "shot", neither running nor in' in done.stderr
    assert fpm.workers('shop') == before


def test_a_name_that_is_no_utf_8_does_not_reload_everything(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.expect('reload failed: there is no group')
    done = fpm.command('reload', os.fsdecode(b'\xffshop'))
    assert done.returncode == 1
    assert 'there is no group' in done.stderr
    assert fpm.workers('shop') == before


def test_an_error_elsewhere_in_the_file_stops_the_reload_of_a_named_group(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.expect(RELOAD_FAILED, str(fpm.config_file))
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}, 'blog': {'script': '/x', 'proceses': 1}})
    assert fpm.command('reload', 'shop').returncode == 1
    assert fpm.workers('shop') == before


def test_a_broken_neighbour_does_not_fail_the_reload_of_a_named_group(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py'), 'restart_delay': '10ms', 'restart_delay_max': '20ms'},
               'shop': slow_group(apps, 1)})
    fpm.checks_descriptors = False
    since = fpm.log.position()
    assert fpm.command('reload', 'shop').returncode == 0
    assert fpm.log.find(r'\[group bad\] cannot start', since)  # it tried again meanwhile
    assert 'reload failed for' not in fpm.log.text()


def test_a_group_that_cannot_have_its_new_socket_is_named(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'shop': hello, 'blog': hello})
    fpm.expect(RELOAD_FAILED, r'error: \[group shop\]')
    fpm.write_groups({'shop': {**hello, 'listen': '/nonexistent/x.sock'}, 'blog': hello})
    done = fpm.command('reload')
    assert done.returncode == 1
    assert 'group shop: failed, generation 1 keeps serving: cannot listen on /nonexistent/x.sock' in done.stdout
    assert 'group blog: generation 2 is serving' in done.stdout
    assert done.stderr == 'pyfpm: reload failed for: shop\n'
    assert group(fpm.control, 'shop')['reloads'] == {'good': 0, 'failed': 1}
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_two_reloads_at_once_both_tell_the_outcome(fpm, apps):
    fpm.start({'shop': slow_group(apps, 0)})
    fpm.write_groups({'shop': slow_group(apps, 1)})
    first = begin(fpm, 'reload')
    wait_until(lambda: group(fpm.control, 'shop')['last_reload']['outcome'] == 'going', 'the first has begun')
    fpm.write_groups({'shop': slow_group(apps, 2)})
    second = begin(fpm, 'reload')
    for command in (first, second):
        code, out, err = finish(command)
        assert (code, err) == (0, '')
        assert out.endswith('group shop: generation 3 is serving\n')
    wait_until(lambda: {fastcgi.ask(fpm.socket('shop')).body for _ in range(5)} == {b'generation 2'},
               'the last one serves alone')  # one that drains may have answered yet


def test_a_stop_ends_a_reload_that_is_waited_for(fpm, apps, script):
    fpm.start({'shop': {'script': str(script)}})
    script.write_text('import time\ntime.sleep(3600)\n')
    fpm.expect('reload failed')
    reload = begin(fpm, 'reload')
    wait_until(lambda: group(fpm.control, 'shop')['last_reload']['outcome'] == 'going', 'the reload has begun')
    assert fpm.command('stop').returncode == 0
    code, out, err = finish(reload)
    assert code == 1
    assert 'pyfpm is stopping' in out and 'reload failed for: shop' in err
    assert fpm.wait_exit() == 0


def test_a_reload_goes_on_without_the_one_who_asked(fpm, apps):
    fpm.start({'shop': slow_group(apps, 0)})
    before = fpm.wait_workers('shop', 2)
    fpm.write_groups({'shop': slow_group(apps, 1)})
    with Control(fpm.control) as control:
        control.request('reload')
        assert control.line()['kind'] == 'progress'
    fpm.wait_workers('shop', 2, other_than=before)
    wait_until(lambda: group(fpm.control, 'shop')['last_reload']['outcome'] == 'done', 'the reload is done')


def test_who_hung_up_during_a_reload_is_forgotten_before_its_end(fpm, apps, script):
    fpm.start({'shop': {'script': str(script)}})
    script.write_text('import time\ntime.sleep(3600)\n')
    with Control(fpm.control) as control:
        control.request('reload')
        assert control.line()['kind'] == 'progress'
        before = len(processes.descriptors(fpm.pid))
    wait_until(lambda: len(processes.descriptors(fpm.pid)) < before, 'the caller is forgotten')
    assert group(fpm.control, 'shop')['last_reload']['outcome'] == 'going'
    script.write_text(answering('sound'))
    assert fpm.command('reload').returncode == 0


def test_reloads_under_load_through_nginx_lose_no_request(fpm, apps, nginx):
    fpm.start({'shop': slow_group(apps, 0), 'other': slow_group(apps, 0)})
    server = nginx(fpm.socket('shop'))
    with Load(server.connect, ask_by_turns, threads=4) as load:
        for generation in range(1, 7):
            load.wait_for(20)
            fpm.write_groups({'shop': slow_group(apps, generation), 'other': slow_group(apps, 0)})
            done = fpm.command('reload', *(['shop'] if generation % 2 else []))
            assert (done.returncode, done.stderr) == (0, '')
            wait_until(lambda: {server.ask('/').body for _ in range(5)} == {b'generation %d' % generation},
                       'the new generation serves alone')
        load.wait_for(20)
    assert load.failures == []
    assert group(fpm.control, 'shop')['reloads'] == {'good': 6, 'failed': 0}
    assert group(fpm.control, 'other')['reloads'] == {'good': 3, 'failed': 0}


# stop and reopen ------------------------------------------------------------------------------------------------


def test_stop_waits_until_it_is_gone(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    busy = fastcgi.Connection(fpm.socket('shop'))
    busy.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
    wait_until((gate / 'a.in').exists, 'the request is inside')
    stop = begin(fpm, 'stop')
    wait_until(lambda: fpm.log.find('stopping: finishing requests'), 'the stop has begun')
    assert stop.poll() is None
    (gate / 'a.go').touch()
    assert busy.receive().status == 200
    busy.close()
    assert finish(stop)[0] == 0
    assert (processes.stat(fpm.pid) or 'Z')[0] in 'ZX'  # ours to reap
    assert fpm.wait_exit() == 0


def test_stop_now_does_not_wait_for_requests(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    busy = fastcgi.Connection(fpm.socket('shop'))
    busy.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
    wait_until((gate / 'a.in').exists, 'the request is inside')
    assert fpm.command('stop', '--now').returncode == 0
    assert fpm.wait_exit() == 0
    busy.close()


def test_a_second_stop_may_be_for_now(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    busy = fastcgi.Connection(fpm.socket('shop'))
    busy.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
    wait_until((gate / 'a.in').exists, 'the request is inside')
    first = begin(fpm, 'stop')
    wait_until(lambda: fpm.log.find('stopping: finishing requests'), 'the stop has begun')
    assert fpm.command('stop', '--now').returncode == 0
    assert finish(first)[0] == 0
    assert fpm.wait_exit() == 0
    busy.close()


def test_reopen_opens_the_log_anew(fpm, apps):
    path = fpm.folder / 'own.log'
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'log': str(path)}})
    fpm.launch()
    wait_until(lambda: path.exists() and 'ready' in path.read_text(), 'it is ready')
    path.rename(fpm.folder / 'own.log.1')
    done = fpm.command('reopen')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    assert 'log reopened' in path.read_text()


@pytest.mark.skipif(IS_ROOT, reason='root may write everywhere')
def test_a_log_that_cannot_be_reopened_is_said_so(fpm, apps):
    logs = fpm.folder / 'logs'
    logs.mkdir()
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'log': str(logs / 'own.log')}})
    fpm.launch()
    wait_until(lambda: (logs / 'own.log').exists() and 'ready' in (logs / 'own.log').read_text(), 'it is ready')
    (logs / 'own.log').unlink()
    logs.chmod(0o500)
    done = fpm.command('reopen')
    logs.chmod(0o700)
    assert done.returncode == 1
    assert 'cannot open the log file' in done.stderr
