"""A real etcd-server at a place of its own, with a network of its own to the nodes (`arbiter: etcd`).

What the lab cuts of front, back and peer does not reach it; `cut etcd n1` and `unplug etcd n1` do."""

import os
import signal

from . import nodes, system, topology
from .system import LabError, RUN, namespace, run

PLACE = NETWORK = topology.ETCD
SUBNET, PORT = "10.50.0", 2379
ENDPOINT = f"http://{SUBNET}.1:{PORT}"
DIRECTORY = RUN / "etcd"  # tmpfs: a slow disk must not look like a slow etcd
LOG = RUN / "etcd.log"


def exists():
    return system.namespace_file(PLACE).exists()


def connect(names):
    """The place, its network, and the nodes on it."""
    run("ip", "netns", "add", namespace(PLACE))
    topology.quiet(PLACE)
    run("ip", "-n", namespace("switch"), "-batch", "-", stdin=(
        f"link add {NETWORK} type bridge stp_state 0 mcast_snooping 0 forward_delay 0\nlink set {NETWORK} up\n"
        + "".join(topology.veth(place, NETWORK, 1500) for place in (PLACE, *names))))
    for host, place in enumerate((PLACE, *names), 1):
        number = host if place == PLACE else 9 + host  # .1, and .11, .12, ... as on the front network
        run("ip", "-n", namespace(place), "-batch", "-", stdin=(
            f"link set lo up\nlink set {NETWORK} up\naddr add {SUBNET}.{number}/24 dev {NETWORK}\n"))


def prepare(names):
    connect(names)
    DIRECTORY.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=256m,mode=700", "understudy-lab-etcd", DIRECTORY)
    start()


def processes():
    return [process for process in system.processes_in(PLACE)
            if any("etcd" in word for word in system.command_of(process)[:1])]


def start():
    """What it knew before is there again."""
    if not exists():
        raise LabError("there is no etcd in this lab; `tools/lab up --arbiter etcd` raises one")
    if processes():
        raise LabError("etcd runs already")
    peer = "http://127.0.0.1:2380"
    started = system.start_process(
        ["nice", "-n", "-20", "etcd", "--name", "lab", "--data-dir", DIRECTORY / "data",
         "--listen-client-urls", ENDPOINT, "--advertise-client-urls", ENDPOINT,
         "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"lab={peer}",
         "--heartbeat-interval", "10", "--election-timeout", "100"], LOG, PLACE)
    if not system.wait_until(lambda: is_healthy() or started.poll() is not None, 10) or started.poll() is not None:
        raise LabError(f"etcd does not start:\n{system.tail(LOG)}")
    nodes.run_first(processes())


def is_healthy():
    """It has a leader and answers."""
    try:
        with system.tcp_connect(PLACE, f"{SUBNET}.1", PORT, 1) as connection:
            connection.sendall(f"GET /health HTTP/1.0\r\nHost: {SUBNET}.1\r\n\r\n".encode())
            return b'"true"' in connection.recv(4096) + connection.recv(4096)
    except OSError:
        return False


def send(number):
    found = processes()
    if not found:
        raise LabError("etcd is not running")
    for process in found:
        os.kill(process, number)
    if number in (signal.SIGKILL, signal.SIGTERM) and system.end_processes(found, number):
        raise LabError("etcd does not end")
