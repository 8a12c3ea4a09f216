"""The program under attack, and the numbers that it and the kernel tell about it."""

import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 60
# The soft limit that systemd and shells set, and a hard limit that an attacker with a few machines can reach.
DESCRIPTORS = 1024, 4096


class Proxy:
    def __init__(self, configuration, environment=None, standard_error=None):
        self._directory = tempfile.TemporaryDirectory(prefix="countersign-attack-")
        self.directory = pathlib.Path(self._directory.name)
        self.port, self.admin_port = free_port(), free_port()
        self.data = self.directory / "data"
        configuration = {"server": {"listen": f"127.0.0.1:{self.port}", "admin_listen": f"127.0.0.1:{self.admin_port}"},
                         "data_dir": str(self.data), **configuration}
        (self.directory / "config.yaml").write_text(json.dumps(configuration, indent=1))
        self._log = open(self.directory / "log", "ab")
        self._process = subprocess.Popen(
            [os.environ["COUNTERSIGN"], "serve", "--config", str(self.directory / "config.yaml")],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=standard_error or self._log,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, DESCRIPTORS))
        deadline = time.monotonic() + READY_SECONDS
        while self.status("/livez", admin=True, timeout=1)[0] != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the proxy does not start:\n" + (self.directory / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.05)

    def get(self, path, admin=False, timeout=30, headers=None, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port if admin else self.port, timeout=timeout)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def status(self, path, **options):
        """Returns the status, or the name of the error, and the seconds it took."""
        started = time.monotonic()
        try:
            status = self.get(path, **options)[0]
        except (OSError, http.client.HTTPException) as error:
            status = type(error).__name__
        return status, time.monotonic() - started

    def is_running(self):
        return self._process.poll() is None

    def resident_mib(self, name="VmRSS"):
        found = re.search(rf"{name}:\s+(\d+)", pathlib.Path(f"/proc/{self._process.pid}/status").read_text())
        return int(found[1]) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def disk_mib(self):
        total = 0
        for path in self.data.rglob("*"):
            try:
                total += path.lstat().st_blocks * 512
            except OSError:
                pass
        return total / 2**20

    def decisions(self, **query):
        text = "&".join(f"{name}={value}" for name, value in query.items())
        try:
            status, _headers, body = self.get(f"/api/v1/decisions?{text}", admin=True)
        except (OSError, http.client.HTTPException):
            return []
        return json.loads(body)["decisions"] if status == 200 else []

    def stop(self):
        if self.is_running():
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        self._directory.cleanup()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
