"""A stranger at the lab's switch: he records the frames that nodes send to each other, and says them again."""

import json
import random
import threading
import time

from . import configuration, nodes, switch, system, topology

CLUSTER = 0x88b5  # their EtherType
BROADCAST = b"\xff" * 6
RECORDED_MOST = 20000
PER_SECOND = 2000
ARRIVED_SECONDS = 0.05  # after so long a frame was received, and is not merely late
REFUSALS = ("cluster_replayed", "cluster_unproven", "cluster_forged", "cluster_malformed")


class Stranger:
    """Records from the start. `begin_to_replay` says what was recorded of some nodes again and again, to whom it was meant
    for, until `end`."""

    def __init__(self):
        self.ports = {(network, node): switch.open_port(topology.switch_port(node, network), CLUSTER)
                      for network in topology.NETWORKS for node in configuration.node_names()}
        self.node_of = {(network, mac_of(node, network)): node for network, node in self.ports}
        self.frames = []  # (network, from, bytes)
        self.sent = 0
        self.running = False
        self.thread = None
        self.random = random.Random(1)

    def record(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for (network, node), port in self.ports.items():
                self.frames += [(network, node, frame) for frame in switch.frames_in(port)]
            time.sleep(0.01)
        self.frames = self.frames[-RECORDED_MOST:]
        time.sleep(ARRIVED_SECONDS)

    def begin_to_replay(self, of):
        wanted = [one for one in self.frames if one[1] in of]
        if not wanted:
            raise system.LabError(f"no frames of {', '.join(of)} were recorded")
        self.refused_before = refusals()
        self.running = True
        self.thread = threading.Thread(target=self.replay, args=(wanted,), daemon=True)
        self.thread.start()

    def replay(self, wanted):
        began = time.monotonic()
        while self.running:
            due = (time.monotonic() - began) * PER_SECOND
            while self.sent < due:
                network, sender, frame = self.random.choice(wanted)
                for node in self.listeners(network, sender, frame[:6]):
                    try:
                        self.ports[network, node].send(frame)
                        self.sent += 1
                    except OSError:  # the port is full
                        pass
            time.sleep(0.002)

    def listeners(self, network, sender, target):
        if target != BROADCAST:
            return [self.node_of[network, target]] if (network, target) in self.node_of else []
        return [node for node in configuration.node_names() if node != sender]

    def end(self):
        """How many frames were said again, and how many the nodes say that they have refused as such since. (A node that was
        restarted meanwhile counts from zero, and as none.)"""
        self.running = False
        self.thread.join()
        time.sleep(0.1)
        for port in self.ports.values():
            port.close()
        after = refusals()
        return self.sent, sum(max(0, count - self.refused_before.get(node, 0)) for node, count in after.items())


def mac_of(node, network):
    shown = json.loads(system.run("ip", "-n", system.namespace(node), "-j", "link", "show", "dev", network))
    return bytes.fromhex(shown[0]["address"].replace(":", ""))


def refusals():
    found = {}
    for name in nodes.names():
        answer = nodes.ask(name, "show drops")
        if answer is not None:
            found[name] = sum(drop["frames"] for drop in answer["drops"] if drop["reason"] in REFUSALS)
    return found
