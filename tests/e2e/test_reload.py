"""Reloads: nothing dropped under load, and nothing lost when the new configuration or code is broken."""

import http.client
import os
import signal

import pytest

import fastcgi
from load import Load
from processes import wait_until
from pyfpm import RELOAD_FAILED

RELOADS = 20


def slow_group(apps, generation, **keys):
    return {'script': str(apps / 'slow_import.py'), 'processes': 2, 'threads': 2,
            'env': {'GENERATION': str(generation)}, **keys}


def ask_by_turns(connection, number):
    """A GET, then a POST, and so on; None when the answer was right."""
    if number % 2:
        body = b'posted %d ' % number * 50
        connection.request('POST', '/', body)
    else:
        body = None
        connection.request('GET', '/')
    response = connection.getresponse()
    got = response.read()
    right = got == body if body else got.startswith(b'generation ')
    return None if response.status == 200 and right else f'{response.status} {got[:200]}'


@pytest.mark.parametrize('to_client', ['client keeps', 'client does not keep'])
@pytest.mark.parametrize('to_group', ['nginx keeps', 'nginx does not keep'])
def test_reloads_under_load_drop_no_request(fpm, apps, nginx, to_client, to_group):
    fpm.start({'shop': slow_group(apps, 0)})

    def edit(text):
        if to_group == 'nginx keeps':
            return text
        return text.replace('fastcgi_keep_conn on;', '').replace('keepalive 16;', '')
    server = nginx(fpm.socket('shop'), edit=edit)
    with Load(server.connect, ask_by_turns, threads=4, keep=to_client == 'client keeps') as load:
        for generation in range(1, RELOADS + 1):
            load.wait_for(20)
            fpm.write_groups({'shop': slow_group(apps, generation)})
            fpm.reload()
            wait_until(lambda: server.ask('/').body == b'generation %d' % generation, 'the new generation serves')
        load.wait_for(20)
    assert load.failures == []
    assert load.done > 20 * RELOADS
    fpm.wait_workers('shop', 2)


def test_a_reload_never_has_fewer_workers_than_processes(fpm, apps):
    """A successor is ready before its predecessor goes: counted over the log, line by line."""
    fpm.start({'shop': slow_group(apps, 0, processes=4, preload=False)})
    fpm.wait_workers('shop', 4)
    since = fpm.log.position()
    fpm.reload()
    wait_until(lambda: len(fpm.log.find('worker exited', since)) == 4, 'the four old workers are gone')
    workers = 4
    for event in fpm.log.find('worker (?P<what>ready|exited)', since):
        workers += 1 if event['what'] == 'ready' else -1
        assert workers >= 4, fpm.log.text(since)
    assert workers == 4


SECOND_IMPORT_FAILS = '''
import os
try:
    os.open(os.environ['MARK'], os.O_CREAT | os.O_EXCL)
except FileExistsError:
    raise RuntimeError('only one of us')

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'new']
'''


def test_a_reload_whose_further_workers_fail_says_so_and_keeps_old_ones(fpm, apps, folder):
    script = folder / 'app.wsgi'
    script.write_text(SECOND_IMPORT_FAILS)
    script.chmod(0o644)
    folder.chmod(0o777)
    fpm.expect('only one of us', r'\[group shop\]', 'reload failed for: shop')
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 3}})
    fpm.checks_descriptors = False
    fpm.write_groups({'shop': {'script': str(script), 'processes': 3, 'preload': False,
                               'env': {'MARK': str(folder / 'mark')}, 'restart-delay': '50ms'}})
    fpm.reload(outcome=RELOAD_FAILED)
    answers = {fastcgi.ask(fpm.socket('shop')).body for _ in range(60)}
    assert answers <= {b'hello\n', b'new'} and b'hello\n' in answers


def test_kept_connections_live_through_reloads(fpm, apps):
    """A POST on a kept connection that a reload closed would be a 502: nothing may be closed."""
    fpm.start({'shop': slow_group(apps, 0)})
    connections = [fastcgi.Connection(fpm.socket('shop')) for _ in range(8)]
    for generation in range(1, 6):
        for connection in connections:
            body = b'still %d' % generation
            answer = connection.ask(fastcgi.environ('/', 'POST', body=body), body, keep=True)
            assert answer.body == body
        fpm.write_groups({'shop': slow_group(apps, generation)})
        fpm.reload()
    for connection in connections:
        answer = wait_until(lambda: connection.ask(fastcgi.environ(), keep=True), 'an answer')
        assert answer.body.startswith(b'generation')
        connection.close()


def test_a_reload_with_nothing_changed_rolls_the_workers(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 2}})
    before = fpm.wait_workers('shop', 2)
    fpm.reload()
    fpm.wait_workers('shop', 2, other_than=before)


def test_usr2_reloads_too(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.reload(signal.SIGUSR2)
    fpm.wait_workers('shop', 1, other_than=before)


def test_new_code_is_served_after_a_reload(fpm, folder):
    script = folder / 'app.wsgi'

    def write(word):
        new = folder / 'new'
        new.write_text(f"def application(environ, start_response):\n"
                       f"    start_response('200 OK', [])\n    return [b'{word}']\n")
        new.chmod(0o644)
        new.rename(script)
    write('old')
    fpm.start({'shop': {'script': str(script), 'processes': 2}})
    assert fastcgi.ask(fpm.socket('shop')).body == b'old'
    write('new')
    before = fpm.wait_workers('shop', 2)
    fpm.reload()
    fpm.wait_workers('shop', 2, other_than=before)
    assert {fastcgi.ask(fpm.socket('shop')).body for _ in range(10)} == {b'new'}


def broken_reload(fpm, script):
    """Reloads onto code that cannot be imported, under load; the old workers go on."""
    before = fpm.workers('shop')
    script.write_text('raise RuntimeError("broken on purpose")\n')
    fpm.expect(RELOAD_FAILED, 'broken on purpose', r'error: \[group shop\]')
    since = fpm.log.position()
    fpm.reload(outcome=RELOAD_FAILED)
    assert 'RuntimeError: broken on purpose' in fpm.log.text(since)
    assert 'Traceback' in fpm.log.text(since)
    assert fpm.workers('shop') == before
    return before


@pytest.fixture
def script(folder):
    path = folder / 'app.wsgi'
    path.write_text("def application(environ, start_response):\n"
                    "    start_response('200 OK', [])\n    return [b'sound']\n")
    path.chmod(0o644)
    return path


@pytest.mark.parametrize('preload', [True, False])
def test_a_broken_import_keeps_the_old_workers_serving(fpm, nginx, script, preload):
    fpm.start({'shop': {'script': str(script), 'processes': 2, 'preload': preload}})
    fpm.wait_workers('shop', 2)
    server = nginx(fpm.socket('shop'))

    def ask(connection, number):
        connection.request('GET', '/')
        response = connection.getresponse()
        body = response.read()
        return None if body == b'sound' else f'{response.status} {body}'
    with Load(server.connect, ask, threads=2) as load:
        load.wait_for(20)
        broken_reload(fpm, script)
        load.wait_for(20)
    assert load.failures == []


def test_with_preload_the_old_code_is_respawned_after_a_failed_reload(fpm, script):
    fpm.start({'shop': {'script': str(script), 'processes': 2, 'preload': True}})
    fpm.wait_workers('shop', 2)
    before = broken_reload(fpm, script)
    fpm.expect(r'\[group shop')
    os.kill(before[0], signal.SIGKILL)
    fpm.wait_workers('shop', 2, other_than=before[:1])
    assert fastcgi.ask(fpm.socket('shop')).body == b'sound'


def test_a_repaired_application_reloads_after_a_failure(fpm, script):
    sound = script.read_text()
    fpm.start({'shop': {'script': str(script), 'processes': 2}})
    before = fpm.wait_workers('shop', 2)
    broken_reload(fpm, script)
    script.write_text(sound.replace('sound', 'repaired'))
    fpm.reload()
    fpm.wait_workers('shop', 2, other_than=before)
    assert fastcgi.ask(fpm.socket('shop')).body == b'repaired'


def test_groups_are_added_removed_and_changed(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'stays': hello, 'goes': hello, 'changes': {**hello, 'processes': 1}})
    fpm.write_groups({'stays': hello, 'comes': hello, 'changes': {**hello, 'processes': 3}})
    fpm.reload()
    for name in ('stays', 'comes', 'changes'):
        assert fastcgi.ask(fpm.socket(name)).body == b'hello\n'
    fpm.wait_workers('changes', 3)
    fpm.wait_workers('goes', 0)
    wait_until(lambda: not os.path.exists(fpm.socket('goes')), 'the socket of a removed group is gone')
    fpm.write_groups({'stays': hello, 'goes': hello, 'changes': {**hello, 'processes': 1}})
    fpm.reload()  # the old groups again, so that the descriptors have to be as at the start
    fpm.wait_workers('changes', 1)
    fpm.wait_workers('comes', 0)


def test_a_group_may_change_its_socket(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'shop': hello})
    new = str(fpm.folder / 'elsewhere.sock')
    fpm.write_groups({'shop': {**hello, 'listen': new}})
    fpm.reload()
    assert fastcgi.ask(new).body == b'hello\n'
    wait_until(lambda: not os.path.exists(fpm.socket('shop')), 'the old socket is gone')


def test_a_removed_group_finishes_its_requests(fpm, apps, folder):
    gate = folder / 'gate'
    gate.mkdir()
    gate.chmod(0o777)
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'stays': hello, 'goes': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    with fastcgi.Connection(fpm.socket('goes')) as slow:
        slow.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
        wait_until((gate / 'a.in').exists, 'the request is inside')
        fpm.write_groups({'stays': hello})
        fpm.signal(signal.SIGHUP)
        wait_until(lambda: not os.path.exists(fpm.socket('goes')), 'the group goes')
        (gate / 'a.go').touch()
        assert slow.receive().status == 200
    fpm.checks_descriptors = False


def test_a_new_group_that_is_broken_does_not_harm_the_others(fpm, apps):
    hello = {'script': str(apps / 'hello.py')}
    fpm.start({'shop': hello})
    fpm.checks_descriptors = False
    fpm.expect(RELOAD_FAILED, 'no_such_module_anywhere', r'\[group new\]')
    fpm.write_groups({'shop': hello, 'new': {'script': str(apps / 'broken_import.py')}})
    fpm.reload(outcome='')
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_reloads_that_come_faster_than_they_finish_end_in_the_last_configuration(fpm, apps, nginx):
    fpm.start({'shop': slow_group(apps, 0)})
    server = nginx(fpm.socket('shop'))
    with Load(server.connect, ask_by_turns, threads=2) as load:
        for generation in range(1, 11):
            fpm.write_groups({'shop': slow_group(apps, generation)})
            fpm.signal(signal.SIGHUP)
            load.wait_for(5)
        wait_until(lambda: {server.ask('/').body for _ in range(10)} == {b'generation 10'}, 'the last one serves alone')
        load.wait_for(20)
    assert load.failures == []
    fpm.wait_workers('shop', 2)


def test_a_request_that_is_running_when_its_worker_drains_is_finished(fpm, apps, folder, nginx):
    gate = folder / 'gate'
    gate.mkdir()
    gate.chmod(0o777)
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)}}})
    server = nginx(fpm.socket('shop'))
    connection = http.client.HTTPConnection('127.0.0.1', server.port)
    connection.request('POST', '/wait?a', b'body')
    wait_until((gate / 'a.in').exists, 'the request is inside')
    fpm.signal(signal.SIGHUP)
    old = fpm.workers('shop')
    wait_until(lambda: set(fpm.workers('shop')) - set(old), 'a new worker')
    wait_until(lambda: server.ask('/').body.decode() not in map(str, old), 'the new worker answers')
    (gate / 'a.go').touch()
    response = connection.getresponse()
    assert (response.status, response.read().decode()) == (200, str(old[0]))
    connection.close()
    fpm.wait_workers('shop', 1, other_than=old)
