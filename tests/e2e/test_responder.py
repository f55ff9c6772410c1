"""The responder: what clients of a group that cannot serve get, and what becomes of their connections."""

import fastcgi
from processes import wait_until
from webserver import free_port

REPAIRED = '''
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'repaired']
'''


def ask_kept(connection):
    return connection.ask(fastcgi.environ('/', 'POST', body=b'b' * 100), b'b' * 100, keep=True)


def test_a_connection_kept_while_the_group_was_broken_reaches_its_workers_later(fpm, folder):
    script = folder / 'app.wsgi'
    script.write_text('raise RuntimeError("not yet")\n')
    script.chmod(0o644)
    fpm.expect('not yet', r'\[group shop\]')
    fpm.start({'shop': {'script': str(script), 'restart_delay': '10ms', 'restart_delay_max': '50ms'}})
    fpm.checks_descriptors = False
    with fastcgi.Connection(fpm.socket('shop')) as connection:
        assert ask_kept(connection).status == 503
        script.write_text(REPAIRED)
        wait_until(lambda: ask_kept(connection).body == b'repaired', 'the same connection is served by a worker')


def test_a_stranger_who_came_while_the_group_was_broken_reaches_no_worker(fpm, folder):
    """The responder asks nobody for allowed-clients; whoever takes a connection from it does."""
    script = folder / 'app.wsgi'
    script.write_text('raise RuntimeError("not yet")\n')
    script.chmod(0o644)
    port = free_port()
    fpm.expect('not yet', r'\[group shop\]')
    fpm.start({'shop': {'script': str(script), 'restart_delay': '10ms', 'restart_delay_max': '50ms',
                        'listen': f'127.0.0.1:{port}', 'allowed-clients': ['127.0.0.9']}})
    fpm.checks_descriptors = False
    with fastcgi.Connection(('127.0.0.1', port)) as connection:
        assert ask_kept(connection).status == 503
        script.write_text(REPAIRED)

        def closed():
            try:
                assert ask_kept(connection).status == 503
            except (fastcgi.Closed, OSError):
                return True
        wait_until(closed, 'a worker has closed it')
    fpm.log.wait_for('closed a connection from 127.0.0.1: not among allowed-clients')


def test_many_idle_connections_do_not_keep_a_new_client_from_its_503(fpm, apps):
    fpm.expect('no_such_module_anywhere', r'\[group bad\]')
    fpm.start({'bad': {'script': str(apps / 'broken_import.py')}})
    fpm.checks_descriptors = False
    connections = []
    try:
        for _ in range(600):
            connection = fastcgi.Connection(fpm.socket('bad'))
            connections.append(connection)
            assert ask_kept(connection).status == 503
        assert fastcgi.ask(fpm.socket('bad')).status == 503
    finally:
        for connection in connections:
            connection.close()
