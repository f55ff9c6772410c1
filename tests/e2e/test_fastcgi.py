"""What may come in over a FastCGI socket, honest or not, and that nobody else notices."""

import json
import os
import random
import re
import struct
import textwrap

import pytest

import fastcgi
import processes
from processes import wait_until
from webserver import free_port

REQUEST = fastcgi.request(fastcgi.environ())


@pytest.fixture
def shop(fpm, apps):
    """The socket of a group with one process and one thread: whoever holds it, holds everything."""
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'processes': 1, 'threads': 1}})
    return fpm.socket('shop')


@pytest.fixture(autouse=True)
def same_worker(request):
    """Whatever came in, the worker is still the first one and answers."""
    if 'shop' not in request.fixturenames:
        yield
        return
    fpm, address = request.getfixturevalue('fpm'), request.getfixturevalue('shop')
    before = fpm.workers('shop')
    yield
    assert fastcgi.ask(address).body == b'hello\n'
    assert fpm.workers('shop') == before


# Kept connections -----------------------------------------------------------------------------------------


def test_a_kept_connection_serves_many_requests(shop):
    with fastcgi.Connection(shop) as connection:
        for _ in range(2000):
            answer = connection.ask(fastcgi.environ(), keep=True)
            assert (answer.body, answer.app_status, answer.protocol_status) == (b'hello\n', 0, 0)


def test_a_connection_that_is_not_kept_is_closed_after_the_answer(shop):
    with fastcgi.Connection(shop) as connection:
        assert connection.ask(fastcgi.environ()).body == b'hello\n'
        assert connection.is_closed()


def test_kept_connections_hold_no_worker(shop):
    connections = [fastcgi.Connection(shop) for _ in range(50)]
    for connection in connections:
        assert connection.ask(fastcgi.environ(), keep=True).body == b'hello\n'
    for connection in connections:
        assert connection.ask(fastcgi.environ(), keep=True).body == b'hello\n'
    assert fastcgi.ask(shop).body == b'hello\n'
    for connection in connections:
        connection.close()


def test_a_body_nobody_read_does_not_end_a_kept_connection(shop):
    with fastcgi.Connection(shop) as connection:
        for _ in range(3):
            answer = connection.ask(fastcgi.environ('/', 'POST', body=b'b' * 5000), b'b' * 5000, keep=True)
            assert answer.body == b'hello\n'


def test_an_idle_kept_connection_is_closed_after_keepalive_timeout(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'keepalive_timeout': '200ms'}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.ask(fastcgi.environ(), keep=True)
        assert connection.is_closed()


def test_a_kept_connection_is_served_by_whoever_is_idle(fpm, apps, folder):
    gate = folder / 'gate'
    gate.mkdir()
    gate.chmod(0o777)
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'processes': 2, 'threads': 1, 'env': {'GATE': str(gate)}}})
    address = fpm.socket('shop')
    kept = {}
    while len(kept) < 2:  # one kept connection at each of the two workers
        connection = fastcgi.Connection(address)
        pid = connection.ask(fastcgi.environ(), keep=True).body
        if pid in kept:
            connection.close()
        else:
            kept[pid] = connection
    busy, other = kept
    with fastcgi.Connection(address) as slow:
        slow.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
        wait_until((gate / 'a.in').exists, 'the slow request is inside')
        answers = {kept[pid].ask(fastcgi.environ(), keep=True).body for pid in (busy, other, busy, other)}
        assert len(answers) == 1
        (gate / 'a.go').touch()
        assert slow.receive().body not in answers
    for connection in kept.values():
        connection.close()


# Slow and silent clients --------------------------------------------------------------------------------


def test_silent_clients_take_no_worker(shop):
    silent = [fastcgi.Connection(shop) for _ in range(20)]
    assert fastcgi.ask(shop).body == b'hello\n'
    for connection in silent:
        connection.close()


@pytest.mark.parametrize('size', [1, 7, 8, 15, 16, 20, 60, len(REQUEST) - 17])
def test_half_a_header_takes_no_worker(shop, size):
    half = [fastcgi.Connection(shop) for _ in range(5)]
    for connection in half:
        connection.send(REQUEST[:size])
    assert fastcgi.ask(shop).body == b'hello\n'
    for connection in half:
        connection.send(REQUEST[size:])
        assert connection.receive().body == b'hello\n'
        connection.close()


def test_a_request_that_drips_is_served(shop):
    """Not byte by byte: the kernel charges a unix socket's sender some 800 bytes for each write that is unread,
    so that after 270 of them it would wait for a reader who waits for the end of the header."""
    with fastcgi.Connection(shop) as dripping:
        for i in range(0, len(REQUEST), 4):
            dripping.send(REQUEST[i:i + 4])
            if i % 40 == 0:
                assert fastcgi.ask(shop).body == b'hello\n'
        assert dripping.receive().body == b'hello\n'


def test_half_a_header_is_given_up_after_io_timeout(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'io_timeout': '200ms'}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.send(REQUEST[:20])
        assert connection.is_closed()


def test_a_silent_connection_is_given_up_after_io_timeout_although_it_was_handed_over(fpm, apps):
    """It is none that a web server keeps: the worker that gets it must not take it for one."""
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'io_timeout': '1s', 'keepalive_timeout': 0,
                        'processes': 1, 'threads': 1}})
    worker, = fpm.workers('shop')
    before = len(processes.descriptors(worker))
    with fastcgi.Connection(fpm.socket('shop')) as silent:
        wait_until(lambda: len(processes.descriptors(worker)) > before, 'the worker has it')
        fpm.reload()
        fpm.wait_workers('shop', 1, other_than=[worker])
        assert silent.is_closed()


def test_a_body_that_stops_coming_is_given_up_after_io_timeout(fpm, apps):
    fpm.expect(r'error: \[group shop')
    fpm.start({'shop': {'script': str(apps / 'bodies.py'), 'io_timeout': '200ms', 'processes': 1, 'threads': 1}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        params = fastcgi.environ('/', 'POST', 'by_read', CONTENT_LENGTH='1000')
        connection.send(fastcgi.request(params)[:-8] + fastcgi.record(fastcgi.STDIN, b'only this'))
        try:
            assert connection.receive().status >= 400
        except fastcgi.Closed:
            pass
    assert fastcgi.ask(fpm.socket('shop'), QUERY_STRING='untouched').status == 200


def test_a_client_that_leaves_in_its_body_takes_nobody_along(fpm, apps):
    fpm.expect(r'error: \[group shop')
    fpm.start({'shop': {'script': str(apps / 'bodies.py'), 'processes': 1, 'threads': 1}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        params = fastcgi.environ('/', 'POST', 'by_read', CONTENT_LENGTH='1000')
        connection.send(fastcgi.request(params)[:-8] + fastcgi.record(fastcgi.STDIN, b'only this'))
    assert fastcgi.ask(fpm.socket('shop'), QUERY_STRING='untouched').status == 200


# Bytes that are no FastCGI, and lengths that lie ----------------------------------------------------------


def lie(pairs):
    return fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, pairs) + fastcgi.record(fastcgi.PARAMS)


HOSTILE = {
    'http': b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'zeros': bytes(64),
    'a wrong version': b'\x02' + REQUEST[1:],
    'a name of 2 GiB': lie(b'\xff\xff\xff\xff\x01' + b'x' * 100),
    'a value of 2 GiB': lie(b'\x01\xff\xff\xff\xff' + b'x' * 100),
    'a pair longer than its stream': lie(b'\x10\x70' + b'x' * 20),
    'half a pair': lie(b'\x10'),
    'parameters before the begin': fastcgi.stream(fastcgi.PARAMS, fastcgi.pair('A', 'b')),
    'a begin record that is too short': fastcgi.record(fastcgi.BEGIN_REQUEST, b'\0\1'),
    'parameters without end': fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, fastcgi.pair('A', 'b' * 60000)) * 10,
    'a thousand times a thousand parameters': fastcgi.begin() + fastcgi.record(
        fastcgi.PARAMS, fastcgi.pair('A', 'b') * 10000) * 3 + fastcgi.record(fastcgi.PARAMS)}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_bytes_end_that_connection_only(shop, name):
    with fastcgi.Connection(shop) as connection:
        try:
            connection.send(HOSTILE[name])
        except (BrokenPipeError, ConnectionResetError):
            return
        while connection.record() is not None:
            pass


def test_random_bytes_are_survived(shop):
    generator = random.Random(2026)
    for _ in range(300):
        with fastcgi.Connection(shop) as connection:
            data = bytearray(REQUEST if generator.random() < 0.7 else generator.randbytes(100))
            for _ in range(generator.randrange(1, 10)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            connection.send(data)
            connection.socket.shutdown(1)
            try:
                while connection.record() is not None:
                    pass
            except struct.error:
                pass


def test_lengths_that_lie_cost_no_memory(fpm, shop):
    pid, = fpm.workers('shop')

    def memory_kib():
        with open(f'/proc/{pid}/status') as f:
            return int(re.search(r'VmHWM:\s+(\d+) kB', f.read())[1])
    before = memory_kib()
    for name in ('a name of 2 GiB', 'a value of 2 GiB', 'parameters without end'):
        for _ in range(20):
            test_hostile_bytes_end_that_connection_only(shop, name)
    assert fastcgi.ask(shop).body == b'hello\n'
    assert memory_kib() - before < 8 * 1024


@pytest.mark.parametrize('length', ['-1', '1e3', '99999999999999999999', 'abc', '0x10', ''])
def test_a_content_length_that_is_none_does_no_harm(shop, length):
    with fastcgi.Connection(shop) as connection:
        connection.send(fastcgi.request(fastcgi.environ('/', 'POST', CONTENT_LENGTH=length), b'body'))
        try:
            connection.receive()
        except fastcgi.Closed:
            pass


def test_a_client_cannot_fill_the_log_with_lengths_that_are_none(fpm, shop):
    for _ in range(200):
        assert fastcgi.ask(shop, '/', 'POST', CONTENT_LENGTH='abc').status == 400
    lines = fpm.log.find('is no length: answered with 400$')
    assert 30 <= len(lines) <= 90  # 30 in 30 s


# What the specification says besides requests -----------------------------------------------------------


def test_get_values_is_answered(shop):
    wanted = b''.join(fastcgi.pair(name, '') for name in ('FCGI_MAX_CONNS', 'FCGI_MAX_REQS', 'FCGI_MPXS_CONNS'))
    with fastcgi.Connection(shop) as connection:
        connection.send(fastcgi.record(fastcgi.GET_VALUES, wanted, request_id=0))
        kind, request_id, content = connection.record()
        assert (kind, request_id) == (fastcgi.GET_VALUES_RESULT, 0)
        assert b'FCGI_MPXS_CONNS0' in content
        assert connection.ask(fastcgi.environ()).body == b'hello\n'


def test_an_unknown_management_record_is_answered(shop):
    with fastcgi.Connection(shop) as connection:
        connection.send(fastcgi.record(99, b'', request_id=0))
        kind, request_id, content = connection.record()
        assert (kind, request_id, content[0]) == (fastcgi.UNKNOWN_TYPE, 0, 99)


@pytest.mark.parametrize('role', [fastcgi.AUTHORIZER, fastcgi.FILTER, 77])
def test_another_role_is_refused_as_the_specification_says(shop, role):
    with fastcgi.Connection(shop) as connection:
        connection.send(fastcgi.request(fastcgi.environ(), role=role))
        answer = connection.receive()
        assert (answer.protocol_status, answer.stdout) == (fastcgi.UNKNOWN_ROLE, b'')


def test_padded_records_are_read(shop):
    params = b''.join(fastcgi.pair(*p) for p in fastcgi.environ().items())
    with fastcgi.Connection(shop) as connection:
        connection.send(fastcgi.begin() + fastcgi.record(fastcgi.PARAMS, params, padding=5)
                        + fastcgi.record(fastcgi.PARAMS) + fastcgi.record(fastcgi.STDIN))
        assert connection.receive().body == b'hello\n'


def test_parameters_split_in_the_middle_of_a_pair_are_read(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'paths.py')}})
    params = b''.join(fastcgi.pair(*p) for p in fastcgi.environ('/split/here').items())
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.send(fastcgi.begin() + b''.join(fastcgi.record(fastcgi.PARAMS, params[i:i + 3])
                                                   for i in range(0, len(params), 3))
                        + fastcgi.record(fastcgi.PARAMS) + fastcgi.record(fastcgi.STDIN))
        assert b'/split/here' in connection.receive().body


# Sizes ---------------------------------------------------------------------------------------------------


def environ_seen(fpm, apps, params):
    fpm.start({'shop': {'script': str(apps / 'about.py')}})
    return json.loads(fastcgi.ask(fpm.socket('shop'), **params).body)['environ']


def test_a_header_of_64_kib_arrives(fpm, apps):
    assert environ_seen(fpm, apps, {'HTTP_BIG': 'x' * 65536})['HTTP_BIG'] == 'x' * 65536


def test_a_thousand_parameters_arrive(fpm, apps):
    given = {f'HTTP_NUMBER_{i}': str(i) for i in range(1000)}
    seen = environ_seen(fpm, apps, given)
    assert {name: seen[name] for name in given} == given


@pytest.mark.parametrize('size', [126, 127, 128, 129, 255, 256, 65535])
def test_values_around_the_length_boundaries_arrive(fpm, apps, size):
    assert environ_seen(fpm, apps, {'HTTP_X': 'v' * size, 'HTTP_' + 'N' * 122: 'w'})['HTTP_X'] == 'v' * size


# TCP -----------------------------------------------------------------------------------------------------


def test_the_same_over_tcp(fpm, apps, web):
    port = free_port()
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'listen': f'127.0.0.1:{port}'}})
    assert fastcgi.ask(('127.0.0.1', port)).body == b'hello\n'
    assert web(f'127.0.0.1:{port}').ask('/').body == b'hello\n'


def test_small_pieces_do_not_wait_for_acknowledgements_over_tcp(fpm, folder):
    """The worker's end of the connection has TCP_NODELAY: the application looks."""
    script = folder / 'app.wsgi'
    script.write_text(textwrap.dedent("""
        import os, socket
        def options():
            for name in os.listdir('/proc/self/fd'):
                try:
                    connection = socket.socket(fileno=os.dup(int(name)))
                    connection.getpeername()
                    if connection.family == socket.AF_INET:
                        yield connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                except OSError:
                    pass
        def application(environ, start_response):
            start_response('200 OK', [])
            return [repr(list(options())).encode()]
    """))
    script.chmod(0o644)
    port = free_port()
    fpm.start({'shop': {'script': str(script), 'listen': f'127.0.0.1:{port}'}})
    assert fastcgi.ask(('127.0.0.1', port)).body == b'[1]'


@pytest.mark.skipif(not os.path.exists('/proc/net/if_inet6'), reason='no IPv6 here')
def test_the_same_over_ipv6(fpm, apps):
    port = free_port()
    fpm.start({'shop': {'script': str(apps / 'hello.py'), 'listen': f'[::1]:{port}'}})
    assert fastcgi.ask(('::1', port)).body == b'hello\n'
