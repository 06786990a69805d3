"""The benchmarks that run in the lab: kernel clients and backends, veth ports, two nodes on this machine."""

import contextlib
import json
import os
import statistics
import subprocess
import time

from . import configuration, nodes, system, trial
from .system import LabError

BENCHES = ("lab-throughput", "lab-reference", "lab-takeover")
PORT = 5201  # proxied to b1
REFERENCE = "benchref"  # prefix of the namespaces of the plain forwarder
REFERENCE_NET = "10.77.0"


def metric(name, values, unit, reference=None, ratio=None):
    return {"name": name, "value": statistics.median(values), "unit": unit, "low": min(values), "high": max(values),
            "target": None, "met": None, "reference": reference, "ratio": ratio, "path": "veth", "runs": len(values)}


def iperf(client_command, server_command, address, seconds):
    """Gbit/s of one kernel TCP flow, as the receiver counts it."""
    server = subprocess.Popen([*server_command, "iperf3", "-s", "-1", "-p", str(PORT)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        done = subprocess.run([*client_command, "iperf3", "-c", address, "-p", str(PORT), "-t", str(seconds), "-O", "1",
                               "-J"], stdout=subprocess.PIPE, text=True, timeout=seconds + 30, check=False)
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise LabError(f"iperf3: {answer['error']}")
        return answer["end"]["sum_received"]["bits_per_second"] / 1e9
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise LabError(f"iperf3 through {address} gave no result: {error}") from None
    finally:
        server.kill()
        server.wait()


def place(name):
    return ["ip", "netns", "exec", system.namespace(name)]


def throughput(quick):
    values = [iperf(place("client"), place("b1"), configuration.virtual_ips()[0], 2 if quick else 5)
              for _ in range(2 if quick else 5)]
    return [metric("lab_proxy_protected", values, "Gbit/s")]


def takeover(quick):
    parts = {"detection_us": [], "decision_us": [], "claim_us": [], "first_packet_us": []}
    gaps = []
    for _ in range(2 if quick else 10):
        outcome = trial.transfers_with_kill()
        if outcome.faults:
            raise LabError("; ".join(outcome.faults))
        gaps.append(outcome.gap_ms)
        heir = trial.owner_now()
        taken = nodes.cluster_view(heir)[configuration.group_names()[0]]["last_takeover"]
        for part, values in parts.items():
            if taken and taken[part] is not None:
                values.append(taken[part] / 1000)
        trial.bring_back(outcome.victim)
    found = [metric(f"lab_takeover_{part.removesuffix('_us')}", values, "ms") for part, values in parts.items() if values]
    return [*found, metric("lab_takeover_client_gap", gaps, "ms")]


@contextlib.contextmanager
def forwarder():
    """Two machines joined by nothing but testpmd, which carries frames between two af_packet ports on veth."""
    names = {end: f"{REFERENCE}-{end}" for end in ("a", "b", "fwd")}
    log = open("/tmp/understudy-bench-testpmd.log", "wb")
    process = None
    try:
        for name in names.values():
            system.run("ip", "netns", "add", name)
        for number, end in enumerate("ab", 1):
            system.run("ip", "-n", names["fwd"], "link", "add", f"to{end}", "numtxqueues", "1", "numrxqueues", "1", "type",
                       "veth", "peer", "name", "front", "numtxqueues", "1", "numrxqueues", "1", "netns", names[end])
            system.run("ip", "-n", names["fwd"], "link", "set", f"to{end}", "up")
            system.run("ip", "-n", names[end], "addr", "add", f"{REFERENCE_NET}.{number}/24", "dev", "front")
            system.run("ip", "-n", names[end], "link", "set", "front", "up")
            system.run("ip", "-n", names[end], "route", "replace", f"{REFERENCE_NET}.0/24", "dev", "front", "congctl", "cubic")
            for space, link in ((names["fwd"], f"to{end}"), (names[end], "front")):
                for feature in ("rx", "tx", "sg", "tso", "gso", "gro"):
                    system.run("ip", "netns", "exec", space, "ethtool", "-K", link, feature, "off", check=False)
        process = subprocess.Popen(
            ["ip", "netns", "exec", names["fwd"], "dpdk-testpmd", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
             "--iova-mode=va", "-m", "512", "--lcores", "0@0,1@1" if os.cpu_count() > 1 else "(0-1)@0",
             "--vdev=net_af_packet0,iface=toa", "--vdev=net_af_packet1,iface=tob", f"--file-prefix=benchref{os.getpid()}",
             "--", "--forward-mode=io", "--auto-start", "--nb-cores=1", "--total-num-mbufs=16384", "--stats-period=60",
             "--no-mlockall"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client = ["ip", "netns", "exec", names["a"]]
        ping = [*client, "ping", "-c", "1", "-W", "1", f"{REFERENCE_NET}.2"]
        if not system.wait_until(lambda: subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0, 15, 0.2):
            raise LabError(f"testpmd forwards nothing:\n{system.tail(log.name)}")
        yield client, ["ip", "netns", "exec", names["b"]], f"{REFERENCE_NET}.2"
    finally:
        if process:
            process.kill()
            process.wait()
        log.close()
        for name in names.values():
            system.run("ip", "netns", "delete", name, check=False)


def reference(quick):
    with forwarder() as (client, server, address):
        values = [iperf(client, server, address, 2 if quick else 5) for _ in range(2 if quick else 5)]
    return [metric("lab_testpmd_io_forwarding", values, "Gbit/s")]


def run(names, quick):
    found = []
    # First, and with the lab down: both need the processors for themselves.
    if "lab-reference" in names:
        found += reference(quick)
    if "lab-throughput" in names or "lab-takeover" in names:
        if system.places():
            raise LabError("the lab is in use; `tools/lab down` ends it")
        try:
            print(trial.lab("up"), flush=True)
            trial.wait_synced()
            if "lab-throughput" in names:
                found += throughput(quick)
            if "lab-takeover" in names:
                found += takeover(quick)
        finally:
            trial.take_down()
    by_name = {one["name"]: one for one in found}
    proxied, plain = by_name.get("lab_proxy_protected"), by_name.get("lab_testpmd_io_forwarding")
    if proxied and plain:
        proxied.update(reference=plain["name"], ratio=proxied["value"] / plain["value"])
    return found
