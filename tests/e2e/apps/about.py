"""Answers with what it knows of its process, interpreter and request, as JSON."""

import grp
import json
import os
import resource
import signal
import sys
import threading

IMPORTED_AS = os.getuid()


def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    answer = {
        'pid': os.getpid(), 'ppid': os.getppid(), 'sid': os.getsid(0),
        'uid': list(os.getresuid()), 'gid': list(os.getresgid()), 'groups': sorted(os.getgroups()),
        'group_names': [grp.getgrgid(gid).gr_name for gid in os.getgroups()],
        'imported_as': IMPORTED_AS,
        'env': dict(os.environ), 'cwd': os.getcwd(), 'umask': umask, 'nice': os.nice(0),
        'rlimit_files': resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        'no_new_privileges': int(open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0]),
        'blocked_signals': sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        'executable': sys.executable, 'prefix': sys.prefix, 'base_prefix': sys.base_prefix,
        'exec_prefix': sys.exec_prefix, 'path': sys.path, 'version': '%d.%d' % sys.version_info[:2],
        'flags': {'utf8_mode': sys.flags.utf8_mode, 'optimize': sys.flags.optimize,
                  'dev_mode': sys.flags.dev_mode, 'no_user_site': sys.flags.no_user_site},
        'warnoptions': sys.warnoptions, 'argv': sys.argv, 'thread': threading.current_thread().name,
        'environ': {key: value for key, value in environ.items() if isinstance(value, (str, bool, tuple))},
    }
    body = json.dumps(answer).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
