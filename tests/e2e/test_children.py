"""Processes that an application starts from a request: multiprocessing, with work of the WSGI script itself."""

import json
import os
import signal
import textwrap

import pytest

import fastcgi
import pythons
from processes import is_alive
from pyfpm import LIBEXEC, READY
from webserver import free_port


def identity(python=pythons.DEBIAN):
    """Group keys for a user who can read the Python, and what children of multiprocessing run."""
    found = [pythons.identity(python), pythons.identity(LIBEXEC / 'child_main.py')]
    return next((keys for keys in found if 'allow_root' in keys), found[0])


def ask(fpm, query=''):
    response = fastcgi.ask(fpm.socket('shop'), QUERY_STRING=query)
    assert response.status == 200, fpm.log.text()
    return json.loads(response.body)


@pytest.mark.parametrize('preload', [True, False], ids=['preloaded', 'not preloaded'])
@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_children_of_multiprocessing_do_the_work_of_the_script(fpm, apps, baseline, method, preload):
    """The script ends in .wsgi, so that no import by name could find it."""
    script = str(apps / 'pools.wsgi')
    fpm.start({'shop': {'script': script, 'python_home': str(baseline.root), 'preload': preload, **identity()}})
    assert ask(fpm, method) == {
        'imports it for others': method == 'fork', 'doubled': 42, 'doubled in a grandchild': 8,
        'executable': str(baseline.python), 'argv': [script]}


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_children_do_the_work_of_the_script_on_another_python(fpm, apps, other_python, method):
    version, interpreter = other_python
    script = str(apps / 'pools.wsgi')
    fpm.start({'shop': {'script': script, 'python_version': version, **identity(interpreter)}})
    found = ask(fpm, method)
    assert (found['doubled'], found['doubled in a grandchild']) == (42, 8)


def test_a_pool_made_at_import_works_and_its_children_do_not_import_the_script(fpm, folder):
    """A WSGI script has no `if __name__ == '__main__'`; if children ran it, each would make a pool again."""
    script = folder / 'app.wsgi'
    script.write_text(textwrap.dedent("""
        import json, multiprocessing
        print('imported')
        POOL = multiprocessing.get_context('spawn').Pool(1)
        def application(environ, start_response):
            start_response('200 OK', [])
            return [json.dumps(POOL.apply(abs, (-7,))).encode()]
    """))
    fpm.start({'shop': {'script': str(script), 'preload': False, **identity()}})
    assert ask(fpm) == 7
    assert len(fpm.log.find('output\\] imported')) == 1


@pytest.mark.parametrize('version', pythons.hosts())
def test_children_of_scripts_in_interpreters_of_their_own_know_their_script(fpm, folder, version):
    """Each has an app.wsgi; only the one of its own interpreter is a child's."""
    if not pythons.interpreter(version):
        pytest.skip(f'the interpreter of Python {version} is gone')
    applications = []
    for name in ('red', 'blue'):
        script = folder / name / 'app.wsgi'
        script.parent.mkdir()
        script.write_text(textwrap.dedent(f"""
            import json, multiprocessing, sys
            def work(connection):
                connection.send([{name!r}, sys.argv])
            def application(environ, start_response):
                context = multiprocessing.get_context('spawn')
                here, there = context.Pipe(duplex=False)
                child = context.Process(target=work, args=(there,))
                child.start()
                there.close()
                answer = here.recv()
                child.join()
                start_response('200 OK', [])
                return [json.dumps(answer).encode()]
        """))
        applications.append({'mount': f'/{name}', 'script': str(script), 'interpreter': name})
    fpm.start({'shop': {'applications': applications, 'python_version': version,
                        **identity(pythons.interpreter(version))}})
    for application in applications:
        found = json.loads(fastcgi.ask(fpm.socket('shop'), application['mount'] + '/').body)
        assert found == [application['interpreter'], [application['script']]]


def test_work_of_an_importable_module_needs_no_script(fpm, folder):
    (folder / 'shop.py').write_text(textwrap.dedent("""
        import concurrent.futures, json, multiprocessing, sys
        def double(number):
            return number * 2
        def application(environ, start_response):
            context = multiprocessing.get_context('spawn')
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                doubled = pool.submit(double, 21).result()
            start_response('200 OK', [])
            return [json.dumps([doubled, sys.argv]).encode()]
    """))
    fpm.start({'shop': {'application': 'shop:application', 'python_path': [str(folder)], **identity()}})
    assert ask(fpm) == [42, ['pyfpm']]


def test_main_has_a_file_so_that_libraries_do_not_take_it_for_a_terminal_session(fpm, folder):
    """python-dotenv and others ask whether __main__ has one."""
    script = folder / 'app.py'
    script.write_text(textwrap.dedent("""
        import json, __main__
        def application(environ, start_response):
            start_response('200 OK', [])
            return [json.dumps([__main__.__file__, __main__.__name__, __main__.__spec__]).encode()]
    """))
    fpm.start({'shop': {'script': str(script), **identity()}})
    assert ask(fpm) == [str(LIBEXEC / 'child_main.py'), '__main__', None]


def run_script(fpm, folder, text, **keys):
    """Starts one thread that serves a script: body(environ) of the text makes the answer. Returns the socket."""
    script = folder / 'app.wsgi'
    script.write_text(textwrap.dedent(text) + textwrap.dedent("""
        def application(environ, start_response):
            answer = str(body(environ)).encode()
            start_response('200 OK', [])
            return [answer]
    """))
    fpm.start({'shop': {'script': str(script), 'processes': 1, 'threads': 1, **identity(), **keys}})
    return fpm.socket('shop')


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_a_signal_that_the_worker_handles_ends_a_forked_child(fpm, folder, name):
    address = run_script(fpm, folder, """
        import os, signal
        def body(environ):
            number = getattr(signal, environ['QUERY_STRING'])
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                while True:
                    signal.pause()
            os.kill(child, number)
            return os.WTERMSIG(os.waitpid(child, 0)[1]) == number
    """)
    worker, = fpm.workers('shop')
    assert fastcgi.ask(address, QUERY_STRING=name).body == b'True'
    assert fpm.workers('shop') == [worker]


def test_leaving_a_pool_of_forked_children_ends_busy_ones(fpm, folder):
    address = run_script(fpm, folder, """
        import multiprocessing, time
        def body(environ):
            with multiprocessing.get_context('fork').Pool(1) as pool:
                started, waiting = multiprocessing.Pipe()
                pool.apply_async(wait, (waiting,))
                started.recv()
            return 'left'
        def wait(connection):
            connection.send('started')
            time.sleep(600)
    """)
    assert fastcgi.ask(address).body == b'left'


LEAVES_A_CHILD = """
    import os, signal, time
    def body(environ):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            while True:
                signal.pause()
        return child
"""


@pytest.mark.parametrize('keep', [False, True], ids=['not kept', 'kept until keepalive-timeout'])
def test_a_closed_connection_is_seen_to_be_although_a_forked_child_has_a_copy(fpm, folder, keep):
    address = run_script(fpm, folder, LEAVES_A_CHILD, keepalive_timeout='200ms')
    with fastcgi.Connection(address) as connection:
        child = int(connection.ask(fastcgi.environ(), keep=keep).body)
        try:
            assert connection.is_closed()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize('when, preload', [('import', True), ('import', False), ('request', True)])
def test_a_restart_gets_its_port_although_a_child_of_an_application_lives_on(fpm, folder, when, preload):
    port = free_port()
    children = folder / 'children'
    children.touch()
    children.chmod(0o666)
    run_script(fpm, folder, f"""
        import os, signal
        def body(environ):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                while True:
                    signal.pause()
            with open({str(children)!r}, 'a') as f:
                print(child, file=f)
        if {when!r} == 'import':
            body({{}})
    """, listen=f'127.0.0.1:{port}', preload=preload)

    def living():
        return [pid for pid in map(int, children.read_text().split()) if is_alive(pid)]
    try:
        assert fastcgi.ask(('127.0.0.1', port)).status == 200
        fpm.stop()
        assert living()
        fpm.launch()
        fpm.log.wait_for(READY, count=2)
        assert fastcgi.ask(('127.0.0.1', port)).status == 200
    finally:
        for pid in living():
            os.kill(pid, signal.SIGKILL)
