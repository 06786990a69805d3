"""What can happen to a cluster of two nodes (under `etcd` only), three or five, each as a fault that can be run alone while a
download and an upload are under way: what is done, whether the group is to change its owner, and what has to hold
afterwards. Then the switch's tables must have moved with the owner and never back, and all nodes tell the same story in the
same words."""

import dataclasses
import re
import time
import typing

from . import configuration, etcd, faults, nodes, replay, switch, system, topology, trial, words
from .system import LabError

AWAY_SECONDS = 1.5
ARP_LOST_SECONDS = 0.15
SLOWNESS_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 5)
HEALED_SECONDS = 30
RECORDED_SECONDS = 0.5
REPLAYED_SECONDS = 2
APART_SECONDS = 1
SPLIT_SECONDS = 4  # longer than a node without copies waits before it asks for the group, too
GIVES_AGAIN_SECONDS = 10  # kYieldAgainAfter of control/cluster/controller_reach.cc
FIRST_TIMEOUT_MS = 400  # of a peer whose segments nobody acknowledges: a tail-loss probe, and then its RTO
ETCD_AWAY_SECONDS = 1
ETCD_FIRST_SECONDS = 0.3
DETECTED_SECONDS = 0.1  # a node that was killed is missed by then, and its successor asks
REFUSED_SHARE_LEAST = 0.9
TOO_BUSY_MS = 60  # an owner loses its lease, or is suspected, when a majority is away for not much longer


@dataclasses.dataclass
class Scene:
    """Who is who when the fault begins."""
    owner: str
    standby: str  # synced
    others: list  # without copies
    sizes: dict  # of the logs
    wrong: list = dataclasses.field(default_factory=list)  # sentences of the fault's own checks
    notes: list = dataclasses.field(default_factory=list)
    lost: typing.Optional[float] = None  # when the owner was killed, stopped or cut off

    @property
    def third(self):
        return self.others[0]


@dataclasses.dataclass
class Fault:
    what: str
    act: typing.Callable  # of a scene; heals what it has cut
    moves: typing.Optional[bool]  # the group has another owner afterwards; None: it may
    once: bool = True  # by a single change of owner, or without any
    nodes: int = 2  # that it needs
    gives: bool = False  # the owner gives the group away by itself, which it does once in a while only
    arbiters: tuple = ("members", "etcd")

    def cluster(self, arbiter, wished):
        """How many nodes the lab has for it."""
        return max(self.nodes, 3 if arbiter == "members" else wished)


def group():
    return configuration.group_names()[0]


def state(name):
    return nodes.states(group()).get(name, "")


def wait_for(name, wanted, seconds=15):
    if not system.wait_until(lambda: state(name).startswith(wanted), seconds, 0.005):
        raise LabError(f"{name} is {state(name) or 'silent'} and not {wanted} after {seconds} s")


def cast():
    """The scene when all nodes follow, and the group is protected. (A former standby may be stale or empty, or may
    still say that it is synced.)"""
    def seen():
        found = nodes.states(group())
        owners = [name for name, says in found.items() if says == "owner(protected)"]
        others = [name for name, says in found.items() if says.startswith("standby(")]
        if len(owners) != 1 or len(others) != len(nodes.names()) - 1:
            return None
        standby = nodes.standby_of(owners[0], group())
        return Scene(owners[0], standby, [name for name in others if name != standby], nodes.log_sizes()) \
            if found.get(standby) == "standby(synced)" else None
    if not (scene := system.wait_until(seen, HEALED_SECONDS, 0.02)):
        raise LabError(f"not an owner, its synced standby and others: {nodes.states(group())}\n{nodes.report()}")
    return scene


def all_networks():
    """Etcd's too, where there is one."""
    return (*topology.NETWORKS, etcd.NETWORK) if etcd.exists() else topology.NETWORKS


def away(begin, end, seconds=AWAY_SECONDS):
    begin()
    time.sleep(seconds)
    end()


def cut(networks, name, direction=None, seconds=AWAY_SECONDS):
    away(lambda: faults.cut_all(networks, name, direction), lambda: faults.heal_all(networks, name, direction), seconds)


def stop(name, seconds):
    away(lambda: nodes.send(name, nodes.signal.SIGSTOP), lambda: nodes.send(name, nodes.signal.SIGCONT), seconds)


def kill_owner(scene):
    scene.lost = nodes.kill(scene.owner)


def cut_owner(networks, direction=None):
    """A fault's act. `networks`: a function, for it depends on the lab that stands."""
    def act(scene):
        scene.lost = time.monotonic()
        cut(networks(), scene.owner, direction)
    return act


def restart(name):
    found = nodes.processes(name)
    nodes.kill(name)
    if not system.wait_until(lambda: not any(system.is_running(process) for process in found), 5, 0.005):
        raise LabError(f"{name} has not ended 5 s after SIGKILL")  # a busy machine takes its time
    nodes.start(name)


def wake(scene, how):
    """What the owner of before says for the group when it is back: a burst at most, of which nothing does harm."""
    ear = switch.Ear(scene.owner)
    how()
    wait_for(scene.owner, "standby(", HEALED_SECONDS)
    said = ear.end()
    scene.notes.append(f"back again {scene.owner} said {said.sentence()}")
    if not said.is_a_burst:
        scene.wrong.append(f"{scene.owner} said {said.sentence()} in the group's name when it was back")


def pause(scene):
    scene.lost = nodes.send(scene.owner, nodes.signal.SIGSTOP)
    time.sleep(AWAY_SECONDS)
    wake(scene, lambda: nodes.send(scene.owner, nodes.signal.SIGCONT))


def pull_cables(scene):
    scene.lost = time.monotonic()
    cables = [network for network in (etcd.NETWORK, *topology.NETWORKS) if network in all_networks()]
    for network in cables:  # the mirror's last, or the standby is given up before the owner is away
        faults.unplug(network, scene.owner)
    time.sleep(AWAY_SECONDS)

    def plug():
        for network in cables:
            faults.plug(network, scene.owner)
    wake(scene, plug)


def member_restarts(scene):
    restart(scene.third)
    wait_for(scene.third, "standby(")
    trial.wait_synced()
    kill_owner(scene)


def standby_cut_then_kill(scene):
    faults.cut("peer", scene.standby)
    wait_for(scene.third, "standby(synced)")
    wait_for(scene.owner, "owner(protected)")
    kill_owner(scene)
    wait_for(scene.third, "owner(")  # and not the one that is out of date
    faults.heal("peer", scene.standby)


def bad_peer_link(_):
    faults.impair("peer", ["--reorder", "10", "--duplicate", "10", "--corrupt", "2", "--seed", "1"])
    away(lambda: faults.loss("peer", 30), lambda: faults.loss("peer", 0), 3)
    faults.end_impairment("peer")


def slow_peer_link(_):
    faults.impair("peer", ["--rate", "40"])
    time.sleep(3)
    faults.end_impairment("peer")


def no_majority_before(scene):
    nodes.kill(scene.third)
    time.sleep(0.3)
    trial.wait_synced()
    kill_owner(scene)
    time.sleep(1)
    nodes.start(scene.third)


def no_majority_during(scene):
    kill_owner(scene)
    nodes.kill(scene.third)
    time.sleep(0.5)
    nodes.start(scene.third)


def no_majority_after(scene):
    kill_owner(scene)
    wait_for(scene.standby, "owner(")
    nodes.kill(scene.third)
    time.sleep(0.5)
    nodes.start(scene.third)


def standby_dies_in_resync(scene):
    for _ in range(2):
        restart(scene.standby)
        wait_for(scene.standby, "standby(")


def owner_dies_in_hand_over(scene):
    nodes.ask(scene.owner, f"failover group {group()} to {scene.standby}", 0.02)
    kill_owner(scene)


def etcd_down(_):
    """Killed; what it has synced to its disk is there again."""
    away(lambda: etcd.send(nodes.signal.SIGKILL), etcd.start, ETCD_AWAY_SECONDS)


def etcd_down_before(scene):
    etcd.send(nodes.signal.SIGKILL)
    time.sleep(ETCD_FIRST_SECONDS)
    kill_owner(scene)
    time.sleep(ETCD_AWAY_SECONDS)
    must_have_no_owner(scene)
    etcd.start()
    wait_for(scene.standby, "owner(")


def etcd_down_during(scene):
    kill_owner(scene)
    time.sleep(DETECTED_SECONDS)
    etcd_down(scene)
    wait_for(scene.standby, "owner(")


def etcd_down_after(scene):
    kill_owner(scene)
    wait_for(scene.standby, "owner(")
    etcd_down(scene)
    wait_for(scene.standby, "owner(")


def slow_owner(scene):
    for seconds in SLOWNESS_SECONDS[:4]:
        stop(scene.owner, seconds)
        time.sleep(0.2)


def very_slow_owner(scene):
    for seconds in SLOWNESS_SECONDS[4:]:
        trial.wait_synced(HEALED_SECONDS)
        stop(trial.owner_now(), seconds)


def announcements_lost(scene):
    faults.drop_arp("front", True)
    kill_owner(scene)
    time.sleep(0.1 + ARP_LOST_SECONDS)  # until it is replaced, and then
    faults.drop_arp("front", False)


def note_refusals(scene, stranger):
    said, refused = stranger.end()
    scene.notes.append(f"{said} frames said again, {refused} refused as such")
    if refused < said * REFUSED_SHARE_LEAST:
        scene.wrong.append(f"of {said} frames that were said again {refused} were refused as such")


def frames_said_again(scene):
    """Of all nodes, to those that they were for."""
    stranger = replay.Stranger()
    stranger.record(RECORDED_SECONDS)
    stranger.begin_to_replay([scene.owner, scene.standby, *scene.others])
    time.sleep(REPLAYED_SECONDS)
    note_refusals(scene, stranger)


def dead_owner_said_again(scene):
    """Its heartbeats must neither put a takeover off nor speak for its next life."""
    stranger = replay.Stranger()
    stranger.record(RECORDED_SECONDS)
    stranger.begin_to_replay([scene.owner])
    kill_owner(scene)
    wait_for(scene.standby, "owner(")
    nodes.start(scene.owner)
    wait_for(scene.owner, "standby(")
    time.sleep(REPLAYED_SECONDS)
    note_refusals(scene, stranger)


def halves(scene):
    """Four of five are left, and no half is a majority, for longer than those wait who hold no connections. Whoever asks first
    then: the standby goes on, warm. Etcd, which everybody reaches, lets it at once."""
    faults.part([scene.standby, scene.others[0]], scene.others[1:])
    kill_owner(scene)
    time.sleep(SPLIT_SECONDS)
    must_have_whom_the_arbiter_allows(scene)
    faults.part()
    wait_for(scene.standby, "owner(")


def split_grants(scene):
    """Nobody hears anybody; then the owner of before and its standby ask at once, and five nodes split their grants. Under
    etcd, which everybody reaches, one owns all the time."""
    faults.part(*([name] for name in nodes.names()))
    time.sleep(APART_SECONDS)
    must_have_whom_the_arbiter_allows(scene)
    faults.part()
    if not system.wait_until(nodes.owner, HEALED_SECONDS, 0.005):
        raise LabError(f"nobody owns the group: {nodes.states(group())}")
    refused = sum(nodes.count_in_log(name, f"group {group()}: not granted: ", scene.sizes[name]) for name in nodes.names())
    scene.notes.append(f"{refused} times somebody was told why he was not granted it")


def must_have_no_owner(scene):
    found = nodes.states(group())
    if any(says.startswith("owner(") for says in found.values()):
        scene.wrong.append(f"an owner whom the arbiter cannot have allowed: {found}")


def must_have_whom_the_arbiter_allows(scene):
    """While the nodes are apart: nobody has a majority, and etcd has one owner."""
    if not etcd.exists():
        must_have_no_owner(scene)
    elif len(found := nodes.owners_at_once(group())) != 1:
        scene.wrong.append(f"{' and '.join(found) or 'nobody'} owned the group while the nodes were apart: {nodes.states(group())}")


LAN = ("front", "back")
FAULTS = {
    "kill": Fault("the owner is killed", kill_owner, True),
    "pause": Fault("the owner stands still for 1.5 s", pause, True),
    "carrier": Fault("the owner's cables are pulled for 1.5 s", pull_cables, True),
    "peer_cut": Fault("the owner's peer link is cut for 1.5 s", lambda s: cut(["peer"], s.owner), False),
    "lan_cut": Fault("front and back of the owner are cut for 1.5 s", cut_owner(lambda: LAN), True, nodes=3, gives=True),
    "front_cut": Fault("the owner's front network is cut for 1.5 s", cut_owner(lambda: ["front"]), True, nodes=3, gives=True),
    "back_cut": Fault("the owner's back network is cut for 1.5 s", cut_owner(lambda: ["back"]), True, nodes=3, gives=True),
    "all_cut": Fault("all links of the owner are cut for 1.5 s", cut_owner(all_networks), True),
    "mute": Fault("nothing that the owner sends arrives, for 1.5 s", cut_owner(lambda: topology.NETWORKS, "out"), True),
    "deaf": Fault("the owner hears nothing for 1.5 s", cut_owner(lambda: topology.NETWORKS, "in"), True),
    "deaf_standby": Fault("the standby hears nothing for 1.5 s", lambda s: cut(topology.NETWORKS, s.standby, "in"), False),
    "peer_out_cut": Fault("the owner's peer link carries nothing out", lambda s: cut(["peer"], s.owner, "out"), False),
    "peer_in_cut": Fault("the owner's peer link carries nothing in", lambda s: cut(["peer"], s.owner, "in"), False),
    "member_restart": Fault("a member restarts, then the owner is killed", member_restarts, True, nodes=3),
    "stale_standby": Fault("the standby is cut off the peer link, then the owner is killed", standby_cut_then_kill, True, nodes=3),
    "bad_peer_link": Fault("the peer link loses 30 %, reorders, doubles and damages", bad_peer_link, None, False),
    "replayed": Fault("frames of all nodes are recorded, and said again for 2 s", frames_said_again, False),
    "replayed_owner": Fault("the owner is killed and restarted while a recording of it is played", dead_owner_said_again, True),
    "slow_peer_link": Fault("the peer link is slower than the traffic", slow_peer_link, False),
    "no_majority_before": Fault("a member is down when the owner is killed, and back 1 s later", no_majority_before, True, nodes=3),
    "no_majority_during": Fault("owner and a member are killed at once, the member is back 0.5 s later", no_majority_during, True, nodes=3),
    "no_majority_after": Fault("a member is killed right after the takeover, and back 0.5 s later", no_majority_after, True, False, nodes=3),
    "crash_in_resync": Fault("the standby restarts, and again while it is being synced", standby_dies_in_resync, False),
    "crash_in_hand_over": Fault("the owner is killed while it hands over", owner_dies_in_hand_over, True),
    "slow": Fault("the owner stands still for 10, 30, 100 and 300 ms", slow_owner, None, False),
    "very_slow": Fault("the owner stands still for 1 s, then its successor for 5 s", very_slow_owner, None, False),
    "arp_lost": Fault("the owner is killed, and no ARP passes for 150 ms", announcements_lost, True),
    "halves": Fault("the owner of five is killed, the others are in halves for 4 s", halves, True, nodes=5),
    "split_grants": Fault("five nodes hear nothing of each other for 1 s, then two ask", split_grants, None, nodes=5),
    "all_but_etcd_cut": Fault("the owner is cut off everything but etcd for 1.5 s", cut_owner(lambda: topology.NETWORKS), True, arbiters=("etcd",)),
    "standby_cut": Fault("the standby is cut off everything but etcd for 1.5 s", lambda s: cut(topology.NETWORKS, s.standby), False, arbiters=("etcd",)),
    "etcd_cut": Fault("the owner is cut off etcd for 1.5 s", lambda s: cut([etcd.NETWORK], s.owner), False, arbiters=("etcd",)),
    "etcd_down": Fault("etcd is down for 1 s, and nobody needs it", etcd_down, False, arbiters=("etcd",)),
    "etcd_down_before": Fault("etcd is down when the owner is killed, and back 1 s later", etcd_down_before, True, arbiters=("etcd",)),
    "etcd_down_during": Fault("the owner is killed, and etcd as soon as its standby asks it, for 1 s", etcd_down_during, True, False, arbiters=("etcd",)),
    "etcd_down_after": Fault("etcd is killed right after the takeover, and back 1 s later", etcd_down_after, True, False, arbiters=("etcd",)),
}


def longest_absence_ms(of, began):
    """What workers of these nodes say since then of times when nobody let them run; `began`: the sizes of the logs."""
    found = [0]
    for name in of:
        with open(nodes.log_file(name), "rb") as log:
            log.seek(began[name])
            found += [int(away) for away in re.findall(r"worker \d+: was away for (\d+) ms", log.read().decode(errors="replace"))]
    return max(found)


@dataclasses.dataclass
class Outcome:
    gap_ms: float
    faults: list  # sentences
    was_protected: bool  # when the owner died; otherwise what was lost could not be kept
    change: str
    notes: list
    others_away_ms: int  # those that nothing was done to: how long the machine did not let them run

    def sentence(self):
        excuse = "" if self.was_protected else " (it had just lost its standby: not counted)"
        if self.others_away_ms >= TOO_BUSY_MS:
            excuse += f" (others were away for {self.others_away_ms} ms, so who owns it says nothing)"
        notes = "".join(f", {note}" for note in self.notes)
        return f"{self.change}, longest gap {self.gap_ms:.0f} ms{notes}; {'; '.join(self.faults) or 'good'}{excuse}"


def wrong_with_owners(fault, scene, heir, table):
    """Sentences: who owns the group, after how many changes, and where the switch's tables hold it to be."""
    wrong = []
    if fault.moves is not None and (heir != scene.owner) != fault.moves:
        wrong.append(f"{heir} owns the group, after {scene.owner}")
    changes = sum(nodes.claims(node, group(), scene.sizes[node]) for node in nodes.names())
    exactly = fault.once and fault.moves is not None
    if exactly and changes != int(fault.moves):
        wrong.append(f"nodes became the owner {changes} times")
    for network in switch.SPOKEN_ON:
        path = table.path(network, scene.owner)
        if path[-1] != heir or (exactly and path != ([scene.owner, heir] if fault.moves else [scene.owner])):
            wrong.append(f"the switch's table of {network} held the group to be behind {', then '.join(path)}")
    return wrong


def wrong_with_gap(scene, heir, table, gap_ms):
    """A sentence if a transfer stood still for longer than the loss of its owner explains.

    While nobody owns the group, a peer says its oldest segment again at intervals that double (RFC 6298): a capture has them
    0.7, 1.5 and 3.3 s after the loss. A successor acknowledges at once what it has, and says its own again; but a peer of whose
    segments in flight it has none (often, not always) waits for its next try. That comes after at most as long again as the
    group was without an owner. In `no_majority_before` it is without one for 1.5 to 1.8 s: a majority is missing for 1 s, for
    what a node takes to start (0.45 s, 0.6 s beside transfers), and for the 81 ms for which a member that has restarted grants
    nothing. That is just before or after the peers' try at 1.5 s, so transfers stand still for 1.5 to 1.9 s or for 3.2 s."""
    first_word = table.first_move(heir, scene.lost)
    if first_word is None:
        return []
    silent_ms = (first_word - scene.lost) * 1000
    scene.notes.append(f"{heir} spoke after {silent_ms:.0f} ms")
    if gap_ms <= 2 * silent_ms + FIRST_TIMEOUT_MS:
        return []
    return [f"a transfer stood still for {gap_ms:.0f} ms, although {heir} spoke after {silent_ms:.0f} ms"]


given = {}  # node -> when it has given the group away


def wait_until_it_gives(fault, owner):
    """Before the transfers."""
    if fault.gives and owner in given:
        time.sleep(max(0, given[owner] + GIVES_AGAIN_SECONDS - time.monotonic()))


def run(name):
    """One fault amid two transfers; whatever was cut or killed is whole again afterwards."""
    fault = FAULTS[name]
    scene = cast()
    wait_until_it_gives(fault, scene.owner)
    upload, transfers = trial.begin_transfers("client", None, 80)
    trial.wait_for_share(transfers, 0.1)
    trial.wait_synced()
    with switch.Whereabouts(group()) as table:
        fault.act(scene)
        unprotected = nodes.last_words(scene.owner, group()) in ("owner(unprotected)", "owner(syncing)")
        was_protected = bool(nodes.processes(scene.owner)) or not unprotected
        results = [transfer.result() for transfer in transfers]
        wrong = scene.wrong + trial.verdict(*results, upload)
        wrong += [f"the {result['direction']} was reset" for result in results if result["reset"]]
        heir = trial.owner_now(HEALED_SECONDS)
        if fault.gives:
            given[scene.owner] = time.monotonic()
        others_away = longest_absence_ms([node for node in nodes.names() if node != scene.owner], scene.sizes)
        gap_ms = max(result["longest_gap_ms"] for result in results)
        if others_away < TOO_BUSY_MS:
            wrong += wrong_with_owners(fault, scene, heir, table)
            if fault.once and scene.lost is not None and heir != scene.owner:
                wrong += wrong_with_gap(scene, heir, table, gap_ms)
    dead = [node for node in nodes.names() if not nodes.processes(node)]
    if dead:
        trial.bring_back(*dead, seconds=HEALED_SECONDS)
    cast()
    wrong += words.differences(group())
    return Outcome(gap_ms, wrong, was_protected,
                   f"{scene.owner} -> {heir}" if heir != scene.owner else f"{heir} stays", scene.notes, others_away)
