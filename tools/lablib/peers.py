"""Real programs that talk through the virtual IP, each with what it carries checked byte by byte.

Servers run on b1, their files lie under the lab's own directory; nothing of them outlives `tools/lab down`.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

from . import backends, system
from .system import LabError, RUN

DIRECTORY = RUN / "peers"
REDIS, POSTGRES, BOUNCE, IPERF_DOWN = 19001, 19002, 19003, 19004  # in the port range that the lab proxies to b1
IPERF_UP = 5201
POSTGRES_BIN = "/usr/lib/postgresql/15/bin"
SHORT_CONNECTIONS, SHORT_AT_ONCE = 10_000, 100


class Fault(Exception):
    """What a peer saw that it should not have seen, as a sentence."""


class Peers:
    """The servers, and one method per kind of client. `megabytes`: how much each bulk transfer carries; `commands`: how
    many of each of its five kinds redis-benchmark sends."""

    def __init__(self, address, place="client", megabytes=20, commands=20_000):
        self.address, self.place = address, place
        self.host = f"[{address}]" if ":" in address else address  # in URLs and for scp
        self.bytes = megabytes * 1_000_000
        self.file = DIRECTORY / "content"
        self.commands = commands
        self.open_long = None
        self.long_since = 0

    # -- servers

    def start_servers(self):
        DIRECTORY.mkdir(exist_ok=True)
        DIRECTORY.chmod(0o755)
        with open(backends.CACHE / backends.BIG, "rb") as source:
            self.file.write_bytes(source.read(self.bytes))
        for port in (IPERF_UP, IPERF_DOWN):  # one each: a server is busy for a while after its client has gone
            self.start(f"iperf3-{port}", ["iperf3", "-s", "-p", port], port)
        self.start_ssh()
        self.start("redis", ["redis-server", "--port", REDIS, "--bind", "*", "-::*", "--protected-mode", "no", "--save", "",
                             "--appendonly", "no", "--dir", DIRECTORY], REDIS)
        self.start_postgres()
        self.start("bounce", [sys.executable, "-m", "lablib.bounce", BOUNCE], BOUNCE, directory=system.ROOT / "tools")

    def start(self, name, command, port, directory="/"):
        log = DIRECTORY / f"{name}.log"
        system.start_process(command, log, "b1", directory=directory)

        def listens():
            with contextlib.suppress(OSError):
                system.tcp_connect("b1", "127.0.0.1", port, 1).close()
                return True
            return False
        if not system.wait_until(listens, 15, 0.1):
            raise LabError(f"{name} does not start on b1:\n{system.tail(log)}")

    def start_ssh(self):
        for key in ("host", "user"):
            with contextlib.suppress(FileNotFoundError):
                (DIRECTORY / key).unlink()
            system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", DIRECTORY / key)
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = ("PidFile=none", f"AuthorizedKeysFile={DIRECTORY}/user.pub", "StrictModes=no", "UsePAM=no",
                    "PermitRootLogin=prohibit-password", "UseDNS=no", "Subsystem=sftp internal-sftp")
        self.start("sshd", ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-h", DIRECTORY / "host", "-p", "22",
                            *[word for setting in settings for word in ("-o", setting)]], 22)

    def start_postgres(self):
        data = DIRECTORY / "postgres"
        if not data.exists():
            data.mkdir()
            system.run("chown", "postgres", data)
            self.as_postgres("initdb", "-D", data, "-A", "trust", "-N")
            with open(data / "pg_hba.conf", "a", encoding="utf-8") as access:
                access.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
        self.start("postgres", ["runuser", "-u", "postgres", "--", f"{POSTGRES_BIN}/postgres", "-D", data, "-p", POSTGRES,
                                "-k", "", "-c", "listen_addresses=*", "-c", "fsync=off"], POSTGRES)

    @staticmethod
    def as_postgres(program, *words):
        system.run("runuser", "-u", "postgres", "--", f"{POSTGRES_BIN}/{program}", *words)

    # -- clients

    def run(self, *command, seconds=120, stdin=None, binary=False):
        words = ["ip", "netns", "exec", system.namespace(self.place), *map(str, command)]
        try:
            done = subprocess.run(words, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise Fault(f"{command[0]} has not ended within {seconds} s") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise Fault(f"{command[0]} ended with {done.returncode}: {said[-1] if said else 'nothing said'}")
        return done.stdout if binary else done.stdout.decode(errors="replace")

    def check_bytes(self, what, content):
        if content != self.file.read_bytes():
            raise Fault(f"{what}: {len(content)} bytes came of {self.bytes}, or others")

    def curl(self):
        self.check_bytes("the download", self.run("curl", "-gsSf", "-r", f"0-{self.bytes - 1}",
                                                  f"http://{self.host}/{backends.BIG}", binary=True))
        name = f"peers-{os.getpid()}"
        self.run("curl", "-gsSf", "-T", self.file, f"http://{self.host}/upload/{name}")
        stored = backends.stored_uploads(name)
        if len(stored) != 1:
            raise Fault(f"the upload is stored on {len(stored)} backends")
        self.check_bytes("the upload", stored[0].read_bytes())
        stored[0].unlink()
        return "both ways"

    def iperf3(self):
        rates = []
        for port, direction in ((IPERF_UP, []), (IPERF_DOWN, ["-R"])):
            result = json.loads(self.run("iperf3", "-J", "-c", self.address, "-p", port, "-P", "8", "-t", "5", *direction))
            if "error" in result:
                raise Fault(f"iperf3 {' '.join(direction)}: {result['error']}")
            sums = result["end"]["sum_received"]
            rates.append(f"{sums['bits_per_second'] / 1e6:.0f}")
        return f"8 streams, {' and '.join(rates)} Mbit/s"

    def ssh(self):
        options = ("-F", "none", "-i", DIRECTORY / "user", "-o", "StrictHostKeyChecking=no", "-o",
                   "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30")
        digest = self.run("ssh", *options, f"root@{self.address}", "sha256sum", stdin=self.file.read_bytes()).split()[0]
        if digest != hashlib.sha256(self.file.read_bytes()).hexdigest():
            raise Fault("ssh: what arrived has another SHA-256")
        self.check_bytes("ssh", self.run("ssh", *options, f"root@{self.address}", f"cat {self.file}", binary=True))
        there, back = DIRECTORY / "scp-there", DIRECTORY / "scp-back"
        self.run("scp", "-q", *options, self.file, f"root@{self.host}:{there}")
        self.check_bytes("scp", there.read_bytes())
        self.run("scp", "-q", *options, f"root@{self.host}:{self.file}", back)
        self.check_bytes("scp back", back.read_bytes())
        there.unlink()
        back.unlink()
        return "a stream and a file, both ways"

    def redis(self):
        server = ("-h", self.address, "-p", REDIS)
        said = self.run("redis-benchmark", *server, "-q", "-n", self.commands, "-c", "20", "-d", "100", "-t",
                        "set,get,incr,lpush,lrange_100")
        if "ERR" in said or "rror" in said:
            raise Fault(f"redis-benchmark: {said.strip().splitlines()[-1]}")
        value = self.file.read_bytes()[:1_000_000].hex().encode()
        self.run("redis-cli", *server, "-x", "set", "whole", stdin=value)
        if self.run("redis-cli", *server, "get", "whole", binary=True).rstrip(b"\n") != value:
            raise Fault("redis: a value of 2 MB came back changed")
        return f"{5 * self.commands} commands, and a value of 2 MB there and back"

    def pgbench(self):
        server = ("-h", self.address, "-p", POSTGRES, "-U", "postgres")
        self.run("pgbench", *server, "-i", "-q", "postgres")
        said = self.run("pgbench", *server, "-n", "-c", "8", "-j", "2", "-t", self.commands // 100, "postgres")
        count = 8 * (self.commands // 100)
        if f"transactions actually processed: {count}/{count}" not in said or "failed transactions: 0 " not in said:
            raise Fault(f"pgbench: {said}")
        sums = self.run("psql", *server, "-Atc", "select (select sum(delta) from pgbench_history), (select sum(abalance) from "
                        "pgbench_accounts), (select sum(bbalance) from pgbench_branches), (select count(*) from "
                        "pgbench_history)", "postgres").strip().split("|")
        if len(set(sums[:3])) != 1 or sums[3] != str(count):
            raise Fault(f"pgbench: the sums do not agree: {sums}")
        return f"{count} transactions of 8 clients, and the books balance"

    def half_close(self):
        """`nc -N` says that it has finished, and hears the answer only then."""
        self.check_bytes("nc -N", self.run("nc", "-N", self.address, BOUNCE, stdin=self.file.read_bytes(), binary=True))
        return "finished first, heard all after"

    def short(self):
        words = [sys.executable, "-m", "lablib.peers", self.address, SHORT_CONNECTIONS, SHORT_AT_ONCE]
        with contextlib.chdir(system.ROOT / "tools"):
            failed = json.loads(self.run(*words, seconds=300))
        if failed:
            raise Fault(f"{sum(failed.values())} of {SHORT_CONNECTIONS} short connections: {failed}")
        return f"{SHORT_CONNECTIONS} requests, a connection each"

    def begin_long(self):
        self.open_long = system.tcp_connect(self.place, self.address, 7, 30)
        self.open_long.settimeout(60)
        self.long_since = time.monotonic()
        self.say_long(b"at the beginning")

    def say_long(self, words):
        self.open_long.sendall(words)
        heard = b""
        while len(heard) < len(words):
            part = self.open_long.recv(1024)
            if not part:
                raise Fault("the long connection was closed")
            heard += part
        if heard != words:
            raise Fault("the long connection answered other words")

    def long_idle(self):
        """Opened before all others, silent while they ran."""
        self.say_long(b"and at the end" * 50)
        self.open_long.close()
        return f"silent for {time.monotonic() - self.long_since:.0f} s"

    def all(self):
        """(name, sentence, whether it is good) of each, in order."""
        self.begin_long()
        for name in ("curl", "iperf3", "ssh", "redis", "pgbench", "half_close", "short", "long_idle"):
            began = time.monotonic()
            try:
                sentence, good = getattr(self, name)(), True
            except (Fault, OSError) as fault:
                sentence, good = str(fault) or type(fault).__name__, False
            yield name, f"{sentence} ({time.monotonic() - began:.0f} s)", good


async def request_once(address, failed):
    """One small file over a connection of its own, byte-checked."""
    request = f"GET /{backends.SMALL} HTTP/1.0\r\n\r\n".encode()
    stage = "connecting"
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, 80), 60)
        stage = "waiting for the answer"
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 60)
        finally:
            writer.close()
        if not answer.endswith(b"\r\n\r\n" + backends.SMALL_TEXT.encode()):
            failed["another answer"] = failed.get("another answer", 0) + 1
    except (OSError, asyncio.TimeoutError) as error:
        name = f"{getattr(error, 'strerror', None) or type(error).__name__} {stage}"
        failed[name] = failed.get(name, 0) + 1


async def request_all(address, count, at_once):
    failed, left = {}, iter(range(count))

    async def one_after_another():
        for _ in left:
            await request_once(address, failed)
    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return failed


if __name__ == "__main__":
    print(json.dumps(asyncio.run(request_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
