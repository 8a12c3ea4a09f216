"""What is measured. Every function takes a server that has just been started and gives rows of the result."""

import concurrent.futures
import hashlib
import re
import statistics
import subprocess

from client import Client, connect, download

CONNECTIONS = 32
CONCURRENT_PULLS = 50
ROUND_TRIP_SECONDS = 0.030
PIPE_BYTES_PER_SECOND = 100_000_000
PERCENTILES = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def direct(upstream, image):
    """What the same requests cost without anything in between, in one sentence."""
    manifest = f"/v2/{image.repository}/manifests/{image.digest}"
    blob = f"/v2/{image.repository}/blobs/{image.layer['digest']}"
    upstream.configure(ROUND_TRIP_SECONDS)
    client = Client(upstream.address)
    round_trip = statistics.median(client.ask("GET", manifest)[1] for _ in range(20))
    totals = []
    for pipe in (None, PIPE_BYTES_PER_SECOND):
        upstream.configure(ROUND_TRIP_SECONDS, pipe)
        with connect(upstream.address) as connection:
            totals.append(download(connection, upstream.address, blob, image.layer["size"])[1])
    return (
        f"Upstream alone: round trip {round_trip * 1e3:.1f} ms; 60 MiB blob in {totals[0] * 1e3:.0f} ms, "
        f"through the 100 MB/s pipe in {totals[1] * 1e3:.0f} ms"
    )


def warm(server, upstream, images, effort):
    """Everything is in the cache: what one core of the server gives."""
    image = images["warm"]
    upstream.configure()
    _pull_and_check(server, image)

    manifest = _wrk(server, server.path(image.repository, "manifests", image.digest), effort.seconds)
    yield "warm manifest by digest, requests/s", f"{manifest.rate:,.0f}"
    yield "… p50 / p99 ms", f"{manifest.p50_ms:.2f} / {manifest.p99_ms:.2f}"
    yield "… CPU µs per request", f"{manifest.cpu_us:,.1f}"
    config = _wrk(server, server.path(image.repository, "blobs", image.config["digest"]), effort.seconds)
    yield "warm config blob, requests/s", f"{config.rate:,.0f}"
    yield "… CPU µs per request", f"{config.cpu_us:,.1f}"

    path, size = server.path(image.repository, "blobs", image.layer["digest"]), image.layer["size"]
    with connect(server.address) as connection:
        cpu = server.cpu_seconds()
        seconds = [download(connection, server.address, path, size)[1] for _ in range(effort.downloads)]
        cpu = server.cpu_seconds() - cpu
    gigabytes = effort.downloads * size / 1e9
    yield "warm 60 MiB blob, GB/s", f"{gigabytes / sum(seconds):.2f}"
    yield "… CPU ms per GB", f"{cpu * 1e3 / gigabytes:,.0f}"
    yield "resident MB after that", f"{server.resident_megabytes():.0f}"

    upstream.configure(ROUND_TRIP_SECONDS)
    client = Client(server.address)
    tag = server.path(image.repository, "manifests", "v1")
    heads = [client.ask("HEAD", tag)[1] for _ in range(effort.repetitions * 4)]
    yield "HEAD of a warm tag, p50 ms", f"{statistics.median(heads) * 1e3:.1f}"
    yield "… upstream requests each", f"{upstream.counts()['requests'] / len(heads):.2f}"


def cold_manifests(server, upstream, images, effort):
    """Nothing is known about the image: the round trips that a verified first answer takes."""
    _pull_and_check(server, images["first"])
    for reference, key in (("tag", "v1"), ("digest", None)):
        upstream.configure(ROUND_TRIP_SECONDS)
        client, seconds = Client(server.address), []
        for image in images[f"cold by {reference}"][: effort.repetitions * 4]:
            path = server.path(image.repository, "manifests", key or image.digest)
            body, elapsed = client.ask("GET", path)
            _check(body, image.digest)
            seconds.append(elapsed)
        yield f"cold signed manifest by {reference}, p50 ms", f"{statistics.median(seconds) * 1e3:.1f}"
        yield "… upstream requests each", f"{upstream.counts()['requests'] / len(seconds):.1f}"


def cold_blobs(server, upstream, images, effort):
    """One client and a blob that nobody has asked for."""
    queue = iter(images["cold blobs"])
    for title, pipe in (("unlimited", None), ("100 MB/s", PIPE_BYTES_PER_SECOND)):
        first_bytes, totals, gets = [], [], 0
        for image in (next(queue) for _ in range(effort.repetitions)):
            upstream.configure(ROUND_TRIP_SECONDS, pipe)
            Client(server.address).ask("GET", server.path(image.repository, "manifests", image.digest))
            path = server.path(image.repository, "blobs", image.layer["digest"])
            with connect(server.address) as connection:
                first_byte, total = download(connection, server.address, path, image.layer["size"])
            first_bytes.append(first_byte)
            totals.append(total)
            gets += upstream.counts()["large_gets"]
        yield f"cold 60 MiB blob, {title}: first byte p50 ms", f"{statistics.median(first_bytes) * 1e3:.1f}"
        yield "… total p50 ms", f"{statistics.median(totals) * 1e3:,.0f}"
        yield "… upstream GETs each", f"{gets / len(totals):.1f}"


def concurrent_pulls(server, upstream, images, effort):
    """A roll-out: many nodes ask for the same new image at once."""
    rows = []
    for image in images["concurrent"][: effort.rollouts]:
        upstream.configure(ROUND_TRIP_SECONDS, PIPE_BYTES_PER_SECOND)
        server.forget_peak()
        with concurrent.futures.ThreadPoolExecutor(CONCURRENT_PULLS) as pool:
            pulls = list(pool.map(lambda _, image=image: _pull(server, image), range(CONCURRENT_PULLS)))
        first_bytes, totals = zip(*pulls)
        counts = upstream.counts()
        rows.append((
            counts["large_gets"], counts["bytes"] / 1e6, statistics.quantiles(totals, n=100, method="inclusive")[98],
            statistics.median(first_bytes) * 1e3, server.peak_megabytes(),
        ))
    gets, megabytes, p99, first_byte, peak = (statistics.median(column) for column in zip(*rows))
    yield f"{CONCURRENT_PULLS} cold pulls at once, 100 MB/s: upstream GETs of the layer", f"{gets:.0f}"
    yield "… upstream MB", f"{megabytes:,.0f}"
    yield "… whole pull, p99 s", f"{p99:.2f}"
    yield "… first byte of the layer, p50 ms", f"{first_byte:,.0f}"
    yield "… peak resident MB", f"{peak:.0f}"


class _Wrk:
    def __init__(self, output, cpu_seconds):
        if "Non-2xx" in output or "Socket errors" in output:
            raise RuntimeError(f"wrk failed:\n{output}")
        requests = int(re.search(r"(\d+) requests in", output)[1])
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
        percentiles = {which: float(value) * MILLISECONDS[unit] for which, value, unit in PERCENTILES.findall(output)}
        if percentiles.keys() != {"50", "99"}:
            raise RuntimeError(f"wrk printed no percentiles:\n{output}")
        self.p50_ms, self.p99_ms = percentiles["50"], percentiles["99"]
        self.cpu_us = cpu_seconds * 1e6 / requests


def _wrk(server, path, seconds):
    command = [
        "wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--latency",
        "--header", "Accept: application/vnd.oci.image.manifest.v1+json", f"http://{server.address}{path}",
    ]
    cpu = server.cpu_seconds()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return _Wrk(done.stdout, server.cpu_seconds() - cpu)


def _pull(server, image):
    """A whole pull as a runtime does it: first byte of the layer (since it was asked for) and total seconds."""
    client = Client(server.address)
    _, by_tag = client.ask("GET", server.path(image.repository, "manifests", "v1"))
    _, config = client.ask("GET", server.path(image.repository, "blobs", image.config["digest"]))
    client.close()
    with connect(server.address) as connection:
        path = server.path(image.repository, "blobs", image.layer["digest"])
        first_byte, total = download(connection, server.address, path, image.layer["size"])
    return first_byte, by_tag + config + total


def _pull_and_check(server, image):
    """Pulls an image so that it is warm, and makes sure that the bytes are the right ones."""
    client = Client(server.address)
    for reference in ("v1", image.digest):
        body, _ = client.ask("GET", server.path(image.repository, "manifests", reference))
        _check(body, image.digest)
    for blob in (image.config, image.layer):
        # Twice: a cache that was filled by the first request answers the second.
        for _ in range(2):
            body, _ = client.ask("GET", server.path(image.repository, "blobs", blob["digest"]))
            _check(body, blob["digest"])


def _check(body, digest):
    found = "sha256:" + hashlib.sha256(body).hexdigest()
    if found != digest:
        raise RuntimeError(f"asked for {digest}, got {found}")
