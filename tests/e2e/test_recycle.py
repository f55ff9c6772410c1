"""max-requests, max-lifetime, max-rss: a successor first, and no request lost."""

import os
import re

import fastcgi
from load import Load
from processes import is_alive, wait_until


def ask_growing(connection, number):
    connection.request('GET', '/')
    response = connection.getresponse()
    body = response.read()
    return None if response.status == 200 and body.isdigit() else f'{response.status} {body[:100]}'


def start(fpm, apps, **keys):
    return fpm.start({'shop': {'script': str(apps / 'growing.py'), 'restart_delay': '1ms', 'restart_delay_max': '1ms',
                               **keys}})


def assert_never_fewer(fpm, count):
    """Over the log, line by line: a worker is drained only after its successor was ready."""
    living, most = 0, 0
    for line in fpm.log.text().splitlines():
        if 'worker ready' in line:
            living += 1
            most = max(most, living)
        elif re.search(r'worker exited', line):
            assert living > count or 'stopping' in fpm.log.text().split(line)[0], f'{living} before: {line}'
            living -= 1
    return most


def test_workers_are_replaced_after_max_requests_without_losing_any(fpm, apps, nginx):
    start(fpm, apps, processes=2, threads=2, max_requests=50, max_requests_jitter=10)
    first = fpm.wait_workers('shop', 2)
    server = nginx(fpm.socket('shop'))
    with Load(server.connect, ask_growing, threads=4) as load:
        fpm.log.wait_for(r'is being replaced: max-requests: it has served \d+', count=4)
    assert load.failures == []
    fpm.wait_workers('shop', 2, other_than=first)
    for match in fpm.log.find(r'it has served (\d+)'):
        assert int(match[1]) >= 50
    assert_never_fewer(fpm, 2)


def test_workers_are_replaced_after_max_lifetime(fpm, apps):
    start(fpm, apps, processes=2, max_lifetime='300ms', max_lifetime_jitter='200ms')
    first = fpm.wait_workers('shop', 2)
    fpm.log.wait_for(r'is being replaced: max-lifetime', count=2)
    wait_until(lambda: not any(map(is_alive, first)), 'the first workers are gone')
    assert fastcgi.ask(fpm.socket('shop')).status == 200
    assert_never_fewer(fpm, 2)


def test_a_worker_that_holds_too_much_is_replaced_and_the_log_names_the_request(fpm, apps):
    start(fpm, apps, processes=1, max_rss='120M')
    first, = fpm.wait_workers('shop', 1)
    assert fastcgi.ask(fpm.socket('shop'), '/small', query='1').body == b'%d' % first
    assert fastcgi.ask(fpm.socket('shop'), '/large', query='120').body == b'%d' % first
    reason = fpm.log.wait_for(r'is being replaced: max-rss: it holds (\d+) MiB of 120 MiB; it grew by (.*)$')
    assert int(reason[1]) > 120
    assert re.search(r'\d\d MiB around GET /large\?120', reason[2])      # in one step, or in those of the samples
    second, = fpm.wait_workers('shop', 1, other_than=[first])
    wait_until(lambda: fastcgi.ask(fpm.socket('shop')).body == b'%d' % second, 'the successor serves')


def test_a_worker_far_above_its_limit_leaves_at_once(fpm, apps):
    fpm.expect('max-rss', 'exited with status 1')
    start(fpm, apps, processes=1, max_rss='60M')
    first, = fpm.wait_workers('shop', 1)
    try:
        fastcgi.ask(fpm.socket('shop'), '/huge', query='300')
    except fastcgi.Closed:
        pass                    # it may leave in the middle of the request
    fpm.log.wait_for(rf'error: \[group shop pid {first}\] max-rss: it holds \d+ MiB of 60 MiB.*; leaving at once')
    fpm.wait_workers('shop', 1, other_than=[first])
    assert fastcgi.ask(fpm.socket('shop')).status == 200


def test_a_worker_within_its_limits_stays(fpm, apps):
    start(fpm, apps, processes=1, max_rss='1G', max_requests=10000, max_lifetime='1h')
    first, = fpm.wait_workers('shop', 1)
    for _ in range(200):
        assert fastcgi.ask(fpm.socket('shop'), query='').body == b'%d' % first
    assert 'is being replaced' not in fpm.log.text()
