"""What the smoke tests share: options, a lab that is taken down whatever happens, and honest exit codes.

Exit 0: good; 77: skipped, with why as the last line; 1: failed, with why as the last line."""

import argparse
import contextlib
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from lablib import configuration, nodes, system, topology, trial  # noqa: E402,F401

GAP_LIMIT_MS = 500  # with a heartbeat of 20 ms and 5 misses


class Failure(Exception):
    """What was not as promised, as a sentence."""


class Skip(Exception):
    """Why this machine cannot run the test."""


def check(condition, sentence):
    if not condition:
        raise Failure(sentence)


@contextlib.contextmanager
def lab(options, *arguments):
    """`tools/lab up` with these arguments; the nodes' logs are kept and everything is taken down at the end."""
    try:
        print(trial.lab("up", *arguments), flush=True)
        yield
    finally:
        trial.keep_logs(options.keep_logs)
        trial.take_down()


def check_outcome(outcome, gap_limit_ms=GAP_LIMIT_MS):
    """Both transfers whole, no reset, and no longer pause than allowed."""
    print(outcome.sentence(), flush=True)
    print(f"longest stalls: {outcome.stalls}", flush=True)
    check(not outcome.faults, "; ".join(outcome.faults) + f"; longest stalls: {outcome.stalls}")
    check(outcome.resets == 0, f"{outcome.resets} connections were reset")
    if gap_limit_ms is not None:
        check(outcome.gap_ms < gap_limit_ms, f"a transfer stood still for {outcome.gap_ms:.0f} ms, allowed are "
              f"{gap_limit_ms}; longest stalls of the nodes: {outcome.stalls}")


def kills_during_transfers(options, *arguments, place="client", loss=0, gap_limit_ms=GAP_LIMIT_MS):
    """The main proof under given conditions, as often as asked for; the killed node returns between the runs."""
    gaps, hit_both = [], 0
    with lab(options, *arguments):
        for network in topology.NETWORKS if loss else ():
            trial.lab("loss", network, loss)
        for number in range(options.runs):
            outcome = trial.transfers_with_kill(place)
            check_outcome(outcome, gap_limit_ms)
            gaps.append(outcome.gap_ms)
            hit_both += outcome.hit_both
            if number + 1 < options.runs:
                trial.bring_back(outcome.victim)
    gaps.sort()
    return (f"{len(gaps)} of {len(gaps)} kills survived, {hit_both} of them with both transfers under way; longest gap "
            f"median {gaps[len(gaps) // 2]:.0f} ms, most {gaps[-1]:.0f} ms")


def main(test):
    """Runs `test(options)`, which returns a closing sentence, and ends the process with its verdict."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how often the main step is repeated")
    parser.add_argument("--keep-logs", metavar="DIRECTORY", help="where the nodes' logs are copied to")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the lab is taken down
    try:
        system.become_root()
        if not system.binary().exists():
            raise Skip("build/control/appliance/understudy is not built")
        print(test(options))
        code = 0
    except Skip as reason:
        print(reason)
        code = 77
    except (Failure, system.LabError) as problem:
        first, _, details = str(problem).partition("\n")
        print(details + "\n" + first if details else first)  # the verdict is the last line
        code = 1
    sys.stdout.flush()
    os._exit(code)  # threads of a failed test must not hold the verdict back
