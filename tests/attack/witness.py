"""A well-behaved client beside the attack: warm pulls, cold pulls and probes, each with its time."""

import http.client
import threading
import time

from registry import sha256

WARM_EVERY, COLD_EVERY, PROBE_EVERY = 0.05, 0.7, 0.3
WARM_P99, PROBE_MAX = 0.05, 1.0


class Witness:
    def __init__(self, world, slack):
        self.slack = slack
        self._world, self._stop, self._threads = world, threading.Event(), []
        self.warm, self.cold, self.probes, self.digests = [], [], [], []
        self._next_cold = 0

    def alone(self):
        """Measures cold pulls before anything else happens, and warms what is to be warm."""
        for path in (self._world.good_path("warm"), f"/v2/{self._world.good.host}/team/app/blobs/{sha256(self._world.warm_layer)}"):
            status, _seconds = self._world.proxy.status(path)
            if status != 200:
                raise RuntimeError(f"{path} is {status} without an attack")
        self.cold_alone = max(self.pull_cold()[1] for _ in range(5))

    def start(self):
        self.warm, self.cold, self.probes = [], [], []
        for every, act in ((WARM_EVERY, self._pull_warm), (COLD_EVERY, lambda: self.cold.append(self.pull_cold())),
                           (PROBE_EVERY, lambda: self.probes.append(self._world.proxy.status("/livez", admin=True)))):
            thread = threading.Thread(target=self._repeat, args=(every, act))
            thread.start()
            self._threads.append(thread)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def cold_max(self):
        """Returns the seconds that a cold pull may take."""
        return (2 * self.cold_alone + 1) * self.slack

    def findings(self):
        """Returns a line of figures, and what is not as it must be."""
        times = sorted(seconds for _status, seconds in self.warm)
        p99 = times[int(len(times) * 0.99)]
        slowest_cold = max(seconds for _status, seconds in self.cold)
        slowest_probe = max(seconds for _status, seconds in self.probes)
        failed = [status for status, _seconds in self.warm + self.cold + self.probes if status != 200]
        allowed = self.cold_max()
        wrong = []
        if failed:
            wrong.append(f"{len(failed)} requests of the witness failed: {sorted(set(map(str, failed)))}")
        if p99 > WARM_P99 * self.slack:
            wrong.append(f"warm pulls take {p99 * 1000:.0f} ms (p99), allowed {WARM_P99 * self.slack * 1000:.0f}")
        if slowest_cold > allowed:
            wrong.append(f"a cold pull takes {slowest_cold:.2f} s, allowed {allowed:.2f}")
        if slowest_probe > PROBE_MAX * self.slack:
            wrong.append(f"a probe takes {slowest_probe:.2f} s, allowed {PROBE_MAX * self.slack}")
        missing = [digest for digest in self.digests if not self._world.proxy.decisions(digest=digest)]
        if missing:
            wrong.append(f"{len(missing)} of {len(self.digests)} decisions are missing in the log")
        figures = (f"warm p99 {p99 * 1000:.1f} ms of {len(times)}, cold {slowest_cold:.2f} s of {len(self.cold)} "
                   f"(alone {self.cold_alone:.2f}), probe {slowest_probe:.2f} s")
        return figures, wrong

    def _repeat(self, every, act):
        while not self._stop.wait(every):
            act()

    def _pull_warm(self):
        self.warm.append(self._world.proxy.status(self._world.good_path("warm"), timeout=30))

    def pull_cold(self):
        path = self._world.good_path(f"cold{self._next_cold}")
        self._next_cold += 1
        started = time.monotonic()
        try:
            status, _headers, body = self._world.proxy.get(path, timeout=30)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, time.monotonic() - started
        if status == 200:
            self.digests.append(sha256(body))
        return status, time.monotonic() - started
