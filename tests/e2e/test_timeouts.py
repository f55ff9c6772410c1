"""Requests that take too long: what is logged, who is interrupted or replaced, and who is left alone."""

import os
import re
import time

import fastcgi
import processes
import pytest
from processes import wait_until


@pytest.fixture
def gate(folder):
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


def start(fpm, apps, gate, **keys):
    return fpm.start({'shop': {'script': str(apps / 'stuck.py'), 'env': {'GATE': str(gate)}, **keys}})


class Request:
    """One that is under way; let_go() ends it."""
    count = 0

    def __init__(self, fpm, gate, deed):
        Request.count += 1
        self.gate, self.name = gate, f'{deed}-{Request.count}'
        self.connection = fastcgi.Connection(fpm.socket('shop'))
        self.connection.send(fastcgi.request(fastcgi.environ(f'/{deed}', query=self.name,
                                                             QUEUE_START=f'{time.time():.3f}')))
        wait_until((gate / f'{self.name}.in').exists, 'the request is inside')

    def let_go(self):
        (self.gate / f'{self.name}.go').touch()

    def answer(self):
        try:
            return self.connection.receive()
        finally:
            self.connection.close()

    def is_lost(self):
        try:
            return self.connection.is_closed()
        finally:
            self.connection.close()


# The slow log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('deed', ['loops', 'sleeps'])
def test_a_slow_request_shows_its_stack_at_once_and_at_twice_and_four_times(fpm, apps, gate, deed):
    start(fpm, apps, gate, slowlog_timeout='500ms', threads=2)    # a look that comes late may stand for two
    request = Request(fpm, gate, deed)
    slow = rf'warning: \[group shop pid \d+\] slow: GET /{deed}\?{request.name} has taken \d+\.\d+ s \(request 1 '
    fpm.log.wait_for(slow, count=3)
    assert re.search(rf'File ".*stuck.py", line \d+ in {deed}$', fpm.log.text(), re.MULTILINE)
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'
    request.let_go()
    assert request.answer().body == b'finished\n'
    assert len(fpm.log.find(slow)) == 3


def test_the_stack_is_that_of_the_slow_thread_and_of_no_other(fpm, apps, gate):
    start(fpm, apps, gate, slowlog_timeout='500ms', threads=2)
    requests = [Request(fpm, gate, 'loops'), Request(fpm, gate, 'sleeps')]
    fpm.log.wait_for(r'slow: GET /loops\S* has taken [2-9]\.')
    fpm.log.wait_for(r'slow: GET /sleeps\S* has taken [2-9]\.')
    for request in requests:
        request.let_go()
        request.answer()
    for record in re.split(r'(?=^\S+ warning: .* slow: )', fpm.log.text(), flags=re.MULTILINE)[1:]:
        frames = record.split('worker ready')[0]
        if 'GET /loops' in frames.splitlines()[0]:
            assert ' in sleeps' not in frames.split('slow: ')[1]
        else:
            assert ' in loops' not in frames.split('slow: ')[1]


def test_a_request_within_the_limit_is_not_told_of(fpm, apps, gate):
    start(fpm, apps, gate, slowlog_timeout='30s')
    for i in range(20):
        fastcgi.ask(fpm.socket('shop'), '/answers', query=str(i))
    assert 'slow:' not in fpm.log.text()


# request-timeout -----------------------------------------------------------------------------------------------


def test_a_request_past_its_time_shows_its_stack_and_its_worker_is_replaced(fpm, apps, gate):
    fpm.expect('request-timeout', 'graceful-timeout')
    start(fpm, apps, gate, request_timeout='100ms', graceful_timeout='500ms', shutdown_timeout='200ms', processes=1)
    first, = fpm.wait_workers('shop', 1)
    request = Request(fpm, gate, 'loops')
    fpm.log.wait_for(rf'error: \[group shop pid {first}\] request-timeout, this worker is to be replaced: GET /loops')
    assert re.search(r'File ".*stuck.py", line \d+ in loops$', fpm.log.text(), re.MULTILINE)
    fpm.log.wait_for(rf'worker {first} is being replaced: request-timeout of GET /loops')
    fpm.wait_workers('shop', 1, other_than=[first])
    assert request.is_lost()
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'


def test_the_other_threads_of_a_replaced_worker_may_finish(fpm, apps, gate):
    fpm.expect('request-timeout', 'graceful-timeout')
    start(fpm, apps, gate, request_timeout='1s', graceful_timeout='20s', shutdown_timeout='200ms', processes=1,
          threads=2)
    first, = fpm.wait_workers('shop', 1)
    stuck = Request(fpm, gate, 'sleeps')
    fpm.log.wait_for('request-timeout, this worker is to be replaced: GET /sleeps')
    other = Request(fpm, gate, 'sleeps') if processes.is_alive(first) and not fpm.workers('shop')[1:] else None
    fpm.wait_workers('shop', 2)
    if other:
        other.let_go()
        assert other.answer().body == b'finished\n'
    stuck.let_go()
    assert stuck.answer().body == b'finished\n'     # within graceful-timeout
    wait_until(lambda: not processes.is_alive(first), 'the replaced worker is gone')


def test_a_worker_stuck_in_c_code_with_the_gil_is_replaced_too(fpm, apps, gate):
    fpm.expect('request-timeout', 'graceful-timeout')
    start(fpm, apps, gate, request_timeout='100ms', graceful_timeout='200ms', shutdown_timeout='100ms')
    first, = fpm.wait_workers('shop', 1)
    request = Request(fpm, gate, 'holds')
    fpm.log.wait_for('request-timeout, this worker is to be replaced: GET /holds')
    assert re.search(r'File ".*stuck.py", line \d+ in holds$', fpm.log.text(), re.MULTILINE)
    fpm.wait_workers('shop', 1, other_than=[first])
    assert request.is_lost()


# deadlock-timeout --------------------------------------------------------------------------------------------------


def test_a_worker_whose_gil_nobody_gets_is_left_with_its_stack_in_the_log(fpm, apps, gate):
    fpm.expect('deadlock-timeout', 'exited with status 1')
    start(fpm, apps, gate, deadlock_timeout='200ms', threads=2)
    first, = fpm.wait_workers('shop', 1)
    request = Request(fpm, gate, 'holds')
    fpm.log.wait_for(rf'\[group shop pid {first}\] deadlock-timeout: nobody has got the interpreter lock for')
    assert re.search(r'deadlock-timeout: GET /holds\S* has taken', fpm.log.text())
    assert re.search(r'File ".*stuck.py", line \d+ in holds$', fpm.log.text(), re.MULTILINE)
    fpm.wait_workers('shop', 1, other_than=[first])
    assert request.is_lost()


@pytest.mark.parametrize('deed', ['loops', 'sleeps'])
def test_a_long_request_that_shares_the_gil_is_no_deadlock(fpm, apps, gate, deed):
    start(fpm, apps, gate, deadlock_timeout='200ms', slowlog_timeout='500ms')
    first, = fpm.wait_workers('shop', 1)
    request = Request(fpm, gate, deed)
    fpm.log.wait_for(r'slow: GET \S+ has taken [2-9]\.')      # ten times the limit
    request.let_go()
    assert request.answer().body == b'finished\n'
    assert fpm.workers('shop') == [first]


# interrupt-timeout --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('deed', ['loops', 'sleeps'])
def test_an_interrupted_request_gets_504_and_its_worker_lives(fpm, apps, gate, deed):
    fpm.expect('interrupt-timeout')
    start(fpm, apps, gate, interrupt_timeout='100ms')
    first, = fpm.wait_workers('shop', 1)
    request = Request(fpm, gate, deed)
    assert request.answer().status == 504
    fpm.log.wait_for(rf'error: \[group shop pid {first}\] GET /{deed}\S*: interrupt-timeout: answered with 504')
    assert 'pyfpm.RequestTimeout' in fpm.log.text()
    assert re.search(rf'in {deed}$', fpm.log.text(), re.MULTILINE)
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').body == b'at once\n'
    assert fpm.workers('shop') == [first]


def test_an_interrupt_after_the_headers_cuts_the_response(fpm, apps, gate):
    fpm.expect('interrupt-timeout')
    start(fpm, apps, gate, interrupt_timeout='100ms')
    request = Request(fpm, gate, 'yields')
    with pytest.raises(Exception):
        request.answer()
    fpm.log.wait_for('interrupt-timeout after the headers were sent; the response is cut')


def test_an_application_may_catch_the_interrupt(fpm, apps, gate):
    start(fpm, apps, gate, interrupt_timeout='100ms')
    assert Request(fpm, gate, 'catches').answer().body == b'caught pyfpm.RequestTimeout'


def test_an_interrupt_hits_no_other_request(fpm, apps, gate):
    """Requests that end at about the moment of their interrupt, again and again on one thread."""
    fpm.expect('interrupt-timeout')
    script = gate / 'edge.wsgi'
    script.write_text('import time\n'
                      'def application(environ, start_response):\n'
                      '    end = time.monotonic() + float(environ["QUERY_STRING"])\n'
                      '    while time.monotonic() < end: pass\n'
                      '    start_response("200 OK", [])\n'
                      '    return [b"x"]\n')
    script.chmod(0o644)
    fpm.start({'shop': {'script': str(script), 'interrupt_timeout': '20ms'}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        for i in range(60):
            seconds = 0.019 + (i % 30) * 0.0002
            slow = connection.ask(fastcgi.environ('/', query=str(seconds)), keep=True)
            assert slow.status in (200, 504)
            fast = connection.ask(fastcgi.environ('/', query='0'), keep=True)
            assert fast.status == 200, f'after {seconds}: {fast.status}'


# queue-timeout ---------------------------------------------------------------------------------------------------------


def test_a_request_that_waited_too_long_gets_503(fpm, apps, gate):
    start(fpm, apps, gate, queue_timeout='5s')
    late = fastcgi.ask(fpm.socket('shop'), '/answers', query='late', QUEUE_START=f'{time.time() - 60:.3f}')
    assert late.status == 503
    fpm.log.wait_for(r'GET /answers\S*: queue-timeout: it has waited \d\d\.\d{3} s: answered with 503')
    assert not (gate / 'late.in').exists()
    for fine in (f'{time.time():.3f}', f'{time.time() + 60:.3f}'):
        assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x', QUEUE_START=fine).status == 200


def test_without_a_time_the_queue_timeout_is_off_and_says_so_once(fpm, apps, gate):
    start(fpm, apps, gate, queue_timeout='1ms')
    for value in ('', 'yesterday'):
        assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x', QUEUE_START=value).status == 200
    assert fastcgi.ask(fpm.socket('shop'), '/answers', query='x').status == 200
    fpm.log.wait_for('warning: .*queue-timeout is off')
    assert fpm.stop() == 0              # whatever else there is to say is in the log now
    assert len(fpm.log.find('warning: .*queue-timeout is off')) == 1


def test_nginx_sends_the_time_of_the_queue(fpm, apps, gate, nginx):
    """All threads busy: whoever waited past the limit behind them is refused once it comes to its turn."""
    start(fpm, apps, gate, queue_timeout='300ms')
    server = nginx(fpm.socket('shop'))
    busy = Request(fpm, gate, 'sleeps')
    began = time.time()
    waiting = server.connect()
    waiting.request('GET', '/answers?waiting')
    wait_until(lambda: time.time() > began + 0.5, 'the limit has passed')
    busy.let_go()
    busy.answer()
    assert waiting.getresponse().status == 503
    waiting.close()
    assert server.ask('/answers?prompt').status == 200
    assert 'queue-timeout is off' not in fpm.log.text()
