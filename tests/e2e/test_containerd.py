"""Debian's containerd (1.6), with the proxy as the mirror of a registry, so that it sends `?ns=`."""

import json
import pathlib
import platform
import subprocess
import tempfile
import time

import corpus
import proxy
from scenario import DOCKER_LIST, SIGNED_INDEXES, UNSIGNED, Scenario

# Pulling needs neither of them, and in a container they need more than it has.
DISABLED_PLUGINS = [
    "io.containerd.grpc.v1.cri",
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "overlayfs", "zfs")),
    *(f"io.containerd.internal.v1.{name}" for name in ("opt", "restart", "tracing")),
]
START_SECONDS = 30


class Containerd(Scenario):
    # containerd up to 2.2 hides the body of an answer to HEAD, and with it the reason.
    settings = {"compat": {"head_allows": True}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A path of its own: the socket's must stay short.
        private = tempfile.TemporaryDirectory(prefix="ctrd-")
        cls.addClassCleanup(private.cleanup)
        cls.containerd = pathlib.Path(private.name)
        cls._start_containerd()
        hosts = cls.containerd / "hosts" / proxy.REGISTRY
        hosts.mkdir(parents=True)
        # As `server`, not only as a mirror, so that there is nowhere to fall back to.
        (hosts / "hosts.toml").write_text(
            f'server = "http://{cls.proxy.address}"\n'
            f'[host."http://{cls.proxy.address}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    @classmethod
    def _start_containerd(cls):
        configuration = cls.containerd / "config.toml"
        configuration.write_text(
            f'version = 2\nroot = "{cls.containerd}/root"\nstate = "{cls.containerd}/state"\n'
            f"disabled_plugins = {json.dumps(DISABLED_PLUGINS)}\n"
            f'[grpc]\n  address = "{cls.containerd}/sock"\n[ttrpc]\n  address = "{cls.containerd}/sock.ttrpc"\n'
        )
        with open(cls.containerd / "log", "wb") as log:
            process = subprocess.Popen(
                ["containerd", "--config", configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        cls.addClassCleanup(process.wait, timeout=30)
        cls.addClassCleanup(process.terminate)
        deadline = time.monotonic() + START_SECONDS
        version = [*cls._ctr(), "version"]
        while subprocess.run(version, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"containerd does not run:\n{(cls.containerd / 'log').read_text()[-4000:]}")
            time.sleep(0.1)

    @classmethod
    def _ctr(cls):
        return ["ctr", "--address", f"{cls.containerd}/sock"]

    def test_pulls_signed_images_for_its_platform(self):
        for identifier in [*SIGNED_INDEXES, DOCKER_LIST]:
            with self.subTest(identifier):
                repository, digest = self.root_of(identifier)
                image = f"{proxy.REGISTRY}/{repository}:v1"
                self.succeeds(*self._pull(), image)
                listed = self.succeeds(*self._ctr(), "images", "list", f"name=={image}")
                self.assertIn(digest, listed)
                blobs = self.containerd / "root" / "io.containerd.content.v1.content" / "blobs" / "sha256"
                self.assertTrue((blobs / digest.removeprefix("sha256:")).is_file())
                self.assert_holds(blobs, _child_for_this_platform(digest))

    def test_is_refused_an_unsigned_image(self):
        repository, digest = self.root_of(UNSIGNED)
        image = f"{proxy.REGISTRY}/{repository}"
        self.is_refused(UNSIGNED, *self._pull(), f"{image}@{digest}")
        self.assertNotIn(image, self.succeeds(*self._ctr(), "images", "list", "--quiet"))

    def _pull(self):
        # The native snapshotter copies files and so works on every file system.
        hosts = self.containerd / "hosts"
        return [*self._ctr(), "images", "pull", "--hosts-dir", hosts, "--snapshotter", "native"]


class ContainerdWithoutHeadAllowed(Containerd):
    """The default: refused already at HEAD, where old containerd shows the status alone."""

    settings = {}

    def test_is_refused_an_unsigned_image(self):
        repository, digest = self.root_of(UNSIGNED)
        code, output = self.run_tool(*self._pull(), f"{proxy.REGISTRY}/{repository}@{digest}")
        self.assertNotEqual(code, 0, output)
        self.assertIn("403", output)


def _child_for_this_platform(digest):
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    for child in json.loads(corpus.content(digest))["manifests"]:
        if child["platform"]["architecture"] == architecture:
            return child["digest"]
    raise KeyError(f"{digest} has no child for {architecture}")
