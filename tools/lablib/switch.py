"""What the lab's switch knows and sees: where its tables hold the group to be, at every moment, and what a node says."""

import ctypes
import dataclasses
import ipaddress
import re
import socket
import struct
import threading
import time

from . import configuration, system, topology

ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
BURST = 32  # frames that a node sends at once
SPOKEN_ON = ("front", "back")  # the networks on which a group has addresses

RTMGRP_NEIGH, RTM_NEWNEIGH, NDA_LLADDR, AF_BRIDGE = 4, 28, 2, 7
SO_ATTACH_FILTER, INSTRUCTION = 26, struct.Struct("=HBBI")
NLMSG_HEADER, NDMSG, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBHiHBB"), struct.Struct("=HH")


def open_port(port, ethertype=None):
    """What comes in from the place behind this port of the switch, all or of one type; what is sent goes to that place. (A
    socket for one protocol only would hear nothing: the bridge takes the frames before.)"""
    with system.inside("switch"):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if ethertype is not None:
            attach_filter(opened, ethertype)
        opened.bind((port, ETH_P_ALL))
    opened.setblocking(False)
    return opened


def attach_filter(opened, ethertype):
    program = b"".join(INSTRUCTION.pack(*one) for one in (
        (0x28, 0, 0, 12),  # load the half word at 12
        (0x15, 0, 1, ethertype),  # if it is another one, skip the next
        (0x06, 0, 0, 65535),  # take all bytes
        (0x06, 0, 0, 0)))
    held = ctypes.create_string_buffer(program)
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                      struct.pack("@HP", len(program) // INSTRUCTION.size, ctypes.addressof(held)))


def frames_in(opened):
    while True:
        try:
            yield opened.recv(65536)
        except BlockingIOError:
            return
        except OSError:  # the cable was out; said once
            continue


class Whereabouts:
    """The port behind which the tables of front and back hold the group's MAC, from the kernel's own announcements: no move
    is missed, however short. With `with`; `moves` may be read meanwhile."""

    def __init__(self, group):
        self.mac = bytes.fromhex(re.search(rf"name: {group}\b(?:.*\n)*?.*mac: \"([^\"]+)\"", configuration.section("groups"))[1].replace(":", ""))
        self.moves = []  # (when, network, node)
        self.places = {}
        with system.inside("switch"):
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.socket.bind((0, RTMGRP_NEIGH))
            for node in configuration.node_names():
                for network in SPOKEN_ON:
                    self.places[socket.if_nametoindex(topology.switch_port(node, network))] = (network, node)
        self.socket.settimeout(0.05)
        self.running = True
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        self.socket.close()

    def listen(self):
        while self.running:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            now = time.monotonic()
            for place in self.learned(data):
                self.moves.append((now, *place))

    def learned(self, data):
        while len(data) >= NLMSG_HEADER.size:
            length, kind, *_ = NLMSG_HEADER.unpack_from(data)
            body = data[NLMSG_HEADER.size:length]
            if kind == RTM_NEWNEIGH and len(body) >= NDMSG.size:
                family, _, _, port, *_ = NDMSG.unpack_from(body)
                if family == AF_BRIDGE and port in self.places and self.address(body[NDMSG.size:]) == self.mac:
                    yield self.places[port]
            data = data[(length + 3) & ~3:]

    @staticmethod
    def address(attributes):
        while len(attributes) >= ATTRIBUTE.size:
            length, kind = ATTRIBUTE.unpack_from(attributes)
            if kind == NDA_LLADDR:
                return attributes[ATTRIBUTE.size:length]
            attributes = attributes[max(4, (length + 3) & ~3):]
        return None

    def first_move(self, to, since):
        """When the tables of either network first held the group to be behind that node, from a moment on; None: never."""
        return min((when for when, _, node in self.moves if node == to and when >= since), default=None)

    def path(self, network, first):
        """The nodes behind which the group was held to be, one after the other, from `first` on."""
        nodes = [first] + [node for _, where, node in self.moves if where == network]
        return [node for at, node in enumerate(nodes) if at == 0 or nodes[at - 1] != node]


@dataclasses.dataclass
class Said:
    """In the group's name."""
    segments: int = 0
    resets: int = 0
    fins: int = 0
    claims: int = 0  # ARP, or neighbour discovery, that tells where an address of the group is

    @property
    def is_a_burst(self):
        return self.segments <= BURST and not self.resets and not self.fins and not self.claims

    def sentence(self):
        return (f"{self.segments} segments, of these {self.resets} RST and {self.fins} FIN, and {self.claims} ARP"
                if self.segments or self.claims else "nothing")


class Ear:
    """What a node says for the group from now on, as the switch hears it."""

    def __init__(self, node):
        self.addresses = {address.packed for address in group_addresses()}
        self.ports = [open_port(topology.switch_port(node, network)) for network in SPOKEN_ON]
        self.said = Said()

    def end(self):
        for port in self.ports:
            for frame in frames_in(port):
                self.take(frame)
            port.close()
        return self.said

    def take(self, frame):
        kind = int.from_bytes(frame[12:14], "big")
        if kind == 0x0806:
            self.said.claims += frame[28:32] in self.addresses
        elif kind == 0x0800 and frame[26:30] in self.addresses and frame[23] == socket.IPPROTO_TCP:
            self.take_flags(frame[14 + (frame[14] & 15) * 4 + 13])
        elif kind == 0x86dd and frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 136:
            self.said.claims += frame[62:78] in self.addresses
        elif kind == 0x86dd and frame[22:38] in self.addresses and frame[20] == socket.IPPROTO_TCP:
            self.take_flags(frame[54 + 13])

    def take_flags(self, flags):
        self.said.segments += 1
        self.said.fins += flags & 1
        self.said.resets += flags >> 2 & 1


def group_addresses():
    lists = re.findall(r"(?:virtual_ips|source_addresses): *\[([^\]]*)\]", configuration.section("groups"))
    return [ipaddress.ip_interface(entry.strip(" \"'")).ip for one in lists for entry in one.split(",")]
