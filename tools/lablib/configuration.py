"""The configuration that the lab gives its nodes, or the facts it needs about one that was given."""

import os
import pathlib
import re
import shutil

from . import system
from .topology import BACK, BACK6, FRONT, FRONT6, IPV6, NETWORKS

FILE = system.RUN / "lab.yaml"
SECRET = "lab.secret"
MEMORY_MB = 512  # per node

HEAD = """\
# Written by `tools/lab up`.
cluster:
  name: lab
  secret_file: {secret}
  arbiter: {arbiter}{etcd}
  heartbeat: {{interval: 20ms, misses: 5}}

metrics: {{listen: "127.0.0.1:9464"}}  # each node has a loopback of its own

nodes:
{nodes}
routes:
  - {{to: 0.0.0.0/0, via: {front}.1}}{six_route}

pools:
  - name: nginx
    check: {{interval: 500ms, timeout: 300ms, rise: 2, fall: 3}}
    backends:
      - {{name: b1, address: {back}.11, port: 80}}
      - {{name: b2, address: {back}.12, port: 80}}
  - name: nginx-tls
    backends:
      - {{name: b1, address: {back}.11, port: 443}}
      - {{name: b2, address: {back}.12, port: 443}}
  - name: any-on-b1
    check: {{port: 80}}
    backends:
      - {{name: b1, address: {back}.11}}{six_pool}

groups:
{groups}"""

GROUP = """\
  - name: {name}
    id: {number}
    mac: "02:55:53:00:00:{number:02x}"
    arp: virtual_mac
    virtual_ips: [{front}.{virtual_ip}/24{six_virtual_ip}]
    source_addresses: [{back}.{source}/24{six_source}]
    successors: [{successors}]
    failover: successor_order
    failback: {failback}
    services:
      - {{name: http, ports: 80, application: proxy, pool: nginx}}
      - {{name: https, ports: 443, application: proxy, pool: nginx-tls}}
      - {{name: iperf, ports: 5201, application: proxy, pool: any-on-b1}}
      - {{name: ssh, ports: 22, application: proxy, pool: any-on-b1}}
      - {{name: range, ports: 19000-19099, application: proxy, pool: any-on-b1}}
      - {{name: echo, ports: 7, application: echo}}
      - {{name: discard, ports: 9, application: discard}}
      - {{name: tally, ports: 7777, application: tally}}{six_service}
"""

# What IPv6 adds, at the places above that are named so. Port 8080 leads to the same nginx by IPv6.
SIX = {
    "six_route": f'\n  - {{to: "::/0", via: "{FRONT6}:1"}}',
    "six_pool": ("\n  - name: nginx-by-ipv6\n    backends:"
                 f'\n      - {{name: b1, address: "{BACK6}:11", port: 80}}'
                 f'\n      - {{name: b2, address: "{BACK6}:12", port: 80}}'),
}
SIX_SERVICE = "\n      - {name: http-by-ipv6, ports: 8080, application: proxy, pool: nginx-by-ipv6}"

NODE = """\
  - name: {name}
    id: {number}
    workers: {workers}
    idle: adaptive
    memory: {memory}MiB
    console_socket: {socket}
    promises: {promises}
    ports:
"""


ETCD = '\n  etcd: {{endpoints: ["{endpoint}"]}}'


def write_default(names, pmd, workers, peer_mtu, failback="never", arbiter="none", etcd_endpoint=None, groups=1):
    (system.RUN / SECRET).write_bytes(os.urandom(32).hex().encode())
    (system.RUN / SECRET).chmod(0o600)
    FILE.write_text(HEAD.format(
        secret=SECRET, front=FRONT, back=BACK, arbiter=arbiter,
        etcd=ETCD.format(endpoint=etcd_endpoint) if etcd_endpoint else "",
        nodes="".join(node(number, name, pmd, workers, peer_mtu) for number, name in enumerate(names, 1)),
        groups="".join(group(number, names, failback) for number in range(1, groups + 1)),
        **{place: text if IPV6 else "" for place, text in SIX.items()}))


def group(number, names, failback):
    """Its first successor is the node of the same number: several groups are spread over the nodes."""
    first = (number - 1) % len(names)
    virtual_ip, source = 10 * number, 90 + 10 * number
    return GROUP.format(name="web" if number == 1 else f"web{number}", number=number, front=FRONT, back=BACK,
                        virtual_ip=virtual_ip, source=source, failback=failback,
                        successors=", ".join(names[first:] + names[:first]),
                        six_virtual_ip=f', "{FRONT6}:{virtual_ip}/64"' if IPV6 else "",
                        six_source=f', "{BACK6}:{source}/64"' if IPV6 else "",
                        six_service=SIX_SERVICE if IPV6 else "")


def node(number, name, pmd, workers, peer_mtu):
    addresses = {"front": port_address(FRONT, FRONT6, 10 + number), "back": port_address(BACK, BACK6, 20 + number)}
    lines = NODE.format(name=name, number=number, workers=workers, memory=MEMORY_MB,
                        socket=system.RUN / f"{name}.sock", promises=system.RUN / f"{name}.promises")
    for index, network in enumerate(NETWORKS):
        mtu = f", mtu: {peer_mtu}" if network == "peer" and peer_mtu != 1500 else ""
        lines += (f'      - {{name: {network}, device: "net_{pmd}{index},iface={network}", roles: [{network}]'
                  f"{addresses.get(network, '')}{mtu}}}\n")
    return lines


def port_address(four, six, host):
    return f', address: [{four}.{host}/24, "{six}:{host}/64"]' if IPV6 else f", address: {four}.{host}/24"


def use(path):
    """Takes a configuration that was given, with the secret beside it, and returns the names of its nodes."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise system.LabError(f"there is no configuration {path}")
    FILE.write_text(with_console_sockets(path.read_text()))
    secret = re.search(r"^\s*secret_file:\s*([^\s#]+)", path.read_text(), re.M)
    if secret and not os.path.isabs(secret[1]):
        target = system.RUN / secret[1]
        if (path.parent / secret[1]).is_file():
            shutil.copy(path.parent / secret[1], target)
        else:
            target.write_bytes(os.urandom(32).hex().encode())
        target.chmod(0o600)
    names = node_names()
    if not names:
        raise system.LabError(f"{path} names no nodes")
    strange = [name for name in names if not re.fullmatch(r"n[1-9]\d*", name)]
    if strange:
        raise system.LabError(f"the lab's nodes are called n1, n2, ...; {path} names {', '.join(strange)}")
    return names


def with_console_sockets(given):
    """The same configuration, with the consoles of nodes that name no socket among the lab's own files."""
    head, found, nodes = given.partition("\nnodes:")
    nodes, rest = re.match(r"(.*\n(?:[ #].*\n|\n)*)((?:.|\n)*)", nodes + "\n").groups()
    if not found or "console_socket" in nodes:
        return given
    nodes = re.sub(r"^( {2}- name: *([\w-]+).*)$", rf"\1\n    console_socket: {system.RUN}/\2.sock", nodes, flags=re.M)
    return head + found + nodes + rest


def text():
    try:
        return FILE.read_text()
    except OSError:
        raise system.LabError("the lab is not up; `tools/lab up` raises it") from None


def section(name):
    found = re.search(rf"^{name}:.*\n((?:[ #].*\n|\n)*)", text() + "\n", re.M)
    return found[1] if found else ""


def node_names():
    return re.findall(r"^ {2}- (?:\{)?name: *([\w-]+)", section("nodes"), re.M)


def group_names():
    return re.findall(r"^ {2}- (?:\{)?name: *([\w-]+)", section("groups"), re.M)


def virtual_ips():
    lists = re.findall(r"virtual_ips: *\[([^\]]*)\]", section("groups"))
    return [entry.strip(" \"'").split("/")[0] for one in lists for entry in one.split(",")]


def console_socket(name):
    """The lab's own place, or the appliance's default where a given configuration names none."""
    for entry in re.split(r"^ {2}- ", section("nodes"), flags=re.M):
        if re.match(rf"(?:\{{)?name: *{re.escape(name)}\b", entry):
            found = re.search(r"console_socket: *([^\s,}#]+)", entry)
            if found:
                return pathlib.Path(found[1].strip("\"'"))
    return pathlib.Path(f"/run/understudy/{name}.sock")
