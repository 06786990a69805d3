"""Planned hand-overs during a download and an upload, and what they cost: the kernels of the client and of the backends
count what they send again, with and without hand-overs."""

import dataclasses
import os
import subprocess
import time

from . import configuration, nodes, system, trial
from .system import LabError

PLACES = ("client", "b1", "b2")
COUNTERS = {"RetransSegs": "retransmitted", "TCPLossProbes": "loss probes", "TCPTimeouts": "timeouts"}
BETWEEN_SECONDS = 0.1  # from a synced standby to the next hand-over
SYNC_SECONDS = 5


@dataclasses.dataclass
class Outcome:
    transfers: trial.Outcome
    handed: int
    took_ms: list  # from the command until the owner had heard its successor
    refused: list  # sentences
    sent_again: dict  # place -> counter -> how much it rose

    @property
    def repeated(self):
        """Segments that client and backends sent a second time."""
        return sum(counts["retransmitted"] for counts in self.sent_again.values())

    def sentence(self):
        again = "; ".join(f"{place} " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)
                          for place, counts in self.sent_again.items() if any(counts.values())) or "nothing"
        return (f"{self.handed} hand-overs, longest gap of a transfer {self.transfers.gap_ms:.1f} ms, sent again: {again}; "
                f"{'good' if not self.transfers.faults else '; '.join(self.transfers.faults)}")


def kernel_counters(place):
    """The kernel's own counts of what it sent again."""
    output = subprocess.run(["ip", "netns", "exec", system.namespace(place), "cat", "/proc/net/snmp", "/proc/net/netstat"],
                            text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    found = dict.fromkeys(COUNTERS.values(), 0)
    for names, values in zip(output[::2], output[1::2]):
        for name, value in zip(names.split()[1:], values.split()[1:]):
            if name in COUNTERS:
                found[COUNTERS[name]] += int(value)
    return found


def without_probes():
    """Kernels send tail-loss probes when an acknowledgement takes a few milliseconds, which a busy machine sees to by
    itself. Without them what is sent again was lost, or overtaken."""
    for place in PLACES:
        system.set_sysctl(place, "net.ipv4.tcp_early_retrans", 0)


def hand_over(group=None):
    """From the owner to its synced standby. (milliseconds, None), or (None, why not)."""
    group = group or configuration.group_names()[0]
    states = nodes.states(group)
    giver = next((name for name, state in states.items() if state.startswith("owner(")), None)
    taker = next((name for name, state in states.items() if state == "standby(synced)"), None)
    if not giver or not taker:
        return None, f"no owner with a synced standby: {states}"
    answer = nodes.ask(giver, f"failover group {group} to {taker}", seconds=4)
    return (answer["took_us"] / 1000, None) if answer else (None, f"{giver} did not hand over to {taker}")


def during_transfers(count, place="client", rate=None, between=BETWEEN_SECONDS):
    """Both transfers, with `count` hand-overs as long as both run. `rate`: megabytes per second of each, unlimited by default."""
    trial.wait_synced()
    name = f"hand-over-{os.getpid()}-{time.monotonic_ns()}"
    before = {where: kernel_counters(where) for where in PLACES}
    transfers = [trial.Transfer(place, direction, name, configuration.virtual_ips()[0], 80, rate)
                 for direction in ("download", "upload")]
    took, refused = [], []
    if not system.wait_until(lambda: all(transfer.share() > 0 for transfer in transfers), 10, 0.005):
        raise LabError(f"the transfers do not begin\n{nodes.report()}")
    while len(took) < count and all(transfer.process.poll() is None for transfer in transfers):
        if not system.wait_until(nodes.all_synced, SYNC_SECONDS, 0.01):
            refused.append(f"no synced standby within {SYNC_SECONDS} s")
            break
        time.sleep(between)
        if not all(transfer.process.poll() is None for transfer in transfers):
            break
        milliseconds, why = hand_over()
        if why:
            refused.append(why)
        else:
            took.append(milliseconds)
    results = {transfer.direction: transfer.result() for transfer in transfers}
    after = {where: kernel_counters(where) for where in PLACES}
    again = {where: {what: after[where][what] - before[where][what] for what in after[where]} for where in PLACES}
    outcome = trial.Outcome(results["download"], results["upload"], "", 0, {}, {},
                            trial.verdict(results["download"], results["upload"], name))
    return Outcome(outcome, len(took), took, refused, again)
