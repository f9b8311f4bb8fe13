"""What an attacker does to a connection. Each kind is bounded in bytes, connections and time, and ends with all of them closed."""

import contextlib
import json
import random
import socket
import struct
import time

HELLO = json.dumps({"script": "def main():\n    return 1"}).encode()
# As large as an answer may be that is small.
WIDE = json.dumps({"script": "import sys\ndef main():\n    sys.stdout.write('y' * 32000)\n    return 'z' * 32000", "include": ["stdout"]}).encode()


class Wire:
    """Connections of one attacker, from its own address, until `until`."""

    def __init__(self, source, port, seed):
        self.source, self.port, self.chance = source, port, random.Random(seed)
        self.kept = []

    def open(self):
        client = socket.create_connection(("127.0.0.1", self.port), 10, (self.source, 0))
        client.settimeout(5)
        self.kept.append(client)
        return client

    def close(self):
        for client in self.kept:
            with contextlib.suppress(OSError):
                if self.chance.random() < 0.3:
                    # A reset in place of an end.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        self.kept.clear()

    def many(self, count, first, pause=0.0):
        """So many connections, each of which sends `first`; those that the server does not take are left out."""
        made = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                client = self.open()
                client.sendall(first)
                made.append(client)
            time.sleep(pause)
        return made


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def field(name, value):
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


def http2(settings=b""):
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, settings)


NO_WINDOW = struct.pack(">HI", 4, 0)


def asks(method, path, *more):
    fields = ((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"), *more)
    return b"".join(field(*one) for one in fields)


POST = asks(b"POST", b"/execute", (b"content-type", b"application/json"))


def head(length, more=""):
    text = f"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
    return text.encode()


def posts(streams, body):
    return b"".join(frame(1, 4, 2 * one + 1, POST) + frame(0, 1, 2 * one + 1, body) for one in range(streams))


def untaken_answers(wire):
    wire.many(4, http2(NO_WINDOW) + posts(64, WIDE), 0.3)
    time.sleep(4)


def untaken_gets(wire):
    gets = b"".join(frame(1, 5, 2 * one + 1, asks(b"GET", b"/capabilities")) for one in range(64))
    wire.many(60, http2(NO_WINDOW) + gets, 0.01)
    time.sleep(3)


def untaken_http1(wire):
    body = json.dumps({"script": "def main():\n    return 'x' * 900000"}).encode()
    wire.many(12, (head(len(body)) + body) * 2, 0.1)
    time.sleep(3)


def unasked_pings(wire):
    piece = http2() + frame(6, 1, 0, b"unasked!") * 500
    for client in wire.many(2, piece):
        for _ in range(40):
            with contextlib.suppress(OSError):
                client.sendall(frame(6, 1, 0, b"unasked!") * 500)
            time.sleep(0.02)


def frames_that_cost(wire):
    """Kinds of frames of which each needs an answer or a note: settings, pings, resets, priorities, empty data, windows."""
    kinds = [
        frame(4, 0, 0, struct.pack(">HI", 3, 10)) * 200,
        frame(6, 0, 0, b"question") * 200,
        b"".join(frame(1, 5, 2 * one + 1, asks(b"GET", b"/version")) + frame(3, 0, 2 * one + 1, b"\0\0\0\x08") for one in range(100)),
        frame(1, 4, 1, POST) + frame(0, 0, 1) * 500,
        frame(2, 0, 3, b"\0\0\0\0\x10") * 300,
        frame(8, 0, 0, b"\0\0\0\x01") * 300,
        frame(1, 0, 1, POST) + frame(9, 0, 1, field(b"x-more", b"y" * 200)) * 200,
    ]
    for piece in kinds:
        wire.many(3, http2() + piece, 0.02)
    time.sleep(0.5)


def broken_frames(wire):
    for _ in range(40):
        size = wire.chance.choice((0, 1, 5, 8, 60, 2000))
        piece = frame(wire.chance.randrange(12), wire.chance.randrange(256), wire.chance.randrange(8), wire.chance.randbytes(size))
        wire.many(1, http2() + piece + wire.chance.randbytes(wire.chance.randrange(40)), 0.02)
    time.sleep(0.3)


def broken_heads(wire):
    good = head(len(HELLO)) + HELLO
    for _ in range(60):
        bytes_ = bytearray(good)
        for _ in range(wire.chance.randrange(1, 6)):
            bytes_[wire.chance.randrange(len(bytes_))] = wire.chance.randrange(256)
        wire.many(1, bytes(bytes_[: wire.chance.randrange(1, len(bytes_) + 1)]), 0.01)
    wire.many(5, head(5, "X: " + "y" * 20000 + "\r\n"))
    wire.many(5, head(5, "X: y\r\n" * 300))
    time.sleep(0.3)


def slow_loris(wire):
    clients = wire.many(80, b"POST /exec")
    text = head(len(HELLO))[10:]
    for at in range(12):
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(text[at : at + 1])
        time.sleep(0.3)


def slow_bodies(wire):
    clients = wire.many(40, head(2_000_000) + b'{"script": "')
    for _ in range(12):
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(b"x" * 2000)
        time.sleep(0.3)


def half_open(wire):
    clients = wire.many(100, b"", 0.005)
    for client in clients[::2]:
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
    wire.many(40, http2())
    time.sleep(4)


def big_arguments(wire):
    body = b'{"script":"def main(*a):\\n return len(a)","args":[' + b",".join([b'"a"'] * 500_000) + b"]}"
    for _ in range(5):
        wire.many(1, head(len(body)) + body, 0.2)
    time.sleep(1)


def queue_flood(wire):
    """More than a queue holds, for three seconds, and nobody reads."""
    body = json.dumps({"script": "import time\ndef main():\n    time.sleep(.05)\n    return 1"}).encode()
    wire.many(200, head(len(body)) + body, 0.01)
    time.sleep(1)


def made_up_addresses(wire):
    """Each request under another name: none of them may be a line of its own."""
    body = json.dumps({"script": "import time\ndef main():\n    time.sleep(.3)\n    return 1"}).encode()
    for number in range(100):
        wire.many(1, head(len(body), f"X-Forwarded-For: 10.{number}.0.1\r\nForwarded: for=10.{number}.0.1\r\n") + body, 0.01)
    time.sleep(1)


def leaves(wire):
    body = json.dumps({"script": "import time\ndef main():\n    time.sleep(.3)\n    return 1"}).encode()
    whole = head(len(body)) + body
    for _ in range(60):
        wire.many(1, whole[: wire.chance.choice((len(whole), wire.chance.randrange(1, len(whole))))])
        time.sleep(wire.chance.choice((0, 0.005, 0.05)))
        wire.close()


def nested_json(wire):
    for body in (b"[" * 1_000_000, b'{"a":' * 200_000, b'{"script":"' + b"\\u0000" * 300_000, b'{"args":[' + b"1e1," * 400_000 + b"1]}"):
        wire.many(2, head(len(body)) + body, 0.1)
    time.sleep(0.5)


ALL = [
    untaken_answers, untaken_gets, untaken_http1, unasked_pings, frames_that_cost, broken_frames, broken_heads, slow_loris, slow_bodies,
    half_open, big_arguments, queue_flood, made_up_addresses, leaves, nested_json,
]
