"""Faults on the lab's networks: cables pulled, directions cut, random loss, and the impairing relay.

Cuts and loss are nftables rules in us-switch, on what a bridge forwards. They are kept in one file and written
as a whole, so that they cannot drift from what the commands said.
"""

import itertools
import json
import signal
import sys
import time

from . import system, topology
from .system import LabError, RUN, namespace, run
from .topology import NETWORKS, switch_port

STATE = RUN / "faults.json"


def check_network(network):
    if network not in NETWORKS:
        raise LabError(f"{network} is no network of the lab; those are {', '.join(NETWORKS)}")


def check_station(network, place):
    if network != topology.ETCD:
        check_network(network)
    if not system.namespace_file(place).exists():
        raise LabError(f"there is no {place} in the lab now; there are {', '.join(system.places()) or 'none'}")
    nodes = [place] if is_node(place) else []
    if network == topology.ETCD and (nodes or place == topology.ETCD) and system.namespace_file(topology.ETCD).exists():
        return
    if (place, network) not in [station[:2] for station in topology.stations(nodes)]:
        raise LabError(f"{place} is not on the {network} network")


def is_node(place):
    return place[0] == "n" and place[1:].isdigit()


def unplug(network, place):
    check_station(network, place)
    run("ip", "-n", namespace("switch"), "link", "set", switch_port(place, network), "down")


def plug(network, place):
    check_station(network, place)
    run("ip", "-n", namespace("switch"), "link", "set", switch_port(place, network), "up")


def load():
    try:
        return json.loads(STATE.read_text())
    except OSError:
        return {"cuts": [], "loss": {}}


def cut(network, place, direction=None):
    """`in`: towards the node; `out`: from it."""
    cut_all([network], place, direction)


def heal(network, place, direction=None):
    heal_all([network], place, direction)


def cut_all(networks, place, direction=None):
    """Several networks at the same moment."""
    state = load()
    wanted = stretches(networks, place, direction)
    state["cuts"] += [one for one in wanted if one not in state["cuts"]]
    write(state)


def heal_all(networks, place, direction=None):
    state = load()
    gone = stretches(networks, place, direction)
    state["cuts"] = [one for one in state["cuts"] if one not in gone]
    write(state)


def stretches(networks, place, direction):
    for network in networks:
        check_station(network, place)
    return [[network, place, one] for network in networks for one in directions(direction)]


def directions(word):
    if word not in (None, "in", "out"):
        raise LabError(f"{word} is no direction: in, out, or nothing for both")
    return [word] if word else ["in", "out"]


def loss(network, percent):
    """Of the frames that the bridge forwards, this share is dropped, each by itself."""
    check_network(network)
    if not 0 <= percent <= 100:
        raise LabError("loss is a percentage from 0 to 100")
    state = load()
    state["loss"].pop(network, None)
    if percent > 0:
        state["loss"][network] = percent
    write(state)


def drop_arp(network, is_dropped):
    """ARP that nodes send, and nothing else."""
    check_network(network)
    state = load()
    state["arp"] = [one for one in state.get("arp", []) if one != network] + ([network] if is_dropped else [])
    write(state)


def part(*groups):
    """Nothing passes from a node of one group to a node of another, on any network; without groups everything does again."""
    state = load()
    state["parted"] = [list(group) for group in groups]
    write(state)


def write(state):
    run("ip", "netns", "exec", namespace("switch"), "nft", "-f", "-", stdin=rules(state))
    STATE.write_text(json.dumps(state))


def rules(state):
    lines = []
    for network, place, direction in state["cuts"]:
        side = "oifname" if direction == "in" else "iifname"
        lines.append(f'{side} "{switch_port(place, network)}" counter drop')
    parted = [", ".join(f'"{switch_port(place, network)}"' for place in group for network in NETWORKS)
              for group in state.get("parted", [])]
    for group, other in itertools.permutations(parted, 2):
        lines.append(f"iifname {{ {group} }} oifname {{ {other} }} counter drop")
    for network in state.get("arp", []):
        ports = ", ".join(f'"{switch_port(place, network)}"' for place in system.places() if is_node(place))
        lines.append(f"iifname {{ {ports} }} ether type arp counter drop")
    for network, percent in state["loss"].items():
        ports = ", ".join(ports_of(network))  # by name: also right while the relay has split the bridge
        lines.append(f"iifname {{ {ports} }} numgen random mod 100000 < {round(percent * 1000)} counter drop")
    body = "\n    ".join(lines)
    return ("table bridge faults\ndelete table bridge faults\n"
            "table bridge faults {\n  chain forward {\n"
            f"    type filter hook forward priority 0; policy accept;\n    {body}\n  }}\n}}\n")


def ports_of(network):
    links = json.loads(run("ip", "-n", namespace("switch"), "-j", "link", "show"))
    return [f'"{link["ifname"]}"' for link in links
            if link["ifname"].endswith(f"-{network}") and not link["ifname"].startswith("relay-")]


# The relay stands between the two halves of a network: the bridge is split, the nodes (on the peer network all
# nodes but the first) move to the second half, and every frame between the halves passes through one process.

def relay_names(network):
    return f"{network}-split", f"relay-a-{network}", f"relay-b-{network}"


def impair(network, options):
    check_network(network)
    end_impairment(network)
    split, first, second = relay_names(network)
    lines = f"link add {split} type bridge stp_state 0 mcast_snooping 0 forward_delay 0\nlink set {split} up\n"
    for bridge, name in ((network, first), (split, second)):
        lines += (f"link add {name} mtu 9000 type veth peer name {name}x mtu 9000\nlink set {name} master {bridge}\n"
                  f"link set {name} up\nlink set {name}x up\n")
    run("ip", "-n", namespace("switch"), "-batch", "-", stdin=lines)
    for name in (first, second):
        for end in (name, f"{name}x"):
            topology.offloads_off("switch", end)
    log = RUN / f"relay-{network}.log"
    log.unlink(missing_ok=True)
    system.start_process([sys.executable, "-m", "lablib.relay", f"{first}x", f"{second}x", *options], log, "switch",
                         directory=system.ROOT / "tools")
    if not system.wait_until(lambda: "relays" in system.tail(log), 5):
        end_impairment(network)
        raise LabError(f"the relay does not start:\n{system.tail(log)}")
    move(network, split)


def end_impairment(network):
    check_network(network)
    split, first, second = relay_names(network)
    move(network, network)
    time.sleep(0.01)
    system.end_processes(relay_processes(network), signal.SIGKILL)
    for name in (first, second, split):
        run("ip", "-n", namespace("switch"), "link", "delete", name, check=False)


def relay_processes(network):
    _, first, _ = relay_names(network)
    return [process for process in system.processes_in("switch") if f"{first}x" in system.command_of(process)]


def move(network, bridge):
    nodes = [place for place in system.places() if is_node(place)]
    if network == "peer":
        nodes = nodes[1:]
    run("ip", "-n", namespace("switch"), "-batch", "-",
        stdin="".join(f"link set {switch_port(node, network)} master {bridge}\n" for node in nodes))
