"""A client of the echo service that knows every byte that must come back:

    python3 -m lablib.echo_client HOST [--port N] [--bytes N] [--rounds N]
"""

import argparse
import random
import select
import socket
import sys
import time

from . import system


class WrongAnswer(Exception):
    """What came back is not what was sent, or nothing came."""


class EchoStream:
    """One connection. Its bytes are a random stream of its own, so one that is lost, repeated or foreign shows."""

    def __init__(self, host, port=7, place=None, seed=1, seconds=5):
        if place:
            self.connection = system.tcp_connect(place, host, port, seconds)
        else:
            self.connection = socket.create_connection((host, port), seconds)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = random.Random(seed)
        self.position = 0

    def exchange(self, count, seconds=5):
        """Sends the next `count` bytes, reads them back, and returns how long that took."""
        began = time.monotonic()
        expected = self.stream.randbytes(count)
        self.connection.setblocking(False)
        sent, got = 0, bytearray()
        poller = select.poll()
        while len(got) < count:
            left = began + seconds - time.monotonic()
            if left <= 0:
                raise WrongAnswer(f"{len(got)} of {count} bytes after {seconds} s, from byte {self.position}")
            poller.register(self.connection, select.POLLIN | (select.POLLOUT if sent < count else 0))
            poller.poll(left * 1000)
            if sent < count:
                try:
                    sent += self.connection.send(expected[sent:sent + 65536])
                except BlockingIOError:
                    pass
            try:
                part = self.connection.recv(65536)
                if not part:
                    raise WrongAnswer(f"closed at byte {self.position + len(got)}")
                got += part
            except BlockingIOError:
                pass
            except ConnectionError as error:
                raise WrongAnswer(f"{error.strerror} at byte {self.position + len(got)}") from None
        if got != expected:
            wrong = next(index for index in range(len(got)) if got[index:index + 1] != expected[index:index + 1])
            raise WrongAnswer(f"wrong from byte {self.position + wrong}")
        self.position += count
        return time.monotonic() - began

    def close(self):
        self.connection.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=7)
    parser.add_argument("--bytes", type=int, default=100, help="in each round")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    try:
        stream = EchoStream(options.host, options.port)
        times = [stream.exchange(options.bytes) for _ in range(options.rounds)]
    except (WrongAnswer, OSError) as error:
        print(f"echo: {error}", file=sys.stderr)
        return 1
    print(f"{options.rounds} rounds of {options.bytes} bytes, longest {max(times) * 1000:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
