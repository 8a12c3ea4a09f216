"""An upstream registry at a distance: every answer is late by one round trip, and all share one pipe.

`GET /control` gives what was asked since the last `POST /control`, whose body sets the round trip
(`delay_seconds`) and the bandwidth (`bytes_per_second`, null for no limit) and starts counting anew.
"""

import argparse
import asyncio
import json
import pathlib
import urllib.parse

CHUNK_BYTES = 256 * 1024
PIPE_SLACK_SECONDS = 0.02


class Upstream:
    def __init__(self, root):
        self._root = root
        self._paths = json.loads((root / "registry.json").read_text())
        self._configure({"delay_seconds": 0, "bytes_per_second": None})

    async def serve(self, reader, writer):
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = request.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(writer, method, urllib.parse.urlsplit(target).path, headers, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _configure(self, wanted):
        self._delay_seconds, self._bytes_per_second = wanted["delay_seconds"], wanted["bytes_per_second"]
        self._counts = {"requests": 0, "gets": 0, "large_gets": 0, "bytes": 0}
        self._pipe_free_at = 0.0

    async def _answer(self, writer, method, path, headers, body):
        if path == "/control":
            counts = json.dumps(self._counts).encode()
            if method == "POST":
                self._configure(json.loads(body))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(counts) + counts)
            return

        self._counts["requests"] += 1
        self._counts["gets"] += method == "GET"
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        if path == "/v2/":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        elif found := self._paths.get(path):
            await self._send(writer, method, headers, *found)
        else:
            missing = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}'
            content = missing if method == "GET" else b""
            writer.write(
                b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(missing), content)
            )

    async def _send(self, writer, method, headers, media_type, digest):
        path = self._root / "blobs" / digest
        size = path.stat().st_size
        first, status, more = 0, "200 OK", ""
        if (span := headers.get("range", "")).startswith("bytes="):
            first = int(span.removeprefix("bytes=").split("-")[0])
            status, more = "206 Partial Content", f"Content-Range: bytes {first}-{size - 1}/{size}\r\n"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n"
            f"Accept-Ranges: bytes\r\n{more}Content-Length: {size - first}\r\n\r\n".encode()
        )
        if method != "GET":
            return
        self._counts["large_gets"] += size > CHUNK_BYTES
        with open(path, "rb") as content:
            content.seek(first)
            while chunk := content.read(CHUNK_BYTES):
                await self._wait_for_pipe(len(chunk))
                writer.write(chunk)
                await writer.drain()
                self._counts["bytes"] += len(chunk)

    async def _wait_for_pipe(self, size):
        if not self._bytes_per_second:
            return
        now = asyncio.get_running_loop().time()
        # What the scheduler delayed may be caught up, or the pipe would be thinner than it says.
        self._pipe_free_at = max(now - PIPE_SLACK_SECONDS, self._pipe_free_at) + size / self._bytes_per_second
        await asyncio.sleep(max(0, self._pipe_free_at - now))


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    server = await asyncio.start_server(Upstream(options.root).serve, "127.0.0.1", options.port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
