"""Daemons that pull on behalf of a client tool: containerd, and Docker's engine."""

import json
import pathlib
import subprocess
import tempfile
import time

# Pulling needs neither of them, and in a container they need more than it has.
DISABLED_PLUGINS = [
    "io.containerd.grpc.v1.cri",
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "overlayfs", "zfs")),
    *(f"io.containerd.internal.v1.{name}" for name in ("opt", "restart", "tracing")),
]
START_SECONDS = 30


class Daemon:
    """A daemon of its own for a test class, ended after it."""

    def __init__(self, cls):
        # A path of its own: the socket's must stay short.
        private = tempfile.TemporaryDirectory(prefix="e2e-", ignore_cleanup_errors=True)
        cls.addClassCleanup(private.cleanup)
        self.directory = pathlib.Path(private.name)
        with open(self.directory / "log", "wb") as log:
            process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cls.addClassCleanup(process.wait, timeout=30)
        cls.addClassCleanup(process.terminate)
        deadline = time.monotonic() + START_SECONDS
        version = [*self.client, "version"]
        while subprocess.run(version, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} does not run:\n{(self.directory / 'log').read_text()[-4000:]}")
            time.sleep(0.1)


class Containerd(Daemon):
    @property
    def client(self):
        return ["ctr", "--address", f"{self.directory}/sock"]

    def command(self):
        configuration = self.directory / "config.toml"
        configuration.write_text(
            f'version = 2\nroot = "{self.directory}/root"\nstate = "{self.directory}/state"\n'
            f"disabled_plugins = {json.dumps(DISABLED_PLUGINS)}\n"
            f'[grpc]\n  address = "{self.directory}/sock"\n[ttrpc]\n  address = "{self.directory}/sock.ttrpc"\n'
        )
        return ["containerd", "--config", configuration]


class Docker(Daemon):
    """Docker's engine without networks, and with a file system driver that works everywhere."""

    def __init__(self, cls, *options):
        self.options = options
        super().__init__(cls)

    @property
    def client(self):
        return ["docker", "--host", f"unix://{self.directory}/sock"]

    def command(self):
        return [
            "dockerd", f"--data-root={self.directory}/data", f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid", f"--host=unix://{self.directory}/sock", "--storage-driver=vfs",
            "--bridge=none", "--iptables=false", "--ip6tables=false", *self.options,
        ]
