"""Adds up the unit tests that meson ran and the smoke tests: python3 summary.py TESTLOG.json SMOKE.txt [STEP: passed|failed]...

Prints what failed and what was skipped with why, and last `N passed, N failed, N skipped`. A unit test program counts
by the cases it reports; one that died counts as one failure more."""

import json
import re
import sys

GTEST = {"passed": r"^\[  PASSED  \] (\d+) tests?\.", "failed": r"^\[  FAILED  \] (\d+) tests?, listed below",
         "skipped": r"^\[  SKIPPED \] (\d+) tests?, listed below"}


def cases(entry):
    """(passed, failed, skipped) of one program that meson ran."""
    output = entry.get("stdout", "")
    found = {word: re.search(pattern, output, re.M) for word, pattern in GTEST.items()}
    counts = [int(found[word][1]) if found[word] else 0 for word in GTEST]
    if entry["result"] == "SKIP":
        return 0, 0, max(1, counts[2])
    if entry["result"] in ("OK", "EXPECTEDFAIL"):
        return (counts[0], 0, counts[2]) if found["passed"] else (1, 0, 0)
    return counts[0], max(1, counts[1]), counts[2]


def unit_tests(path):
    total = [0, 0, 0]
    try:
        with open(path, encoding="utf-8") as log:
            entries = [json.loads(line) for line in log if line.strip()]
    except OSError:
        print("meson ran no unit tests; see build/meson-test.log")
        return [0, 1, 0]
    for entry in entries:
        total = [before + now for before, now in zip(total, cases(entry))]
        output = entry.get("stdout", "")
        if entry["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
            print(f"failed  {entry['name']} ({entry['result']})")
            print("\n".join("    " + line for line in (output + entry.get("stderr", "")).splitlines()[-20:]))
        elif entry["result"] == "SKIP":
            print(f"skipped {entry['name']}: {(output.strip().splitlines() or ['no reason given'])[-1]}")
        for name, why in re.findall(r"^\[ RUN      \] (\S+)\n((?:(?!\[).*\n)*)\[  SKIPPED \]", output, re.M):
            print(f"skipped {name}: {' '.join(why.split())}")
    return total


def smoke_tests(path):
    with open(path, encoding="utf-8") as log:
        lines = log.read().splitlines()
    found = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1]) if lines else None
    if not found:
        print("the smoke tests did not run to their end")
        return [0, 1, 0]
    for line in lines:
        if line.startswith("skipped "):
            print(line)
    return [int(number) for number in found.groups()]


def main():
    units = unit_tests(sys.argv[1])
    print("unit tests: {} passed, {} failed, {} skipped".format(*units))
    smoke = smoke_tests(sys.argv[2])
    total = [one + other for one, other in zip(units, smoke)]
    for step in sys.argv[3:]:  # a build is a test as well
        print(step)
        total[0 if step.endswith("passed") else 1] += 1
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] or not units[0] else 0


if __name__ == "__main__":
    sys.exit(main())
