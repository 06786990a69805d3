"""The networks of the lab: namespaces, bridges, veth pairs, addresses; and their complete removal.

    us-far ── us-router ──┐
              us-client ──┤ front ├── us-n1 ──┤ back ├── us-b1
                          │       ├── us-n2 ──┤      ├── us-b2
                                      └─ peer ─┘
    with `--arbiter etcd`, on a network of its own: us-etcd ── us-n1, us-n2

Every interface is born inside a namespace of the lab, so that nothing in the machine's own changes, and
removing the namespaces removes everything.
"""

import json
import os
import pathlib
import shutil
import time

from . import system
from .system import LabError, namespace, run

NETWORKS = ("front", "back", "peer")
ETCD = "etcd"  # a place, and its network, where there is one (etcd.py)
FRONT, BACK, FAR = "10.10.0", "10.20.0", "10.40.0"
FRONT6, BACK6, FAR6 = "fd00:10:", "fd00:20:", "fd00:40:"
IPV6 = pathlib.Path("/proc/sys/net/ipv6").exists()  # without it in the kernel the lab has IPv4 only
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")
# What ethtool calls them when it lists them; `rx` cannot be turned off on every kernel and does no harm there.
OFFLOADS_LISTED = ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload",
                   "generic-receive-offload")


def node_names(count):
    return [f"n{number}" for number in range(1, count + 1)]


def stations(nodes):
    """(place, network, last part of its addresses or None) of every interface on a bridge."""
    yield "client", "front", 100
    yield "router", "front", 1
    yield "b1", "back", 11
    yield "b2", "back", 12
    for node in nodes:
        for network in NETWORKS:
            yield node, network, None  # the node answers for itself; the kernel must not


def switch_port(place, network):
    """Name of the interface in us-switch that leads to `place`."""
    return f"{place}-{network}"


def build(nodes, peer_mtu=1500):
    all_stations = list(stations(nodes))
    names = sorted({place for place, _, _ in all_stations} | {"switch", "far"})
    run("ip", "-batch", "-", stdin="".join(f"netns add {namespace(name)}\n" for name in names))
    for name in names:
        quiet(name)
    bridges = "".join(f"link add {network} type bridge stp_state 0 mcast_snooping 0 forward_delay 0\n"
                      f"link set {network} up\n" for network in NETWORKS)
    run("ip", "-n", namespace("switch"), "-batch", "-", stdin=bridges + "".join(
        veth(place, network, peer_mtu if network == "peer" else 1500) for place, network, _ in all_stations))
    for place in names:
        own = [(network, host) for station, network, host in all_stations if station == place]
        lines = [f"link set {network} up\n" + addresses(place, network, host) for network, host in own]
        run("ip", "-n", namespace(place), "-batch", "-", stdin="link set lo up\n" + "".join(lines))
    connect_far()
    for place in ("client", "far", "b1", "b2"):
        use_cubic(place)
    for place, network, _ in all_stations:
        offloads_off(place, network)
        offloads_off("switch", switch_port(place, network))


def addresses(place, interface, host):
    """Lines for `ip -batch` that give an interface its addresses of both families; IPv6 ones without probing."""
    if host is None:
        return ""
    four, six = {"front": (FRONT, FRONT6), "back": (BACK, BACK6), "far": (FAR, FAR6)}[interface]
    lines = f"addr add {four}.{host}/24 dev {interface}\n"
    if not IPV6:
        return lines
    for name, value in (("accept_dad", 0), ("accept_ra", 0), ("disable_ipv6", 0)):
        system.set_sysctl(place, f"net.ipv6.conf.{interface}.{name}", value)
    return lines + f"addr add {six}:{host}/64 dev {interface} nodad\n"


def veth(place, network, mtu):
    port = switch_port(place, network)
    return (f"link add {port} mtu {mtu} numtxqueues 1 numrxqueues 1 type veth peer name {network} mtu {mtu} "
            f"numtxqueues 1 numrxqueues 1 netns {namespace(place)}\n"
            f"link set {port} master {network}\nlink set {port} up\n")


def quiet(place):
    """No IPv6 on any interface that is yet to come, until it is given an address."""
    for scope in ("all", "default"):
        if IPV6:
            system.set_sysctl(place, f"net.ipv6.conf.{scope}.disable_ipv6", 1)


def use_cubic(place):
    """Linux's usual congestion control, whatever this machine's is. It is bound to the routes: a namespace may not
    choose another default than what the machine allows to everybody."""
    for family in ("-4", "-6") if IPV6 else ("-4",):
        for line in run("ip", "-n", namespace(place), family, "route", "show").splitlines():
            run("ip", "-n", namespace(place), family, "route", "replace", *line.split(), "congctl", "cubic")


def connect_far():
    """The client behind the router."""
    router, far = namespace("router"), namespace("far")
    run("ip", "-n", router, "-batch", "-", stdin=(
        f"link add far type veth peer name far netns {far}\nlink set far up\n"))
    run("ip", "-n", router, "-batch", "-", stdin=addresses("router", "far", 1))
    run("ip", "-n", far, "-batch", "-", stdin=(
        f"link set lo up\nlink set far up\n{addresses('far', 'far', 100)}route add default via {FAR}.1\n"))
    run("ip", "-n", namespace("client"), "route", "add", "default", "via", f"{FRONT}.1")
    system.set_sysctl("router", "net.ipv4.ip_forward", 1)
    if IPV6:
        run("ip", "-n", far, "-6", "route", "add", "default", "via", f"{FAR6}:1")
        run("ip", "-n", namespace("client"), "-6", "route", "add", "default", "via", f"{FRONT6}:1")
        system.set_sysctl("router", "net.ipv6.conf.all.forwarding", 1)
    system.set_sysctl("router", "net.ipv4.conf.all.send_redirects", 0)
    for place in ("router", "far"):
        offloads_off(place, "far")


def offloads_off(place, interface):
    for feature in OFFLOADS:  # one by one: a feature that is fixed must not keep the others on
        run("ip", "netns", "exec", namespace(place), "ethtool", "-K", interface, feature, "off", check=False)


def reset_node_ports(node):
    """What a killed process may have left on a node's interfaces (an XDP program stays attached) is taken away."""
    lines = "".join(f"link set dev {network} xdp off\nlink set dev {network} promisc off\n"
                    f"link set dev {network} up\n" for network in NETWORKS)
    run("ip", "-n", namespace(node), "-batch", "-", stdin=lines)


def faults_of_ports(nodes):
    """Sentences about what should not be on the interfaces before any node runs; empty when all is clean."""
    found = []
    for place in [*nodes, "client", "router", "far", "b1", "b2"]:
        for link in json.loads(run("ip", "-n", namespace(place), "-j", "-d", "address", "show")):
            name = link["ifname"]
            if name == "lo":
                continue
            where = f"{name} in {namespace(place)}"
            if "xdp" in link:
                found.append(f"{where} has an XDP program")
            if link.get("promiscuity"):
                found.append(f"{where} is promiscuous")
            families = sorted({entry["family"] for entry in link["addr_info"]})
            if families != ([] if place in nodes else ["inet", "inet6"] if IPV6 else ["inet"]):
                found.append(f"{where} has addresses of {families or 'no family'}")
            listed = run("ip", "netns", "exec", namespace(place), "ethtool", "-k", name).splitlines()
            on = [line.split(":")[0] for line in listed
                  if line.split(":")[0] in OFFLOADS_LISTED and line.split(":")[1].split()[0] == "on"]
            if on:
                found.append(f"{where} has {', '.join(on)} on")
    return found


def remove():
    """Everything of the lab goes, whatever state it is in. Raises LabError with what would not go."""
    names = system.places()
    stubborn = system.end_processes([process for name in names for process in system.processes_in(name)])
    for name in names:
        run("ip", "netns", "delete", namespace(name), check=False)
        if system.namespace_file(name).exists():  # a name without a mount: `ip netns add` was killed in between
            run("umount", "-l", system.namespace_file(name), check=False)
            system.namespace_file(name).unlink(missing_ok=True)
    unmount_below(system.RUN)
    return_hugepages()
    remove_dpdk_files()
    shutil.rmtree(system.RUN, ignore_errors=True)
    left = leftovers()
    if stubborn or left:
        raise LabError("could not be removed: " + ", ".join([f"process {process}" for process in stubborn] + left))


def leftovers():
    """What of a lab is on this machine."""
    found = [namespace(name) for name in system.places()]
    found += [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()
              if line.split()[1].startswith((str(system.RUN), f"/run/netns/{system.PREFIX}"))]
    if system.RUN.exists():
        found.append(str(system.RUN))
    return found + [str(path) for path in dpdk_files()]


def unmount_below(directory):
    mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for point in reversed([mount for mount in mounts if mount.startswith(str(directory) + "/")]):
        run("umount", "-l", point, check=False)


def dpdk_files():
    """Hugepage files and runtime directories; the appliance should leave none."""
    points = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()
              if line.split()[2] == "hugetlbfs"]
    found = [path for point in points for path in pathlib.Path(point).glob("understudy*map_*")]
    return found + list(pathlib.Path("/run/dpdk").glob("understudy*"))


def remove_dpdk_files():
    for path in dpdk_files():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
HUGEPAGES_ADDED = system.RUN / "hugepages.added"


def reserve_hugepages(megabytes):
    """Adds to the machine's reservation. Where that much cannot be had nothing is kept: the appliance then
    does without. What was added is noted first, so that `down` can return it whatever happens in between."""
    pages = megabytes // 2
    if not HUGEPAGES.exists() or "Hugepagesize:       2048 kB" not in pathlib.Path("/proc/meminfo").read_text():
        return False
    before = int(HUGEPAGES.read_text())
    HUGEPAGES_ADDED.write_text(str(pages))
    HUGEPAGES.write_text(str(before + pages))
    got = int(HUGEPAGES.read_text()) - before
    HUGEPAGES_ADDED.write_text(str(got))
    if got < pages:
        return_hugepages()
        return False
    return True


def return_hugepages():
    try:
        added = int(HUGEPAGES_ADDED.read_text())
    except (OSError, ValueError):
        return
    now = int(HUGEPAGES.read_text())
    HUGEPAGES_ADDED.unlink()
    HUGEPAGES.write_text(str(max(0, now - added)))


def settle(seconds=2):
    """Until every switch port forwards."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        links = json.loads(run("ip", "-n", namespace("switch"), "-j", "-d", "link", "show"))
        states = [link["linkinfo"]["info_slave_data"]["state"] for link in links
                  if link.get("linkinfo", {}).get("info_slave_kind") == "bridge"]
        if all(state == "forwarding" for state in states):
            return
        time.sleep(0.02)
    raise LabError("a port of the lab's switch does not forward")


def make_directory():
    os.makedirs(system.RUN, mode=0o755, exist_ok=True)
