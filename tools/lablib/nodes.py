"""The appliance's processes in the lab: start, signals, console, and what they say of the cluster."""

import json
import os
import pathlib
import re
import signal
import socket
import time

from . import configuration, system, topology
from .system import LabError, RUN


def log_file(name):
    return RUN / f"{name}.log"


def names():
    return configuration.node_names()


def check_name(name):
    if name not in names():
        raise LabError(f"there is no node {name} in this lab; there are {', '.join(names())}")


def processes(name):
    """The node's own process, or none; not what a person runs in its namespace."""
    return [process for process in system.processes_in(name) if "run" in system.command_of(process)
            and any(os.path.basename(word) == "understudy" for word in system.command_of(process)[:1])]


def start(name):
    check_name(name)
    if processes(name):
        raise LabError(f"{name} runs already")
    if not system.binary().exists():
        raise LabError(f"{system.binary()} is not built; `meson setup build && ninja -C build` makes it")
    topology.reset_node_ports(name)
    socket_path = configuration.console_socket(name)
    socket_path.parent.mkdir(parents=True, exist_ok=True)
    started = system.start_process(["nice", "-n", "-20", system.binary(), "run", configuration.FILE, "--node", name],
                                   log_file(name), name)
    # `ip netns exec` and nice become the program without a new process.
    if not system.wait_until(lambda: processes(name) or started.poll() is not None, 5, 0.005) or \
            started.poll() is not None:
        raise LabError(f"{name} does not start:\n{system.tail(log_file(name))}")
    run_first(processes(name))


def run_first(found):
    """Where the kernel shares processors out by session (sched_autogroup_enabled), niceness counts inside a session only."""
    for process in found:
        path = pathlib.Path(f"/proc/{process}/autogroup")
        if path.exists():
            path.write_text("-20", encoding="ascii")


def send(name, number):
    """Sends a signal; returns the moment on the monotonic clock just before it left."""
    check_name(name)
    found = processes(name)
    if not found:
        raise LabError(f"{name} is not running")
    moment = time.monotonic()
    for process in found:
        os.kill(process, number)
    return moment


def kill(name):
    return send(name, signal.SIGKILL)


def stop(name, seconds=5):
    """SIGTERM, and the wait until it has ended."""
    found = processes(name)
    send(name, signal.SIGTERM)
    if not system.wait_until(lambda: not any(system.is_running(process) for process in found), seconds):
        raise LabError(f"{name} has not ended {seconds} s after SIGTERM")


def ask(name, command, seconds=2):
    """The JSON answer to a console command, or None when the node does not answer. Speaks to the console's socket
    itself (a line there, lines back, and one that begins with the byte 4 and says `ok` or `error`): a test that
    watches a takeover cannot wait for a program to start."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(configuration.console_socket(name)))
            connection.sendall(f"{command} json\n".encode())
            received = b""
            while not (received.endswith(b"\n") and b"\n\x04" in b"\n" + received):
                part = connection.recv(65536)
                if not part:
                    return None
                received += part
        except OSError:
            return None
    answer, _, verdict = received.rpartition(b"\x04")
    if verdict != b"ok\n":
        return None
    try:
        return json.loads(answer)
    except ValueError:
        return None


def cluster_view(name):
    """What a node says of each group, by the group's name, or None without an answer. The one place that knows the
    fields of `show cluster json`.

    `state` is the node's own in the failover table, like owner(protected) or standby(synced); `protected` and
    `unprotected` count legs; `last_takeover` has the parts of the last one in microseconds, or is None."""
    answer = ask(name, "show cluster")
    if answer is None:
        return None
    return {group["name"]: {"state": group["state"], "owner": group["state"].startswith("owner("),
                            "epoch": group["epoch"], "protected": group["protected"],
                            "unprotected": group["unprotected"], "last_takeover": group.get("last_takeover")}
            for group in answer["groups"]}


def views():
    return {name: cluster_view(name) for name in names()}


def staying(name, group=None):
    """Legs of old connections that this node goes on with while the group itself is at another one
    (failback: new_connections); 0 when there are none."""
    view = cluster_view(name) or {}
    row = view.get(f"{group or configuration.group_names()[0]}/staying")
    return row["protected"] + row["unprotected"] if row and row["owner"] else 0


def states(group):
    """{node: its state in the group}; of those that answer."""
    return {name: view[group]["state"] for name, view in views().items() if view and group in view}


def last_words(name, group, end=None):
    """The last state of the group in the node's log (its first `end` bytes), which outlives the node; None: no word."""
    with open(log_file(name), "rb") as log:
        text = log.read() if end is None else log.read(end)
    found = re.findall(rf"group {re.escape(group)}: \S+ -> (\S+):", text.decode(errors="replace"))
    return found[-1] if found else None


def standby_of(owner, group):
    """To whom this owner mirrors the group, as it says; None or empty: to nobody."""
    answer = ask(owner, "show cluster") or {"groups": []}
    return next((row.get("standby") for row in answer["groups"] if row["name"] == group), None)


def claims(name, group, begin=0):
    """How often the node has become the owner, by its log from byte `begin` on."""
    return count_in_log(name, f"group {group}: claiming -> owner(", begin)


def count_in_log(name, words, begin=0):
    with open(log_file(name), "rb") as log:
        log.seek(begin)
        return log.read().count(words.encode())


def log_sizes():
    return {name: log_file(name).stat().st_size for name in names()}


def owner(group=None):
    """Name of the node that says it owns the group (the first of the configuration by default), or None."""
    group = group or configuration.group_names()[0]
    if group not in configuration.group_names():
        raise LabError(f"there is no group {group}; there are {', '.join(configuration.group_names())}")
    owners = [name for name, state in states(group).items() if state.startswith("owner(")]
    if len(owners) > 1:
        raise LabError(f"{' and '.join(owners)} both say that they own {group}")
    return owners[0] if owners else None


def owners_at_once(group):
    """The nodes that own the group at one and the same moment: the one between two rounds of questions, through which each of
    them has owned it under one epoch."""
    def seen():
        return {name: view[group]["epoch"] for name, view in views().items() if view and view.get(group, {}).get("owner")}
    before, after = seen(), seen()
    return [name for name, epoch in before.items() if after.get(name) == epoch]


def all_synced():
    """Every group has one owner, that owner is protected, and a standby says that it is synced; so has what stays of one."""
    seen_by = views()
    shown = {group for view in seen_by.values() for group in view or ()}
    for group in shown.union(configuration.group_names()):
        seen = [view[group]["state"] for view in seen_by.values() if view and group in view]
        if seen.count("owner(protected)") != 1 or "standby(synced)" not in seen:
            return False
    return True


def longest_stall(name):
    """What `show worker json` says of stalls: {path of the field: value}, or a sentence when there is no answer."""
    answer = ask(name, "show worker")
    if answer is None:
        return f"{name} does not answer"
    found = {}

    def walk(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else key)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, f"{path}[{index}]")
        elif "stall" in path.rpartition(".")[2]:
            found[path] = value
    walk(answer, "")
    return found or f"{name} reports no stall"


def answers(address, place="client", port=80, seconds=0.5):
    """True when a TCP connect works and an HTTP request on it gets 200."""
    try:
        with system.tcp_connect(place, address, port, seconds) as connection:
            connection.sendall(b"HEAD /small.txt HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except (OSError, socket.timeout):
        return False


def all_answering(place="client"):
    return all(answers(address, place) for address in configuration.virtual_ips())


def wait_answering(seconds):
    end = time.monotonic() + seconds
    while not all_answering():
        ended = [name for name in names() if not processes(name)]
        if len(ended) == len(names()) or time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def report():
    """The ends of all nodes' logs, for a message about a failure."""
    return "\n".join(f"--- {log_file(name)}\n{system.tail(log_file(name))}" for name in names())
