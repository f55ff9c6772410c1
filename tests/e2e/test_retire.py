"""A worker asks to be replaced: a successor first, one at a time, and never a storm."""

import os
import signal
import time

import fastcgi
import processes
from load import Load
from processes import wait_until

REPLACED = r'notice: \[group shop\] worker (?P<pid>\d+) is being replaced: (?P<why>.*)'


def group(apps, **keys):
    return {'script': str(apps / 'retire.py'), 'processes': 2, 'restart-delay': '50ms', **keys}


def ask(fpm, path, query=''):
    answer = fastcgi.ask(fpm.socket('shop'), path, QUERY_STRING=query)
    assert answer.status == 200, answer.stdout
    return int(answer.body)


def ask_plainly(connection, _):
    connection.request('GET', '/pid')
    response = connection.getresponse()
    response.read()
    return None if response.status == 200 else str(response.status)


def lowest_count(fpm, start):
    """The fewest workers that there were at once since start of them were ready, counted over the log."""
    counts = [0]
    for event in fpm.log.find('worker (?P<what>ready|exited)'):
        counts.append(counts[-1] + (1 if event['what'] == 'ready' else -1))
    return min(counts[start:])


def test_a_retiring_worker_goes_when_its_successor_serves_and_no_request_is_lost(fpm, apps, nginx):
    fpm.start({'shop': group(apps)})
    server = nginx(fpm.socket('shop'))
    before = fpm.wait_workers('shop', 2)
    with Load(server.connect, ask_plainly, threads=4) as load:
        for _ in range(3):
            since = fpm.log.position()
            load.wait_for(50)
            old = ask(fpm, '/retire', 'tired')
            wait_until(lambda: not processes.is_alive(old), 'the old one is gone')
            fpm.wait_workers('shop', 2, other_than=[old])
            assert lowest_count(fpm, 2) == 2
            replaced, = fpm.log.find(REPLACED, since)
            assert (int(replaced['pid']), replaced['why']) == (old, 'tired')
        load.wait_for(50)
    assert load.failures == []
    assert set(before) != set(fpm.workers('shop'))


def test_all_workers_retiring_are_replaced_one_at_a_time(fpm, apps):
    fpm.start({'shop': group(apps, processes=3)})
    before = fpm.wait_workers('shop', 3)
    since = fpm.log.position()

    def all_replaced():
        ask(fpm, '/retire-one-of', ','.join(map(str, before)))
        return set(fpm.workers('shop')).isdisjoint(before)
    wait_until(all_replaced, 'all are replaced')
    wait_until(lambda: len(fpm.hosts()) == 4, 'a template and three workers')
    assert lowest_count(fpm, 3) == 3
    events = [event[1] for event in fpm.log.find(r'(worker ready|being replaced)', since)]
    assert events == ['being replaced', 'worker ready'] * 3


def test_a_successor_that_cannot_start_leaves_the_old_one_serving(fpm, apps, folder):
    broken = folder / 'broken'
    fpm.expect('broken on purpose', 'a worker cannot start')
    fpm.start({'shop': group(apps, processes=1, preload=False, env={'BROKEN_WHEN': str(broken)})})
    old, = fpm.wait_workers('shop', 1)
    broken.touch()
    assert ask(fpm, '/retire', 'in vain') == old
    fpm.log.wait_for('a worker cannot start: the same as before', count=2)
    assert {ask(fpm, '/pid') for _ in range(20)} == {old}
    assert len(fpm.log.find(REPLACED)) == 1
    broken.unlink()
    fpm.wait_workers('shop', 1, other_than=[old])
    assert len(fpm.log.find(REPLACED)) == 1


def test_a_flood_of_wishes_is_one_wish(fpm, apps):
    fpm.start({'shop': group(apps, processes=1)})
    old, = fpm.wait_workers('shop', 1)
    ask(fpm, '/flood')
    fpm.wait_workers('shop', 1, other_than=[old])
    wait_until(lambda: len(fpm.hosts()) == 2, 'a template and a worker')
    assert len(fpm.log.find(REPLACED)) == 1
    assert not fpm.log.find('makes no sense')


def test_workers_that_always_retire_young_are_replaced_ever_more_slowly(fpm, apps):
    """Doubling from 100 ms: in the time in which the 6th successor comes there is no room for many more."""
    fpm.start({'shop': group(apps, processes=1, env={'RETIRE_AT_ONCE': 'yes'}, **{'restart-delay': '100ms'})})
    seen = set()

    def five_replaced():
        seen.add(ask(fpm, '/pid'))
        return len(fpm.log.find(REPLACED)) >= 5
    wait_until(five_replaced, 'five successors')
    times = [match.string[match.start() - 25:match.start()] for match in fpm.log.find(REPLACED)]
    seconds = [float(t.strip().rpartition(':')[2].rstrip('Z')) for t in times]
    pauses = [(b - a) % 60 for a, b in zip(seconds, seconds[1:])]
    assert len(times) == 5
    for pause, least in zip(pauses, (0.15, 0.3, 0.6, 1.2)):  # 200 ms … 1.6 s, less a quarter by chance
        assert pause >= least * 0.95, pauses


def test_what_a_reason_says_cannot_forge_log_lines(fpm, apps):
    fpm.start({'shop': group(apps, processes=1)})
    old, = fpm.wait_workers('shop', 1)
    since = fpm.log.position()
    ask(fpm, '/retire', 'first%0a2026-01-01T00:00:00.000Z alert: forged%1b[31m' + 'x' * 3000)
    fpm.wait_workers('shop', 1, other_than=[old])
    replaced, = fpm.log.find(REPLACED, since)
    assert replaced['why'] == 'first'
    since = fpm.log.position()
    ask(fpm, '/retire', 'a%1bb' + 'x' * 3000)
    replaced = fpm.log.wait_for(REPLACED, since)
    assert '\x1b' not in replaced['why'] and len(replaced['why']) < 600


def test_a_retiring_worker_that_dies_meanwhile_is_replaced_once(fpm, apps, folder):
    """Its successor waits in the back-off of a broken start; then it takes the place of the dead one."""
    broken = folder / 'broken'
    fpm.expect('broken on purpose', 'a worker cannot start')
    fpm.start({'shop': group(apps, processes=2, preload=False, env={'BROKEN_WHEN': str(broken)})})
    before = fpm.wait_workers('shop', 2)
    broken.touch()
    old = ask(fpm, '/retire', 'about to die')
    fpm.log.wait_for('a worker cannot start')
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(old), 'it is dead')
    broken.unlink()
    other, = set(before) - {old}
    wait_until(lambda: len(fpm.workers('shop')) == 2, 'two workers')
    wait_until(lambda: len(fpm.hosts()) == 3, 'a template and two workers')
    assert other in fpm.workers('shop')


def test_a_reload_makes_retiring_moot(fpm, apps, folder):
    broken = folder / 'broken'
    fpm.expect('broken on purpose', 'a worker cannot start')
    env = {'BROKEN_WHEN': str(broken)}
    fpm.start({'shop': group(apps, processes=2, preload=False, env=env)})
    before = fpm.wait_workers('shop', 2)
    broken.touch()
    ask(fpm, '/retire', 'before a reload')
    fpm.log.wait_for('a worker cannot start')
    broken.unlink()
    fpm.reload()
    fpm.wait_workers('shop', 2, other_than=before)
    wait_until(lambda: len(fpm.hosts()) == 3, 'a template and two workers')


def test_a_failed_reload_leaves_the_wish_and_without_preload_pauses_it(fpm, apps, folder):
    """The code that runs cannot be had again, so the living workers are kept."""
    broken = folder / 'broken'
    fpm.expect('broken on purpose', 'reload failed')
    fpm.start({'shop': group(apps, processes=1, preload=False, env={'BROKEN_WHEN': str(broken)})})
    old, = fpm.wait_workers('shop', 1)
    broken.touch()
    fpm.reload(outcome='reload failed')
    fpm.log.wait_for('degraded: cannot respawn old code')
    broken.unlink()
    ask(fpm, '/retire', 'not now')
    until = time.monotonic() + 0.5  # ten times the pause of a worker that asked so young
    while time.monotonic() < until:
        assert ask(fpm, '/pid') == old
    assert not fpm.log.find(REPLACED)
    fpm.reload()
    fpm.wait_workers('shop', 1, other_than=[old])


def test_a_stop_while_a_successor_starts_ends_everything(fpm, apps):
    fpm.start({'shop': group(apps, processes=2)})
    fpm.wait_workers('shop', 2)
    ask(fpm, '/retire', 'and then a stop')
    assert fpm.stop() == 0
