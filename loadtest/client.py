"""The client side: small requests that keep their body, large ones that only count it."""

import http.client
import json
import socket
import time

ACCEPT = ", ".join([
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
])
READ_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 120


class Client:
    """One connection that stays open."""

    def __init__(self, address):
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)

    def ask(self, method, path, body=None, expected=200):
        """The body of the answer, and the seconds until it was complete."""
        start = time.perf_counter()
        self._connection.request(method, path, body, {"Accept": ACCEPT})
        answer = self._connection.getresponse()
        content = answer.read()
        elapsed = time.perf_counter() - start
        if answer.status != expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:400]!r}")
        return content, elapsed

    def close(self):
        self._connection.close()


def download(connection, host, path, size):
    """Seconds until the first byte and until the last byte of a blob of `size` bytes.

    The kernel drops the bytes instead of copying them, so that the server is what is measured.
    """
    start = time.perf_counter()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise RuntimeError(f"GET {path}: closed before the headers were complete")
        head += piece
    head, _, begun = head.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    if " 200" not in lines[0] or f"content-length: {size}" not in lines:
        raise RuntimeError(f"GET {path}: not the {size} bytes asked for: {lines}")
    received, first_byte, scratch = len(begun), None, bytearray(READ_BYTES)
    if begun:
        first_byte = time.perf_counter() - start
    while received < size:
        count = connection.recv_into(scratch, min(READ_BYTES, size - received), socket.MSG_TRUNC)
        if first_byte is None:
            first_byte = time.perf_counter() - start
        if count == 0:
            raise RuntimeError(f"GET {path}: closed after {received} of {size} bytes")
        received += count
    return first_byte, time.perf_counter() - start


def connect(address):
    host, _, port = address.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Upstream:
    """The control side of `upstream.py`."""

    def __init__(self, address):
        self.address = address

    def configure(self, delay_seconds=0.0, bytes_per_second=None):
        """Sets the distance and starts counting anew."""
        wanted = {"delay_seconds": delay_seconds, "bytes_per_second": bytes_per_second}
        Client(self.address).ask("POST", "/control", json.dumps(wanted))

    def counts(self):
        return json.loads(Client(self.address).ask("GET", "/control")[0])
