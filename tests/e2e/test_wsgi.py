"""What PEP 3333 promises an application and its client, through nginx and lighttpd."""

import ast
import hashlib
import json
import os
import re
import socket
import textwrap
import threading

import pytest

import fastcgi
import pythons
from processes import wait_until
from pyfpm import IS_SANITIZED, output


def serve(fpm, apps, app, **keys):
    """One group that serves apps/APP.py; returns its socket."""
    fpm.start({'shop': {'script': str(apps / f'{app}.py'), **keys}})
    return fpm.socket('shop')


@pytest.fixture
def gate(folder):
    """A folder where an application and a test tell each other things."""
    made = folder / 'gate'
    made.mkdir()
    made.chmod(0o777)
    return made


# wsgiref.validate ---------------------------------------------------------------------------------------


def test_validated_applications_answer(fpm, apps, web):
    fpm.expect('a word for the log')
    server = web(serve(fpm, apps, 'validated'))
    for path, status, body in [('text', 200, b'text\n'), ('pieces', 200, b'one two three'),
                               ('write', 200, b'written twice and returned'), ('empty', 200, b''),
                               ('nothing', 204, b''), ('not_modified', 304, b''), ('created', 201, b'made'),
                               ('teapot', 418, b'tea'), ('file', 200, b'f' * 100000), ('errors', 200, b'said')]:
        answer = server.ask('/' + path)
        assert (path, answer.status, answer.body) == (path, status, body)
    assert server.ask('/created').header('Location') == ['/made']
    fpm.log.wait_for(r'error: \[group shop pid \d+\] a word for the log$')
    fpm.log.wait_for(r'error: \[group shop pid \d+\] two pieces$')


def test_validated_applications_read_bodies(fpm, apps, web):
    server = web(serve(fpm, apps, 'validated'))
    assert server.ask('/echo', 'POST', b'some\nlines\n').body == b'some\nlines\n'
    assert server.ask('/echo', 'POST', b'').body == b''
    assert server.ask('/echo', 'PUT', b'z' * 300000).body == b'z' * 300000
    assert server.ask('/lines', 'POST', b'a\nb\nc').body == b'3'


def test_head_has_the_headers_and_no_body(fpm, apps, web):
    address = serve(fpm, apps, 'validated')
    answer = web(address).ask('/text', 'HEAD')
    assert (answer.status, answer.body, answer.header('Content-Length')) == (200, b'', ['5'])
    direct = fastcgi.ask(address, '/text', 'HEAD')
    assert direct.body == b''


def test_statuses_without_a_body_have_none(fpm, apps):
    address = serve(fpm, apps, 'validated')
    for path, status in [('/nothing', 204), ('/not_modified', 304)]:
        answer = fastcgi.ask(address, path)
        assert (answer.status, answer.body) == (status, b'')


def test_reason_phrase_arrives_whole(fpm, apps, nginx):
    """lighttpd puts its own in place of any."""
    assert nginx(serve(fpm, apps, 'validated')).ask('/teapot').reason == "I'm a teapot, short and stout"


def test_repeated_headers_all_arrive_in_order(fpm, apps, web):
    answer = web(serve(fpm, apps, 'validated')).ask('/twice')
    assert answer.header('Set-Cookie') == ['a=1; Path=/', 'b=2; Path=/']
    assert ', '.join(answer.header('X-Twice')) == 'first, second'


# SCRIPT_NAME and PATH_INFO ------------------------------------------------------------------------------


PATHS = [('/', ('', '/', '')), ('/a/b?x=1&y=2', ('', '/a/b', 'x=1&y=2')), ('/a/', ('', '/a/', '')),
         ('/sm%C3%B8r/%E2%82%AC', ('', '/smør/€', '')), ('/a%20b', ('', '/a b', ''))]


def paths_of(server, path):
    return ast.literal_eval(server.ask(path).body.decode())[:3]


def test_paths_are_right_with_the_examples(fpm, apps, web):
    server = web(serve(fpm, apps, 'paths'))
    for path, expected in PATHS:
        assert paths_of(server, path) == expected


def test_paths_are_right_with_stock_fastcgi_params(fpm, apps, nginx):
    server = nginx(serve(fpm, apps, 'paths'),
                   edit=lambda text: text.replace('pyfpm_params', '/etc/nginx/fastcgi_params'))
    for path, expected in PATHS:
        assert paths_of(server, path) == expected


def test_a_prefix_given_as_script_name_stays(fpm, apps):
    address = serve(fpm, apps, 'paths')
    answer = fastcgi.ask(address, '/page', SCRIPT_NAME='/shop', REQUEST_URI='/shop/page')
    assert ast.literal_eval(answer.body.decode())[:2] == ('/shop', '/page')


def test_a_mount_as_in_the_example_splits_the_path(fpm, apps, nginx):
    """The location that packaging/examples/nginx.conf shows commented out."""
    address = serve(fpm, apps, 'paths')
    mount = ('location /wiki/ { include pyfpm_params; fastcgi_param SCRIPT_NAME /wiki; fastcgi_keep_conn on;'
             f' fastcgi_pass unix:{address}; }}\n\n    location / {{')
    server = nginx(address, edit=lambda text: text.replace('location / {', mount, 1))
    assert paths_of(server, '/wiki/page')[:2] == ('/wiki', '/page')
    assert paths_of(server, '/wiki/')[:2] == ('/wiki', '/')
    assert paths_of(server, '/page')[:2] == ('', '/page')


# environ --------------------------------------------------------------------------------------------------


def environ_of(server, *arguments, **more):
    return json.loads(server.ask(*arguments, **more).body)['environ']


def test_environ_says_what_the_request_was(fpm, apps, web):
    server = web(serve(fpm, apps, 'about', processes=2, threads=3))
    environ = environ_of(server, '/p?q=1', 'POST', b'12345', headers={
        'Content-Type': 'text/x-thing', 'X-Own-Header': 'yes', 'Cookie': 'a=b', 'Host': 'shop.example'})
    assert environ['REQUEST_METHOD'] == 'POST'
    assert environ['CONTENT_TYPE'] == 'text/x-thing'
    assert environ['CONTENT_LENGTH'] == '5'
    assert environ['HTTP_X_OWN_HEADER'] == 'yes'
    assert environ['HTTP_COOKIE'] == 'a=b'
    assert environ['HTTP_HOST'] == 'shop.example'
    assert environ['SERVER_PORT'] == str(server.port)
    assert environ['REMOTE_ADDR'] == '127.0.0.1'
    assert environ['wsgi.url_scheme'] == 'http'
    assert environ['wsgi.version'] == [1, 0]
    assert (environ['wsgi.multithread'], environ['wsgi.multiprocess'], environ['wsgi.run_once']) == (True, True, False)
    assert 'HTTP_CONTENT_TYPE' not in environ and 'HTTP_CONTENT_LENGTH' not in environ


def test_one_process_with_one_thread_says_so(fpm, apps, nginx):
    environ = environ_of(nginx(serve(fpm, apps, 'about', processes=1, threads=1)), '/')
    assert (environ['wsgi.multithread'], environ['wsgi.multiprocess']) == (False, False)


@pytest.mark.parametrize('given, scheme', [({}, 'http'), ({'HTTPS': 'on'}, 'https'), ({'HTTPS': 'off'}, 'http'),
                                           ({'REQUEST_SCHEME': 'https'}, 'https'), ({'HTTPS': ''}, 'http')])
def test_url_scheme_follows_https_and_request_scheme(fpm, apps, given, scheme):
    address = serve(fpm, apps, 'about')
    assert json.loads(fastcgi.ask(address, **given).body)['environ']['wsgi.url_scheme'] == scheme


def test_the_last_of_a_repeated_parameter_wins(fpm, apps):
    address = serve(fpm, apps, 'about')
    with fastcgi.Connection(address) as connection:
        answer = connection.ask([*fastcgi.environ().items(), ('HTTP_X_A', 'one'), ('HTTP_X_A', 'two')])
    assert json.loads(answer.body)['environ']['HTTP_X_A'] == 'two'


def test_header_bytes_reach_environ_as_latin_1(fpm, apps):
    address = serve(fpm, apps, 'about')
    environ = json.loads(fastcgi.ask(address, HTTP_X_A=b'\xc3\xa9\xff').body)['environ']
    assert environ['HTTP_X_A'].encode('latin-1') == b'\xc3\xa9\xff'


# wsgi.input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('way, expected', [
    ('by_read', (b'one\ntwo\nend', b'', b'')),
    ('by_read_size', (b'one', b'', b'\ntwo\nend', b'')),
    ('by_read_negative', (b'one\ntwo\nend', b'')),
    ('by_readline', (b'one\n', b'two\n', b'end', b'')),
    ('by_readline_size', (b'on', b'e\n', b'', b'two\n')),
    ('by_readlines', ([b'one\n', b'two\n', b'end'], [])),
    ('by_readlines_hint', ([b'one\n'], [b'two\n', b'end'])),
    ('by_iteration', ([b'one\n', b'two\n', b'end'], [])),
    ('by_mixture', (b'one\n', b't', b'wo\n', b'end')),
    ('untouched', ())])
def test_every_way_of_reading_the_body(fpm, apps, way, expected):
    address = serve(fpm, apps, 'bodies')
    params = fastcgi.environ('/', 'POST', way, b'one\ntwo\nend')
    with fastcgi.Connection(address) as connection:
        for _ in range(2):  # the second request finds the kept connection where it belongs
            answer = connection.ask(params, b'one\ntwo\nend', keep=True)
            assert ast.literal_eval(answer.body.decode()) == (expected, True)


def test_input_ends_at_content_length(fpm, apps):
    address = serve(fpm, apps, 'bodies')
    with fastcgi.Connection(address) as connection:
        answer = connection.ask(fastcgi.environ('/', 'POST', 'by_read', b'12345'), b'12345 and more')
    assert ast.literal_eval(answer.body.decode())[0] == (b'12345', b'', b'')


def test_a_body_without_content_length_is_read_to_its_end(fpm, apps):
    address = serve(fpm, apps, 'bodies')
    with fastcgi.Connection(address) as connection:
        answer = connection.ask(fastcgi.environ('/', 'POST', 'by_read'), b'chunked by the client')
    assert ast.literal_eval(answer.body.decode())[0] == (b'chunked by the client', b'', b'')


def test_a_chunked_upload_arrives(fpm, apps, web):
    server = web(serve(fpm, apps, 'hashes'))
    pieces = [b'a' * 1000, b'b' * 70000, b'c']
    connection = server.connect()
    connection.request('POST', '/', iter(pieces), {'Transfer-Encoding': 'chunked'}, encode_chunked=True)
    body = connection.getresponse().read()
    connection.close()
    assert body.decode() == f'71001 {hashlib.sha256(b"".join(pieces)).hexdigest()}'


# What is wrong with an application ----------------------------------------------------------------------


SENTENCE = r'error: \[group shop pid \d+'


@pytest.mark.parametrize('path', [
    'raises', 'raises_after_start', 'returns_none', 'returns_str', 'returns_int', 'yields_str', 'never_starts',
    'starts_twice', 'bad_status', 'status_number', 'status_injection', 'header_injection', 'header_nul',
    'header_name_injection', 'header_not_latin', 'header_bytes', 'header_not_pairs', 'headers_none', 'hop_by_hop',
    'exits', 'interrupts'])
def test_a_wrong_application_is_a_500_and_a_line_in_the_log(fpm, apps, path):
    fpm.expect(SENTENCE)
    address = serve(fpm, apps, 'wrong')
    pid = fpm.workers('shop')
    since = fpm.log.position()
    answer = fastcgi.ask(address, '/' + path)
    assert answer.status == 500
    assert b'Traceback' not in answer.stdout and b'ZeroDivision' not in answer.stdout
    assert b'X-Injected' not in answer.stdout
    fpm.log.wait_for(SENTENCE, since)
    assert fastcgi.ask(address, '/starts_twice_properly').status == 503
    assert fpm.workers('shop') == pid


def test_an_exception_before_the_headers_has_its_traceback_in_the_log(fpm, apps, web):
    fpm.expect('ZeroDivisionError')
    server = web(serve(fpm, apps, 'wrong'))
    answer = server.ask('/raises')
    assert answer.status == 500 and b'ZeroDivision' not in answer.body
    fpm.log.wait_for(SENTENCE + r'\] +File ".*wrong\.py", line \d+, in raises')
    fpm.log.wait_for(SENTENCE + r'\] ZeroDivisionError: before the headers')


def test_an_exception_after_the_headers_cuts_the_response(fpm, apps, nginx):
    fpm.expect('ZeroDivisionError')
    address = serve(fpm, apps, 'wrong')
    with pytest.raises(fastcgi.Closed) as closed:
        fastcgi.ask(address, '/raises_in_iterator')
    assert closed.value.response.body == b'a piece that is out'
    server = nginx(address)
    with pytest.raises(Exception, match='IncompleteRead|closed connection'):
        server.ask('/raises_in_iterator')
    fpm.log.wait_for(output('shop', 'closed the broken one'), count=2)
    fpm.log.wait_for('ZeroDivisionError: in the middle', count=2)


def test_an_exception_in_close_is_logged_and_the_next_request_is_served(fpm, apps):
    fpm.expect('ZeroDivisionError: in close')
    address = serve(fpm, apps, 'wrong')
    try:
        assert fastcgi.ask(address, '/raises_in_close').body == b'whole'
    except fastcgi.Closed:
        pass
    fpm.log.wait_for('ZeroDivisionError: in close')
    assert fastcgi.ask(address, '/starts_twice_properly').body == b'replaced'


def test_exc_info_after_the_headers_raises_and_cuts(fpm, apps):
    fpm.expect('too late to replace')
    address = serve(fpm, apps, 'wrong')
    with pytest.raises(fastcgi.Closed) as closed:
        fastcgi.ask(address, '/exc_info_too_late')
    assert closed.value.response.body == b'x' * 100


def test_a_response_shorter_than_its_content_length_is_cut(fpm, apps):
    fpm.expect(SENTENCE)
    address = serve(fpm, apps, 'wrong')
    try:
        answer = fastcgi.ask(address, '/too_short')
        assert answer.status == 500  # nothing had to be sent yet
    except fastcgi.Closed:
        pass
    fpm.log.wait_for(SENTENCE)


def test_a_response_longer_than_its_content_length_stops_there(fpm, apps):
    fpm.expect(SENTENCE)
    address = serve(fpm, apps, 'wrong')
    try:
        answer = fastcgi.ask(address, '/too_long')
        assert answer.status == 500 or answer.body == b'four'
    except fastcgi.Closed as closed:
        assert closed.response.body in (b'', b'four')
    fpm.log.wait_for(SENTENCE)


def test_bare_bytes_are_sent_whole_with_one_warning(fpm, apps):
    address = serve(fpm, apps, 'wrong', processes=1)
    assert fastcgi.ask(address, '/returns_bytes').body == b'bare bytes'
    assert fastcgi.ask(address, '/returns_bytes').body == b'bare bytes'
    fpm.log.wait_for(r'warning: \[group shop pid \d+\].*bytes')
    assert len(fpm.log.find(r'warning: \[group shop pid \d+\].*bytes')) == 1


# Streaming and vanished clients ---------------------------------------------------------------------------


def test_each_yield_reaches_the_client_before_the_next(fpm, apps, web, gate):
    server = web(serve(fpm, apps, 'streaming', env={'GATE': str(gate)}))
    with socket.create_connection(('127.0.0.1', server.port), 30) as client:
        client.sendall(b'GET /?x HTTP/1.0\r\nHost: localhost\r\n\r\n')
        received = b''
        for number in (1, 2, 3):
            while f'piece {number}\n'.encode() not in received:
                piece = client.recv(65536)
                assert piece, received
                received += piece
            assert f'piece {number + 1}'.encode() not in received
            (gate / f'x.{number}').touch()
    fpm.log.wait_for(output('shop', 'closed'))


def test_each_yield_is_a_record_of_its_own(fpm, apps, gate):
    address = serve(fpm, apps, 'streaming', env={'GATE': str(gate)})
    seen = []

    def on_piece(piece):
        seen.append(piece)
        if b'piece' in piece:
            (gate / f'x.{sum(b"piece" in p for p in seen)}').touch()

    with fastcgi.Connection(address) as connection:
        connection.send(fastcgi.request(fastcgi.environ(query='x')))
        connection.receive(on_piece)
    assert b''.join(seen).partition(b'\r\n\r\n')[2] == b'piece 1\npiece 2\npiece 3\n'


def test_a_vanished_client_ends_the_response_and_close_is_called(fpm, apps):
    address = serve(fpm, apps, 'endless', processes=1, threads=1)
    with fastcgi.Connection(address) as connection:
        connection.send(fastcgi.request(fastcgi.environ()))
        connection.record()
    fpm.log.wait_for(output('shop', 'closed endless'))
    assert fastcgi.ask(address, '/hello').body == b'hello'


@pytest.mark.parametrize('passed_on', [True, False])
def test_only_the_exception_of_a_vanished_client_goes_without_a_traceback(fpm, folder, passed_on):
    """An application may meet another broken connection while it cleans up."""
    script = folder / 'app.wsgi'
    script.write_text(textwrap.dedent(f"""
        def application(environ, start_response):
            try:
                environ['wsgi.input'].read()
            except ConnectionError:
                if {passed_on}:
                    raise
            raise ConnectionRefusedError('the database is not there')
    """))
    script.chmod(0o644)
    fpm.expect('the application raised an exception')
    fpm.start({'shop': {'script': str(script)}})
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        connection.send(fastcgi.request(fastcgi.environ('/', 'POST', CONTENT_LENGTH='10'))[:-8])
    if passed_on:
        fpm.log.wait_for('notice: .* the client went away during the request')
    else:
        fpm.log.wait_for('ConnectionRefusedError: the database is not there')
    assert bool(fpm.log.find('Traceback')) != passed_on


def test_a_client_that_vanishes_from_the_web_server_ends_the_response(fpm, apps, web):
    server = web(serve(fpm, apps, 'endless', processes=1, threads=1))
    connection = server.connect()
    connection.request('GET', '/')
    connection.getresponse().read(100000)
    connection.close()
    fpm.log.wait_for(output('shop', 'closed endless'))
    assert server.ask('/hello').body == b'hello'


def test_a_client_that_does_not_read_is_bounded_by_io_timeout(fpm, apps):
    address = serve(fpm, apps, 'endless', processes=1, threads=1, io_timeout='300ms')
    with fastcgi.Connection(address) as connection:
        connection.send(fastcgi.request(fastcgi.environ()))
        fpm.log.wait_for(output('shop', 'closed endless'))
    assert fastcgi.ask(address, '/hello').body == b'hello'


def test_a_small_body_returned_while_a_thread_is_in_write_comes_after_what_that_writes(fpm, apps, folder):
    address = serve(fpm, apps, 'writers', processes=1, threads=1, env={'GATE': str(folder / 'go')})
    with fastcgi.Connection(address) as connection:
        connection.send(fastcgi.request(fastcgi.environ()))
        connection.socket.recv(1, socket.MSG_PEEK)  # write() is sending, and waits for whoever reads
        (folder / 'go').touch()
        body = connection.receive().body
    assert body == b'w' * 3_000_000 + b'r' * 16_000


# Files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(folder):
    made = folder / 'file.bin'
    made.write_bytes(bytes(range(256)) * 4000)
    made.chmod(0o644)
    return made


@pytest.mark.parametrize('path, expected', [
    ('whole', lambda data: data), ('with_length', lambda data: data), ('from_the_middle', lambda data: data[1000:]),
    ('a_part', lambda data: data[10:110]), ('written_to', lambda data: b'NEW!' + data[4:]),
    ('not_a_file', lambda data: data), ('wrapped_again', lambda data: data.upper())])
def test_file_wrapper_sends(fpm, apps, web, file, path, expected):
    server = web(serve(fpm, apps, 'files', env={'FILE': str(file)}))
    assert server.ask('/' + path).body == expected(file.read_bytes())
    if path == 'not_a_file':
        fpm.log.wait_for(output('shop', 'closed the reader'))


def test_a_file_that_is_not_open_for_reading_is_an_exception_of_the_application(fpm, apps, file):
    fpm.expect('raised an exception')
    address = serve(fpm, apps, 'files', env={'FILE': str(file)})
    assert fastcgi.ask(address, '/write_only').status == 500
    fpm.log.wait_for('UnsupportedOperation: File not open for reading')
    assert not fpm.log.find('client went away')


def test_a_file_that_shrinks_while_it_is_sent_is_not_blamed_on_the_client(fpm, apps, file):
    file.write_bytes(bytes(8_000_000))
    fpm.expect('could not be read to its end')
    address = serve(fpm, apps, 'files', env={'FILE': str(file)})
    with fastcgi.Connection(address) as connection:
        connection.send(fastcgi.request(fastcgi.environ('/whole')))
        connection.socket.recv(1, socket.MSG_PEEK)  # the rest waits for whoever reads
        os.truncate(file, 1000)
        with pytest.raises(fastcgi.Closed):
            connection.receive()
    fpm.log.wait_for('error: .* /whole: the file could not be read to its end, or shrank meanwhile; the response is cut')
    assert not fpm.log.find('client went away|Content-Length')


def test_head_of_a_file_has_no_body(fpm, apps, file):
    address = serve(fpm, apps, 'files', env={'FILE': str(file)})
    answer = fastcgi.ask(address, '/with_length', 'HEAD')
    assert (answer.body, dict(answer.headers)['Content-Length']) == (b'', str(file.stat().st_size))


# Large bodies --------------------------------------------------------------------------------------------


def peak_memory_kib(pid):
    with open(f'/proc/{pid}/status') as f:
        return int(re.search(r'VmHWM:\s+(\d+) kB', f.read())[1])


def test_large_bodies_pass_without_being_held_in_memory(fpm, apps, web):
    server = web(serve(fpm, apps, 'hashes', processes=1))
    size = 100 * 1024 * 1024
    pid, = fpm.workers('shop')
    before = peak_memory_kib(pid)
    block = bytes(range(256)) * 4096
    answer = server.ask('/', 'POST', (block for _ in range(size // len(block))), {'Content-Length': str(size)})
    digest = hashlib.sha256()
    for _ in range(size // len(block)):
        digest.update(block)
    assert answer.body.decode() == f'{size} {digest.hexdigest()}'

    connection = server.connect()
    connection.request('GET', f'/{size}')
    response = connection.getresponse()
    digest, received = hashlib.sha256(), 0
    while piece := response.read(1 << 20):
        digest.update(piece)
        received += len(piece)
    connection.close()
    assert (received, digest.hexdigest()) == (size, response.getheader('X-Hash'))
    if not IS_SANITIZED:  # a sanitizer keeps what was freed
        assert peak_memory_kib(pid) - before < 20 * 1024


def test_an_application_that_does_not_read_a_large_body_is_heard_all_the_same(fpm, apps, web):
    """A refused upload: the web server is still sending when the answer comes."""
    server = web(serve(fpm, apps, 'validated', processes=1))
    for size in (10_000, 100_000, 5_000_000):
        for _ in range(5):
            answer = server.ask('/text', 'POST', b'b' * size)
            assert (size, answer.status, answer.body) == (size, 200, b'text\n')


# Threads --------------------------------------------------------------------------------------------------


def test_threads_and_processes_serve_at_once(fpm, apps):
    address = serve(fpm, apps, 'threads', processes=1, threads=4, env={'MEETING': '4'})
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(fastcgi.ask(address).body.split())) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len({answer[0] for answer in answers}) == 1
    assert len({answer[1] for answer in answers}) == 4


# How an application is named -----------------------------------------------------------------------------


@pytest.mark.parametrize('keys, body', [
    ({'application': 'factory:make()'}, b'made by a factory'),
    ({'application': 'factory:other_name'}, b'under another name'),
    ({'application': 'factory:Holder.app'}, b'found in a class'),
    ({'script': 'factory.py', 'callable': 'other_name'}, b'under another name')])
def test_an_application_is_found_by_its_name(fpm, apps, keys, body):
    if 'script' in keys:
        keys = {**keys, 'script': str(apps / keys['script'])}
    fpm.start({'shop': {'python_path': [str(apps)], **keys}})
    assert fastcgi.ask(fpm.socket('shop')).body == body


def test_every_host_serves(fpm, apps):
    """One group per Python that this build has, all in one supervisor."""
    versions = [v for v in pythons.hosts() if pythons.interpreter(v)]
    fpm.start({f'v{v}': {'script': str(apps / 'about.py'), 'python_version': v, 'processes': 1,
                         **pythons.identity(pythons.interpreter(v))} for v in versions})
    for version in versions:
        about = json.loads(fastcgi.ask(fpm.socket(f'v{version}')).body)
        assert about['version'] == version.rstrip('t')
    wait_until(lambda: len(fpm.hosts()) == 2 * len(versions), 'a template and a worker for each')
