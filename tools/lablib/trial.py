"""The main proof as one call: a download and an upload at once, the owner killed in the middle, and a verdict."""

import dataclasses
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from . import backends, configuration, nodes, system
from .system import LabError, RUN, ROOT

TRANSFER_SECONDS = 60  # a transfer that takes longer has failed


@dataclasses.dataclass
class Outcome:
    download: dict
    upload: dict
    victim: str
    killed_at: float
    done: dict  # direction -> share of its bytes at the kill
    stalls: dict
    faults: list

    @property
    def slower(self):
        """The transfer that stood still for longer."""
        return max(self.download, self.upload, key=lambda transfer: transfer["longest_gap_ms"])

    @property
    def gap_ms(self):
        """The longest time that either transfer stood still."""
        return self.slower["longest_gap_ms"]

    @property
    def gap_after_kill_ms(self):
        """When that time began; negative: it had nothing to do with the kill."""
        return (self.slower["longest_gap_at"] - self.killed_at) * 1000

    @property
    def resets(self):
        return int(self.download["reset"]) + int(self.upload["reset"])

    @property
    def hit_both(self):
        return all(0 < share < 1 for share in self.done.values())

    def sentence(self):
        shares = ", ".join(f"{direction} at {share:.0%}" for direction, share in self.done.items())
        speeds = f"{self.download['mbit_per_second']:.0f} and {self.upload['mbit_per_second']:.0f} Mbit/s"
        return (f"killed {self.victim} with the {shares}; longest gap {self.gap_ms:.0f} ms ({self.slower['direction']}, "
                f"{self.gap_after_kill_ms:+.0f} ms from the kill), {speeds}, "
                f"{self.resets} resets; {'good' if not self.faults else '; '.join(self.faults)}")


def lab(*words):
    """A command of tools/lab; its own message becomes the error."""
    done = subprocess.run([str(ROOT / "tools/lab"), *map(str, words)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise LabError(done.stdout.strip() or f"tools/lab {' '.join(map(str, words))} failed")
    return done.stdout.strip()


def take_down():
    """`lab down`, which an impatient second Ctrl-C must not interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        lab("down")
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_logs(directory):
    """Copies what the nodes, and what stands around them, have logged so far, and their configuration."""
    if directory and RUN.exists():
        os.makedirs(directory, exist_ok=True)
        for source in [*RUN.glob("*.log"), *RUN.glob("*.yaml"), *RUN.glob("*/error.log")]:
            shutil.copy(source, os.path.join(directory, "-".join(source.relative_to(RUN).parts)))


def client(place, module, *words):
    """A client of this package as a process of its own at a place."""
    command = ["ip", "netns", "exec", system.namespace(place), sys.executable, "-m", f"lablib.{module}"]
    return subprocess.Popen([*command, *map(str, words)], cwd=ROOT / "tools", stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Transfer:
    """A running transfer whose count of bytes can be read meanwhile."""

    def __init__(self, place, direction, name, address, port, rate=None):
        self.direction = direction
        self.watch = RUN / f"watch-{direction}-{name}"
        self.watch.write_bytes(bytes(8))
        with open(self.watch, "r+b") as file:
            self.count = mmap.mmap(file.fileno(), 8)
        words = ["--watch", self.watch, "--timeout", TRANSFER_SECONDS] + (["--rate", rate] if rate else [])
        if direction == "upload":
            words += ["--path", f"/upload/{name}", "--file", backends.CACHE / backends.BIG]
        self.process = client(place, "transfer", direction, address, "--port", port, *words)

    def share(self):
        return int.from_bytes(self.count[:8], sys.byteorder) / backends.BIG_BYTES

    def result(self):
        output, errors = self.process.communicate(timeout=TRANSFER_SECONDS + 30)
        self.watch.unlink()
        if not output:
            raise LabError(f"the {self.direction} client failed: {errors.strip()}")
        return json.loads(output)


def owner_now(seconds=10, group=None):
    """Of the first group by default."""
    found = system.wait_until(lambda: nodes.owner(group), seconds, 0.05)
    if not found:
        raise LabError(f"no node owns {group or 'the group'}\n{nodes.report()}")
    return found


def wait_synced(seconds=15):
    if not system.wait_until(nodes.all_synced, seconds, 0.05):
        raise LabError(f"no synced standby within {seconds} s: {[nodes.states(group) for group in configuration.group_names()]}\n{nodes.report()}")


def begin_transfers(place, address, port):
    name = f"trial-{os.getpid()}-{time.monotonic_ns()}"
    return name, [Transfer(place, direction, name, address or configuration.virtual_ips()[0], port)
                  for direction in ("download", "upload")]


def wait_for_share(transfers, share):
    """Until both transfers move and the faster one has come so far, or one has ended."""
    while all(transfer.process.poll() is None for transfer in transfers):
        reached = [transfer.share() for transfer in transfers]
        if min(reached) > 0 and max(reached) >= share:
            break
        time.sleep(0.001)
    return {transfer.direction: transfer.share() for transfer in transfers}


def transfers_with_kill(place="client", when=None, seed=None, tell=lambda text: None, address=None, port=80):
    """Runs both transfers and kills the owner when the faster of them has reached the share `when` of its bytes, a random
    one by default; so both are under way then. The killed node stays down. `address`: the first virtual IP by default."""
    wait_synced()
    victim = owner_now()
    stalls = {name: nodes.longest_stall(name) for name in nodes.names()}
    name, transfers = begin_transfers(place, address, port)
    tell(f"a download and an upload of {backends.BIG_BYTES // 1_000_000} MB run through the virtual IP")
    shares = wait_for_share(transfers, random.Random(seed).uniform(0.02, 0.95) if when is None else when)
    killed_at = nodes.kill(victim)
    tell(f"SIGKILL to {victim}, the owner")
    results = {transfer.direction: transfer.result() for transfer in transfers}
    survivor_stalls = {node: nodes.longest_stall(node) for node in nodes.names() if node != victim}
    faults = verdict(results["download"], results["upload"], name)
    return Outcome(results["download"], results["upload"], victim, killed_at, shares, {**stalls, **survivor_stalls},
                   faults)


@dataclasses.dataclass
class DoubleOutcome(Outcome):
    """Two owners killed in one pair of transfers; `victim`, `killed_at` and `done` are of the first kill."""
    second_victim: str
    heir: str  # owner at the end
    done_at_second: dict
    unprotected_ms: float  # from the first kill until the new owner had a synced standby

    @property
    def hit_both(self):
        return super().hit_both and all(0 < share < 1 for share in self.done_at_second.values())

    def sentence(self):
        shares = ", ".join(f"{direction} at {self.done[direction]:.0%} and {self.done_at_second[direction]:.0%}"
                           for direction in self.done)
        return (f"killed {self.victim}, then {self.second_victim}, with the {shares}; {self.heir} serves; protected again "
                f"{self.unprotected_ms:.0f} ms after the first kill; longest gap {self.gap_ms:.0f} ms, {self.resets} resets; "
                f"{'good' if not self.faults else '; '.join(self.faults)}")


def transfers_with_double_kill(place="client", seed=None, address=None, port=80):
    """As above with three nodes: the owner is killed, and when its successor has a synced standby, that successor too.
    Both stay down."""
    chance = random.Random(seed)
    wait_synced()
    victim = owner_now()
    stalls = {name: nodes.longest_stall(name) for name in nodes.names()}
    name, transfers = begin_transfers(place, address, port)
    shares = wait_for_share(transfers, chance.uniform(0.02, 0.4))
    killed_at = nodes.kill(victim)
    end = time.monotonic() + 15
    while not (second := protected_owner(but=victim)):
        if time.monotonic() > end:
            raise LabError(f"no owner with a synced standby 15 s after {victim} was killed\n{nodes.report()}")
        time.sleep(0.005)
    unprotected = time.monotonic() - killed_at
    time.sleep(chance.uniform(0, 0.1))
    second_shares = {transfer.direction: transfer.share() for transfer in transfers}
    nodes.kill(second)
    results = {transfer.direction: transfer.result() for transfer in transfers}
    survivors = [node for node in nodes.names() if node not in (victim, second)]
    faults = verdict(results["download"], results["upload"], name)
    heir = owner_now()
    if heir in (victim, second):
        faults.append(f"{heir} owns the group, which was killed")
    return DoubleOutcome(results["download"], results["upload"], victim, killed_at, shares,
                         {**stalls, **{node: nodes.longest_stall(node) for node in survivors}}, faults, second, heir,
                         second_shares, unprotected * 1000)


def protected_owner(but):
    """The node that owns the first group and has a synced standby, if it is another one than `but`."""
    seen = nodes.states(configuration.group_names()[0])
    owners = [name for name, state in seen.items() if state == "owner(protected)" and name != but]
    return owners[0] if owners and "standby(synced)" in seen.values() else None


def verdict(down, up, upload_name):
    """Sentences about what is not as it should be; removes the stored upload."""
    return faults_of_download(down) + faults_of_upload(up, upload_name)


def faults_of_download(result):
    if not result["complete"]:
        return [broken_off(result)]
    return [] if result["sha256"] == backends.big_sha256() else ["the download differs from the file"]


def faults_of_upload(result, name):
    """Removes what was stored."""
    faults = []
    stored = backends.stored_uploads(name)
    if not result["complete"]:
        faults.append(broken_off(result))
    elif len(stored) != 1:
        faults.append(f"the upload is stored on {len(stored)} backends")
    elif not backends.sha256_of(stored[0]) == result["sha256"] == backends.big_sha256():
        faults.append("the stored upload differs from the file")
    for path in stored:
        path.unlink()
    return faults


def broken_off(result):
    return f"the {result['direction']} broke off after {result['bytes']} bytes: {result['error']}"


def bring_back(*victims, seconds=15):
    """Starts killed nodes again and waits until there is a synced standby, they follow, and the service answers."""
    for victim in victims:
        nodes.start(victim)
    wait_synced(seconds)
    group = configuration.group_names()[0]
    if not system.wait_until(lambda: all(nodes.states(group).get(name, "").startswith(("standby(", "owner("))
                                         for name in nodes.names()), seconds, 0.05):
        raise LabError(f"not all follow {seconds} s after {', '.join(victims)} started: {nodes.states(group)}\n{nodes.report()}")
    if not nodes.wait_answering(seconds):
        raise LabError(f"the virtual IP does not answer {seconds} s after {', '.join(victims)} started again")


def count_requests(place, run, seconds, at=None, action=None):
    """Counts requests for a time, does `action` at the given second, and returns (answered, faults)."""
    from . import request_counter  # only needed here, and it is a program of its own
    process = client(place, "request_counter", configuration.virtual_ips()[0], "--run", run, "--seconds", seconds)
    if action:
        time.sleep(at)
        action()
    output, errors = process.communicate(timeout=seconds + 60)
    if not output:
        raise LabError(f"the request counter failed: {errors.strip()}")
    result = json.loads(output)
    # nginx writes a line when it has finished with a request, a moment after the client has its answer.
    system.wait_until(lambda: not request_counter.compare(result, backends.requests_logged()), 3, 0.2)
    return len(result["answered"]), request_counter.compare(result, backends.requests_logged())
