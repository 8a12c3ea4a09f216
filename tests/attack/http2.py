"""HTTP/2 frames (RFC 9113) by hand, for clients that do not behave."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
INITIAL_WINDOW = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", {"window": INITIAL_WINDOW}[name], value) for name, value in values.items()))


def request(stream, path):
    """Returns a GET that ends its stream. No header is compressed, so the bytes fit any stream (RFC 7541 §6.2.2)."""
    fields = {":method": "GET", ":scheme": "http", ":authority": "localhost", ":path": path}
    block = b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())
    return frame(HEADERS, 0x5, stream, block)


def text(value):
    # Header names and paths here are shorter than 16 KiB: a prefix of seven bits and at most two more bytes.
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest = len(data) - 127
    return bytes([127, rest % 128 + 128, rest // 128]) + data


def connect(port, source="127.0.0.1", **values):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    connection.sendall(PREFACE + settings(**values))
    return connection


def frames(buffer):
    """Takes whole frames out of a bytearray: kind, flags, stream, payload."""
    while len(buffer) >= 9:
        length = int.from_bytes(buffer[:3], "big")
        if len(buffer) < 9 + length:
            return
        yield buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF, bytes(buffer[9:9 + length])
        del buffer[:9 + length]


def answer_pings(connection):
    """Reads what is there and answers its pings. Returns false when the peer has closed."""
    connection.setblocking(False)
    try:
        read = connection.recv(2**16)
        for kind, flags, _stream, payload in frames(bytearray(read)):
            if kind == PING and not flags & 1:
                connection.sendall(frame(PING, 1, 0, payload))
        return bool(read)
    except BlockingIOError:
        return True
    except OSError:
        return False
