"""The responder: what clients of a group that cannot serve get, and what becomes of their connections."""

import fastcgi
from processes import wait_until

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
