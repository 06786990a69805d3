"""One HTTP transfer over a raw socket, watched closely:

    python3 -m lablib.transfer download|upload HOST [--port N] [--path PATH] [--file FILE] [--timeout SECONDS]

prints one JSON object: whether it was complete, SHA-256, bytes, seconds, Mbit/s, whether the connection was reset or
closed early, the longest time without progress and when it began, and the progress itself as [moment, bytes]
pairs. Moments are of the machine's monotonic clock, so they can be laid beside those of other processes here.

Progress of a download is bytes that arrived. Progress of an upload is bytes that the other end has acknowledged (taken
by the socket, less SIOCOUTQ); the longest time in which the socket took none is given as well.
"""

import argparse
import array
import errno
import fcntl
import hashlib
import json
import mmap
import select
import socket
import struct
import sys
import termios
import time

BUFFER_BYTES = 256 * 1024
SAMPLE_SECONDS = 0.01
TICK_MS = 1  # how finely an upload's acknowledged bytes are watched while the socket is full
PACED_BYTES = 32 * 1024  # at a limited rate, so much at once
PACED_SLEEP_SECONDS = 0.005
TCP_INFO_RETRANSMITS = 100  # offset of tcpi_total_retrans in struct tcp_info


class Broken(Exception):
    """The transfer ended in a way that a client would call a failure."""


def shared_count(path):
    """Eight bytes that another process may map too."""
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 8)


class Progress:
    """The curve of one count of bytes, and the longest time in which it did not rise."""

    def __init__(self, moment, watch=None):
        self.watch = watch and shared_count(watch)
        self.began = self.last = moment
        self.bytes = 0
        self.gap = 0.0
        self.gap_at = moment
        self.samples = [(moment, 0)]
        self.before = 0

    def at(self, moment, count):
        if count <= self.bytes:
            return
        self.bytes = count
        if self.watch:
            self.watch[:8] = count.to_bytes(8, sys.byteorder)
        if moment - self.last > self.gap:
            self.gap, self.gap_at = moment - self.last, self.last
        if moment - self.samples[-1][0] >= SAMPLE_SECONDS:
            if self.last > self.samples[-1][0]:  # so that a gap is seen from its first moment
                self.samples.append((self.last, self.before))
            self.samples.append((moment, count))
        self.last, self.before = moment, count

    def end(self, moment):
        """A transfer that broke off has a gap up to its end."""
        if moment - self.last > self.gap:
            self.gap, self.gap_at = moment - self.last, self.last
        self.samples.append((moment, self.bytes))


def wait_for_pace(options, began, count):
    """At a limited rate: until `count` bytes are due."""
    while options.rate and (early := count / (options.rate * 1e6) - (time.monotonic() - began)) > 0:
        time.sleep(min(early, PACED_SLEEP_SECONDS))


def connect(host, port, deadline):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    connection.connect((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def wait_for(connection, event, deadline, tick_ms=None):
    poller = select.poll()
    poller.register(connection, event)
    left = deadline - time.monotonic()
    if left <= 0:
        raise Broken("timeout")
    return poller.poll(left * 1000 if tick_ms is None else tick_ms)


def read_head(connection, deadline):
    """Status, headers with small names, and what came of the body already."""
    received = b""
    while b"\r\n\r\n" not in received:
        wait_for(connection, select.POLLIN, deadline)
        try:
            part = connection.recv(BUFFER_BYTES)
        except BlockingIOError:
            continue
        if not part:
            raise Broken("closed before the answer")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers, body


def download(connection, options, deadline, progress, result):
    connection.setblocking(False)
    connection.send(f"GET {options.path} HTTP/1.1\r\nHost: {options.host}\r\nConnection: close\r\n\r\n".encode())
    result["status"], headers, body = read_head(connection, deadline)
    result["backend"] = headers.get("x-backend")
    expected = int(headers["content-length"])
    digest = hashlib.sha256(body)
    count = len(body)
    progress.at(time.monotonic(), count)
    buffer = bytearray(PACED_BYTES if options.rate else BUFFER_BYTES)
    view = memoryview(buffer)
    while count < expected:
        wait_for_pace(options, progress.began, count)
        try:
            size = connection.recv_into(buffer)
        except BlockingIOError:
            wait_for(connection, select.POLLIN, deadline)
            continue
        if size == 0:
            raise Broken("closed early")
        count += size
        progress.at(time.monotonic(), count)
        digest.update(view[:size])
    result["sha256"] = digest.hexdigest()
    if result["status"] != 200 or count != expected:
        raise Broken(f"status {result['status']}, {count} of {expected} bytes")


def unacknowledged(connection):
    count = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, count)  # SIOCOUTQ, on a TCP socket
    return count[0]


def upload(connection, options, deadline, progress, result):
    content = options.content
    head = (f"PUT {options.path} HTTP/1.1\r\nHost: {options.host}\r\nContent-Length: {len(content)}\r\n"
            "Connection: close\r\n\r\n").encode()
    accepted = Progress(time.monotonic())
    connection.setblocking(False)
    connection.send(head)
    view = memoryview(content)
    at_once = PACED_BYTES if options.rate else BUFFER_BYTES
    sent = 0
    while True:
        outstanding = unacknowledged(connection)
        progress.at(time.monotonic(), sent - outstanding)
        if sent == len(content) and outstanding == 0:
            break
        if sent < len(content):
            wait_for_pace(options, progress.began, sent)
            wait_for(connection, select.POLLOUT, deadline, TICK_MS)
            try:
                sent += connection.send(view[sent:sent + at_once])
                accepted.at(time.monotonic(), sent)
            except BlockingIOError:
                pass
        elif wait_for(connection, select.POLLIN, deadline, TICK_MS):
            break  # the answer, or the end of the connection
    result["longest_accept_gap_ms"] = round(accepted.gap * 1000, 1)
    result["status"], headers, _ = read_head(connection, deadline)
    progress.at(time.monotonic(), len(content))
    result["backend"] = headers.get("x-backend")
    if result["status"] not in (200, 201, 204):
        raise Broken(f"status {result['status']}")


def transfer(options):
    """Runs one transfer to its end, good or bad, and returns the result that main prints."""
    result = {"direction": options.direction, "complete": False, "reset": False, "error": None}
    if options.direction == "upload":
        with open(options.file, "rb") as source:
            options.content = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ)
    began = time.monotonic()
    deadline = began + options.timeout
    progress = Progress(began, options.watch)
    connection = None
    try:
        connection = connect(options.host, options.port, deadline)
        {"download": download, "upload": upload}[options.direction](connection, options, deadline, progress, result)
        result["complete"] = True
    except Broken as broken:
        result["error"] = str(broken)
    except OSError as error:
        result["error"] = error.strerror or "timeout"
        result["reset"] = error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED)
    finished = time.monotonic()
    progress.end(finished)
    if connection:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        result["retransmitted_segments"] = struct.unpack_from("I", information, TCP_INFO_RETRANSMITS)[0]
        connection.close()
    if options.direction == "upload":  # when the clock has stopped
        result["sha256"] = hashlib.sha256(options.content).hexdigest()
    seconds = finished - progress.began
    result.update(bytes=progress.bytes, began=progress.began, seconds=round(seconds, 4),
                  mbit_per_second=round(progress.bytes * 8e-6 / seconds, 1) if seconds else 0,
                  longest_gap_ms=round(progress.gap * 1000, 1), longest_gap_at=progress.gap_at,
                  progress=[[round(moment, 6), count] for moment, count in progress.samples])
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=("download", "upload"))
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--path", default="/big.bin", help="of the resource; for an upload /upload/NAME")
    parser.add_argument("--file", help="what to upload")
    parser.add_argument("--rate", type=float, help="megabytes per second; unlimited by default")
    parser.add_argument("--watch", metavar="FILE", help="eight bytes to keep the count of bytes in, as it rises")
    parser.add_argument("--timeout", type=float, default=60)
    options = parser.parse_args()
    if options.direction == "upload" and not options.file:
        parser.error("an upload needs --file")
    result = transfer(options)
    print(json.dumps(result))
    return 0 if result["complete"] else 1


if __name__ == "__main__":
    sys.exit(main())
