"""What the kernel of a place says of its TCP connections: an independent witness of any client's progress."""

import collections
import pathlib
import socket
import struct
import threading
import time

from . import system

SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, NLMSG_DONE = 20, 0x301, 3
INET_DIAG_INFO = 2
DIAG_MESSAGE_BYTES = 72  # struct inet_diag_msg
BYTES_ACKED, BYTES_RECEIVED = 120, 128  # offsets in struct tcp_info, linux/tcp.h
PERIOD_SECONDS = 0.002


def connections(diag):
    """{local port: (remote address, acknowledged bytes, received bytes)} of every IPv4 TCP connection there."""
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, 0xFFFFFFFF)
    body += bytes(48)  # struct inet_diag_sockid: any
    diag.send(struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body)
    found = {}
    while True:
        data = diag.recv(1 << 18)
        offset = 0
        while offset + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            if kind != SOCK_DIAG_BY_FAMILY:
                return found  # done, or an error
            read_message(data[offset + 16:offset + length], found)
            offset += (length + 3) & ~3


def read_message(message, found):
    local_port, = struct.unpack_from("!H", message, 4)
    remote = socket.inet_ntoa(message[24:28])
    offset = DIAG_MESSAGE_BYTES
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if kind == INET_DIAG_INFO and length >= 4 + BYTES_RECEIVED + 8:
            found[local_port] = (remote, *struct.unpack_from("=QQ", message, offset + 4 + BYTES_ACKED))
        offset += max(4, (length + 3) & ~3)


class Watch(threading.Thread):
    """Samples the connections from a place to one address until stopped: `curves[local port]` is a list of
    (moment, acknowledged, received), on the monotonic clock."""

    def __init__(self, place, address):
        super().__init__(daemon=True)
        with system.inside(place):
            self.diag = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
        self.address = address
        self.curves = collections.defaultdict(list)
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(PERIOD_SECONDS):
            moment = time.monotonic()
            for port, (remote, acknowledged, received) in connections(self.diag).items():
                if remote == self.address:
                    self.curves[port].append((moment, acknowledged, received))

    def now(self):
        """(acknowledged, received) of all connections together, as last seen."""
        last = [curve[-1] for curve in list(self.curves.values()) if curve]
        return sum(sample[1] for sample in last), sum(sample[2] for sample in last)

    def stop(self):
        """Returns {"download": [(moment, bytes)], "upload": [...]}: each connection by what it carried more of."""
        self.over.set()
        self.join()
        self.diag.close()
        result = {"download": [], "upload": []}
        for curve in self.curves.values():
            received = curve[-1][2] > curve[-1][1]
            result["download" if received else "upload"] += [
                (sample[0], sample[2] if received else sample[1]) for sample in curve]
        return {direction: sorted(curve) for direction, curve in result.items()}


def longest_pause(curve, begin=None):
    """(seconds, first moment, last moment) of the longest time without progress that ended after `begin`."""
    longest = (0.0, None, None)
    rose_at, count = curve[0] if curve else (0, 0)
    for moment, now in curve:
        if now > count:
            if moment - rose_at > longest[0] and (begin is None or moment > begin):
                longest = (moment - rose_at, rose_at, moment)
            count = now
            rose_at = moment
    return longest


def reset_connections(place):
    """How many established connections the place's kernel has seen end by a reset since it began."""
    with system.inside(place):
        lines = [line.split() for line in pathlib.Path("/proc/thread-self/net/snmp").read_text().splitlines()
                 if line.startswith("Tcp:")]
    return int(dict(zip(*lines))["EstabResets"])
