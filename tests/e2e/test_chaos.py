"""Everything at once, by a seeded schedule, under load: kills, reloads good and broken, a full disk, no descriptors,
stopped processes. Afterwards all groups serve, nothing is left over (the frame looks), and every failed request is
explained by a kill that hit it.

PYFPM_CHAOS_SECONDS makes it longer, PYFPM_CHAOS_SEED repeats a schedule."""

import http.client
import os
import random
import resource
import signal
import threading
import time

import fastcgi
import processes
from processes import wait_until
from pyfpm import READY

SECONDS = float(os.environ.get('PYFPM_CHAOS_SECONDS', '25'))
CLIENTS = 4
PROCESSES = 3
MARGIN = 0.25       # seconds between a kill and the moment that a client sees it


class Clients:
    """Keep asking through nginx, GET and POST in turn, and note when each failed request began and ended."""

    def __init__(self, server):
        self.server = server
        self.done = 0
        self.failures = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more, deadline=60):
        goal = self.done + len(self.failures) + more
        wait_until(lambda: self.done + len(self.failures) >= goal, f'{more} more requests', deadline)

    def _ask(self, connection, number):
        body = b'posted %d ' % number * 100 if number % 2 else None
        connection.request('POST' if body else 'GET', '/', body)
        response = connection.getresponse()
        got = response.read()
        right = got == body if body else got.startswith(b'generation ')
        return None if response.status == 200 and right else f'{response.status} {got[:80]}'

    def _run(self, index):
        connection, number = self.server.connect(60), index
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                failure = self._ask(connection, number)
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
                connection.close()
                connection = self.server.connect(60)
            if failure:
                self.failures.append((began, time.monotonic(), failure))
            else:
                self.done += 1
            number += CLIENTS
        connection.close()


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass                    # a reload or another deed was faster


class Chaos:
    def __init__(self, fpm, apps, folder, seed):
        self.fpm, self.apps, self.folder = fpm, apps, folder
        self.random = random.Random(seed)
        self.windows = []       # (from, to, most): when requests may have been hit by a kill, and how many
        self.deeds = []
        self.generation = 0
        self.real_log = folder / 'pyfpm.log'

    # The configuration ------------------------------------------------------------------------------------

    def groups(self, script='slow_import.py'):
        def group(script, **keys):
            return {'script': str(self.apps / script), 'processes': PROCESSES, 'threads': 2, 'restart_delay': '10ms',
                    'restart_delay_max': '100ms', 'env': {'GENERATION': str(self.generation)}, **keys}
        return {'shop': group(script), 'blog': group(script, preload=False, processes=1),
                'broken': group('broken_import.py', restart_delay='2s', restart_delay_max='5s')}

    def write(self, **more):
        self.fpm.write_groups(self.groups(**more), **{'global': {'log': str(self.folder / 'chosen.log')}})

    def launch(self):
        since = self.fpm.log.position()
        self.fpm.launch()
        self.fpm.log.wait_for(READY, since)

    # Deeds -----------------------------------------------------------------------------------------------------

    def workers(self):
        return self.fpm.workers('shop')

    def wait_whole(self):
        self.fpm.wait_workers('shop', PROCESSES)

    def kill_worker(self):
        self.wait_whole()
        victims = self.random.sample(self.workers(), self.random.choice([1, 1, 1, 2, PROCESSES]))
        began = time.monotonic()
        for victim in victims:
            kill(victim)
        self.fpm.wait_workers('shop', PROCESSES, other_than=victims)
        most = CLIENTS * len(victims) if len(victims) < PROCESSES else None     # with all gone it is 503 for everybody
        self.windows.append((began, time.monotonic(), most))

    def kill_template(self):
        templates = self.fpm.templates()
        if templates:
            kill(self.random.choice(templates))

    def kill_responder(self):
        for pid in processes.children(self.fpm.pid):
            if processes.program(pid) == 'responder':
                kill(pid)

    def reload_good(self):
        self.generation += 1
        self.write()
        self.fpm.signal(signal.SIGHUP)

    def reload_broken_code(self):
        self.write(script='broken_import.py')
        self.fpm.signal(signal.SIGHUP)

    def reload_broken_file(self):
        self.fpm.write('groups: {shop: {listen: [')
        self.fpm.signal(signal.SIGHUP)

    def stop_a_worker_for_a_while(self):
        workers = self.workers()
        if len(workers) < 2:
            return
        victim = self.random.choice(workers)
        os.kill(victim, signal.SIGSTOP)
        try:
            self.clients.wait_for(20, 0.5)
        except AssertionError:
            pass                # all clients may have been with it
        finally:
            if processes.is_alive(victim):
                os.kill(victim, signal.SIGCONT)

    def stop_the_supervisor_for_a_while(self):
        self.fpm.signal(signal.SIGSTOP)
        self.clients.wait_for(100)
        self.fpm.signal(signal.SIGCONT)

    def choose_log(self, target):
        new = self.folder / 'chosen.new'
        new.symlink_to(target)
        new.rename(self.folder / 'chosen.log')
        self.fpm.signal(signal.SIGUSR1)

    def fill_the_disk(self):
        self.choose_log('/dev/full')
        self.clients.wait_for(50)
        self.choose_log(self.real_log)

    def exhaust_descriptors(self):
        pid = self.fpm.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f'/proc/{pid}/fd')), before[1]))
        self.fpm.signal(signal.SIGHUP)
        self.kill_template()
        self.clients.wait_for(100)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def kill_the_supervisor(self):
        began = time.monotonic()
        hosts = self.fpm.hosts()
        self.fpm.process.kill()
        self.fpm.process.wait()
        wait_until(lambda: not any(processes.is_alive(pid) for pid in hosts), 'hosts notice')
        self.write()
        self.launch()
        self.wait_whole()
        self.windows.append((began, time.monotonic(), None))

    # The run ------------------------------------------------------------------------------------------------------

    def run(self, clients):
        self.clients = clients
        often = [self.kill_worker, self.reload_good]
        seldom = [self.kill_template, self.kill_responder, self.reload_broken_code, self.reload_broken_file,
                  self.stop_a_worker_for_a_while, self.stop_the_supervisor_for_a_while, self.fill_the_disk,
                  self.exhaust_descriptors]
        deck = 3 * often + seldom + [self.kill_the_supervisor]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.random.shuffle(deck)
            for deed in deck:
                if time.monotonic() >= end:
                    break
                self.deeds.append(deed.__name__)
                deed()
                clients.wait_for(self.random.randrange(1, 60))

    def complaints(self, failures):
        """Failures outside of every window, and windows with more of them than the killed workers had clients."""
        def are_near(failure, window):
            return failure[0] <= window[1] + MARGIN and failure[1] >= window[0] - MARGIN
        lost = [failure for failure in failures if not any(are_near(failure, window) for window in self.windows)]
        for window in self.windows:
            others = [w for w in self.windows if w[2] is None and w is not window]
            hit = [failure for failure in failures
                   if are_near(failure, window) and not any(are_near(failure, other) for other in others)]
            if window[2] is not None and len(hit) > window[2]:
                lost += hit
        return lost


def test_chaos_leaves_every_group_serving_and_every_failure_explained(fpm, apps, nginx, folder):
    seed = int(os.environ.get('PYFPM_CHAOS_SEED', random.randrange(1 << 32)))
    print(f'PYFPM_CHAOS_SEED={seed}')
    fpm.expect('.')                     # what is logged about all this is not the point
    fpm.checks_descriptors = True
    chaos = Chaos(fpm, apps, folder, seed)
    (folder / 'chosen.log').symlink_to(chaos.real_log)
    chaos.write()
    chaos.launch()
    chaos.wait_whole()
    clients = Clients(nginx(fpm.socket('shop')))
    try:
        chaos.run(clients)
    finally:
        clients.stop()
        print('deeds:', ' '.join(chaos.deeds))

    chaos.generation += 1
    chaos.write()
    wait_until(lambda: fastcgi.ask(fpm.socket('blog')).status == 200, 'the other group serves')
    fpm.signal(signal.SIGHUP)
    wanted = b'generation %d' % chaos.generation
    wait_until(lambda: fastcgi.ask(fpm.socket('shop')).body == wanted, 'the last configuration serves')
    fpm.wait_workers('shop', PROCESSES)
    assert fastcgi.ask(fpm.socket('broken')).status == 503
    assert chaos.complaints(clients.failures) == [], (seed, chaos.windows)
    assert clients.done > 100
