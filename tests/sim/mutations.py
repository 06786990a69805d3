#!/usr/bin/env python3
"""Puts known bugs back, one at a time, and shows that the simulator finds each.

Each mutation is one replacement in one file of a temporary copy of this tree. A replacement whose text does not occur
exactly once is an error: then the code has changed and the mutation must follow it.

    tests/sim/mutations.py [--seeds N] [--build DIRECTORY] [--list | --check] [NAME...]

--check only names those whose text has gone; the test suite does that. With --build the copy begins with what is built
there, and each mutation compiles only what it changes.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Mutation:
    name: str
    why: str  # what the bug does
    file: str
    old: str
    new: str
    arguments: tuple = ()  # of the simulator, besides the seeds


MAJORITY = ("--arbiter", "members", "--nodes", "3")

MUTATIONS = [
    Mutation(
        "acknowledge_before_commit",
        "acknowledges what the standby may not have",
        "dataplane/tcp/emission.cc",
        "if (flags & wire::kAck) segment.ack = c.rcv.committed;",
        "if (flags & wire::kAck) segment.ack = (c.rcv.committed = c.rcv.nxt);",
    ),
    Mutation(
        "advertise_before_commit",
        "advertises a right edge that the standby may not know",
        "dataplane/tcp/emission.cc",
        "std::max(0, c.rcv.committed_edge - c.rcv.committed));",
        "std::max(0, c.rcv.edge - c.rcv.committed));",
    ),
    Mutation(
        "answer_syn_before_commit",
        "answers a SYN that the standby may not have",
        "dataplane/tcp/output.cc",
        "if (is_answer && !after(c.rcv.committed, c.rcv.irs)) return;",
        "if (is_answer) c.rcv.committed = c.rcv.nxt;",
    ),
    Mutation(
        "forget_bind",
        "a backend leg is counted as mirrored, and its BIND is not written",
        "dataplane/mirror/replica.cc",
        "return load(record, r) && apply_open(r, r.header.kind == static_cast<uint8_t>(RecordKind::bind), now);",
        "return load(record, r) && (r.header.kind == static_cast<uint8_t>(RecordKind::bind) || apply_open(r, false, now));",
    ),
    Mutation(
        "shrink_a_window",
        "a successor takes back what its predecessor offered",
        "dataplane/mirror/replica.cc",
        "  c.rcv.edge =",
        "  if (false) c.rcv.edge =",
    ),
    Mutation(
        "keep_speaking_after_a_stall",
        "a node that was away does not silence itself",
        "dataplane/worker/worker.cc",
        "const bool silenced = absence > settings_.dead_after - settings_.interval;",
        "const bool silenced = absence > 1000 * settings_.dead_after;",
    ),
    Mutation(
        "trust_stale_legs",
        "a standby that was away resumes what it held",
        "dataplane/mirror/replica.cc",
        "if (state_ == State::none || state_ == State::stale) return;",
        "return;",
    ),
    Mutation(
        "drop_a_close",
        "the standby keeps legs that have ended",
        "dataplane/mirror/owner_log.cc",
        "  want_close(leg.index);\n  write_closes(now);",
        "  if (leg.index == UINT32_MAX) want_close(leg.index);\n  write_closes(now);",
    ),
    Mutation(
        "timestamps_from_zero",
        "a successor's clock does not follow its predecessor's",
        "dataplane/worker/commands.cc",
        "engine_.group(index).clock.advance_to(command.clock_us, now);",
        "engine_.group(index).clock.advance_to(0, now);",
    ),
    Mutation(
        "reset_at_once",
        "unknown connections are reset right after a takeover",
        "dataplane/tcp/input.cc",
        "} else if (arrival.now < reset_hold_until(group) && !resets_.contains(key)) {",
        "} else if (arrival.now < Instant::min()) {",
        MAJORITY,
    ),
    Mutation(
        "believe_nothing",
        "what the former owner sent before its record was committed is not accounted for",
        "dataplane/tcp/ack.cc",
        "if (!c.adopted || c.tx == kNone) return false;",
        "if (!c.adopted || c.tx != kNone) return false;",
    ),
    Mutation(
        "forget_the_fin",
        "the standby does not learn that a peer has closed",
        "dataplane/mirror/replica.cc",
        "if (fin && !c.fin_received) {",
        "if (fin && !c.fin_received && c.active_open) {",
    ),
    Mutation(
        "answers_leave_ungated",
        "an application's answers leave before their input is committed",
        "dataplane/tcp/pipe.h",
        "uint64_t send_end() const { return tail < sendable ? tail : sendable; }",
        "uint64_t send_end() const { return tail; }",
    ),
    Mutation(
        "synced_too_soon",
        "a snapshot is called complete when its begin is confirmed",
        "dataplane/mirror/snapshot.cc",
        "  uint32_t slots_most = kSlotsPerRound;",
        "  uint32_t slots_most = kSlotsPerRound;\n  snapshot_next_ = legs.capacity();",
    ),
    Mutation(
        "confirm_before_applying",
        "the standby confirms a record and keeps zeros for its payload",
        "dataplane/mirror/replica.cc",
        "if (!engine_.pipes().append_bytes(rx, payload.first(s.payload_length.get()))) {",
        "if (!engine_.pipes().append_bytes(rx, std::vector<uint8_t>(s.payload_length.get()))) {",
    ),
    Mutation(
        "skip_the_lease",
        "an owner speaks on when no majority has echoed its heartbeats",
        "control/cluster/members_candidate.cc",
        "return owned && owned->epoch == epoch ? owned->lease.until() : Instant::min();",
        "return owned && owned->epoch == epoch ? kNever : Instant::min();",
        MAJORITY,
    ),
    Mutation(
        "skip_the_embargo",
        "a member grants while the lease of another owner may not be over",
        "control/cluster/votes.cc",
        "if (waits_for_another) return VoteReason::lease_is_live;",
        "if (waits_for_another) return VoteReason::granted;",
        MAJORITY,
    ),
    Mutation(
        "forget_promises",
        "a member that restarts votes as if it had never promised anything",
        "control/cluster/members_arbiter.cc",
        "memory.state == KeptMemory::State::readable ? decode_promises(memory.bytes) : std::nullopt;",
        "memory.state == KeptMemory::State::readable ? std::optional(Promises()) : std::nullopt;",
        MAJORITY,
    ),
]


def obstacle(tree, mutation):
    """Why it cannot be put back, as a sentence."""
    count = (tree / mutation.file).read_text().count(mutation.old)
    return None if count == 1 else f"mutation {mutation.name} no longer applies: its text occurs {count} times in {mutation.file}"


def apply(copy, mutation):
    path = copy / mutation.file
    text = path.read_text()
    if why := obstacle(copy, mutation):
        sys.exit(why)
    path.write_text(text.replace(mutation.old, mutation.new))
    return text


def run(command, **kwargs):
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, **kwargs)


def build(directory):
    result = run(["ninja", "-j1", "-C", directory, "tests/understudy-sim"])
    return None if result.returncode == 0 else result.stdout[-2000:]


def try_mutation(copy, directory, mutation, seeds):
    original = apply(copy, mutation)
    try:
        complaint = build(directory)
        if complaint is not None:
            sys.exit(f"mutation {mutation.name} does not compile:\n{complaint}")
        arguments = [*mutation.arguments, "--seeds", f"1..{seeds}"]
        result = run([directory / "tests/understudy-sim", "--first-violation", *arguments])
    finally:
        (copy / mutation.file).write_text(original)
    runs = re.search(r"^runs\s+(\d+)", result.stdout, re.MULTILINE)
    how = re.search(r"^VIOLATION (.*)\n\s+(.*)", result.stdout, re.MULTILINE)
    if result.returncode == 0:
        print(f"{mutation.name:32} NOT FOUND in {runs.group(1) if runs else '?'} runs", flush=True)
        return False
    said = f"{how.group(1)}: {how.group(2)}" if how else f"the simulator ended with {result.returncode}: {result.stderr[-200:]}"
    print(f"{mutation.name:32} found after {runs.group(1) if runs else '?'} runs ({said[:150]})", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10000)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if given.list:
        for mutation in MUTATIONS:
            print(f"{mutation.name:32} {mutation.why}")
        return 0
    if given.check:
        sentences = [why for mutation in MUTATIONS if (why := obstacle(TREE, mutation))]
        print("\n".join(sentences) or f"{len(MUTATIONS)} mutations apply")
        return 1 if sentences else 0
    unknown = set(given.names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        sys.exit(f"no such mutation: {', '.join(sorted(unknown))}")
    chosen = [m for m in MUTATIONS if not given.names or m.name in given.names]
    with tempfile.TemporaryDirectory(prefix="understudy-mutations-") as temporary:
        copy = pathlib.Path(temporary) / "tree"
        shutil.copytree(TREE, copy, ignore=shutil.ignore_patterns("build*", ".git"))
        directory = copy / "build"
        if given.build:
            shutil.copytree(given.build, directory, symlinks=True)
        else:
            # What ccache holds of this tree serves the copy too.
            os.environ.update(CCACHE_BASEDIR=str(copy), CCACHE_NOHASHDIR="1")
            setup = run(["meson", "setup", directory, copy])
            if setup.returncode != 0:
                sys.exit(setup.stdout[-2000:])
        found = sum(try_mutation(copy, directory, m, given.seeds) for m in chosen)
    print(f"{found} of {len(chosen)} mutations found")
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
