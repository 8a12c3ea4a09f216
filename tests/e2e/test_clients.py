"""README's own configuration ("A cluster"), by TLS: every client pulls what is public without credentials and what is
private with them. Only the addresses behind the names and the policies are the test's own."""

import base64
import json
import pathlib
import re
import shutil
import unittest

import corpus
import daemon
from scenario import SIGNED_INDEXES, Scenario

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PREFIX = "project123/"
PUBLIC, PRIVATE = SIGNED_INDEXES[1], SIGNED_INDEXES[0]
USER, PASSWORD = "alice", "test-password"
# `htpasswd -nbB`, at the lowest cost.
HTPASSWD = f"{USER}:$2b$04$D4EKxUhK5OcmnKDwM1RljubFbJk9CZzws3TBclTCxQMLLbMQ4l.1y\n"
RIGHT, WRONG = (USER, PASSWORD), (USER, "wrong-password")


def readme_configuration():
    section = README.read_text().split("\n## A cluster\n", 1)[1]
    return re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]


class Clients(Scenario):
    cases = []

    @classmethod
    def start_upstream(cls):
        upstream = corpus.Upstream(prefixes=[PREFIX])
        cls.addClassCleanup(upstream.stop)
        return upstream.address

    @classmethod
    def prepare(cls, upstream):
        (cls.work / "users.htpasswd").write_text(HTPASSWD)
        cls._make_certificate()
        cls.public = f"ghcr.io/{corpus.case(PUBLIC)['repository']}"
        cls.private = f"us-docker.pkg.dev/{PREFIX}{corpus.case(PRIVATE)['repository']}"
        roots = {}
        policies = [
            corpus.policy(PUBLIC, "ghcr.io", roots),
            corpus.policy(PRIVATE, f"us-docker.pkg.dev/{PREFIX}".rstrip("/"), roots),
        ]
        here = {"endpoint": f"http://{upstream}", "plain_http": True, "credentials": "anonymous"}
        return {
            "base": readme_configuration(),
            "upstreams": {"ghcr.io": here, "us-docker.pkg.dev": here},
            "policies": policies,
            "trusted_roots": roots,
        }

    @classmethod
    def _make_certificate(cls):
        """A certificate that nobody signed but itself, under the names that the configuration has."""
        made = cls.run_tool(
            cls, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1",
        )
        if made[0] != 0:
            raise RuntimeError(made[1])

    def image(self, name):
        return f"{self.proxy.address}/{name}:v1"

    def refused(self, wanted, *command):
        """The tool fails, with one of these words about credentials."""
        code, output = self.run_tool(*command)
        self.assertNotEqual(code, 0, f"{' '.join(map(str, command))} was served\n{output}")
        self.assertRegex(output.lower(), wanted, f"{command}\n--- server log\n{self.proxy.log()}")

    def pulls_as_the_rules_say(self, pull, refusal="unauthorized|401"):
        """`pull(name, credentials)` makes the command of a client tool."""
        for name, credentials in [(self.public, None), (self.public, RIGHT), (self.private, RIGHT)]:
            with self.subTest(name=name, credentials=credentials):
                self.succeeds(*pull(name, credentials))
        for name, credentials in [(self.private, None), (self.private, WRONG)]:
            with self.subTest(name=name, credentials=credentials):
                self.refused(refusal, *pull(name, credentials))
        self.assertIn(f'"identity":"{USER}"', self.proxy.whole_log())

    def docker_config(self, credentials):
        """A directory with a configuration as `docker login` leaves it."""
        user, password = credentials or ("nobody", "")
        directory = self.work / f"docker-{user}-{password}"
        directory.mkdir(exist_ok=True)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        auths = {self.proxy.address: {"auth": encoded}} if credentials else {}
        (directory / "config.json").write_text(json.dumps({"auths": auths}))
        return directory


class Skopeo(Clients):
    def test_skopeo_pulls_as_the_rules_say(self):
        def pull(name, credentials):
            command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false"]
            config = self.docker_config(credentials) / "config.json"
            layout = self.work / "oci"
            return [*command, "--src-authfile", config, f"docker://{self.image(name)}", f"oci:{layout}:v1"]

        self.pulls_as_the_rules_say(pull)
        # A wrong password shows where everybody may pull, too.
        self.refused("unauthorized|401", *pull(self.public, WRONG))

    def test_skopeo_logs_in_with_the_right_password_only(self):
        login = ["skopeo", "login", "--tls-verify=false", "--authfile", self.work / "auth.json", "--username", USER]
        self.succeeds(*login, "--password", PASSWORD, self.proxy.address)
        self.refused("invalid username/password", *login, "--password", "wrong", self.proxy.address)


@unittest.skipUnless(shutil.which("podman"), "podman is not installed")
class Podman(Clients):
    def test_podman_pulls_as_the_rules_say(self):
        def pull(name, credentials):
            config = self.docker_config(credentials) / "config.json"
            return [*self._podman(), "pull", "--tls-verify=false", "--authfile", config, self.image(name)]

        self.pulls_as_the_rules_say(pull)

    def test_podman_logs_in_with_the_right_password_only(self):
        login = [*self._podman(), "login", "--tls-verify=false", "--authfile", self.work / "auth.json"]
        login = [*login, "--username", USER, "--password"]
        self.succeeds(*login, PASSWORD, self.proxy.address)
        self.refused("invalid username/password", *login, "wrong", self.proxy.address)

    def _podman(self):
        # Everything in the working directory, and nothing that a container cannot do.
        directories = ["--root", self.work / "podman", "--runroot", self.work / "podman-run"]
        return ["podman", *directories, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]


class Containerd(Clients):
    def test_containerd_pulls_as_the_rules_say(self):
        containerd = daemon.Containerd(type(self))
        # Without this file, ctr speaks plain HTTP to every registry on loopback.
        hosts = self.work / "hosts"
        (hosts / self.proxy.address).mkdir(parents=True)
        (hosts / self.proxy.address / "hosts.toml").write_text(
            f'server = "https://{self.proxy.address}"\n'
            f'[host."https://{self.proxy.address}"]\n  ca = "{self.work}/tls.crt"\n'
        )

        def pull(name, credentials):
            command = [*containerd.client, "images", "pull", "--hosts-dir", hosts, "--snapshotter", "native"]
            user = ["--user", ":".join(credentials)] if credentials else []
            return [*command, *user, self.image(name)]

        self.pulls_as_the_rules_say(pull, "unauthorized|authorization failed|401")


@unittest.skipUnless(shutil.which("crane"), "crane is not installed, and there is no Go to build it with")
class Crane(Clients):
    def test_crane_pulls_as_the_rules_say(self):
        def pull(name, credentials):
            pull = ["crane", "pull", "--insecure", "--format", "oci", self.image(name), self.work / "crane"]
            return ["env", f"DOCKER_CONFIG={self.docker_config(credentials)}", *pull]

        self.pulls_as_the_rules_say(pull)


@unittest.skipUnless(shutil.which("oras"), "oras is not installed, and there is no Go to build it with")
class Oras(Clients):
    def test_oras_pulls_as_the_rules_say(self):
        def pull(name, credentials):
            config = self.docker_config(credentials) / "config.json"
            copy = ["oras", "copy", "--from-insecure", "--from-registry-config", config, self.image(name)]
            return [*copy, "--to-oci-layout", f"{self.work / 'oras'}:v1"]

        self.pulls_as_the_rules_say(pull)

    def test_oras_logs_in_with_the_right_password_only(self):
        login = ["oras", "login", "--insecure", "--registry-config", self.work / "oras.json", "--username", USER]
        self.succeeds(*login, "--password", PASSWORD, self.proxy.address)
        self.refused("unauthorized|401", *login, "--password", "wrong", self.proxy.address)


@unittest.skipUnless(shutil.which("docker") and shutil.which("dockerd"), "Docker's engine is not installed")
class Docker(Clients):
    """Docker takes any certificate from a registry on loopback."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.docker = daemon.Docker(cls)

    def test_docker_pulls_as_the_rules_say(self):
        def pull(name, credentials):
            config = ["--config", self.docker_config(credentials)]
            return ["docker", *config, *self.docker.client[1:], "pull", self.image(name)]

        self.pulls_as_the_rules_say(pull, "unauthorized|401|denied")

    def test_docker_logs_in_with_the_right_password_only(self):
        login = ["docker", "--config", self.work / "login", *self.docker.client[1:], "login", "--username", USER]
        self.succeeds(*login, "--password", PASSWORD, self.proxy.address)
        # After a failure by TLS, Docker tries plain HTTP at a registry on loopback, and shows what came of that.
        refusal = "unauthorized|401|malformed http response"
        self.refused(refusal, *login, "--password", "wrong", self.proxy.address)


@unittest.skipUnless(shutil.which("docker") and shutil.which("dockerd"), "Docker's engine is not installed")
class DockerMirror(Scenario):
    """Docker asks the proxy as its mirror for images of Docker Hub: without a host in the path, so by `routes`."""

    cases = []

    @classmethod
    def prepare(cls, upstream):
        cls.names = [corpus.case(identifier)["repository"] for identifier in (PUBLIC, PRIVATE)]
        roots = {}
        return {
            "upstreams": {"docker.io": {"endpoint": f"http://{upstream}", "plain_http": True}},
            "routes": {name.split("/")[0]: f"docker.io/{name.split('/')[0]}" for name in cls.names},
            "policies": [corpus.policy(identifier, "docker.io", roots) for identifier in (PUBLIC, PRIVATE)],
            "trusted_roots": roots,
        }

    def test_docker_pulls_images_of_docker_hub_through_the_mirror(self):
        docker = daemon.Docker(type(self), f"--registry-mirror=http://{self.proxy.address}")
        for name in self.names:
            with self.subTest(name):
                self.succeeds(*docker.client, "pull", f"{name}:v1")
                self.assertIn(f'"repository":"docker.io/{name}"', self.proxy.whole_log())
