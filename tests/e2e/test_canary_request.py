"""canary-request: a new generation serves only when its first worker answers it well."""

import fastcgi
import pytest
from pyfpm import RELOAD_FAILED


@pytest.fixture
def notes(folder):
    made = folder / 'notes'
    made.mkdir()
    made.chmod(0o777)
    return made


def keys(apps, notes, health, **more):
    return {'script': str(apps / 'health.py'), 'env': {'HEALTH': health, 'NOTES': str(notes)}, 'processes': 2,
            'canary_request': '/health?probe=1', **more}


@pytest.mark.parametrize('health', ['200 OK', '204 No Content', '302 Found'])
def test_a_good_answer_lets_the_generation_serve_and_only_the_canary_is_asked(fpm, apps, notes, health):
    fpm.start({'shop': keys(apps, notes, health)})
    fpm.wait_workers('shop', 2)
    asked = [path.read_text() for path in notes.iterdir()]
    assert asked == ['GET /health?probe=1 pyfpm canary-request\n']
    assert fastcgi.ask(fpm.socket('shop')).body == health.encode()


@pytest.mark.parametrize('health, why', [
    ('500 Internal Server Error', 'was answered with status 500'), ('404 Not Found', 'was answered with status 404'),
    ('raises', 'was answered with status 500')])
def test_a_bad_answer_fails_the_reload_and_the_old_workers_serve_on(fpm, apps, notes, health, why):
    fpm.expect('reload failed', 'raised an exception')
    fpm.start({'shop': keys(apps, notes, '200 OK')})
    before = fpm.wait_workers('shop', 2)
    fpm.write_groups({'shop': keys(apps, notes, health)})
    fpm.reload(outcome=RELOAD_FAILED)
    fpm.log.wait_for(f'keeps serving: canary-request: GET /health\\?probe=1 {why}')
    assert fpm.workers('shop') == before
    assert fastcgi.ask(fpm.socket('shop')).body == b'200 OK'


def test_an_application_that_hangs_in_it_fails_at_startup_timeout(fpm, apps, notes, folder):
    fpm.expect('reload failed')
    fpm.start({'shop': keys(apps, notes, '200 OK')})
    script = folder / 'hangs.wsgi'
    script.write_text('import threading\ndef application(environ, start_response):\n    threading.Event().wait()\n')
    script.chmod(0o644)
    fpm.write_groups({'shop': keys(apps, notes, '200 OK', script=str(script), startup_timeout='500ms')})
    fpm.reload(outcome=RELOAD_FAILED)
    fpm.log.wait_for('it did not become ready within startup-timeout')
    assert fastcgi.ask(fpm.socket('shop')).body == b'200 OK'


def test_a_group_that_cannot_answer_it_at_the_start_fails_with_the_reason(fpm, apps, notes):
    fpm.expect('cannot start')
    fpm.write_groups({'shop': keys(apps, notes, '503 Service Unavailable'), 'blog': {'script': str(apps / 'hello.py')}})
    fpm.launch()
    fpm.log.wait_for(r'\[group shop\] cannot start .*canary-request: GET /health\?probe=1 was answered with status 503')
    fpm.log.wait_for('1 of 2 groups serving')


@pytest.mark.parametrize('path', ['health', 'http://localhost/health', '/a b', '/a#b'])
def test_what_is_no_path_is_refused(fpm, apps, notes, path):
    fpm.write_groups({'shop': keys(apps, notes, '200 OK', canary_request=path)})
    done = fpm.command('check')
    assert done.returncode == 78
    assert 'canary-request' in done.stderr and 'is no path of a request' in done.stderr
