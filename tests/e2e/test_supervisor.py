"""Sockets, privileges, output, stopping, and what happens when processes die."""

import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import textwrap
import threading

import pytest

import fastcgi
import processes
from load import Load
from processes import wait_until
from pyfpm import GROUP_USER, IS_ROOT, LINE, PROGRAM, READY, WEB_USER, Log, output

root_only = pytest.mark.skipif(not IS_ROOT, reason='needs root')


@pytest.fixture
def gate(folder):
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


def start_printing(fpm, apps, **keys):
    fpm.expect('to wsgi.errors')  # what goes there is logged as an error
    return fpm.start({'shop': {'script': str(apps / 'printing.py'), 'processes': 1, **keys}})


def start_hello(fpm, apps, **keys):
    return fpm.start({'shop': {'script': str(apps / 'hello.py'), **keys}})


def about(fpm, group='shop'):
    return json.loads(fastcgi.ask(fpm.socket(group)).body)


class SlowRequest:
    """A request that is inside the application of apps/gate.py until it is let go."""

    def __init__(self, address, gate, name='slow'):
        self.gate, self.name = gate, name
        self.connection = fastcgi.Connection(address)
        self.connection.send(fastcgi.request(fastcgi.environ('/wait', query=name)))
        wait_until((gate / f'{name}.in').exists, 'the slow request is inside')

    def let_go(self):
        (self.gate / f'{self.name}.go').touch()

    def finish(self):
        self.let_go()
        try:
            return self.connection.receive()
        finally:
            self.connection.close()


# Sockets --------------------------------------------------------------------------------------------------


@root_only
def test_a_socket_has_the_owner_group_and_mode_of_the_file(fpm, apps):
    start_hello(fpm, apps, listen_owner=WEB_USER, listen_group='daemon', listen_mode='0640')
    found = os.stat(fpm.socket('shop'))
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert (found.st_uid, found.st_gid) == (pwd.getpwnam(WEB_USER).pw_uid, grp.getgrnam('daemon').gr_gid)


@root_only
def test_a_socket_is_the_groups_users_and_closed_to_others_by_default(fpm, apps):
    start_hello(fpm, apps, listen_group=None)
    found, user = os.stat(fpm.socket('shop')), pwd.getpwnam(GROUP_USER)
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert (found.st_uid, found.st_gid) == (user.pw_uid, user.pw_gid)


def test_a_stale_socket_file_is_taken_over(fpm, apps):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(fpm.socket('shop'))
    start_hello(fpm, apps)
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_a_socket_that_somebody_serves_is_refused(fpm, apps):
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(fpm.socket('shop'))
        living.listen()
        fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
        fpm.launch()
        fpm.expect(re.escape(fpm.socket('shop')), 'alert: cannot start')
        fpm.expected_exit = 1
        assert fpm.wait_exit() == 1
        assert os.path.exists(fpm.socket('shop'))
    assert fpm.socket('shop') in fpm.log.text()


def test_a_file_that_is_no_socket_is_refused_and_kept(fpm, apps):
    with open(fpm.socket('shop'), 'w') as f:
        f.write('precious')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.launch()
    fpm.expect(re.escape(fpm.socket('shop')), 'alert: cannot start')
    fpm.expected_exit = 1
    assert fpm.wait_exit() == 1
    with open(fpm.socket('shop')) as f:
        assert f.read() == 'precious'


def test_a_second_pyfpm_with_the_same_file_does_not_disturb_the_first(fpm, apps, frame):
    start_hello(fpm, apps)
    second = frame.pyfpm()
    second.log.path = fpm.folder / 'second.log'
    second.expect(re.escape(fpm.socket('shop')), 'alert: cannot start')
    second.expected_exit = 1
    second.launch()
    assert second.wait_exit() == 1
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


# Privileges and the process's surroundings --------------------------------------------------------------


@root_only
def test_the_application_runs_and_is_imported_as_the_groups_user(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'about.py'), 'user': GROUP_USER, 'group': 'games'}})
    found = about(fpm)
    uid, gid = pwd.getpwnam(GROUP_USER).pw_uid, grp.getgrnam('games').gr_gid
    assert found['uid'] == [uid] * 3
    assert found['gid'] == [gid] * 3
    assert found['imported_as'] == uid
    assert set(found['groups']) <= {gid}
    assert found['no_new_privileges'] == 1
    for pid in fpm.hosts():
        assert set(processes.status_field(pid, 'Uid')) == {str(uid)}
        assert processes.status_field(pid, 'CapEff') == ['0000000000000000']


@root_only
def test_supplementary_groups_are_those_of_the_file(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'about.py'), 'supplementary_groups': ['games', 'audio']}})
    assert {'games', 'audio'} <= set(about(fpm)['group_names'])


def test_the_environment_is_cleared_and_what_the_group_says_is_there(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'about.py'), 'env': {'OWN': 'value', 'PATH': '/only/this'}}})
    fpm.launch(env={'SECRET': 'of the supervisor'})
    fpm.wait_ready()
    env = about(fpm)['env']
    assert 'SECRET' not in env
    assert (env['OWN'], env['PATH']) == ('value', '/only/this')
    user = GROUP_USER if IS_ROOT else pwd.getpwuid(os.getuid()).pw_name
    assert (env['USER'], env['LOGNAME']) == (user, user)
    assert env['HOME'] == pwd.getpwnam(user).pw_dir
    allowed = {'PATH', 'LANG', 'TZ', 'HOME', 'USER', 'LOGNAME', 'OWN',
               'ASAN_OPTIONS', 'LSAN_OPTIONS', 'UBSAN_OPTIONS'}
    assert {name for name in env if not name.startswith('LC_')} <= allowed


def test_the_environment_is_kept_when_asked(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'about.py'), 'clear_env': False}})
    fpm.launch(env={'SECRET': 'of the supervisor'})
    fpm.wait_ready()
    assert about(fpm)['env']['SECRET'] == 'of the supervisor'


def test_directory_umask_nice_and_limits_are_set(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'about.py'), 'chdir': '/usr', 'umask': '0027', 'nice': 5,
                        'rlimit_files': 256}})
    found = about(fpm)
    assert (found['cwd'], found['umask'], found['nice'], found['rlimit_files']) == ('/usr', 0o027, 5, 256)


def test_a_worker_has_a_session_of_its_own_and_blocks_no_signal(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'about.py')}})
    found = about(fpm)
    assert found['sid'] != os.getsid(0)
    assert found['blocked_signals'] == []
    assert found['ppid'] == fpm.pid


def test_an_application_inherits_no_descriptor_of_the_supervisor(fpm, apps):
    start_hello(fpm, apps)
    log = str(fpm.log.path)
    for pid in fpm.hosts():
        assert log not in processes.descriptors(pid)


# The log ----------------------------------------------------------------------------------------------------


def test_what_an_application_prints_is_marked_with_its_group_and_pid(fpm, apps):
    start_printing(fpm, apps)
    pid = fastcgi.ask(fpm.socket('shop')).body.decode()
    for text in ('to stdout', 'to stderr', 'to descriptor 1'):
        fpm.log.wait_for(output('shop', text, pid))
    fpm.log.wait_for(rf'error: \[group shop pid {pid}\] to wsgi\.errors')
    fpm.log.wait_for(r'\[group shop pid \d+ output\] printed at import')


def test_what_an_application_prints_cannot_pass_for_a_line_of_pyfpm(fpm, apps):
    start_printing(fpm, apps)
    fastcgi.ask(fpm.socket('shop'))
    fpm.log.wait_for(r'notice: \[group shop pid \d+ output\] .*alert: forged')
    fpm.log.wait_for(r'\[group shop pid \d+ output\] without an enda \\x1b\[31mred')
    assert '\x1b' not in fpm.log.text()
    assert not fpm.log.find(r'^\S+ alert:')


def test_every_line_of_the_log_has_time_and_level(fpm, apps):
    start_printing(fpm, apps)
    fastcgi.ask(fpm.socket('shop'))
    fpm.stop()
    for line in fpm.log.text().splitlines():
        assert LINE.match(line), line


def test_a_log_file_is_written_and_reopened_on_usr1(fpm, apps):
    path = fpm.folder / 'own.log'
    fpm.write_groups({'shop': {'script': str(apps / 'printing.py'), 'processes': 1}}, **{'global': {'log': str(path)}})
    fpm.launch()
    own = Log(path)
    fpm.more_logs.append(own)
    fpm.expect('to wsgi.errors')
    own.wait_for(READY)
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    path.rename(fpm.folder / 'own.log.1')
    fpm.signal(signal.SIGUSR1)
    wait_until(path.exists, 'the log file is there again')
    fastcgi.ask(fpm.socket('shop'))
    own.wait_for(output('shop', 'to stdout'))
    fpm.folder.joinpath('own.log.1').unlink()


def test_output_is_left_alone_when_it_is_not_to_be_caught(fpm, apps):
    start_printing(fpm, apps, catch_output=False)
    assert fastcgi.ask(fpm.socket('shop')).status == 200
    assert not fpm.log.find(r'output\] to stdout')


# A group that cannot start ----------------------------------------------------------------------------------


def test_a_broken_group_answers_503_and_the_others_run(fpm, apps, web):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py'), 'restart_delay': '10ms', 'restart_delay_max': '100ms'},
               'good': {'script': str(apps / 'hello.py')}})
    fpm.checks_descriptors = False  # templates come and go
    assert fastcgi.ask(fpm.socket('good')).body == b'hello\n'
    answer = web(fpm.socket('bad')).ask('/')
    assert answer.status == 503
    assert answer.header('Retry-After')
    assert b'no_such_module_anywhere' not in answer.body
    fpm.log.wait_for(r"error: \[group bad.*ModuleNotFoundError: No module named 'no_such_module_anywhere'")
    fpm.log.wait_for(r'error: \[group bad\] cannot start \(attempt 4')
    for _ in range(20):
        assert fastcgi.ask(fpm.socket('bad')).status == 503


def test_a_broken_group_answers_a_post_with_its_body_too(fpm, apps, web):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py')}})
    fpm.checks_descriptors = False
    server = web(fpm.socket('bad'))
    for size in (0, 100, 300000):
        assert server.ask('/', 'POST', b'b' * size).status == 503


def test_a_broken_group_does_not_close_kept_connections(fpm, apps):
    """A web server that reuses one just as it is closed answers a POST with 502."""
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py')}})
    fpm.checks_descriptors = False
    with fastcgi.Connection(fpm.socket('bad')) as connection:
        for _ in range(3):
            assert connection.ask(fastcgi.environ('/', 'POST', body=b'b' * 100), b'b' * 100, keep=True).status == 503


def test_a_group_whose_application_gets_repaired_serves_by_itself(fpm, folder):
    script = folder / 'app.wsgi'
    script.write_text('raise RuntimeError("not yet")\n')
    script.chmod(0o644)
    fpm.expect('not yet', r'\[group shop\]')
    fpm.start({'shop': {'script': str(script), 'restart_delay': '10ms', 'restart_delay_max': '50ms'}})
    fpm.checks_descriptors = False
    assert fastcgi.ask(fpm.socket('shop')).status == 503
    script.write_text("def application(environ, start_response):\n"
                      "    start_response('200 OK', [])\n    return [b'repaired']\n")
    wait_until(lambda: fastcgi.ask(fpm.socket('shop')).body == b'repaired', 'the repaired group serves')


# Stopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('number', [signal.SIGQUIT, signal.SIGTERM])
def test_a_graceful_stop_finishes_what_is_in_flight(fpm, apps, gate, number):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    slow = SlowRequest(fpm.socket('shop'), gate)
    fpm.signal(number)
    wait_until(lambda: not os.path.exists(fpm.socket('shop')) or fpm.log.find('(?i)stop'), 'the stop has begun')
    assert fpm.is_running()
    assert slow.finish().status == 200
    assert fpm.wait_exit() == 0
    assert not os.path.exists(fpm.socket('shop'))


@pytest.mark.parametrize('signals', [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_a_fast_stop_does_not_wait(fpm, apps, gate, signals):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    slow = SlowRequest(fpm.socket('shop'), gate)
    for number in signals:
        since = fpm.log.position()
        fpm.signal(number)
        if len(signals) > 1 and number is signals[0]:
            fpm.log.wait_for('(?i)stop', since)
    assert fpm.wait_exit() == 0
    slow.connection.close()


def test_a_graceful_stop_ends_at_graceful_timeout(fpm, apps, gate):
    fpm.expect(r'\[group shop')
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}, 'graceful_timeout': '300ms',
                        'shutdown_timeout': '300ms'}})
    slow = SlowRequest(fpm.socket('shop'), gate)
    assert fpm.stop() == 0
    slow.connection.close()


SLOW = """
    import threading, time
    class Slow:
        def __del__(self):
            print('letting go', flush=True)
            time.sleep(3600)
        def __call__(self, environ, start_response):
            start_response('200 OK', [])
            return [b'x']
    both, local = threading.Barrier(2), threading.local()
    def keeps_it_in_its_thread(environ, start_response):
        both.wait()
        if threading.current_thread() is not threading.main_thread():
            local.value = Slow()
        start_response('200 OK', [])
        return [b'x']
"""


@pytest.mark.parametrize('what, threads', [('Slow()', 1), ('keeps_it_in_its_thread', 2)])
def test_what_an_application_does_when_it_is_let_go_of_is_bounded_by_shutdown_timeout(fpm, folder, what, threads):
    (folder / 'slow.py').write_text(textwrap.dedent(SLOW))
    (folder / 'slow.py').chmod(0o644)
    fpm.start({'shop': {'application': f'slow:{what}', 'python_path': [str(folder)], 'threads': threads,
                        'shutdown_timeout': '300ms', 'graceful_timeout': '1h'}})
    connections = [fastcgi.Connection(fpm.socket('shop')) for _ in range(threads)]
    for connection in connections:
        connection.send(fastcgi.request(fastcgi.environ()))
    for connection in connections:
        assert connection.receive().body == b'x'
        connection.close()
    worker, = fpm.workers('shop')
    assert fpm.stop() == 0
    fpm.log.wait_for(output('shop', 'letting go', worker))
    fpm.log.wait_for(output('shop', 'the exit took longer than shutdown-timeout .*', worker))
    assert fpm.log.find(rf'pid {worker}\] worker exited with status 0')


def test_a_stop_while_groups_start_ends_at_once(fpm, folder):
    script = folder / 'app.wsgi'
    script.write_text('import time\ntime.sleep(3600)\n')
    script.chmod(0o644)
    fpm.write_groups({'shop': {'script': str(script)}})
    fpm.launch()
    wait_until(lambda: os.path.exists(fpm.socket('shop')), 'the socket is there')
    assert fpm.stop(signal.SIGINT) == 0


def test_idle_kept_connections_do_not_delay_a_stop(fpm, apps, nginx):
    start_hello(fpm, apps)
    server = nginx(fpm.socket('shop'))
    assert server.ask('/').body == b'hello\n'
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.ask(fastcgi.environ(), keep=True)
        assert fpm.stop() == 0
        assert connection.is_closed()


# Death --------------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced(fpm, apps):
    fpm.expect(r'\[group shop')
    start_hello(fpm, apps, processes=2)
    first = fpm.wait_workers('shop', 2)
    os.kill(first[0], signal.SIGKILL)
    now = fpm.wait_workers('shop', 2, other_than=first[:1])
    assert first[1] in now
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_workers_killed_under_load_lose_their_own_requests_only(fpm, apps, nginx):
    fpm.expect(r'\[group shop')
    start_hello(fpm, apps, processes=3, threads=1, restart_delay='10ms', restart_delay_max='50ms')
    server = nginx(fpm.socket('shop'))

    def ask(connection, number):
        connection.request('GET', '/')
        response = connection.getresponse()
        body = response.read()
        return None if (response.status, body) == (200, b'hello\n') else f'{response.status} {body}'
    kills = 10
    with Load(server.connect, ask, threads=4) as load:
        load.wait_for(200)
        for _ in range(kills):
            victim = fpm.wait_workers('shop', 3)[0]
            os.kill(victim, signal.SIGKILL)
            fpm.wait_workers('shop', 3, other_than=[victim])
            load.wait_for(200)
    assert len(load.failures) <= kills, load.failures
    assert load.done >= 200 * kills


def test_a_killed_template_harms_no_worker_and_is_replaced(fpm, apps):
    fpm.expect(r'\[group shop')
    start_hello(fpm, apps, processes=2)
    workers = fpm.wait_workers('shop', 2)
    template, = wait_until(fpm.templates, 'a template')
    os.kill(template, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(template), 'the template is gone')
    assert fpm.workers('shop') == workers
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
    os.kill(workers[0], signal.SIGKILL)
    fpm.wait_workers('shop', 2, other_than=workers[:1])


def test_a_killed_supervisor_leaves_no_orphan_and_requests_are_finished(fpm, apps, gate):
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'processes': 2, 'env': {'GATE': str(gate)}}})
    slow = SlowRequest(fpm.socket('shop'), gate)
    below = processes.descendants(fpm.pid)
    assert len(below) >= 3
    fpm.expected_exit = -signal.SIGKILL
    fpm.signal(signal.SIGKILL)
    fpm.wait_exit()
    assert slow.finish().status == 200
    wait_until(lambda: not [pid for pid in below if processes.is_alive(pid)], 'no orphan')


def test_a_killed_responder_is_replaced(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]', 'responder')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py')}})
    fpm.checks_descriptors = False
    responder, = [pid for pid in processes.children(fpm.pid) if processes.program(pid) == 'responder']
    os.kill(responder, signal.SIGKILL)

    def answers():
        try:
            return fastcgi.ask(fpm.socket('bad')).status == 503
        except (OSError, fastcgi.Closed):
            return False
    wait_until(lambda: not processes.is_alive(responder), 'the responder is gone')
    wait_until(answers, 'a new responder answers')


@root_only
def test_the_responder_is_not_root(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py')}})
    fpm.checks_descriptors = False
    responder, = [pid for pid in processes.children(fpm.pid) if processes.program(pid) == 'responder']
    assert '0' not in processes.status_field(responder, 'Uid')


def test_a_daemon_that_an_application_left_is_reaped(fpm, folder):
    script = folder / 'app.wsgi'
    script.write_text(
        "import os\n"
        "def application(environ, start_response):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        if os.fork() == 0:\n"
        "            os._exit(7)\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    start_response('200 OK', [])\n"
        "    return [str(os.getpid()).encode()]\n")
    script.chmod(0o644)
    fpm.start({'shop': {'script': str(script), 'processes': 1}})
    pids = {fastcgi.ask(fpm.socket('shop')).body for _ in range(20)}
    assert len(pids) == 1
    wait_until(lambda: not processes.zombies_of(fpm.pid), 'no zombie')


# Containers -----------------------------------------------------------------------------------------------------


@root_only
def test_it_works_as_pid_1(fpm, apps):
    """In a process namespace of its own pyfpm is init: orphans become its children, signals have no default."""
    if subprocess.run(['unshare', '--pid', '--fork', '--mount-proc', 'true'], capture_output=True).returncode != 0:
        pytest.skip('no process namespaces here')
    fpm.expect(r'\[group shop')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'processes': 2}})
    fpm.checks_descriptors = False
    fpm.launch(wrapper=[shutil.which('unshare'), '--pid', '--fork', '--kill-child', '--mount-proc'])
    fpm.log.wait_for(READY)
    init, = processes.children(fpm.pid)
    assert processes.status_field(init, 'NSpid')[-1] == '1'
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
    orphan = subprocess.run(['nsenter', '--target', str(init), '--pid', 'sh', '-c', '(exec true) & exit 0'])
    assert orphan.returncode == 0
    wait_until(lambda: not processes.zombies_of(init), 'orphans are reaped')
    victim = next(pid for pid in processes.children(init) if processes.program(pid).startswith('host-'))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len([p for p in processes.children(init) if processes.program(p).startswith('host-')]) == 3
               and not processes.is_alive(victim), 'a template and two workers')
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
    os.kill(init, signal.SIGTERM)
    assert fpm.wait_exit() == 0


def test_many_groups_start_and_stop(fpm, apps):
    names = [f'g{i}' for i in range(20)]
    fpm.start({name: {'script': str(apps / 'hello.py'), 'processes': 1} for name in names})
    answers = []
    clients = [threading.Thread(target=lambda n=name: answers.append(fastcgi.ask(fpm.socket(n)).body))
               for name in names]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [b'hello\n'] * 20


def test_it_needs_no_standard_descriptors(fpm, apps):
    """Started with 0, 1 and 2 closed, no socket may take their place."""
    path = fpm.folder / 'own.log'
    fpm.write_groups({'shop': {'script': str(apps / 'printing.py')}}, **{'global': {'log': str(path)}})
    fpm.process = subprocess.Popen(['sh', '-c', f'exec {PROGRAM} --config {fpm.config_file} <&- >&- 2>&-'],
                                   env=fpm.environment())
    fpm.more_logs.append(Log(path))
    fpm.expect('to wsgi.errors')
    fpm.more_logs[0].wait_for(READY)
    assert fastcgi.ask(fpm.socket('shop')).status == 200
    for number in (0, 1, 2):
        assert os.readlink(f'/proc/{fpm.pid}/fd/{number}') == '/dev/null'


# Groups that cannot have their socket ----------------------------------------------------------------------------


def test_a_group_without_its_socket_fails_alone_and_comes_later(fpm, apps, folder):
    place = folder / 'later'
    fpm.expect(r'\[group late\] cannot start')
    fpm.start({'shop': {'script': str(apps / 'hello.py')},
               'late': {'script': str(apps / 'hello.py'), 'listen': str(place / 'late.sock'),
                        'restart_delay': '20ms', 'restart_delay_max': '50ms'}})
    fpm.checks_descriptors = False
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
    assert fpm.log.find('ready: 1 of 2 groups serving; not: late')
    assert fpm.log.find(f'the folder {re.escape(str(place))} is missing')
    place.mkdir()
    fpm.log.wait_for(r'\[group late\] generation 1 is serving')
    assert fastcgi.ask(str(place / 'late.sock')).body == b'hello\n'


def test_a_failed_start_is_told_on_stderr_when_the_log_is_a_file(fpm, apps, folder):
    missing = folder / 'missing' / 'x.sock'
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'listen': str(missing)}},
                     **{'global': {'log': str(folder / 'file.log')}})
    done = fpm.command()
    assert done.returncode == 1
    assert 'cannot start' in done.stderr and str(folder / 'file.log') in done.stderr
    assert str(folder / 'missing') in (folder / 'file.log').read_text()


def test_a_reason_is_logged_in_full_once(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py'), 'restart_delay': '10ms', 'restart_delay_max': '10ms'}})
    fpm.checks_descriptors = False
    fpm.log.wait_for('attempt 4, .*: the same as before')
    assert len(fpm.log.find('Traceback')) == 1


def test_processes_name_their_group(fpm, apps):
    start_hello(fpm, apps)
    hosts = [pid for pid in processes.children(fpm.pid) if processes.program(pid).startswith('host-')]
    assert len(hosts) >= 2
    assert all('pyfpm: group shop' in str(processes.command(pid)) for pid in hosts)
