"""Do the ways in which a node tells what happened to a group agree? `show cluster`, `explain group`, `show events`."""

from . import configuration, nodes, system


def stories(group=None):
    """{node: (its story, sentences about what does not match)} of all nodes that answer; a state that changed between two
    questions is asked for again."""
    group = group or configuration.group_names()[0]
    told = {}
    for name in nodes.names():
        def agree(name=name):
            told[name] = one_story(name, group)
            return not told[name][1]
        system.wait_until(agree, 3, 0.1)
    return told


def differences(group=None):
    """Sentences about what does not match, of all nodes."""
    return [f"{name}: {sentence}" for name, (_, wrong) in stories(group).items() for sentence in wrong]


def one_story(name, group):
    shown, story, said = (nodes.ask(name, what) for what in ("show cluster", f"explain group {group}", "show events"))
    if not shown or not story or not said:
        return None, ["no answer"]
    shown = next(row for row in shown["groups"] if row["name"] == group)
    events = [event["text"] for event in said["events"]]
    wrong = [f"{key} is {shown[key]} in `show cluster`, {story[key]} in `explain group`"
             for key in ("state", "why", "owner", "epoch") if story[key] != shown[key]]
    last = story["transitions"][-1]
    if (last["to"], last["why"]) != (shown["state"], shown["why"]):
        wrong.append(f"the last change is {last}, and not to {shown['state']}: {shown['why']}")
    sentence = f"group {group}: {last['from']} -> {last['to']}: {last['why']}"
    for kind, texts in (("show events", events), ("explain group", [event["text"] for event in story["events"]])):
        if sentence not in texts:
            wrong.append(f"`{kind}` does not say: {sentence}")
    if shown["last_takeover"]:
        claimed = f"group {group}: claimed with epoch "
        why = shown["last_takeover"]["why"]
        if story["takeovers"][-1]["why"] != why:
            wrong.append(f"two reasons for the takeover: {why}; {story['takeovers'][-1]['why']}")
        if not any(text.startswith(claimed) and why in text for text in events):
            wrong.append(f"no event says: {why}")
    return story, wrong
