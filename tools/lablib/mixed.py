"""Mixed traffic through the virtual IP for as long as a proof lasts, each byte of it checked: downloads and uploads at a
limited rate, echo connections, an ssh session, and a redis whose every answer is known beforehand."""

import itertools
import os
import random
import shutil
import socket
import subprocess
import threading
import time

from . import backends, configuration, nodes, system, trial
from .echo_client import EchoStream, WrongAnswer
from .system import LabError, RUN

IDLE_ECHOES = 10
TRANSFER_RATE = 25  # MB/s, of a download and of an upload: one takes 8 s
REDIS_PORT = 19001  # of the range that leads to b1
REDIS_VALUE_MAX = 20_000
PAUSE_SECONDS = 0.005  # between questions
ANSWER_SECONDS = 10
SSH_LINE = 200


class Redis:
    """One connection that counts with INCR and stores values; what must come back follows from what was sent."""

    def __init__(self, host):
        self.connection = system.tcp_connect("client", host, REDIS_PORT, ANSWER_SECONDS)
        self.connection.settimeout(ANSWER_SECONDS)
        self.file = self.connection.makefile("rb")
        self.random = random.Random(os.getpid())
        self.count = 0
        self.values = {}

    def ask(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise WrongAnswer("redis closed the connection")
        if line[:1] != b"$":
            return line[:1] + line[1:-2]
        return self.file.read(int(line[1:]) + 2)[:-2]

    def round(self):
        self.count += 1
        if (said := self.ask("INCR", "count")) != b":%d" % self.count:
            raise WrongAnswer(f"redis counted {said} at {self.count}")
        key = f"value{self.random.randrange(50)}"
        if key in self.values and self.ask("GET", key) != self.values[key]:
            raise WrongAnswer(f"redis has another {key} than was stored")
        self.values[key] = self.random.randbytes(self.random.randrange(1, REDIS_VALUE_MAX))
        if self.ask("SET", key, self.values[key]) != b"+OK":
            raise WrongAnswer(f"redis did not store {key}")


class Ssh:
    """One session with `cat` at its other end."""

    def __init__(self, host):
        command = ["ip", "netns", "exec", system.namespace("client"), "ssh", "-i", RUN / "ssh_key", "-o", "StrictHostKeyChecking=no",
                   "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", f"root@{host}", "cat"]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.random = random.Random(7)
        self.lines = 0

    def round(self):
        line = (f"{self.lines} ".encode() + self.random.randbytes(SSH_LINE).hex().encode() + b"\n")
        self.process.stdin.write(line)
        self.process.stdin.flush()
        heard = self.process.stdout.readline()
        if heard != line:
            raise WrongAnswer(f"the ssh session said {heard[:80]!r} at line {self.lines}")
        self.lines += 1


def start_servers():
    """redis-server and sshd on b1; sentences about those that this machine has not got."""
    missing = []
    if shutil.which("redis-server"):
        system.start_process(["redis-server", "--port", REDIS_PORT, "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",
                              "--dir", RUN], RUN / "redis.log", "b1")
    else:
        missing.append("redis: redis-server is not installed")
    if shutil.which("sshd") or os.path.exists("/usr/sbin/sshd"):
        for name in ("ssh_key", "ssh_host_key"):
            system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", RUN / name)
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        (RUN / "sshd_config").write_text(
            f"Port 22\nHostKey {RUN}/ssh_host_key\nAuthorizedKeysFile {RUN}/ssh_key.pub\nPermitRootLogin yes\nStrictModes no\n"
            f"UsePAM no\nPasswordAuthentication no\nPidFile none\n")
        system.start_process(["/usr/sbin/sshd", "-D", "-e", "-f", RUN / "sshd_config"], RUN / "sshd.log", "b1")
    else:
        missing.append("ssh: sshd is not installed")
    for port, name in ((REDIS_PORT, "redis"), (22, "ssh")):
        if not any(one.startswith(name) for one in missing) and not system.wait_until(lambda p=port: listens(p), 5):
            raise LabError(f"{name} does not start:\n{system.tail(RUN / f'{name}.log')}\n{system.tail(RUN / 'sshd.log')}")
    return missing


def listens(port):
    try:
        system.tcp_connect("b1", "127.0.0.1", port, 1).close()
        return True
    except OSError:
        return False


class Traffic:
    """Begins with the constructor; faults() at any time; stop() ends it and returns the counts."""

    def __init__(self, address=None):
        self.address = address or configuration.virtual_ips()[0]
        self.missing = start_servers()
        self.stopping = threading.Event()
        self.found = []
        self.counts = {"downloads": 0, "uploads": 0, "bytes": 0, "echo exchanges": 0, "redis rounds": 0, "ssh lines": 0}
        self.longest = 0.0  # of any exchange with echo, redis or ssh
        self.idle = [EchoStream(self.address, place="client", seed=f"idle{number}") for number in range(IDLE_ECHOES)]
        for stream in self.idle:
            stream.exchange(100)
        talkers = [("echo exchanges", "echo", self.echo_rounds())]
        if not any(one.startswith("redis") for one in self.missing):
            talkers.append(("redis rounds", "redis", Redis(self.address).round))
        if not any(one.startswith("ssh") for one in self.missing):
            self.ssh = Ssh(self.address)
            talkers.append(("ssh lines", "ssh", self.ssh.round))
        self.threads = [threading.Thread(target=self.talk, args=talker, daemon=True) for talker in talkers]
        self.threads += [threading.Thread(target=self.transfer, args=(direction,), daemon=True)
                         for direction in ("download", "upload")]
        for thread in self.threads:
            thread.start()

    def echo_rounds(self):
        stream = EchoStream(self.address, place="client", seed="busy", seconds=ANSWER_SECONDS)
        sizes = random.Random(3)
        return lambda: stream.exchange(sizes.choice((1, 100, 3000, 40_000)), ANSWER_SECONDS)

    def talk(self, what, who, one_round):
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                one_round()
                self.longest = max(self.longest, time.monotonic() - began)
                self.counts[what] += 1
                time.sleep(PAUSE_SECONDS)
        except (WrongAnswer, OSError, ValueError) as error:
            self.found.append(f"{who}: {error}")

    def transfer(self, direction):
        for number in itertools.count():
            if self.stopping.is_set():
                return
            name = f"mixed-{os.getpid()}-{direction}-{number}"
            try:
                result = trial.Transfer("client", direction, name, self.address, 80, TRANSFER_RATE).result()
            except (LabError, OSError, subprocess.TimeoutExpired) as error:
                self.found.append(f"{direction}: {error}")
                return
            stored = backends.stored_uploads(name)
            self.judge(direction, result, stored)
            for path in stored:
                path.unlink()

    def judge(self, direction, result, stored):
        if result["reset"] or not result["complete"]:
            self.found.append(f"{direction}: {'reset' if result['reset'] else 'broke off'} after {result['bytes']} bytes: {result['error']}")
        elif result["sha256"] != backends.big_sha256() or (direction == "upload" and (
                len(stored) != 1 or backends.sha256_of(stored[0]) != backends.big_sha256())):
            self.found.append(f"{direction}: other bytes than the file's")
        else:
            self.counts[f"{direction}s"] += 1
            self.counts["bytes"] += result["bytes"]

    def check_idle(self):
        """Each connection that has said nothing since the last time answers from the right byte."""
        for number, stream in enumerate(self.idle):
            try:
                stream.exchange(500, ANSWER_SECONDS)
            except (WrongAnswer, OSError) as error:
                self.found.append(f"idle echo {number}: {error}")
                self.idle[number] = EchoStream(self.address, place="client", seed=f"again{number}-{time.monotonic_ns()}")

    def faults(self):
        return list(self.found)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        return {**self.counts, "longest_exchange_ms": round(self.longest * 1000)}
