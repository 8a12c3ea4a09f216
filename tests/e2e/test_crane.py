"""crane, which stands for everything built on go-containerregistry: ko, kaniko, cosign, Kyverno."""

import shutil
import unittest

import corpus
from scenario import SIGNED_INDEXES, UNSIGNED, Scenario


@unittest.skipUnless(shutil.which("crane"), "crane is not installed, and there is no Go to build it with")
class Crane(Scenario):
    def test_pulls_a_signed_image(self):
        repository, digest = self.root_of(SIGNED_INDEXES[0])
        layout = self.work / "crane"
        self.succeeds("crane", "pull", "--format", "oci", self.proxy.image(repository, "v1"), layout)
        self.assert_holds(layout / "blobs" / "sha256", digest)

    def test_reads_manifest_digest_and_tags(self):
        repository, digest = self.root_of(SIGNED_INDEXES[0])
        image = self.proxy.image(repository, "v1")
        self.assertEqual(self.succeeds("crane", "digest", image).strip(), digest)
        self.assertEqual(self.succeeds("crane", "manifest", image).encode().strip(), corpus.content(digest).strip())
        tags = self.succeeds("crane", "ls", image.removesuffix(":v1")).split()
        self.assertEqual(sorted(tags), sorted(corpus.repository(repository)["tags"]))

    def test_is_refused_an_unsigned_image(self):
        repository, digest = self.root_of(UNSIGNED)
        image = self.proxy.image(repository, digest)
        self.is_refused(UNSIGNED, "crane", "pull", image, self.work / "unsigned.tar")
        self.is_refused(UNSIGNED, "crane", "manifest", image)
