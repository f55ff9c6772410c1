"""Applications that harm their own worker, clients that take all there is, files in the wrong place: what is lost
is theirs, and the group comes back by itself."""

import os
import socket

import pytest

import fastcgi
import processes
from processes import wait_until


def start(fpm, apps, **keys):
    fpm.start({'shop': {'script': str(apps / 'hostile.py'), 'processes': 1, 'threads': 1, 'restart_delay': '10ms',
                        'restart_delay_max': '50ms', 'graceful_timeout': '1s', 'shutdown_timeout': '1s', **keys}})
    return fpm.socket('shop')


def do(address, deed):
    """Lets the application do it; the answer may get lost over it."""
    with fastcgi.Connection(address) as connection:
        try:
            connection.ask(fastcgi.environ('/' + deed))
        except (fastcgi.Closed, BrokenPipeError):
            pass


def served_by(address):
    """The pid of a worker that answers, or None."""
    with fastcgi.Connection(address) as connection:
        try:
            answer = connection.ask(fastcgi.environ())
        except (fastcgi.Closed, BrokenPipeError):
            return None
    return int(answer.body) if answer.status == 200 else None


# Applications -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('deed', ['close_descriptors', 'replace_descriptors', 'replace_listener',
                                  'close_event_queues'])
def test_a_worker_whose_descriptors_the_application_closed_makes_room_for_another(fpm, apps, deed):
    fpm.expect('closed or replaced descriptors')
    address = start(fpm, apps)
    crippled, = fpm.workers('shop')
    do(address, deed)
    wait_until(lambda: served_by(address) not in (None, crippled), 'another worker serves')
    wait_until(lambda: not processes.is_alive(crippled), 'the crippled one is gone')
    fpm.reload()


def test_a_worker_that_lost_the_hand_over_socket_does_not_disturb_its_siblings(fpm, apps):
    fpm.expect('closed or replaced descriptors')
    address = start(fpm, apps, processes=2)
    do(address, 'replace_handover')
    for _ in range(50):
        assert served_by(address)
    fpm.reload()
    assert served_by(address)


def test_a_worker_without_a_descriptor_for_connections_makes_room_for_another(fpm, apps):
    fpm.expect('no descriptor is left')
    address = start(fpm, apps)
    hoarder, = fpm.workers('shop')
    do(address, 'hoard_descriptors')
    wait_until(lambda: served_by(address) not in (None, hoarder), 'another worker serves')


@pytest.mark.parametrize('deed', ['fork_and_return', 'ignore_signals', 'scribble_on_the_scoreboard',
                                  'send_garbage_to_the_supervisor', 'hand_over_no_connections',
                                  'steal_messages_of_the_supervisor'])
def test_mischief_changes_nothing_for_others(fpm, apps, deed):
    fpm.expect('something that is no message')
    address = start(fpm, apps, processes=2)
    before = set(fpm.workers('shop'))
    do(address, deed)
    assert {served_by(address) for _ in range(40)} <= before
    fpm.reload()
    fpm.wait_workers('shop', 2, other_than=before)
    wait_until(lambda: not any(processes.is_alive(pid) for pid in before), 'the old workers are gone')
    assert served_by(address)


def test_a_cut_response_ends_although_a_child_of_the_application_holds_its_connection(fpm, apps):
    fpm.expect('RuntimeError: after the headers')
    address = start(fpm, apps)
    with fastcgi.Connection(address) as connection, pytest.raises(fastcgi.Closed):
        connection.ask(fastcgi.environ('/leave_a_child_and_fail'))


# Clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('sent', [b'', fastcgi.begin()], ids=['silent', 'half a header'])
def test_clients_that_took_all_descriptors_make_room_for_others(fpm, apps, sent):
    address = start(fpm, apps, rlimit_files=64)
    clients = []
    for _ in range(150):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(address)
        clients[-1].send(sent)
    assert served_by(address) == fpm.workers('shop')[0]
    for client in clients:
        client.close()


def test_clients_that_have_their_answer_and_do_not_end_their_request_hold_no_thread(fpm, apps):
    """As many of them as would fill the deadline if each cost a second."""
    address = start(fpm, apps)
    unfinished = fastcgi.request(fastcgi.environ('/', 'POST', CONTENT_LENGTH='1000'))[:-8]
    clients = [fastcgi.Connection(address) for _ in range(5 * processes.DEADLINE)]
    for client in clients:
        client.send(unfinished)
        assert client.receive().status == 200
    assert served_by(address)
    for client in clients:
        client.close()


def test_a_client_that_sends_its_body_after_the_answer_is_read_to_its_end(fpm, apps):
    address = start(fpm, apps)
    body = b'b' * 3_000_000
    with fastcgi.Connection(address) as client:
        whole = fastcgi.request(fastcgi.environ('/', 'POST', body=body), body)
        client.send(whole[:1000])
        assert client.receive().status == 200
        client.send(whole[1000:])  # would raise BrokenPipeError
        assert client.is_closed()


# Files --------------------------------------------------------------------------------------------------


def test_a_pipe_among_the_included_files_is_refused_and_stops_no_reload(fpm, apps, folder):
    folder.joinpath('groups.d').mkdir()
    os.mkfifo(folder / 'groups.d' / 'pipe.yaml')
    address = start(fpm, apps)
    before = fpm.workers('shop')
    fpm.expect('pipe.yaml', 'reload failed')
    fpm.write_groups({'shop': {'script': str(apps / 'hostile.py')}}, **{'global': {'include': 'groups.d/*.yaml'}})
    fpm.reload(outcome='reload failed')
    assert 'pipe.yaml: is not a regular file' in fpm.log.text()
    assert (served_by(address), fpm.workers('shop')) == (before[0], before)
    checked = fpm.command('check')
    assert (checked.returncode, 'pipe.yaml: is not a regular file' in checked.stdout + checked.stderr) == (78, True)


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir], ids=['pipe', 'folder'])
def test_a_script_that_is_no_file_is_named_at_once(fpm, folder, make):
    make(folder / 'app.wsgi')
    fpm.write_groups({'shop': {'script': str(folder / 'app.wsgi')}})
    checked = fpm.command('check')
    assert checked.returncode == 1
    assert 'app.wsgi: it is not a regular file' in checked.stdout + checked.stderr
