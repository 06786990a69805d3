"""The relay that impairs a network: python3 -m lablib.relay IN OUT [--delay MS] [--reorder P] [--duplicate P]
[--corrupt P] [--rate MBIT] [--seed S]

It carries every frame between two interfaces. Being Python it tops out near 100,000 frames per second (a bulk transfer
through it ran at 1.0 Gbit/s on two idle cores; expect less beside busy nodes), which is enough to upset TCP and is no
measure of speed. The sequence of decisions follows the seed; with real traffic their moments do not repeat exactly.
"""

import argparse
import collections
import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_IGNORE_OUTGOING, PACKET_MR_PROMISC = 263, 1, 23, 1
FRAME_BYTES = 65536
QUEUE_FRAMES = 2000  # per direction; what does not fit is dropped, as in a switch
REORDER_EXTRA = 0.004  # a frame that is overtaken comes this much later


def open_port(interface):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    port.bind((interface, ETH_P_ALL))
    index = socket.if_nametoindex(interface)
    membership = index.to_bytes(4, sys.byteorder) + PACKET_MR_PROMISC.to_bytes(2, sys.byteorder) + bytes(10)
    port.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    port.setblocking(False)
    return port


class Direction:
    """Frames of one direction on their way: decided on arrival, sent when their time has come."""

    def __init__(self, options, random_source):
        self.options = options
        self.random = random_source
        self.queue = []
        self.order = 0
        self.free_at = 0.0  # when the last frame will have left a link of the given rate
        self.counts = collections.Counter()

    def chance(self, percent):
        return percent > 0 and self.random.random() * 100 < percent

    def accept(self, frame, now):
        self.counts["frames"] += 1
        if len(self.queue) >= QUEUE_FRAMES:
            self.counts["overflow"] += 1
            return
        if self.chance(self.options.corrupt):
            self.counts["corrupted"] += 1
            frame = self.with_one_bit_changed(frame)
        self.schedule(frame, now)
        if self.chance(self.options.duplicate):
            self.counts["duplicated"] += 1
            self.schedule(frame, now)

    def schedule(self, frame, now):
        leaves = now
        if self.options.rate:
            leaves = self.free_at = max(now, self.free_at) + len(frame) * 8 / (self.options.rate * 1e6)
        leaves += self.options.delay / 1000
        if self.chance(self.options.reorder):
            self.counts["reordered"] += 1
            leaves += REORDER_EXTRA
        self.order += 1
        heapq.heappush(self.queue, (leaves, self.order, frame))

    def with_one_bit_changed(self, frame):
        """Somewhere after the Ethernet header, so that it still arrives and checksums must catch it."""
        changed = bytearray(frame)
        position = self.random.randrange(14, len(changed)) if len(changed) > 14 else 0
        changed[position] ^= 1 << self.random.randrange(8)
        return bytes(changed)

    def send_due(self, port, now):
        while self.queue and self.queue[0][0] <= now:
            frame = heapq.heappop(self.queue)[2]
            try:
                port.send(frame)
            except OSError:
                self.counts["not_sent"] += 1


def relay(first, second, directions):
    """Until it is killed. `directions[port]` is the way that begins at the port."""
    poller = select.epoll()
    ports = {first.fileno(): (first, second), second.fileno(): (second, first)}
    for descriptor in ports:
        poller.register(descriptor, select.EPOLLIN)
    while True:
        due = min((way.queue[0][0] for way in directions.values() if way.queue), default=None)
        timeout = -1 if due is None else max(0.0, due - time.monotonic())
        for descriptor, _ in poller.poll(timeout):
            source = ports[descriptor][0]
            for _ in range(64):
                try:
                    frame = source.recv(FRAME_BYTES)
                except OSError:
                    break
                directions[source].accept(frame, time.monotonic())
        now = time.monotonic()
        for source, target in ports.values():
            directions[source].send_due(target, now)


def add_options(parser):
    parser.add_argument("--delay", type=float, default=0, metavar="MS", help="every frame comes this much later")
    parser.add_argument("--reorder", type=float, default=0, metavar="P", help="percent of frames that are overtaken")
    parser.add_argument("--duplicate", type=float, default=0, metavar="P", help="percent of frames sent twice")
    parser.add_argument("--corrupt", type=float, default=0, metavar="P", help="percent of frames with one bit changed")
    parser.add_argument("--rate", type=float, default=0, metavar="MBIT", help="megabits per second in each direction")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the random decisions")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("first")
    parser.add_argument("second")
    add_options(parser)
    options = parser.parse_args()
    first, second = open_port(options.first), open_port(options.second)
    directions = {first: Direction(options, random.Random(f"{options.seed} forth")),
                  second: Direction(options, random.Random(f"{options.seed} back"))}
    print(f"relays between {options.first} and {options.second}", flush=True)
    relay(first, second, directions)


if __name__ == "__main__":
    main()
