"""What an application can do to its supervisor, its siblings and other groups: nothing but harm itself."""

import json
import re

import fastcgi
import processes
import pytest
from processes import wait_until
from pyfpm import IS_ROOT, WEB_USER


def do(fpm, deed, **query):
    text = '&'.join(f'{key}={value}' for key, value in query.items())
    return json.loads(fastcgi.ask(fpm.socket('attacker'), f'/{deed}', query=text).body)


def start(fpm, apps, **keys):
    """The attacker, and beside it a group of another user."""
    other = {'user': WEB_USER} if IS_ROOT else {}
    return fpm.start({'attacker': {'script': str(apps / 'attacker.py'), **keys},
                      'victim': {'script': str(apps / 'hello.py'), **other}})


def assert_all_serve(fpm):
    assert fastcgi.ask(fpm.socket('victim')).body == b'hello\n'
    assert fastcgi.ask(fpm.socket('attacker')).status == 200
    fpm.reload()
    assert fastcgi.ask(fpm.socket('victim')).body == b'hello\n'
    assert fastcgi.ask(fpm.socket('attacker')).status == 200


def test_a_scoreboard_cannot_be_resized_and_its_numbers_are_not_believed(fpm, apps):
    start(fpm, apps, processes=2, threads=2)
    assert do(fpm, 'score') == {'truncate': 'EPERM', 'grow': 'EPERM', 'scribble': 'done'}
    assert_all_serve(fpm)


def test_messages_about_other_processes_do_nothing_to_them(fpm, apps):
    fpm.expect('makes no sense', 'worker', 'attacker')
    start(fpm, apps, processes=2)
    victim, = fpm.workers('victim')
    for pid in (victim, fpm.pid, 1):
        assert do(fpm, 'channel', pid=pid)['forge'] in ('EPERM', 'ESRCH')
    assert processes.is_alive(victim)
    assert_all_serve(fpm)
    fpm.wait_workers('attacker', 2)
    wait_until(lambda: len(fpm.log.text()) < 4_000_000, 'the log has not been flooded')


@pytest.mark.skipif(not IS_ROOT, reason='needs root: groups of different users')
def test_processes_of_other_users_cannot_be_looked_into_or_signalled(fpm, apps):
    start(fpm, apps)
    for pid in (fpm.workers('victim')[0], fpm.pid):
        found = do(fpm, 'peek', pid=pid)
        assert found['kill'] == 'EPERM'
        for name in ('mem', 'environ', 'maps', 'fd'):
            assert found[name] in ('EACCES', 'EPERM'), (pid, found)


@pytest.mark.skipif(not IS_ROOT, reason='needs root: a process that changed its user is not dumpable')
def test_a_group_of_the_same_user_cannot_be_looked_into_either(fpm, apps):
    fpm.start({'attacker': {'script': str(apps / 'attacker.py')}, 'sibling': {'script': str(apps / 'hello.py')}})
    found = do(fpm, 'peek', pid=fpm.workers('sibling')[0])
    for name in ('mem', 'environ', 'maps', 'fd'):
        assert found[name] in ('EACCES', 'EPERM'), found


def test_a_worker_holds_only_its_own_descriptors_and_its_children_none(fpm, apps):
    start(fpm, apps)
    found = do(fpm, 'descriptors')
    # null, log pipe twice, channel, scoreboard, listening socket, hand-over, epolls, events, the connection
    own = sorted(found['own'].items(), key=lambda item: int(item[0]))
    unknown = [(fd, link) for fd, link in own
               if not re.match(r'/dev/null$|pipe:|socket:|/memfd:|anon_inode:\[event(poll|fd)\]|/proc/|/dev/u?random', link)]
    assert not unknown, unknown
    memories = sorted(link.split(' ')[0] for _, link in own if link.startswith('/memfd:'))
    assert memories == ['/memfd:pyfpm-scoreboard', '/memfd:pyfpm-stacks'], memories     # each its own
    pipes = {link for _, link in own if link.startswith('pipe:')}
    assert len(pipes) == 1, own
    sockets = [fd for fd, link in own if link.startswith('socket:')]
    assert len(sockets) == 5, own        # channel, listening, both ends of the hand-over, this connection
    assert sorted(found['child']) == ['0', '1', '2']
