"""The attacks. Each has its own form of what was seen in the field; SECURITY.md has the table."""

import base64
import itertools
import os
import resource
import socket
import threading
import time

import http2
import registry
from world import ALICE, ATTESTED, CONDITIONS, SECRET, USERS_PASSWORD
from registry import LAYER, sha256, to_json, write


class Attack:
    """`prepare` puts content into registries; `begin` acts before the attack; `assault` runs in a process of its own until
    `deadline`; `watch` looks during it; `findings` returns what is wrong afterwards."""

    name = ""
    is_quick = True

    def prepare(self, world): pass
    def begin(self, world): pass
    def assault(self, world, deadline): pass
    def watch(self, world): pass
    def findings(self, world): return []


# Connections

class IdleConnections(Attack):
    """Connections that send nothing, from five addresses."""
    name = "idle connections"

    def assault(self, world, deadline):
        more_descriptors()
        held = []
        for number in range(3000):
            held.append(connect(world.proxy.port, f"127.0.0.{2 + number % 5}"))
        wait_until(deadline)


class HalfGreetings(Attack):
    """The beginning of an HTTP/2 preface, of a request, of a header."""
    name = "half greetings"

    def assault(self, world, deadline):
        more_descriptors()
        parts = [b"PRI", b"PRI * HTTP/2.0\r\n", http2.PREFACE, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"P"]
        held = []
        for part in itertools.islice(itertools.cycle(parts), 1500):
            held.append(connect(world.proxy.port, "127.0.0.2"))
            held[-1].sendall(part)
        wait_until(deadline)


class AdminHalfRequests(Attack):
    """Requests to the admin listener that never end."""
    name = "half requests to the admin listener"

    def assault(self, world, deadline):
        more_descriptors()
        held = []
        while time.monotonic() < deadline and len(held) < 2500:
            try:
                held.append(connect(world.proxy.admin_port, "127.0.0.2", timeout=0.5))
                held[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            except OSError:
                time.sleep(0.05)
        wait_until(deadline)


class SlowReaders(Attack):
    """HTTP/2 streams with a window of three bytes that ask for a layer."""
    name = "slow readers"

    def assault(self, world, deadline):
        path = f"/v2/{world.good.host}/team/app/blobs/{sha256(world.warm_layer)}"
        held = []
        for _ in range(40):
            connection = http2.connect(world.proxy.port, "127.0.0.2", window=3)
            connection.sendall(b"".join(http2.request(1 + 2 * n, path) for n in range(100)))
            held.append(connection)
        while time.monotonic() < deadline:
            held = [connection for connection in held if http2.answer_pings(connection)]
            time.sleep(0.2)


class RapidReset(Attack):
    """Streams for missing tags that are reset a few milliseconds later (CVE-2023-44487)."""
    name = "rapid reset"

    def assault(self, world, deadline):
        number = itertools.count()
        while time.monotonic() < deadline:
            try:
                with http2.connect(world.proxy.port, "127.0.0.2") as connection:
                    for first in range(1, 2000, 40):
                        streams = range(first, first + 40, 2)
                        connection.sendall(b"".join(http2.request(s, world.good_path(f"reset{next(number)}")) for s in streams))
                        time.sleep(0.006)
                        connection.sendall(b"".join(http2.frame(http2.RST_STREAM, 0, s, b"\0\0\0\x08") for s in streams))
            except OSError:
                pass


# The upstream's budget

class MissingTags(Attack):
    """Two hundred clients of one address that ask for tags that do not exist, while a tag moves to a repaired image."""
    name = "missing tags"

    def begin(self, world):
        if world.proxy.status(world.good_path("latest", "team/moving"))[0] != 200:
            raise RuntimeError("the moving tag cannot be pulled")
        self.started, self.is_moved, self.last = time.monotonic(), False, None

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(200, deadline, lambda: get(world.proxy.port, world.good_path(f"missing{next(number)}"), "127.0.0.2"))

    def watch(self, world):
        if not self.is_moved and time.monotonic() > self.started + 1:
            get(int(world.good.host.split(":")[1]), "/v2/team/moving/move/repaired:latest", "127.0.0.1")
            self.is_moved = True
        if self.is_moved and time.monotonic() > self.started + 5:
            status, headers, _body = world.proxy.get(world.good_path("latest", "team/moving"))
            self.last = status, headers.get("docker-content-digest")

    def findings(self, world):
        if self.last != (200, world.repaired):
            return [f"the moved tag answers {self.last} instead of {world.repaired}"]
        return []


class OneMissingDigest(Attack):
    """One digest that does not exist, again and again, must not use up the upstream's quota."""
    name = "one missing digest"

    def begin(self, world):
        self.before = world.evil.requests()

    def assault(self, world, deadline):
        path = world.evil_path("signed/app", sha256(b"absent"))
        at_once(4, deadline, lambda: get(world.proxy.port, path, "127.0.0.2"))

    def findings(self, world):
        asked = world.evil.requests() - self.before
        return [f"the upstream was asked {asked} times for one digest"] if asked > 60 else []


class ThrottledTag(Attack):
    """A 429 for one tag must not stop another repository of that host."""
    name = "throttled tag"

    def prepare(self, world):
        async def throttle(method, query, headers, writer):
            write(writer, method, 429, {"Retry-After": "600"}, b"{}")
        world.evil.special["/v2/signed/quota/manifests/v1"] = throttle
        world.evil.signed_image("signed/other", "v1")

    def assault(self, world, deadline):
        for _ in range(3):
            get(world.proxy.port, world.evil_path("signed/quota", "v1"), "127.0.0.2")

    def findings(self, world):
        status, _seconds = world.proxy.status(world.evil_path("signed/other", "v1"))
        return [] if status == 200 else [f"another repository of the throttled host answers {status}"]


class EarlyHints(Attack):
    """Interim answers without end. The HTTP library reads them without telling, so nothing bounds them yet."""
    name = "early hints"
    is_quick = False

    def prepare(self, world):
        async def hint(method, query, headers, writer):
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 200)
                await writer.drain()
        for number in range(8):
            world.evil.special[f"/v2/signed/hints/manifests/v{number}"] = hint

    def begin(self, world):
        self.before = world.proxy.cpu_seconds()

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(8, deadline, lambda: get(world.proxy.port, world.evil_path("signed/hints", f"v{next(number) % 8}"), "127.0.0.2"))

    def findings(self, world):
        spent = world.proxy.cpu_seconds() - self.before
        return [f"{spent:.1f} s of processor time for interim answers"] if spent > 6 else []


# Passwords

class WrongPasswords(Attack):
    """Guesses from one address, while users whose password the proxy has not seen yet come from another."""
    name = "wrong passwords"

    def begin(self, world):
        self.seen, self.users = [], iter(range(50))

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(60, deadline, lambda: get(world.proxy.port, world.private_path("v1"), "127.0.0.2",
                                          headers=basic(f"user{next(number) % 50}", os.urandom(6).hex())))

    def watch(self, world):
        if len(self.seen) < 10:
            user = next(self.users)
            self.seen.append(world.proxy.status(world.private_path("v1"), headers=basic(f"user{user}", USERS_PASSWORD)))

    def findings(self, world):
        failed = [status for status, _seconds in self.seen if status != 200]
        slowest = max(seconds for _status, seconds in self.seen)
        wrong = [f"{len(failed)} of {len(self.seen)} users with right passwords were turned away: {failed}"] if failed else []
        return wrong + ([f"a user waited {slowest:.1f} s"] if slowest > 3 else [])


# Processor time

class Conditions(Attack):
    """Attestations whose predicates make an ordinary condition expensive."""
    name = "conditions"

    def prepare(self, world):
        predicates = {
            "membership": {"items": [{"name": "a"}] * 90_000, "allowed": ["b"] * 90_000 + ["a"]},
            "patterns": {"items": [{"name": "a" * 30}] * 60_000, "pattern": "(a{1,15}){1,15}{1,8}c"},
            "search": {"items": [{"name": "a" * 9 + "b"}] * 60_000, "text": "a" * 2_000_000},
            # Of 40 KB, and quadratic.
            "small": {"items": [100 + number % 900 for number in range(10_000)]},
        }
        self.digests = []
        for name, predicate in predicates.items():
            for number in range(2):
                digest = world.evil.image(f"attested/{name}", f"v{number}")
                for copy in range(3):
                    world.evil.attest(f"attested/{name}", digest, ATTESTED, predicate, padding=copy)
        self.paths = [(f"attested/{name}", f"v{number}") for name in CONDITIONS for number in range(2)]

    def begin(self, world):
        self.before = world.proxy.cpu_seconds()

    def assault(self, world, deadline):
        path = itertools.cycle(self.paths)
        at_once(4, deadline, lambda: get(world.proxy.port, world.evil_path(*next(path)), "127.0.0.2", timeout=60))

    def findings(self, world):
        admitted = [path for path in self.paths if world.proxy.status(world.evil_path(*path))[0] == 200]
        return [f"{admitted} were admitted"] if any(path[0] == "attested/patterns" for path in admitted) else []


# Memory

class HugeLists(Attack):
    """Referrers in many pages with many annotations, asked for by several at once."""
    name = "huge lists"
    is_quick = False

    def prepare(self, world):
        digest = world.evil.signed_image("signed/lists", "v1")
        self.path = world.evil_path("signed/lists", digest, "referrers")
        entry = {"mediaType": registry.MANIFEST, "size": 1, "artifactType": "application/x", "annotations": {f"key{n}": "" for n in range(9000)}}
        page = to_json({"schemaVersion": 2, "mediaType": registry.INDEX,
                        "manifests": [{**entry, "digest": sha256(b"%d" % n)} for n in range(25)]})
        async def pages(method, query, headers, writer):
            number = int(query.partition("page=")[2] or 0)
            link = {"Link": f'</v2/signed/lists/referrers/{digest}?page={number + 1}>; rel="next"'} if number < 38 else {}
            write(writer, method, 200, {"Content-Type": registry.INDEX, **link}, page)
        world.evil.special[f"/v2/signed/lists/referrers/{digest}"] = pages

    def assault(self, world, deadline):
        at_once(8, deadline, lambda: get(world.proxy.port, self.path, "127.0.0.2", timeout=60))


class ManyAnnotations(Attack):
    """Manifests near the limit that consist of annotations."""
    name = "many annotations"
    is_quick = False

    def prepare(self, world):
        self.digests = [world.evil.signed_image("signed/annotated", f"v{number}",
                                                annotations={f"{number}k{n}": "" for n in range(220_000)}) for number in range(10)]

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(8, deadline, lambda: get(world.proxy.port, world.evil_path("signed/annotated", f"v{next(number) % 10}"), "127.0.0.2"))


class MuchMaterial(Attack):
    """Signature material just within the limit for one digest, for many digests at once."""
    name = "much material"
    is_quick = False

    def prepare(self, world):
        self.digests = []
        for number in range(16):
            digest = world.evil.image("signed/material", f"v{number}")
            for part in range(6):
                world.evil.refer("signed/material", digest, b'{"mediaType":"%s","x":"' % registry.BUNDLE.encode() + b"%d" % number
                                 + b"%d" % part + b"x" * (9 * 2**20) + b'"}', registry.BUNDLE)
            self.digests.append(digest)

    def assault(self, world, deadline):
        digest = itertools.cycle(self.digests)
        at_once(16, deadline, lambda: get(world.proxy.port, world.evil_path("signed/material", next(digest)), "127.0.0.2", timeout=60))


# Disk

class LayerLargerThanTheStore(Attack):
    """A layer above the capacity of the store must evict nothing."""
    name = "layer larger than the store"

    def prepare(self, world):
        self.layer = sha256(b"a layer that never ends")
        self.size = 3 * 2**30
        world.evil.signed_image("signed/large", "v1", layers=({"mediaType": LAYER, "digest": self.layer, "size": self.size},))
        async def stream(method, query, headers, writer):
            writer.write(f"HTTP/1.1 200 X\r\nContent-Length: {self.size}\r\n\r\n".encode())
            while method != "HEAD":
                writer.write(bytes(2**20))
                await writer.drain()
        world.evil.special[f"/v2/signed/large/blobs/{self.layer}"] = stream

    def assault(self, world, deadline):
        get(world.proxy.port, world.evil_path("signed/large", "v1"), "127.0.0.2")
        path = world.evil_path("signed/large", self.layer, "blobs")
        at_once(3, deadline, lambda: get(world.proxy.port, path, "127.0.0.2", timeout=2, read_max=1))

    def findings(self, world):
        before = world.good.requests()
        path = f"/v2/{world.good.host}/team/app/blobs/{sha256(world.warm_layer)}"
        status, _seconds = world.proxy.status(path)
        asked = world.good.requests() - before
        return [] if status == 200 and not asked else [f"a warm layer was evicted: {status}, {asked} requests to the upstream"]


class SlowTransfers(Attack):
    """Layers that arrive slowly, each asked for once by a client that leaves."""
    name = "slow transfers"
    # Transfers that no client waits for have no bound yet.
    is_quick = False

    def prepare(self, world):
        self.layers = [sha256(b"slow %d" % number) for number in range(600)]
        size = 2**30
        world.evil.signed_image("signed/slow", "v1", layers=[{"mediaType": LAYER, "digest": layer, "size": size} for layer in self.layers])
        async def trickle(method, query, headers, writer):
            import asyncio
            writer.write(f"HTTP/1.1 200 X\r\nContent-Length: {size}\r\n\r\n".encode())
            while method != "HEAD":
                writer.write(bytes(512))
                await writer.drain()
                await asyncio.sleep(0.25)
        for layer in self.layers:
            world.evil.special[f"/v2/signed/slow/blobs/{layer}"] = trickle

    def assault(self, world, deadline):
        get(world.proxy.port, world.evil_path("signed/slow", "v1"), "127.0.0.2")
        layer = itertools.cycle(self.layers)
        at_once(20, deadline, lambda: get(world.proxy.port, world.evil_path("signed/slow", next(layer), "blobs"), "127.0.0.2", timeout=0.4, read_max=1))


# The log

class HugeMessages(Attack):
    """A media type of three million characters with escape sequences, which a refusal would repeat."""
    name = "huge messages"

    def prepare(self, world):
        for number in range(6):
            kind = "application/\x1b]0;owned\x07\u202e" + "x" * 3_000_000 + str(number)
            data = to_json({"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": []})
            world.evil.put("signed/huge", f"v{number}", data)

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(8, deadline, lambda: get(world.proxy.port, world.evil_path("signed/huge", f"v{next(number) % 6}"), "127.0.0.2"))

    def findings(self, world):
        status, _headers, body = world.proxy.get(world.evil_path("signed/huge", "v0"))
        text = body.decode(errors="replace")
        bad = [name for name, sign in {"ESC": "\x1b", "ESC (escaped)": "\\u001b", "RLO": "\u202e"}.items() if sign in text]
        wrong = [f"the message has {len(body)} bytes"] if len(body) > 8192 else []
        return wrong + ([f"the message holds {bad}"] if bad else [])


class NoisyRefusals(Attack):
    """Refusals that need no upstream must hide no refusal of a client with a name."""
    name = "noisy refusals"

    def assault(self, world, deadline):
        number = itertools.count()
        at_once(20, deadline, lambda: get(world.proxy.port, f"/v2/host{next(number)}.example/a/b/manifests/v", "127.0.0.2"))

    def findings(self, world):
        path = f"/v2/{world.good.host}/secret/plans/manifests/{sha256(b'plans')}"
        status, _headers, body = world.proxy.get(path.replace(world.good.host, "unknown.example"), headers=basic(*ALICE))
        rows = world.proxy.decisions(client=ALICE[0])
        return [] if rows else [f"the probe of a client with a name ({status}) is not in the log: {body[:200]}"]


# Confidentiality

class ClaimedLayer(Attack):
    """The attacker's registry claims to have a private layer of which it knows the digest only."""
    name = "claimed layer"

    def prepare(self, world):
        digest = sha256(SECRET)
        world.evil.signed_image("signed/claims", "v1", layers=({"mediaType": LAYER, "digest": digest, "size": len(SECRET)},))
        async def claim(method, query, headers, writer):
            if method == "HEAD":
                write(writer, method, 200, {"Docker-Content-Digest": digest}, SECRET)
            elif headers.get("range", "").startswith("bytes=0-0"):
                write(writer, method, 206, {"Content-Range": f"bytes 0-0/{len(SECRET)}"}, SECRET[:1])
            else:
                write(writer, method, 206, {"Content-Range": f"bytes 0-{len(SECRET) - 1}/{len(SECRET)}"}, bytes(len(SECRET)))
        world.evil.special[f"/v2/signed/claims/blobs/{digest}"] = claim

    def begin(self, world):
        for path in (world.private_path("v1"), world.private_path(world.secret, "blobs")):
            status, _seconds = world.proxy.status(path, headers=basic(*ALICE))
            if status != 200:
                raise RuntimeError(f"{path} is {status}")

    def findings(self, world):
        world.proxy.status(world.evil_path("signed/claims", "v1"))
        status, _headers, body = world.proxy.get(world.evil_path("signed/claims", world.secret, "blobs"))
        head, _headers, _body = world.proxy.get(world.evil_path("signed/claims", world.secret, "blobs"), method="HEAD")
        wrong = ["the private layer was served to a stranger"] if SECRET[:1000] in body else []
        return wrong + ([f"GET tells that the layer is cached: {status}"] if status == 200 else [])


ALL = [IdleConnections, HalfGreetings, AdminHalfRequests, SlowReaders, RapidReset, MissingTags, OneMissingDigest, ThrottledTag,
       EarlyHints, WrongPasswords, Conditions, HugeLists, ManyAnnotations, MuchMaterial, LayerLargerThanTheStore, SlowTransfers,
       HugeMessages, NoisyRefusals, ClaimedLayer]


# Tools

def connect(port, source, timeout=10):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))


def get(port, path, source, headers=None, timeout=20, read_max=None):
    """Sends one request from an address and reads the answer. Returns its bytes; an error ends it without one."""
    try:
        with connect(port, source, timeout) as connection:
            lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *(f"{k}: {v}" for k, v in (headers or {}).items())]
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
            read = 0
            while read_max is None or read < read_max:
                part = connection.recv(2**16)
                if not part:
                    break
                read += len(part)
            return read
    except OSError:
        return None


def at_once(count, deadline, act):
    """Repeats `act` in `count` threads until the deadline."""
    def repeat():
        while time.monotonic() < deadline:
            act()
    threads = [threading.Thread(target=repeat, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(deadline)


def wait_until(deadline):
    while time.monotonic() < deadline:
        time.sleep(0.1)


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def more_descriptors():
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
