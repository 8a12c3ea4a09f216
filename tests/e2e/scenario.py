"""What the scenarios share: a corpus upstream, a proxy in front of it, and what a refusal must look like."""

import pathlib
import subprocess
import tempfile
import unittest

import corpus
import proxy

# Signed with a key by legacy cosign, with an identity by legacy cosign, and with an identity as a bundle.
SIGNED_INDEXES = ["kl-index-child-after", "kf-legacy-index", "kf-bundle-index"]
DOCKER_LIST = "kl-docker-list"
UNSIGNED = "n-unsigned"
# Only one child is signed, so the index that lists it is not.
UNSIGNED_INDEX = "kl-childonly-index"
TOOL_SECONDS = 120


class Scenario(unittest.TestCase):
    """Each class has its own proxy, so that what one admits does not help another."""

    cases = [*SIGNED_INDEXES, DOCKER_LIST, UNSIGNED, UNSIGNED_INDEX]
    settings = {}

    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory(prefix="countersign-e2e-")
        cls.addClassCleanup(work.cleanup)
        cls.work = pathlib.Path(work.name)
        upstream = cls.start_upstream()
        cls.proxy = proxy.Proxy(cls.work, upstream, cls.cases, **cls.settings, **cls.prepare(upstream))
        cls.addClassCleanup(cls.proxy.stop)

    @classmethod
    def prepare(cls, upstream):
        """Puts files into the working directory, and returns more settings, before the proxy starts."""
        return {}

    @classmethod
    def start_upstream(cls):
        upstream = corpus.Upstream()
        cls.addClassCleanup(upstream.stop)
        return upstream.address

    def run_tool(self, *command):
        """A client tool to its end: its exit code and everything it printed."""
        done = subprocess.run(
            [str(part) for part in command], cwd=self.work, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TOOL_SECONDS,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def succeeds(self, *command):
        code, output = self.run_tool(*command)
        self.assertEqual(code, 0, f"{' '.join(map(str, command))}\n{output}\n--- server log\n{self.proxy.log()}")
        return output

    def is_refused(self, identifier, *command):
        """The tool fails, and its user reads which image was refused, by which policy."""
        code, output = self.run_tool(*command)
        self.assertNotEqual(code, 0, f"{' '.join(map(str, command))} was not refused\n{output}")
        wanted = corpus.case(identifier)
        for expected in ("denied", f"{proxy.REGISTRY}/{wanted['repository']}", wanted["reference"], identifier):
            self.assertIn(expected, output.lower(), f"--- server log\n{self.proxy.log()}")
        return output

    def root_of(self, identifier):
        """Repository and digest of the image of a case."""
        wanted = corpus.case(identifier)
        repository = corpus.repository(wanted["repository"])
        return wanted["repository"], repository["tags"].get("v1", wanted["reference"])

    def assert_holds(self, directory, digest):
        """A directory of blobs named by digest holds a manifest and everything below it, byte for byte."""
        for expected in corpus.everything_below(digest):
            path = directory / expected.removeprefix("sha256:")
            self.assertTrue(path.is_file(), f"{expected} did not arrive")
            self.assertEqual(path.read_bytes(), corpus.content(expected), f"{expected} arrived with other bytes")
