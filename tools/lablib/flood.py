"""A flood of forged segments on the front network: what it leaves to transfers that run, and to those who want to connect.

The generator takes a processor of this machine, flood or not, whatever else runs: in the rounds without a flood it sends the
same frames into a cable that leads nowhere, so that the two kinds of rounds differ only in where the frames go."""

import concurrent.futures
import dataclasses
import json
import os
import subprocess
import time

from . import nodes, system, trial
from .system import LabError, namespace, run

GENERATOR = system.ROOT / "build/tests/bench/understudy-flood-generator"
NOWHERE = "nowhere"
KINDS = ("syn", "syn_twice", "ack", "fin")  # for the generator: syn_twice says each again after a second
GROUP_MAC = "02:55:53:00:00:01"
CONNECTS = 200  # in each round
CONNECT_SECONDS = 10
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@dataclasses.dataclass
class Round:
    segments_per_second: float
    mbit: dict  # direction -> Mbit/s
    answered: int
    longest_answer_ms: float
    refused: list

    def sentence(self):
        return (f"{self.segments_per_second / 1000:.0f}k segments/s; download {self.mbit['download']:.0f} and upload "
                f"{self.mbit['upload']:.0f} Mbit/s; {self.answered} of {self.answered + len(self.refused)} new connections "
                f"answered, the slowest after {self.longest_answer_ms:.0f} ms")


def prepare():
    if not GENERATOR.exists():
        raise LabError("the flood generator is not built: ninja -C build tests/bench/understudy-flood-generator")
    space = namespace("client")
    run("ip", "-n", space, "link", "add", NOWHERE, "type", "veth", "peer", "name", NOWHERE + "2")
    for link in (NOWHERE, NOWHERE + "2"):
        run("ip", "-n", space, "link", "set", link, "up")


def generator(interface, address, kind):
    command = ["nice", "-n", "-20", "ip", "netns", "exec", namespace("client"), str(GENERATOR), interface, GROUP_MAC, address,
               "80", kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ask(address):
    """Milliseconds from the SYN to the first byte of an answer; or why there is none."""
    began = time.monotonic()
    try:
        with system.tcp_connect("client", address, 80, CONNECT_SECONDS) as connection:
            connection.sendall(REQUEST)
            if not connection.recv(1000).startswith(b"HTTP/1."):
                return "no answer"
    except OSError as error:
        return str(error)
    return (time.monotonic() - began) * 1000


def one_round(address, kind, floods):
    name = f"flood-{os.getpid()}-{time.monotonic_ns()}"
    strangers = generator("front" if floods else NOWHERE, address, kind)
    try:
        time.sleep(0.3)
        transfers = [trial.Transfer("client", direction, name, address, 80) for direction in ("download", "upload")]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: ask(address), range(CONNECTS)))
        results = {transfer.direction: transfer.result() for transfer in transfers}
    finally:
        strangers.terminate()
        said, _ = strangers.communicate()
    faults = trial.verdict(results["download"], results["upload"], name)
    if faults:
        raise LabError("; ".join(faults))
    count, seconds = said.split()
    times = [answer for answer in answers if not isinstance(answer, str)]
    return Round(int(count) / float(seconds),
                 {direction: result["mbit_per_second"] for direction, result in results.items()},
                 len(times), max(times, default=0), [answer for answer in answers if isinstance(answer, str)])


def drops(node):
    """What the node has dropped so far, by reason."""
    said = json.loads(trial.lab("console", node, "--", "show", "drops", "json"))
    return {row["reason"]: row["frames"] for row in said["drops"]}


def memory_kib(node):
    process = nodes.processes(node)[0]
    with open(f"/proc/{process}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
