"""A worker that crashes: its signal, its request and its Python stack are in the log, and it is replaced."""

import re

import fastcgi
import pytest
from processes import wait_until


@pytest.mark.parametrize('dev_mode', [False, True])
@pytest.mark.parametrize('path, signal_number, function', [
    ('/in-c', 11, 'in_c'), ('/by-abort', 6, 'by_abort'), ('/by-signal', 8, 'by_signal'),
    ('/by-recursion', 11, 'by_recursion')])
def test_a_crash_is_logged_with_signal_request_and_stack(fpm, apps, path, signal_number, function, dev_mode):
    fpm.expect('.')
    fpm.start({'shop': {'script': str(apps / 'crashing.py'), 'restart_delay': '10ms', 'python_dev_mode': dev_mode}})
    first, = fpm.wait_workers('shop', 1)
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.send(fastcgi.request(fastcgi.environ(path, query='id=7')))
        with pytest.raises(fastcgi.Closed):
            connection.receive()
    fpm.log.wait_for(rf'error: \[group shop pid {first}\] crashed with signal {signal_number} while serving '
                     rf'GET {path}\?id=7 \(request 1 of this worker\)')
    fpm.log.wait_for(rf'\[group shop pid {first} output\]   File ".*crashing.py", line \d+ in {function}')
    fpm.log.wait_for(rf'\[group shop pid {first}\] worker was killed by signal {signal_number}')
    fpm.wait_workers('shop', 1, other_than=[first])
    assert fastcgi.ask(fpm.socket('shop')).body == b'alive\n'


def test_a_crash_outside_of_requests_says_so(fpm, apps):
    fpm.expect('.')
    fpm.start({'shop': {'script': str(apps / 'crashing.py'), 'restart_delay': '10ms'}})
    with pytest.raises(fastcgi.Closed):
        fastcgi.ask(fpm.socket('shop'), '/in-another-thread')
    fpm.log.wait_for(r'crashed with signal 11 in a thread that served no request')


def test_a_child_that_crashes_is_not_taken_for_its_worker(fpm, apps):
    fpm.expect('Fatal Python error')
    fpm.start({'shop': {'script': str(apps / 'crashing.py')}})
    first, = fpm.wait_workers('shop', 1)
    assert fastcgi.ask(fpm.socket('shop'), '/in-a-child').body == b'alive\n'
    assert fpm.workers('shop') == [first]
    assert 'crashed with signal' not in fpm.log.text()


def test_workers_that_crash_at_every_request_cost_a_bounded_number_of_processes(fpm, apps):
    """A fork bomb of crashes: back-off grows, and the group answers 503 meanwhile."""
    fpm.expect('.')
    fpm.start({'shop': {'script': str(apps / 'crashing.py'), 'restart_delay': '100ms', 'restart_delay_max': '2s'},
               'blog': {'script': str(apps / 'hello.py')}})

    def crash():
        try:
            return fastcgi.ask(fpm.socket('shop'), '/in-c').status
        except (fastcgi.Closed, ConnectionError):
            return None
    statuses = []
    wait_until(lambda: statuses.append(crash()) or len(fpm.log.find('crashed with signal')) >= 5, 'five crashes')
    starts = len(fpm.log.find(r'\[group shop pid \d+\] worker ready'))
    assert starts <= 6, starts
    assert statuses.count(503) > statuses.count(None)      # most requests were answered at once, and crashed nobody
    assert fastcgi.ask(fpm.socket('blog')).body == b'hello\n'
