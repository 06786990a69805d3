"""What tools/demo shows once everything is built."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lablib import backends, chart, configuration, nodes, system, trial, watch  # noqa: E402
from lablib.system import LabError, RUN  # noqa: E402

OUTPUT = system.ROOT / "demo-output"
KILL_AT = 0.4  # of the faster transfer
LIMIT_SECONDS = 90
LOG_LINES = 30  # of each survivor in the timeline


class Story:
    """Tells what happens, with the time since the transfers began, on the screen and in story.txt."""

    def __init__(self):
        self.began = None
        self.takeover = None
        self.file = open(OUTPUT / "story.txt", "w", encoding="utf-8")

    def tell(self, words, moment=None):
        seconds = "" if self.began is None else f"{(moment or time.monotonic()) - self.began:8.3f} s  "
        print(seconds + words, flush=True)
        print(seconds + words, file=self.file, flush=True)


class LogFollower(threading.Thread):
    """Lines that a node writes to its log from now on, each with the moment at which it was there."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name_of_node = name
        self.lines = []
        self.over = threading.Event()
        self.log = open(nodes.log_file(name), "rb")
        self.log.seek(0, os.SEEK_END)

    def run(self):
        rest = b""
        while not self.over.wait(0.001):
            part = self.log.read()
            if part:
                *whole, rest = (rest + part).split(b"\n")
                self.lines += [(time.monotonic(), f"{self.name_of_node}: {line.decode(errors='replace')}")
                               for line in whole]

    def stop(self):
        self.over.set()
        self.join()
        self.log.close()
        return self.lines


def curl(*words):
    return subprocess.Popen(["ip", "netns", "exec", system.namespace("client"), "curl", "--silent", "--show-error",
                             "--fail", "--max-time", str(LIMIT_SECONDS), *map(str, words)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(name, process, story):
    """True when curl was content."""
    _, errors = process.communicate(timeout=LIMIT_SECONDS + 10)
    if process.returncode != 0:
        story.tell(f"the {name} FAILED: curl ended with {process.returncode}: {errors.strip()}")
    return process.returncode == 0


def run_transfers(story, address):
    """Both transfers with the kill between; returns what was seen."""
    resets_before = watch.reset_connections("client")
    downloaded = RUN / "downloaded.bin"
    witness = watch.Watch("client", address)
    witness.start()
    story.began = time.monotonic()
    transfers = {"download": curl("-o", downloaded, f"http://{address}/{backends.BIG}"),
                 "upload": curl("-T", backends.CACHE / backends.BIG, f"http://{address}/upload/demo.bin")}
    story.tell(f"curl downloads {backends.BIG_BYTES // 1_000_000} MB and curl uploads as much, both through {address}")
    victim = trial.owner_now()
    followers = [LogFollower(name) for name in nodes.names() if name != victim]
    for follower in followers:
        follower.start()
    while max(witness.now()) < KILL_AT * backends.BIG_BYTES and \
            all(process.poll() is None for process in transfers.values()):
        time.sleep(0.001)
    both_run = all(process.poll() is None for process in transfers.values())
    uploaded, received = witness.now()
    killed_at = nodes.kill(victim)
    story.tell(f"SIGKILL to {victim}, the owner: {received / backends.BIG_BYTES:.0%} downloaded, "
               f"{uploaded / backends.BIG_BYTES:.0%} uploaded", killed_at)
    taken = system.wait_until(nodes.owner, 10, 0.005)
    taken_at = time.monotonic()
    good = all([finish(name, process, story) for name, process in transfers.items()]) and both_run
    if not both_run:
        story.tell("FAILED: a transfer was over before the kill")
    curves = witness.stop()
    events = [(killed_at, f"SIGKILL to {victim}")]
    events.append((taken_at, f"{taken} answers on its console that it owns the group" if taken else "NO node took over"))
    story.takeover = taken and nodes.cluster_view(taken)[configuration.group_names()[0]]["last_takeover"]
    for follower in followers:
        events += follower.stop()[:LOG_LINES]
    for direction, curve in curves.items():
        _, first, last = watch.longest_pause(curve, killed_at)
        if first is not None:
            events += [(first, f"the {direction} pauses"), (last, f"the {direction} goes on"),
                       (curve[-1][0], f"the {direction} ends")]
    return {"good": good, "curves": curves, "killed_at": killed_at, "victim": victim, "events": sorted(events),
            "resets": watch.reset_connections("client") - resets_before, "downloaded": downloaded}


def tell_takeover(story, seen):
    story.tell("timeline of the takeover, from the kill, with what the survivor wrote in its log:")
    for moment, words in seen["events"]:
        story.tell(f"{(moment - seen['killed_at']) * 1000:+9.1f} ms  {words}")
    if story.takeover:
        parts = [f"{part} {story.takeover[part + '_us'] / 1000:.1f} ms" for part in ("detection", "decision", "claim")
                 if story.takeover.get(part + "_us") is not None]
        story.tell(f"as the new owner measured it: {', '.join(parts)}; because: {story.takeover.get('why')}")


def judge(story, seen):
    """Checksums and resets; True when all is as promised."""
    expected = backends.big_sha256()
    stored = backends.stored_uploads("demo.bin")
    sums = {"file on the backends": expected,
            "downloaded": backends.sha256_of(seen["downloaded"]) if seen["downloaded"].exists() else "nothing",
            "uploaded": backends.sha256_of(stored[0]) if len(stored) == 1 else f"stored {len(stored)} times"}
    for name, value in sums.items():
        story.tell(f"SHA-256 {name:21} {value}")
    story.tell(f"connections reset, as the client's kernel counts them: {seen['resets']}")
    good = seen["good"] and len(set(sums.values())) == 1 and seen["resets"] == 0
    story.tell("both transfers are byte-identical and no connection was reset" if good else
               "FAILED: a transfer was damaged or a connection reset")
    return good


def draw(story, seen, good):
    curves = {direction: curve for direction, curve in seen["curves"].items() if len(curve) > 1}
    if not curves:
        return
    pauses = {direction: watch.longest_pause(curve, seen["killed_at"]) for direction, curve in curves.items()}
    for direction, (length, _, _) in pauses.items():
        story.tell(f"longest pause of the {direction} after the kill: {length * 1000:.0f} ms")
    picture = OUTPUT / "throughput.svg"
    chart.draw(picture, curves, pauses, seen["killed_at"],
               "A download and an upload survive their load balancer" if good else "A takeover that FAILED",
               f"{seen['victim']}, the owner, gets SIGKILL during both transfers")
    story.tell(f"throughput over time: {picture.relative_to(system.ROOT)}")


def main():
    system.become_root()
    OUTPUT.mkdir(exist_ok=True)
    story = Story()
    try:
        story.tell("raising two nodes, a client, a router and two nginx backends on this machine")
        story.tell(trial.lab("up"))
        trial.wait_synced()
        seen = run_transfers(story, configuration.virtual_ips()[0])
        story.began = None  # what follows looks back
        tell_takeover(story, seen)
        good = judge(story, seen)
        draw(story, seen, good)
        return 0 if good else 1
    finally:
        trial.take_down()
        print("everything is taken down again")
        if "SUDO_UID" in os.environ:
            for path in (OUTPUT, *OUTPUT.iterdir()):
                os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell in the background ignores it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        sys.exit(main())
    except LabError as problem:
        print(f"tools/demo: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
