"""Clients that keep asking until they are told to stop, and remember every answer that was not as expected."""

import http.client
import threading
import time


class Load:
    """threads clients ask ask(connection, number) in a loop. With kept connections each holds on to its own."""

    def __init__(self, connect, ask, threads=4, keep=True):
        self.connect = connect
        self.ask = ask
        self.keep = keep
        self.done = 0
        self.failures = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more):
        """Waits until that many further requests are done, failed or not."""
        goal = self.done + len(self.failures) + more
        while self.done + len(self.failures) < goal and any(thread.is_alive() for thread in self._threads):
            time.sleep(0.002)

    def _run(self, index):
        connection = self.connect()
        number = index
        while not self._stop.is_set():
            failure = None
            try:
                failure = self.ask(connection, number)
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
                connection.close()
                connection = self.connect()
            with self._lock:
                if failure:
                    self.failures.append((time.time(), failure))
                else:
                    self.done += 1
            number += len(self._threads)
            if not self.keep:
                connection.close()
                connection = self.connect()
        connection.close()
