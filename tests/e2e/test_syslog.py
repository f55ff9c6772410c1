"""log: syslog, against a /dev/log of the test's own in a mount namespace."""

import os
import shutil
import socket
import subprocess

import fastcgi
import pytest
from pyfpm import IS_ROOT

# A /dev of its own: the devices that Python needs, and the test's socket as /dev/log.
WITH_OWN_DEV = '''
mount -t tmpfs none "$1"/dev &&
for device in null zero random urandom; do : >"$1"/dev/$device && mount --bind /dev/$device "$1"/dev/$device; done &&
ln -s /proc/self/fd "$1"/dev/fd && : >"$1"/dev/log && mount --bind "$1"/syslog "$1"/dev/log &&
mount --rbind "$1"/dev /dev || exit 125
shift
exec "$@"
'''


@pytest.mark.skipif(not IS_ROOT, reason='needs root')
def test_records_reach_syslog_with_priority_and_mark(fpm, apps, folder):
    if subprocess.run(['unshare', '--mount', 'true'], capture_output=True).returncode != 0:
        pytest.skip('no mount namespaces here')
    (folder / 'dev').mkdir()
    received = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(folder / 'syslog'))
        daemon.settimeout(20)
        fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'processes': 1}}, **{'global': {'log': 'syslog'}})
        fpm.checks_descriptors = False
        fpm.launch(wrapper=[shutil.which('unshare'), '--mount', 'sh', '-c', WITH_OWN_DEV, 'sh', str(folder)])
        while not any(b'ready: 1 of 1 groups' in record for record in received):
            received.append(daemon.recv(65536))
        assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
        assert fpm.stop() == 0
    marked, = [record for record in received if b'generation 1 is serving' in record]
    assert marked.startswith(b'<29>')       # daemon.notice
    assert b'pyfpm[' in marked and b'[group shop] ' in marked
    os.unlink(folder / 'syslog')
