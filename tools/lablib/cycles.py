"""Failures of the owner, one after the other, while mixed traffic runs: after each the cluster heals, and nothing was lost."""

import random
import time

from . import configuration, faults, nodes, system, topology, trial
from .system import LabError

PAUSE_SECONDS = 1.0  # SIGSTOP
CUT_SECONDS = 1.0
PROTECTED_SECONDS = 20
BREATH_SECONDS = 0.3  # between healing and the next failure


def kill(owner):
    nodes.kill(owner)
    system.wait_until(lambda: nodes.owner() not in (None, owner), 5, 0.02)
    nodes.start(owner)


def pause(owner):
    nodes.send(owner, nodes.signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    nodes.send(owner, nodes.signal.SIGCONT)


def cut_peer(owner):
    """The mirror's link: the service goes on unprotected, and is protected again."""
    faults.cut("peer", owner)
    time.sleep(CUT_SECONDS)
    faults.heal("peer", owner)


def cut_all(owner):
    """The owner is alone: the other one takes over, and the first falls silent when it hears of it."""
    faults.cut_all(topology.NETWORKS, owner)
    time.sleep(CUT_SECONDS)
    faults.heal_all(topology.NETWORKS, owner)


def restart(owner):
    """SIGTERM: a planned hand-over, and a new life as the standby."""
    nodes.stop(owner)
    nodes.start(owner)


KINDS = {"kill": kill, "pause": pause, "cut peer": cut_peer, "cut all": cut_all, "restart": restart}


def is_protected():
    """One owner with a synced standby, and no connection that only one of them holds."""
    if not nodes.all_synced():
        return False
    group = configuration.group_names()[0]
    return all(view[group]["unprotected"] == 0 for view in nodes.views().values() if view and view[group]["owner"])


def run(traffic, count, seed, tell):
    """`count` failures in random order. Returns (kind -> how often, kind -> how often the traffic broke, sentences)."""
    chance = random.Random(seed)
    done, broken, sentences = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0), []
    for number in range(1, count + 1):
        kind = chance.choice(list(KINDS))
        if not system.wait_until(is_protected, PROTECTED_SECONDS, 0.05):
            sentences.append(f"before cycle {number}: not protected within {PROTECTED_SECONDS} s")
            raise LabError(f"{sentences[-1]}: {nodes.views()}\n{nodes.report()}")
        time.sleep(BREATH_SECONDS * (0.5 + chance.random()))
        before = len(traffic.faults())
        owner = trial.owner_now()
        began = time.monotonic()
        KINDS[kind](owner)
        if not system.wait_until(nodes.all_synced, PROTECTED_SECONDS, 0.05):
            raise LabError(f"cycle {number} ({kind} {owner}): not synced again within {PROTECTED_SECONDS} s\n{nodes.report()}")
        traffic.check_idle()
        done[kind] += 1
        new = traffic.faults()[before:]
        broken[kind] += bool(new)
        sentences += [f"cycle {number}, {kind} {owner}: {sentence}" for sentence in new]
        tell(f"{number}: {kind} {owner}, protected again after {time.monotonic() - began:.1f} s; {'; '.join(new) or 'whole'}")
        if new:
            raise LabError("the traffic is broken; a new lab is needed")
    return done, broken, sentences
