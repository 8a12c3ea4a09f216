"""A real registry as upstream: CNCF distribution 2.8, which has no referrers API, and which goes away."""

import http.client
import json
import subprocess
import time

import corpus
import proxy
from scenario import SIGNED_INDEXES, UNSIGNED, Scenario
from test_skopeo import SKOPEO_COPY

START_SECONDS = 30


class Distribution(Scenario):
    cases = [SIGNED_INDEXES[0], UNSIGNED]

    @classmethod
    def start_upstream(cls):
        address = proxy.free_address()
        configuration = cls.work / "registry.yml"
        configuration.write_text(json.dumps({
            "version": 0.1, "log": {"level": "error"}, "http": {"addr": address},
            "storage": {"filesystem": {"rootdirectory": str(cls.work / "registry")}},
        }))
        cls.registry = subprocess.Popen(
            ["docker-registry", "serve", configuration],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        cls.addClassCleanup(cls._stop_registry)
        _wait_for(address)
        for identifier in cls.cases:
            _push(address, corpus.case(identifier)["repository"])
        return address

    @classmethod
    def _stop_registry(cls):
        cls.registry.terminate()
        cls.registry.wait(timeout=30)

    def test_serves_what_it_has_after_a_restart_without_the_upstream(self):
        repository, digest = self.root_of(SIGNED_INDEXES[0])
        self.is_refused(UNSIGNED, "skopeo", "inspect", "--raw", "--tls-verify=false", self._source(*self.root_of(UNSIGNED)))
        self._copy(repository, "v1", digest, "upstream-up")

        self._stop_registry()
        self.assertEqual(self.proxy.stop(), 0)
        self.proxy.start()

        self._copy(repository, digest, digest, "upstream-down")
        # The tag was looked up less than `freshness.stale_for` ago.
        self._copy(repository, "v1", digest, "upstream-down-by-tag")

    def _source(self, repository, reference):
        return f"docker://{self.proxy.image(repository, reference)}"

    def _copy(self, repository, reference, digest, name):
        layout = self.work / name
        self.succeeds(*SKOPEO_COPY, self._source(repository, reference), f"oci:{layout}:v1")
        self.assert_holds(layout / "blobs" / "sha256", digest)


def _wait_for(address):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return _ask(address, "GET", "/v2/", 200)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _push(address, name):
    """Puts a repository of the corpus into a registry: blobs, then images, then indexes, then tags."""
    held = corpus.repository(name)
    for digest in held["blobs"]:
        _, headers = _ask(address, "POST", f"/v2/{name}/blobs/uploads/", 202)
        location = headers["Location"].removeprefix(f"http://{address}")
        _ask(address, "PUT", f"{location}&digest={digest}", 201, corpus.content(digest), "application/octet-stream")
    entries = sorted(held["manifests"].items(), key=lambda entry: "index" in entry[1]["mediaType"])
    for digest, entry in entries:
        tags = [tag for tag, target in held["tags"].items() if target == digest]
        for reference in [digest, *tags]:
            _ask(address, "PUT", f"/v2/{name}/manifests/{reference}", 201, corpus.content(digest), entry["mediaType"])


def _ask(address, method, path, expected, body=None, content_type=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text, answer.headers
    finally:
        connection.close()
