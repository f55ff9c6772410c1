"""pm: static, dynamic and ondemand: how many workers there are, and when."""

import os
import threading

import fastcgi
import processes
import pytest
from load import Load
from processes import wait_until


@pytest.fixture
def gate(folder):
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


@pytest.fixture(autouse=True)
def as_many_as_there_are(fpm):
    """The supervisor's descriptors follow the number of its workers, which is what these tests change."""
    fpm.checks_descriptors = False


def start(fpm, apps, gate, **keys):
    return fpm.start({'shop': {'script': str(apps / 'stuck.py'), 'env': {'GATE': str(gate)}, 'restart_delay': '10ms',
                               **keys}})


class Held:
    """A request that holds a thread until let_go()."""
    count = 0

    def __init__(self, fpm, gate):
        Held.count += 1
        self.gate, self.name = gate, f'held-{Held.count}'
        self.connection = fastcgi.Connection(fpm.socket('shop'))
        self.connection.send(fastcgi.request(fastcgi.environ('/sleeps', query=self.name)))

    def is_inside(self):
        return (self.gate / f'{self.name}.in').exists()

    def let_go(self):
        (self.gate / f'{self.name}.go').touch()

    def finish(self):
        self.let_go()
        try:
            return self.connection.receive()
        finally:
            self.connection.close()


def hold(fpm, gate, count):
    held = [Held(fpm, gate) for _ in range(count)]
    wait_until(lambda: all(h.is_inside() for h in held), f'{count} requests are served at once')
    return held


# dynamic ----------------------------------------------------------------------------------------------------


def test_dynamic_starts_with_start_grows_with_the_load_and_shrinks_after_it(fpm, apps, gate):
    start(fpm, apps, gate, pm='dynamic', processes=8, start=2, min_spare=1, max_spare=3)
    fpm.wait_workers('shop', 2)
    held = hold(fpm, gate, 6)
    wait_until(lambda: len(fpm.workers('shop')) >= 7, 'six busy and one spare')
    for h in held:
        assert h.finish().body == b'finished\n'
    wait_until(lambda: len(fpm.workers('shop')) == 3, 'max-spare are left')


def test_dynamic_never_passes_processes(fpm, apps, gate):
    start(fpm, apps, gate, pm='dynamic', processes=3, start=1, min_spare=1, max_spare=3)
    held = hold(fpm, gate, 3)
    waiting = Held(fpm, gate)
    fpm.wait_workers('shop', 3)
    assert not waiting.is_inside()
    for h in held:
        h.finish()
    assert waiting.finish().body == b'finished\n'
    assert len(fpm.log.find('worker ready')) == 3


def test_dynamic_replaces_what_dies(fpm, apps, gate):
    fpm.expect('worker')
    start(fpm, apps, gate, pm='dynamic', processes=4, start=2, min_spare=2, max_spare=3)
    first = fpm.wait_workers('shop', 2)
    os.kill(first[0], 9)
    fpm.wait_workers('shop', 2, other_than=first[:1])


def test_a_reload_under_load_moves_as_many_as_there_are(fpm, apps, gate):
    keys = {'pm': 'dynamic', 'processes': 8, 'start': 1, 'min_spare': 1, 'max_spare': 2}
    start(fpm, apps, gate, **keys)
    held = hold(fpm, gate, 4)
    wait_until(lambda: len(fpm.workers('shop')) >= 5, 'four busy and one spare')
    before = fpm.workers('shop')
    for h in held:
        h.let_go()
    fpm.reload()
    for h in held:
        assert h.finish().body == b'finished\n'
    wait_until(lambda: not set(fpm.workers('shop')) & set(before), 'all moved over')
    wait_until(lambda: len(fpm.workers('shop')) == 2, 'max-spare are left')


# ondemand -------------------------------------------------------------------------------------------------------


def test_ondemand_starts_nothing_before_the_first_connection_which_succeeds(fpm, apps, gate):
    start(fpm, apps, gate, pm='ondemand', processes=4)
    assert fpm.hosts() == []
    fpm.reload()
    assert fpm.hosts() == []
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'
    fpm.wait_workers('shop', 1)


def test_ondemand_ends_idle_workers_and_later_the_template(fpm, apps, gate):
    start(fpm, apps, gate, pm='ondemand', processes=4, idle_timeout='300ms', template_idle_timeout='600ms')
    held = hold(fpm, gate, 3)
    wait_until(lambda: len(fpm.workers('shop')) >= 3, 'three workers say that they are ready')
    for h in held:
        h.finish()
    wait_until(lambda: not fpm.workers('shop'), 'no worker is left')
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'     # from the template
    wait_until(lambda: fpm.hosts() == [], 'no process is left')
    before = processes.descriptors(fpm.pid)
    for _ in range(3):
        assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'
        wait_until(lambda: fpm.hosts() == [], 'no process is left again')
    # One or two may come and go with a look at the environment; a process leaves four.
    wait_until(lambda: len(processes.descriptors(fpm.pid)) <= len(before) + 2, 'and no descriptor of them')


def test_a_busy_worker_is_not_idle_however_long_it_takes(fpm, apps, gate):
    start(fpm, apps, gate, pm='ondemand', processes=2, idle_timeout='100ms')
    held, = hold(fpm, gate, 1)
    worker, = fpm.wait_workers('shop', 1)
    other = Held(fpm, gate)
    wait_until(other.is_inside, 'a second worker serves')
    other.finish()
    wait_until(lambda: fpm.workers('shop') == [worker], 'the idle one is ended, the busy one stays')
    assert held.finish().body == b'finished\n'


def test_a_burst_at_an_idle_group_succeeds_and_starts_no_herd(fpm, apps, nginx):
    """200 connections at once, an import of 300 ms: no more workers than processes were ever there."""
    fpm.start({'shop': {'script': str(apps / 'slow_import.py'), 'pm': 'ondemand', 'processes': 5}})
    answers, barrier = [], threading.Barrier(200)

    def ask():
        barrier.wait()
        answers.append(fastcgi.ask(fpm.socket('shop')).body)
    clients = [threading.Thread(target=ask) for _ in range(200)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [b'generation 0'] * 200
    fpm.log.wait_for('worker ready')
    assert len(fpm.log.find('worker ready')) <= 5


def test_an_ondemand_group_whose_application_is_broken_answers_503_and_serves_once_mended(fpm, folder):
    fpm.expect('cannot start', 'cannot be started again', 'template')
    script = folder / 'app.wsgi'

    def write(text):
        new = folder / 'app.new'
        new.write_text(text)
        new.chmod(0o644)
        new.rename(script)
    write('import no_such_module\n')
    fpm.start({'shop': {'script': str(script), 'pm': 'ondemand', 'restart_delay': '200ms', 'restart_delay_max': '200ms'}})
    assert fastcgi.ask(fpm.socket('shop')).status == 503
    fpm.log.wait_for('no_such_module')
    write('def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"mended"]\n')
    wait_until(lambda: fastcgi.ask(fpm.socket('shop')).body == b'mended', 'the mended application serves')


def test_a_reload_of_a_working_ondemand_group_has_a_canary(fpm, apps, gate):
    fpm.expect('reload failed')
    keys = {'pm': 'ondemand', 'processes': 4, 'idle_timeout': '1h'}
    start(fpm, apps, gate, **keys)
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'
    before = fpm.wait_workers('shop', 1)
    fpm.write_groups({'shop': {'script': str(apps / 'broken_import.py'), **keys}})
    fpm.reload(outcome='reload failed')
    assert fpm.workers('shop') == before
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'


def test_a_stop_with_an_unanswered_connection_to_an_idle_group_answers_it(fpm, apps, gate):
    fpm.expect('.')
    start(fpm, apps, gate, pm='ondemand')
    fpm.signal(19)      # SIGSTOP: the connection comes while the supervisor cannot hear it
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.send(fastcgi.request(fastcgi.environ('/answers', query='x')))
        fpm.signal(3)
        fpm.signal(18)
        assert connection.receive().status in (200, 503)
        assert fpm.wait_exit() == 0


# max-workers ----------------------------------------------------------------------------------------------------------


def test_max_workers_caps_all_groups_together(fpm, apps, gate):
    keys = {'script': str(apps / 'stuck.py'), 'env': {'GATE': str(gate)}}
    fpm.start({'shop': {**keys, 'processes': 3}, 'blog': {**keys, 'processes': 3}}, **{'global': {'max-workers': 4}})
    wait_until(lambda: len(fpm.workers('shop')) + len(fpm.workers('blog')) == 4, 'four workers')
    assert fpm.workers('shop') and fpm.workers('blog')
    fpm.reload()        # a roll needs no room of its own
    assert len(fpm.log.find('reload finished')) == 1


def test_room_that_becomes_free_goes_to_who_waits_for_it(fpm, apps, gate):
    keys = {'script': str(apps / 'stuck.py'), 'env': {'GATE': str(gate)}}
    on_demand = {**keys, 'pm': 'ondemand', 'processes': 2, 'idle_timeout': '200ms'}
    fpm.start({'shop': {**on_demand}, 'blog': {**on_demand}}, **{'global': {'max-workers': 1}})
    held, = hold(fpm, gate, 1)
    with fastcgi.Connection(fpm.socket('blog')) as waiting:
        waiting.send(fastcgi.request(fastcgi.environ('/answers', query='waits')))
        assert not (gate / 'waits.in').exists()
        held.finish()
        assert waiting.receive().body == b'at once\n'


def test_under_load_through_nginx_scaling_up_and_down_loses_nothing(fpm, apps, nginx):
    fpm.start({'shop': {'script': str(apps / 'slow_import.py'), 'pm': 'ondemand', 'processes': 4, 'threads': 1,
                        'idle_timeout': '100ms', 'template_idle_timeout': '200ms'}})
    server = nginx(fpm.socket('shop'))

    def ask(connection, number):
        body = b'posted %d ' % number * 50 if number % 2 else None
        connection.request('POST' if body else 'GET', '/', body)
        response = connection.getresponse()
        got = response.read()
        right = got == body if body else got == b'generation 0'
        return None if response.status == 200 and right else f'{response.status} {got[:100]}'
    for _ in range(3):
        with Load(server.connect, ask, threads=8) as load:
            load.wait_for(300)
        assert load.failures == []
        wait_until(lambda: fpm.hosts() == [], 'no process is left')
