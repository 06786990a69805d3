"""Reads not_passing.txt, and says in what a run of the public scripts differs from it."""
import os
import re
from dataclasses import dataclass, field

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "not_passing.txt")


@dataclass
class Reason:
    """A paragraph of the list: the reason, what can be seen of it, and the scripts."""

    profile: str
    text: str
    complaint: list = field(default_factory=list)  # each line that the tool ends with matches one of these
    content: list = field(default_factory=list)  # each script's text matches all of these
    scripts: list = field(default_factory=list)

    def fits_complaint(self, said):
        return any(re.search(pattern, said) for pattern in self.complaint)

    def lacks(self, script):
        """Patterns that the script's text does not match."""
        with open(script, encoding="utf-8") as file:
            text = file.read()
        return [pattern for pattern in self.content if not re.search(pattern, text, re.M)]


def read(path=LIST):
    """The paragraphs, in their order. A line that is neither comment, head, pattern nor script ends the program."""
    reasons = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            word = line.strip()
            if not word or word.startswith("#"):
                continue
            head = re.match(r"(linux|freebsd): (.+)", line)
            if head:
                reasons.append(Reason(head[1], head[2].strip()))
            elif word.startswith("complaint: ") and reasons:
                reasons[-1].complaint.append(word[len("complaint: "):])
            elif word.startswith("content: ") and reasons:
                reasons[-1].content.append(word[len("content: "):])
            elif word.endswith(".pkt") and reasons and reasons[-1].complaint:
                reasons[-1].scripts.append(word)
            else:
                raise SystemExit(f"{path}:{number}: `{word}`: a paragraph is `PROFILE: REASON`, then `complaint: PATTERN`, "
                                 "`content: PATTERN`, and scripts")
    return reasons


def differences(profile, ran):
    """Sentences; `ran` maps the path of each script to what the tool complained of in each branch, [] when it passed."""
    told, listed = [], {}
    for reason in read():
        for entry in reason.scripts if reason.profile == profile else []:
            if entry in listed:
                told.append(f"has it twice: {entry}")
            listed[entry] = reason
    found = set()
    for script, complaints in ran.items():
        entry = next((entry for entry in listed if script.endswith("/" + entry)), None)
        if entry is None:
            if complaints:
                told.append(f"does not have it, and it fails: {script}: {complaints[0]}")
            continue
        found.add(entry)
        if not complaints:
            told.append(f"has it, and it passes: {entry}")
        for said in complaints:
            if not listed[entry].fits_complaint(said):
                told.append(f"has it for another reason than shows: {entry}: {said}")
        for pattern in listed[entry].lacks(script):
            told.append(f"has it for a reason that its text does not show: {entry}: `{pattern}`")
    folders = {os.path.dirname(script) for script in ran}
    for entry in listed:
        if entry not in found and any(folder.endswith("/" + os.path.dirname(entry)) for folder in folders):
            told.append(f"has it, and there is none: {entry}")
    return told
