"""How long the parts of a takeover take when the lab has nothing else to do: the owner is killed while a few connections say
a line now and then, and its successor's receipt tells the rest."""

import threading
import time

from . import configuration, nodes, system, trial
from .echo_client import EchoStream, WrongAnswer
from .system import LabError

PARTS = ("detection", "decision", "claim", "first_packet")
CONNECTIONS = 4
EXCHANGE_SECONDS = 0.02
QUIET_SECONDS = 0.3  # from a synced standby to the kill


class Talkers:
    """Echo connections that say something every 20 ms until they are stopped."""

    def __init__(self, address):
        self.streams = [EchoStream(address, place="client", seed=seed) for seed in range(CONNECTIONS)]
        self.faults = []
        self.running = True
        self.threads = [threading.Thread(target=self.talk, args=(stream,), daemon=True) for stream in self.streams]
        for thread in self.threads:
            thread.start()

    def talk(self, stream):
        try:
            while self.running:
                stream.exchange(100)
                time.sleep(EXCHANGE_SECONDS)
        except (WrongAnswer, OSError) as error:
            self.faults.append(str(error))

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join()
        for stream in self.streams:
            stream.close()
        return self.faults


def receipt_of(name, victim, seconds=2):
    """What `name` says of how it took the first group over from `victim`, with its first packet, or None."""
    group = configuration.group_names()[0]
    found = {}

    def is_there():
        answer = nodes.ask(name, "show receipts") or {"receipts": []}
        mine = [one for one in answer["receipts"] if one["group"] == group]
        if mine and mine[-1]["from_name"] == victim and mine[-1]["total_us"] is not None:
            found.update(mine[-1])
        return bool(found)
    system.wait_until(is_there, seconds, 0.02)
    return found or None


def unprotected_at(name):
    """The connections that would be lost with the node, in words."""
    answer = nodes.ask(name, "show conn") or {"connections": []}
    return [f"{one['key']['remote']}:{one['key']['remote_port']} ({one['service']}, {one['state']})"
            for one in answer["connections"] if not one["protected"]]


def one_kill():
    """Kills the owner; its successor's receipt, with what the connections had to say in `faults`."""
    trial.wait_synced()
    victim = trial.owner_now()
    states = nodes.states(configuration.group_names()[0])
    survivor = next(name for name, state in states.items() if state == "standby(synced)")
    talkers = Talkers(configuration.virtual_ips()[0])
    try:
        time.sleep(QUIET_SECONDS)
        unprotected = unprotected_at(victim)
        time.sleep(QUIET_SECONDS)
        nodes.kill(victim)
        receipt = receipt_of(survivor, victim)
    finally:
        faults = talkers.stop()
    if receipt is None:
        raise LabError(f"{survivor} has no whole receipt of its takeover from {victim}\n{nodes.report()}")
    return receipt | {"faults": faults, "victim": victim, "unprotected": unprotected}


def milliseconds(receipt):
    """The parts, and all but detection."""
    parts = {part: receipt[f"{part}_us"] / 1000 for part in PARTS}
    return parts | {"after_detection": sum(parts[part] for part in PARTS[1:])}
