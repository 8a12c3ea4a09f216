"""A countersign process of its own for a test."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import corpus

# The name the corpus goes by; nothing resolves it, so a client that goes around the proxy fails.
REGISTRY = "registry.example"
READY_SECONDS = 30


class Proxy:
    """`countersign serve` with a policy for each of the given corpus cases, in front of `upstream`.

    `base` is a configuration of its own, in YAML. The rest is merged over it.
    """

    def __init__(self, work, upstream, cases, base="", **settings):
        self.work = pathlib.Path(work)
        self.address, self.admin_address = free_address(), free_address()
        (self.work / "base.yaml").write_text(base)
        trusted_roots = {}
        policies = [corpus.policy(identifier, REGISTRY, trusted_roots) for identifier in cases]
        configuration = {
            "server": {"listen": self.address, "admin_listen": self.admin_address},
            "data_dir": str(self.work / "data"),
            "upstreams": {REGISTRY: {"endpoint": f"http://{upstream}", "plain_http": True}},
            "trusted_roots": trusted_roots,
            "policies": policies,
            "default": "deny",
            **settings,
        }
        # Every JSON document is a YAML document.
        (self.work / "config.yaml").write_text(json.dumps(configuration, indent=1))
        self._process = None
        self.start()

    def start(self):
        with open(self.work / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [os.environ["COUNTERSIGN"], "serve", "--config", "base.yaml", "--config", "config.yaml"],
                cwd=self.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"serve ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"serve is not ready after {READY_SECONDS} s:\n{self.log()}")
            time.sleep(0.05)

    def stop(self):
        """SIGTERM, and the exit code that follows it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self._process.returncode

    def image(self, repository, reference):
        """The name under which a tool that knows nothing of mirrors pulls an image through the proxy."""
        return f"{self.address}/{REGISTRY}/{repository}{'@' if ':' in reference else ':'}{reference}"

    def log(self):
        """The end of what it wrote, for people."""
        return self.whole_log()[-4000:]

    def whole_log(self):
        return (self.work / "server.log").read_text(errors="replace")

    def _ready(self):
        try:
            connection = http.client.HTTPConnection(self.admin_address, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
