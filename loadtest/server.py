"""The servers under test, each alone on one core: countersign, and Debian's docker-registry as pull-through cache."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from client import Client

READY_SECONDS = 60
UPSTREAM_NAME = "upstream.example"


class Server:
    """A process with a data directory of its own that starts empty."""

    name: str
    # What stands between `/v2/` and the upstream's repository name.
    prefix = ""

    def __init__(self, work, upstream, core):
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True)
        self.upstream, self.core = upstream, core
        self.address = free_address()
        self.ready_path = "/v2/", self.address

    def start(self):
        """Starts it; the milliseconds until it is ready."""
        command = ["taskset", "--cpu-list", str(self.core), *self.command()]
        start = time.perf_counter()
        with open(self.work / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while not self._ready():
            elapsed = time.perf_counter() - start
            if self._process.poll() is not None or elapsed > READY_SECONDS:
                raise RuntimeError(f"{self.name} does not start:\n{(self.work / 'log').read_text()[-4000:]}")
            time.sleep(0.001)
        return (time.perf_counter() - start) * 1e3

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def check_records(self):
        """Fails unless the server kept the records that it is said to have kept."""

    def path(self, repository, kind, reference):
        return f"/v2/{self.prefix}{repository}/{kind}/{reference}"

    def cpu_seconds(self):
        """User and system time so far, in steps of 10 ms."""
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self):
        return self._status("VmRSS")

    def peak_megabytes(self):
        """The most that was resident since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _status(self, key):
        for line in pathlib.Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1e3
        raise KeyError(key)

    def _ready(self):
        path, address = self.ready_path
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


class Registry(Server):
    name = "docker-registry"

    def command(self):
        # Debian's configuration, as a pull-through cache, and as quiet as it can be.
        configuration = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "cache": {"blobdescriptor": "inmemory"},
                "filesystem": {"rootdirectory": str(self.work / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
            "proxy": {"remoteurl": f"http://{self.upstream}"},
        }
        (self.work / "config.yml").write_text(json.dumps(configuration))
        return ["docker-registry", "serve", "config.yml"]

    def version(self):
        return _first_line("docker-registry", "--version").split()[-1]


class Countersign(Server):
    """With policy, decision log, access log and metrics on."""

    name = "countersign"
    prefix = f"{UPSTREAM_NAME}/"

    def __init__(self, work, upstream, core, binary, public_key):
        super().__init__(work, upstream, core)
        self._binary, self._public_key = binary, public_key
        self.admin_address = free_address()
        self.ready_path = "/readyz", self.admin_address

    def command(self):
        configuration = {
            "server": {"listen": self.address, "admin_listen": self.admin_address},
            "data_dir": str(self.work / "data"),
            "upstreams": {UPSTREAM_NAME: {"endpoint": f"http://{self.upstream}", "plain_http": True}},
            "policies": [{
                "name": "load", "images": [f"{UPSTREAM_NAME}/**"],
                "authorities": [{
                    "name": "key", "key": str(self._public_key), "transparency_log": "not_required",
                }],
            }],
            "default": "deny",
        }
        (self.work / "config.yaml").write_text(json.dumps(configuration))
        return [str(self._binary), "serve", "--config", "config.yaml"]

    def check_records(self):
        admin = Client(self.admin_address)
        metrics, _ = admin.ask("GET", "/metrics")
        decisions = json.loads(admin.ask("GET", "/api/v1/decisions?decision=admit&limit=1")[0])["decisions"]
        if not metrics or not decisions:
            raise RuntimeError("no metrics, or no decision in the log: this was not the server that is described")

    def version(self):
        return _first_line(str(self._binary), "--version").split()[-1]


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _first_line(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0]
