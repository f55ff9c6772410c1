"""script-root: the web server's SCRIPT_FILENAME picks the script, and nothing outside the roots is ever one."""

import json
import os
import pathlib
import re
import shutil
import socket
import threading

import pytest

import fastcgi
from load import Load
from processes import is_alive, wait_until
from pyfpm import output
from webserver import EXAMPLES

REPLACED = r'notice: \[group site\] worker \d+ is being replaced: the script .* has changed'

SCRIPT = '''
import json, os, sys, time
VERSION = %r

def application(environ, start_response):
    if 'HOLD' in environ:
        print('held', flush=True)
        while os.path.exists(environ['HOLD']):
            time.sleep(0.005)
    body = json.dumps({'version': VERSION, 'pid': os.getpid(), 'module': __name__, 'file': __file__,
                       'script_name': environ['SCRIPT_NAME'], 'path_info': environ['PATH_INFO'],
                       'scripts': sum(name.startswith('_pyfpm_script_') for name in sys.modules)}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
'''


class Site:
    """A folder of scripts, and a group that serves it."""

    def __init__(self, fpm, folder):
        self.fpm = fpm
        self.root = folder / 'site'
        self.root.mkdir()
        self.root.chmod(0o755)

    def path(self, name):
        return f'{self.root}/{name}'

    def write(self, name, text=None, version='1'):
        """Puts a script in place in one step, as a deployment does."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name('new')
        new.write_text(SCRIPT % version if text is None else text, encoding='utf-8')
        new.chmod(0o644)
        new.rename(path)
        return path

    def start(self, **keys):
        self.fpm.start({'site': {'script-root': [str(self.root)], **keys}})
        return self

    def ask(self, filename, **params):
        """Straight over FastCGI; filename is the whole SCRIPT_FILENAME, or a name in the folder."""
        if isinstance(filename, str) and not filename.startswith('/'):
            filename = self.path(filename)
        return fastcgi.ask(self.fpm.socket('site'), SCRIPT_FILENAME=filename,
                           **{'SCRIPT_NAME': '/s', 'PATH_INFO': '', **params})

    def about(self, name, **params):
        answer = self.ask(name, **params)
        assert answer.status == 200, (answer.stdout, self.fpm.log.text()[-3000:])
        return json.loads(answer.body)

    def about_from_each_worker(self, name, count):
        """With one thread per process: that many requests at once, each held until all have come to one."""
        hold = self.root / 'hold'
        hold.touch()
        params = {'SCRIPT_FILENAME': self.path(name), 'HOLD': str(hold)}
        since = self.fpm.log.position()
        connections = [fastcgi.Connection(self.fpm.socket('site')) for _ in range(count)]
        for connection in connections:
            connection.send(fastcgi.request(fastcgi.environ(**params)))
        self.fpm.log.wait_for(output('site', 'held'), since, count)
        hold.unlink()
        answers = [json.loads(connection.receive().body) for connection in connections]
        for connection in connections:
            connection.close()
        assert len({about['pid'] for about in answers}) == count
        return answers


@pytest.fixture
def site(fpm, folder):
    return Site(fpm, folder)


def nginx_for(site, nginx, edit=lambda text: text):
    """An nginx on the shipped example, with this folder and this socket."""
    def take_example(text):
        listen = re.search(r'listen [^;]*;', text)[0]
        example = (EXAMPLES / 'nginx-scripts.conf').read_text()
        for old, new in (('listen 80;', listen), ('/srv/scripts;', f'{site.root};'),
                         ('/run/pyfpm/scripts.sock', site.fpm.socket('site'))):
            assert old in example
            example = example.replace(old, new)
        return edit(example)
    return nginx(site.fpm.socket('site'), edit=take_example)


# Which script, and the path inside it ---------------------------------------------------------------------

PATHS = [('/hello.wsgi', '/hello.wsgi', ''), ('/hello.wsgi/', '/hello.wsgi', '/'),
         ('/hello.wsgi/a/b', '/hello.wsgi', '/a/b'), ('/hello.wsgi?x=/y', '/hello.wsgi', ''),
         ('/hello.wsgi/%C3%A9%20x', '/hello.wsgi', '/\xc3\xa9 x'), ('/sub/hello.wsgi/x', '/sub/hello.wsgi', '/x'),
         ('/sub/other.py/x.py/y', '/sub/other.py', '/x.py/y')]


@pytest.mark.parametrize('splits', ['nginx splits PATH_INFO', 'nginx does not', 'stock fastcgi_params'])
def test_nginx_names_the_script_and_the_path_in_it(site, nginx, splits):
    for name in ('hello.wsgi', 'sub/hello.wsgi', 'sub/other.py'):
        site.write(name, version=name)
    site.start()

    def edit(text):
        if splits != 'nginx splits PATH_INFO':
            text = re.sub('fastcgi_split_path_info.*', '', text)
        if splits == 'stock fastcgi_params':
            text = re.sub('fastcgi_param PATH_INFO.*', '', text)
            text = text.replace('include pyfpm_params;', 'include /etc/nginx/fastcgi_params;')
        return text
    server = nginx_for(site, nginx, edit)
    for url, script_name, path_info in PATHS:
        answer = server.ask(url)
        assert answer.status == 200, (url, answer.body)
        about = json.loads(answer.body)
        assert (about['script_name'], about['path_info']) == (script_name, path_info), url
        assert about['version'] == script_name[1:]
        assert about['file'] == site.path(script_name[1:])


def test_lighttpd_names_the_script_and_the_path_in_it(site, lighttpd):
    for name in ('hello.wsgi', 'sub/hello.wsgi', 'sub/other.py'):
        site.write(name, version=name)
    site.start()
    backend = f'(( "socket" => "{site.fpm.socket("site")}" ))'
    server = lighttpd(site.fpm.socket('site'), edit=lambda _: (
        f'server.modules += ( "mod_fastcgi" )\nserver.document-root := "{site.root}"\n'
        f'fastcgi.server = ( ".wsgi" => {backend}, ".py" => {backend} )\n'))
    for url, script_name, path_info in PATHS:
        answer = server.ask(url)
        assert answer.status == 200, (url, answer.body)
        about = json.loads(answer.body)
        assert (about['script_name'], about['path_info']) == (script_name, path_info), url
        assert about['file'] == site.path(script_name[1:])


def test_what_the_web_server_sends_as_path_is_kept(site):
    """A script behind a prefix or a rewrite: SCRIPT_NAME is the web server's word."""
    site.write('hello.wsgi')
    site.start()
    for params, expected in [({'SCRIPT_NAME': '/wiki', 'PATH_INFO': '/x'}, ('/wiki', '/x')),
                             ({'SCRIPT_NAME': '', 'PATH_INFO': '/x', 'REQUEST_URI': '/x'}, ('', '/x')),
                             ({'SCRIPT_NAME': '/a/b', 'REQUEST_URI': '/a/b', 'DOCUMENT_URI': '/a/b'}, ('/a/b', ''))]:
        about = site.about('hello.wsgi', **params)
        assert (about['script_name'], about['path_info']) == expected
    about = site.about('hello.wsgi/more', SCRIPT_NAME='/x/hello.wsgi/more', PATH_INFO='')
    assert (about['script_name'], about['path_info']) == ('/x/hello.wsgi', '/more')


def test_scripts_of_one_name_are_two_modules_of_the_same_name_in_every_worker(site):
    site.write('a/app.wsgi', version='a')
    site.write('b/app.wsgi', version='b')
    site.start(processes=2)
    a, b = ({about['module'] for about in site.about_from_each_worker(name, 2)}
            for name in ('a/app.wsgi', 'b/app.wsgi'))
    assert len(a) == len(b) == 1 and a != b


def test_a_name_need_not_be_utf8(site):
    site.start()
    path = os.fsencode(site.root) + b'/caf\xe9.wsgi'
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    with open(path, 'w', encoding='utf-8') as f:
        f.write(SCRIPT % '1')
    os.chmod(path, 0o644)
    about = site.about(path)
    assert about['file'] == site.path('caf\udce9.wsgi')
    os.unlink(path)
    since = site.fpm.log.position()
    assert site.ask(path).status == 404
    site.fpm.log.wait_for('there is no file', since)


# What is refused ------------------------------------------------------------------------------------------

def test_whatever_is_no_script_in_a_root_is_404_with_a_line_that_says_why(site, folder):
    site.write('hello.wsgi')
    (site.root / 'data.txt').write_text('x')
    (site.root / 'hello.wsgi.bak').write_text('x')
    (site.root / 'folder.wsgi').mkdir()
    outside = folder / 'site-b'  # begins as the root does
    outside.mkdir()
    (outside / 'secret.wsgi').write_text(SCRIPT % 'outside')
    (site.root / 'out.wsgi').symlink_to(outside / 'secret.wsgi')
    (site.root / 'door').symlink_to(outside)
    (site.root / 'text.wsgi').symlink_to(site.root / 'data.txt')
    os.mkfifo(site.root / 'pipe.wsgi')
    (site.root / 'zero.wsgi').symlink_to('/dev/zero')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(site.path('socket.wsgi'))
    site.start(processes=1)
    worker = site.about('hello.wsgi')['pid']
    for filename, why in [
            (site.path('../site/hello.wsgi'), r'has a "\.\." in it'),
            (site.path('hello.wsgi/../../../etc/passwd'), r'has a "\.\." in it'),
            (site.path('../site-b/secret.wsgi'), r'has a "\.\." in it'),
            (f'{outside}/secret.wsgi', 'lies in no folder of script-root'),
            ('/etc/passwd', 'lies in no folder of script-root'),
            ('/dev/zero', 'no regular file'),
            (site.path('out.wsgi'), 'leads to .*site-b/secret.wsgi, which lies in no folder of script-root'),
            (site.path('door/secret.wsgi'), 'leads to .*site-b/secret.wsgi'),
            (site.path('text.wsgi'), 'ends neither in .wsgi nor in .py'),
            (site.path('data.txt'), 'ends neither in .wsgi nor in .py'),
            (site.path('hello.wsgi.bak'), 'ends neither in .wsgi nor in .py'),
            (site.path('folder.wsgi'), 'is a folder'),
            (site.path(''), 'is a folder'),
            (site.path('pipe.wsgi'), 'no regular file'),
            (site.path('zero.wsgi'), 'no regular file'),
            (site.path('socket.wsgi'), 'no regular file'),
            (site.path('none.wsgi'), 'there is no file'),
            (site.path('hello.wsgi%00.txt'), 'there is no file'),
            (site.path('x' * 100000), 'there is no file'),
            (site.path('x/' * 50000), 'there is no file'),
            ('hello.wsgi\nforged', 'hello.wsgi.forged" is no absolute path'),
            ('proxy:fcgi://localhost/' + site.path('hello.wsgi'), 'no absolute path'),
            ('', 'sends no SCRIPT_FILENAME')]:
        since = site.fpm.log.position()
        answer = fastcgi.ask(site.fpm.socket('site'), SCRIPT_FILENAME=filename)
        assert (answer.status, answer.body) == (404, b'Not Found\n'), filename
        site.fpm.log.wait_for('warning: ', since)
        line, = site.fpm.log.find('warning: .*', since)
        assert re.search(f'GET /: .*{why}.*: answered with 404$', line[0]), filename
    os.unlink(site.path('socket.wsgi'))
    assert site.about('hello.wsgi')['pid'] == worker


def test_a_client_cannot_fill_the_log_with_scripts_that_do_not_exist(site):
    site.write('hello.wsgi')
    site.start(processes=1)
    for number in range(200):
        assert site.ask(f'{number}.wsgi').status == 404
    assert 30 <= len(site.fpm.log.find('there is no file')) <= 90  # 30 in 30 s


def test_without_script_filename_the_log_says_what_nginx_needs(site, nginx):
    site.write('hello.wsgi')
    site.start()
    server = nginx_for(site, nginx, lambda text: re.sub('fastcgi_param SCRIPT_FILENAME.*', '', text))
    assert server.ask('/hello.wsgi').status == 404
    site.fpm.log.wait_for(r'fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;')


def test_a_nul_ends_the_connection_and_cuts_nothing(site):
    site.write('hello.wsgi')
    site.start()
    with fastcgi.Connection(site.fpm.socket('site')) as connection:
        connection.send(fastcgi.request(fastcgi.environ(SCRIPT_FILENAME=site.path('hello.wsgi') + '\0.txt')))
        assert connection.is_closed()
    assert site.about('hello.wsgi')['version'] == '1'


def test_nginx_does_not_let_a_client_out_of_the_root(site, nginx, folder):
    site.write('hello.wsgi')
    outside = folder / 'outside.wsgi'
    outside.write_text(SCRIPT % 'outside')
    site.start()
    server = nginx_for(site, nginx)
    for url in ('/../outside.wsgi', '/%2e%2e/outside.wsgi', '/x/..%2f..%2foutside.wsgi', '/hello.wsgi%00.py',
                '/hello.wsgi/../../outside.wsgi', '/.%2e/outside.wsgi'):
        answer = server.raw(f'GET {url} HTTP/1.0\r\n\r\n'.encode())
        assert b'"outside"' not in answer and answer.split()[1] in (b'400', b'404'), (url, answer)


def test_a_file_that_the_user_may_not_read_is_404(site):
    if os.geteuid() != 0:
        pytest.skip('an ordinary user reads all of its own files')
    site.write('hello.wsgi').chmod(0o600)
    site.start()
    assert site.ask('hello.wsgi').status == 404
    site.fpm.log.wait_for("the group's user cannot read .*hello.wsgi")


def test_links_inside_the_root_lead_to_one_module(site):
    site.write('hello.wsgi')
    (site.root / 'link.wsgi').symlink_to('hello.wsgi')
    (site.root / 'plain').symlink_to('hello.wsgi')
    site.start(processes=1)
    assert len({site.about(name)['module'] for name in ('hello.wsgi', 'link.wsgi', 'plain', 'plain/x')}) == 1


# Running a script -----------------------------------------------------------------------------------------

COUNTS_ITS_RUNS = '''
import os, time
print('run by', os.getpid(), flush=True)
time.sleep(0.3)
''' + SCRIPT % 'slow'


def test_requests_that_come_together_run_a_script_once(site):
    site.write('slow.wsgi', COUNTS_ITS_RUNS)
    site.start(processes=1, threads=8)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(site.ask('slow.wsgi').status)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 16
    assert len(site.fpm.log.find(output('site', 'run by'))) == 1


BROKEN = {
    'syntax': ('def application(:\n', 'SyntaxError'),
    'exception': ('raise RuntimeError("no luck")\n', 'RuntimeError: no luck'),
    'exit': ('import sys\nsys.exit(3)\n', 'it tried to end the process'),
    'interrupt': ('raise KeyboardInterrupt\n', 'KeyboardInterrupt'),
    'nothing': ('x = 1\n', 'has no "application"'),
    'no callable': ('application = 1\n', 'cannot be called'),
    'coroutine': ('async def application(a, b, c):\n    pass\n', 'is a coroutine function'),
    'NUL': ('application = 1\0\n', '(SyntaxError|ValueError)'),
    'not UTF-8': ('x = "\udcff"\n', 'SyntaxError'),
}


@pytest.mark.parametrize('how', BROKEN)
def test_a_broken_script_is_500_with_its_reason_and_tried_again(site, how):
    text, why = BROKEN[how]
    (site.root / 'app.wsgi').write_text(text, encoding='utf-8', errors='surrogateescape')
    (site.root / 'app.wsgi').chmod(0o644)
    site.write('fine.wsgi')
    site.fpm.expect('answered with 500')
    site.start(processes=1)
    worker = site.about('fine.wsgi')['pid']
    for attempt in (1, 2):
        answer = site.ask('app.wsgi')
        assert (answer.status, answer.body) == (500, b'Internal Server Error\n')
        site.fpm.log.wait_for(f'error: .*GET /: answered with 500: .*{why}', count=attempt)
    assert site.about('fine.wsgi')['scripts'] == 1  # nothing of it stays
    site.write('app.wsgi')
    assert site.about('app.wsgi')['pid'] == worker
    assert not site.fpm.log.find('is being replaced')


def test_status_calls_a_replaced_worker_no_failure(site):
    site.write('app.wsgi')
    site.start(processes=1)
    site.about('app.wsgi')
    site.write('app.wsgi', version='2')
    wait_until(lambda: site.about('app.wsgi')['version'] == '2', 'the new script is served')
    site.fpm.log.wait_for(REPLACED)
    wait_until(lambda: 'workers:' not in site.fpm.command('status').stdout, 'the old worker is gone')
    assert 'failures' not in site.fpm.command('status').stdout


def test_requests_that_wait_for_a_run_that_fails_fail_with_it(site):
    site.write('slow.wsgi', COUNTS_ITS_RUNS + '\nraise RuntimeError("at last")\n')
    site.fpm.expect('answered with 500')
    site.start(processes=1, threads=4)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(site.ask('slow.wsgi').status)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [500] * 4
    site.fpm.log.wait_for('RuntimeError: at last')
    assert len(site.fpm.log.find(output('site', 'run by'))) < 4


ASKS_ITSELF = '''
import os, socket, sys
sys.path.insert(0, os.environ['TESTS'])
import fastcgi
answer = fastcgi.ask(os.environ['SOCKET'], SCRIPT_FILENAME=__file__)
VERSION = str(answer.status)
''' + SCRIPT.replace('VERSION = %r', '')


def test_a_script_that_asks_for_itself_while_it_is_run_gets_503_in_time(site, folder):
    site.write('self.wsgi', ASKS_ITSELF)
    for name in ('fastcgi.py', 'processes.py'):
        shutil.copy(pathlib.Path(__file__).with_name(name), folder)
        (folder / name).chmod(0o644)
    site.fpm.expect('answered with 503')
    site.start(processes=1, threads=2, **{'startup-timeout': '1s', 'listen-mode': '0666'},
               env={'TESTS': str(folder), 'SOCKET': site.fpm.socket('site')})
    assert site.about('self.wsgi')['version'] == '503'
    site.fpm.log.wait_for('another request has been running the script for longer than startup-timeout')


FORKS = '''
import os
CHILD = os.fork()

def application(environ, start_response):
    print('called', flush=True)
    start_response('200 OK', [])
    return [b'%d' % CHILD]
'''


def test_a_child_that_a_script_forked_does_not_serve(site):
    site.write('fork.wsgi', FORKS)
    site.start(processes=1)
    for _ in range(2):
        child = int(site.ask('fork.wsgi').body)
        wait_until(lambda: not is_alive(child), 'the child is gone')
    site.fpm.log.wait_for(output('site', 'called'), count=2)
    assert len(site.fpm.log.find(output('site', 'called'))) == 2


def test_a_process_holds_a_bounded_number_of_scripts_and_says_so_once(site):
    for number in range(300):
        site.write(f's{number}.wsgi', version=str(number))
    site.start(processes=1)
    for number in [*range(300), *range(300), *range(290, 300)]:
        about = site.about(f's{number}.wsgi')
        assert about['version'] == str(number) and about['scripts'] <= 256
    assert about['scripts'] == 256
    assert len(site.fpm.log.find('warning: .* this process has run 256 scripts')) == 1
    assert not site.fpm.log.find('is being replaced')


def test_a_dropped_script_ends_its_requests_first(site):
    """It is dropped while a request of it still streams."""
    for number in range(257):
        site.write(f's{number}.wsgi')
    site.write('long.wsgi', '''
LAST = b'last'
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'first'
    while not __import__('os').path.exists(environ['GO']):
        __import__('time').sleep(0.01)
    yield LAST
''')
    go = site.root / 'go'
    site.start(processes=1, threads=2)
    with fastcgi.Connection(site.fpm.socket('site')) as connection:
        connection.send(fastcgi.request(fastcgi.environ(SCRIPT_FILENAME=site.path('long.wsgi'), GO=str(go))))
        assert connection.record()[2].endswith(b'first')
        for number in range(257):
            site.about(f's{number}.wsgi')
        site.fpm.log.wait_for('this process has run 256 scripts')
        go.touch()
        assert connection.receive().stdout == b'last'


# Changes --------------------------------------------------------------------------------------------------

def test_a_changed_script_is_seen_at_once_by_every_worker_and_all_are_replaced(site):
    site.write('app.wsgi', version='1')
    site.start(processes=3)
    before = site.fpm.wait_workers('site', 3)
    assert {about['version'] for about in site.about_from_each_worker('app.wsgi', 3)} == {'1'}
    site.write('app.wsgi', version='2')
    assert {about['version'] for about in site.about_from_each_worker('app.wsgi', 3)} == {'2'}
    site.fpm.wait_workers('site', 3, other_than=before)
    assert {about['version'] for about in site.about_from_each_worker('app.wsgi', 3)} == {'2'}
    assert len(site.fpm.log.find(REPLACED)) == 3


@pytest.mark.parametrize('keep', ['kept connections', 'new connections'])
def test_changes_under_load_lose_no_request_and_never_show_old_code(site, nginx, keep):
    site.write('app.wsgi', version='0')
    site.start(processes=2, threads=2, **{'restart-delay': '10ms'})
    server = nginx_for(site, nginx)
    current = [0]

    def ask(connection, _):
        least = current[0]
        connection.request('GET', '/app.wsgi/x')
        response = connection.getresponse()
        body = response.read()
        if response.status != 200 or int(json.loads(body)['version']) < least:
            return f'{response.status} {least} {body[:200]}'
        return None
    with Load(server.connect, ask, threads=4, keep=keep == 'kept connections') as load:
        for version in range(1, 21):
            load.wait_for(20)
            site.write('app.wsgi', version=str(version))
            current[0] = version
        load.wait_for(50)
    assert load.failures == []
    assert site.fpm.log.find(REPLACED)


def test_one_worker_asks_once_however_many_scripts_change(site):
    for name in ('a.wsgi', 'b.wsgi', 'c.wsgi'):
        site.write(name)
    site.start(processes=1)
    worker = site.about('a.wsgi')['pid']
    for name in ('a.wsgi', 'b.wsgi', 'c.wsgi'):
        site.about(name)
    for name in ('a.wsgi', 'b.wsgi', 'c.wsgi'):
        site.write(name, version='2')
        assert site.about(name)['version'] == '2'
    site.fpm.wait_workers('site', 1, other_than=[worker])
    assert len(site.fpm.log.find(REPLACED)) == 1


def test_a_half_written_script_is_500_and_then_served(site):
    site.fpm.expect('answered with 500')
    path = site.write('app.wsgi', version='1')
    site.start(processes=1)
    site.about('app.wsgi')
    text = SCRIPT % '2'
    path.write_text(text[:len(text) // 2 + 40])
    assert site.ask('app.wsgi').status == 500
    site.fpm.log.wait_for('SyntaxError')
    path.write_text(text)
    assert site.about('app.wsgi')['version'] == '2'


def test_a_deleted_script_is_404_and_one_that_comes_back_is_new(site):
    site.write('app.wsgi', version='1')
    site.start(processes=1)
    site.about('app.wsgi')
    (site.root / 'app.wsgi').unlink()
    assert site.ask('app.wsgi').status == 404
    assert site.ask('app.wsgi/x').status == 404
    site.write('app.wsgi', version='2')
    assert site.about('app.wsgi')['version'] == '2'


def test_a_root_that_is_a_link_moves_on_to_the_next_release(site, folder):
    """As a deployment does it: releases side by side, and a link that is switched in one step."""
    for release in ('1', '2'):
        (site.root / release).mkdir()
        (site.root / release).chmod(0o755)
        site.write(f'{release}/app.wsgi', version=release)
    current, new = site.root / 'current', site.root / 'new'
    current.symlink_to('1')
    site.fpm.start({'site': {'script-root': [str(current)], 'processes': 1}})
    worker = site.about(f'{current}/app.wsgi')['pid']
    new.symlink_to('2')
    new.rename(current)
    assert site.about(f'{current}/app.wsgi')['version'] == '2'
    site.fpm.wait_workers('site', 1, other_than=[worker])
    assert site.about(f'{current}/app.wsgi')['version'] == '2'
    assert site.fpm.log.find(REPLACED)


# The group ------------------------------------------------------------------------------------------------

def test_a_root_that_is_missing_is_warned_of_and_served_when_it_comes(site, folder):
    later = folder / 'later'
    site.fpm.start({'site': {'script-root': [str(later)]}})
    site.fpm.log.wait_for(f'warning: .*script-root {later}: No such file or directory')
    assert site.ask(f'{later}/app.wsgi').status == 404
    later.mkdir()
    later.chmod(0o755)
    site.root = later
    site.write('app.wsgi')
    assert site.about('app.wsgi')['version'] == '1'


def test_the_callable_has_the_name_that_the_group_says(site):
    site.write('app.wsgi', (SCRIPT % 'named').replace('def application', 'def app'))
    site.start(callable='app')
    assert site.about('app.wsgi')['version'] == 'named'


def test_a_reload_rolls_the_group_under_load(site, nginx):
    site.write('app.wsgi')
    site.start(processes=2)
    server = nginx_for(site, nginx)

    def ask(connection, _):
        connection.request('GET', '/app.wsgi')
        response = connection.getresponse()
        response.read()
        return None if response.status == 200 else str(response.status)
    with Load(server.connect, ask) as load:
        for _ in range(3):
            load.wait_for(20)
            site.fpm.reload()
        load.wait_for(20)
    assert load.failures == []


def test_after_a_failed_reload_workers_are_replaced_as_before(site):
    """They run what is on disk whatever they were forked from, so there is no old code to hold on to."""
    site.write('app.wsgi', version='1')
    site.start(processes=1)
    worker = site.about('app.wsgi')['pid']
    site.fpm.expect('reload failed')
    site.fpm.write_groups({'site': {'script-root': [str(site.root)], 'python-path': [site.path('missing')]}})
    site.fpm.reload(outcome='reload failed')
    assert not site.fpm.log.find('degraded')
    site.write('app.wsgi', version='2')
    assert site.about('app.wsgi')['version'] == '2'
    site.fpm.wait_workers('site', 1, other_than=[worker])
    assert site.about('app.wsgi')['version'] == '2'


# pyfpm check ----------------------------------------------------------------------------------------------

def check(site, **keys):
    site.fpm.write_groups({'site': {'script-root': [str(site.root)], **keys}})
    return site.fpm.command('check')


def test_check_compiles_the_scripts_and_runs_none(site):
    site.write('fine.wsgi', 'print("it was run")\n' + SCRIPT % '1')
    site.write('broken.py', 'def application(:\n')
    site.write('ignored.txt', 'def application(:\n')
    os.mkfifo(site.root / 'pipe.py')
    done = check(site)
    assert done.returncode == 0, done.stdout
    assert re.search(r'site: warning: script .*/broken\.py cannot be compiled: SyntaxError: .*line 1', done.stdout)
    assert re.search(r'site: warning: .*/pipe\.py is no regular file', done.stdout)
    assert done.stdout.count('warning') == 2 and 'it was run' not in done.stdout
    assert done.stdout.endswith('site: fine\n')


def test_check_says_when_there_are_too_many_scripts_to_compile(site):
    for number in range(60):
        site.write(f's{number:02}.wsgi', 'syntax error\n' if number in (49, 50) else 'application = print\n')
    done = check(site)
    assert done.returncode == 0
    assert 's49.wsgi cannot be compiled' in done.stdout and 's50.wsgi' not in done.stdout
    assert 'only the first 50 of the 60 scripts in script-root were compiled' in done.stdout


def test_check_fails_for_a_root_that_cannot_be_entered(site):
    site.root.rmdir()
    done = check(site)
    assert done.returncode == 1
    assert f'site: error: script-root {site.root}: No such file or directory' in done.stdout
    site.root.write_text('')
    assert 'it is no folder' in check(site).stdout
    if os.geteuid() == 0:
        site.root.unlink()
        site.root.mkdir(mode=0o700)
        assert "the group's user cannot enter it" in check(site).stdout
