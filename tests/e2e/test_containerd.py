"""Debian's containerd (1.6), with the proxy as the mirror of a registry, so that it sends `?ns=`."""

import json
import platform

import corpus
import daemon
import proxy
from scenario import DOCKER_LIST, SIGNED_INDEXES, UNSIGNED, Scenario


class Containerd(Scenario):
    # containerd up to 2.2 hides the body of an answer to HEAD, and with it the reason.
    settings = {"compat": {"head_allows": True}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.containerd = daemon.Containerd(cls)
        hosts = cls.containerd.directory / "hosts" / proxy.REGISTRY
        hosts.mkdir(parents=True)
        # As `server`, not only as a mirror, so that there is nowhere to fall back to.
        (hosts / "hosts.toml").write_text(
            f'server = "http://{cls.proxy.address}"\n'
            f'[host."http://{cls.proxy.address}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    def test_pulls_signed_images_for_its_platform(self):
        for identifier in [*SIGNED_INDEXES, DOCKER_LIST]:
            with self.subTest(identifier):
                repository, digest = self.root_of(identifier)
                image = f"{proxy.REGISTRY}/{repository}:v1"
                self.succeeds(*self._pull(), image)
                listed = self.succeeds(*self.containerd.client, "images", "list", f"name=={image}")
                self.assertIn(digest, listed)
                blobs = self.containerd.directory / "root" / "io.containerd.content.v1.content" / "blobs" / "sha256"
                self.assertTrue((blobs / digest.removeprefix("sha256:")).is_file())
                self.assert_holds(blobs, _child_for_this_platform(digest))

    def test_is_refused_an_unsigned_image(self):
        repository, digest = self.root_of(UNSIGNED)
        image = f"{proxy.REGISTRY}/{repository}"
        self.is_refused(UNSIGNED, *self._pull(), f"{image}@{digest}")
        self.assertNotIn(image, self.succeeds(*self.containerd.client, "images", "list", "--quiet"))

    def _pull(self):
        # The native snapshotter copies files and so works on every file system.
        hosts = self.containerd.directory / "hosts"
        return [*self.containerd.client, "images", "pull", "--hosts-dir", hosts, "--snapshotter", "native"]


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
