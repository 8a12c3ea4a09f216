"""skopeo, which stands for everything built on containers/image: CRI-O, podman, buildah."""

import corpus
from scenario import DOCKER_LIST, SIGNED_INDEXES, UNSIGNED, UNSIGNED_INDEX, Scenario


class Skopeo(Scenario):
    def test_copies_every_platform_of_signed_images(self):
        for identifier in SIGNED_INDEXES:
            with self.subTest(identifier):
                repository, digest = self.root_of(identifier)
                layout = self.work / identifier
                self._copy(repository, "v1", f"oci:{layout}:v1")
                self.assert_holds(layout / "blobs" / "sha256", digest)

    def test_copies_a_signed_image_by_digest(self):
        repository, digest = self.root_of(SIGNED_INDEXES[0])
        layout = self.work / "by-digest"
        self._copy(repository, digest, f"oci:{layout}:v1")
        self.assert_holds(layout / "blobs" / "sha256", digest)

    def test_copies_a_signed_docker_manifest_list(self):
        # An OCI layout cannot hold Docker media types unchanged; a plain directory can.
        repository, digest = self.root_of(DOCKER_LIST)
        directory = self.work / "docker-list"
        self._copy(repository, "v1", f"dir:{directory}")
        self.assertEqual((directory / "manifest.json").read_bytes(), corpus.content(digest))
        for expected in corpus.everything_below(digest)[1:]:
            name = expected.removeprefix("sha256:")
            candidates = [directory / name, directory / f"{name}.manifest.json"]
            found = next((path for path in candidates if path.is_file()), None)
            self.assertIsNotNone(found, f"{expected} did not arrive")
            self.assertEqual(found.read_bytes(), corpus.content(expected))

    def test_is_refused_an_unsigned_image(self):
        repository, digest = self.root_of(UNSIGNED)
        source = f"docker://{self.proxy.image(repository, digest)}"
        self.is_refused(UNSIGNED, *SKOPEO_COPY, source, f"oci:{self.work / 'unsigned'}:v1")
        self.is_refused(UNSIGNED, "skopeo", "inspect", "--tls-verify=false", source)
        self.is_refused(UNSIGNED, "skopeo", "inspect", "--raw", "--tls-verify=false", source)

    def test_is_refused_an_index_of_which_one_child_is_signed(self):
        repository, digest = self.root_of(UNSIGNED_INDEX)
        source = f"docker://{self.proxy.image(repository, digest)}"
        self.is_refused(UNSIGNED_INDEX, *SKOPEO_COPY, source, f"oci:{self.work / 'unsigned-index'}:v1")

    def test_reads_signatures_and_their_absence(self):
        repository, digest = self.root_of(SIGNED_INDEXES[0])
        signature = f"sha256-{digest.removeprefix('sha256:')}.sig"
        served = self.succeeds(*SKOPEO_RAW, f"docker://{self.proxy.image(repository, signature)}")
        expected = corpus.content(corpus.repository(repository)["tags"][signature])
        self.assertEqual(served.strip().encode(), expected.strip())

        # Verifiers behind us read 404 as "no signature" and 403 as a failure.
        repository, digest = self.root_of(UNSIGNED)
        absent = f"sha256-{digest.removeprefix('sha256:')}.sig"
        code, output = self.run_tool(*SKOPEO_RAW, f"docker://{self.proxy.image(repository, absent)}")
        self.assertNotEqual(code, 0)
        self.assertIn("manifest unknown", output.lower())

    def _copy(self, repository, reference, destination):
        self.succeeds(*SKOPEO_COPY, f"docker://{self.proxy.image(repository, reference)}", destination)


# `--insecure-policy` switches off the policy of skopeo itself: the one under test is the proxy's.
SKOPEO_COPY = [
    "skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false",
]
SKOPEO_RAW = ["skopeo", "inspect", "--raw", "--tls-verify=false"]
