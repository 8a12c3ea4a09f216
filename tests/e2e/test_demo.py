"""`countersign demo`: the first thing that somebody new runs."""

import os
import subprocess
import tempfile
import unittest

DEMO_SECONDS = 120


class Demo(unittest.TestCase):
    def test_tour_ends_as_it_should(self):
        with tempfile.TemporaryDirectory(prefix="countersign-demo-") as work:
            done = subprocess.run(
                [os.environ["COUNTERSIGN"], "demo", "--once"], cwd=work, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEMO_SECONDS,
            )
        output = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, output)
        for step in ("unsigned", "identity", "tampered"):
            self.assertIn(step, output.lower())
