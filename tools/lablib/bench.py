"""tools/bench: every figure with its spread, as a table and as JSON."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lablib import bench_lab, system  # noqa: E402

IN_PROCESS = ("throughput", "connections", "memory", "sealing", "takeover", "segments", "resync", "gate",
              "flood")
LAB = bench_lab.BENCHES


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_before": os.getloadavg()[0]}


def in_process(names, quick):
    command = [system.ROOT / "build/tests/bench/understudy-bench", *(["--quick"] if quick else []), *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise system.LabError(f"understudy-bench ended with {done.returncode}")
    return json.loads(done.stdout)["metrics"]


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(metrics):
    rows = [("METRIC", "VALUE", "LOW", "HIGH", "UNIT", "TARGET", "MET", "RATIO", "TO", "PATH")]
    for metric in metrics:
        met = {True: "yes", False: "NO", None: ""}[metric["met"]]
        rows.append((metric["name"], number(metric["value"]), number(metric["low"]), number(metric["high"]),
                     metric["unit"], number(metric["target"]), met, number(metric["ratio"]),
                     metric["reference"] or "", metric["path"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = (0, 4, 6, 8, 9)
    return "\n".join("  ".join(cell.ljust(width) if column in left else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)


def main():
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*IN_PROCESS, *LAB]) + "; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--json", metavar="FILE", help="where to write the figures as well")
    options = parser.parse_args()
    strange = [name for name in options.names if name not in (*IN_PROCESS, *LAB)]
    if strange:
        parser.error(f"there is no benchmark {', '.join(strange)}")
    wanted = options.names or [*IN_PROCESS, *LAB]
    if any(name in LAB for name in wanted):
        system.become_root()
    about = machine()
    metrics = []
    inside = [name for name in wanted if name in IN_PROCESS]
    if inside:
        metrics += in_process(inside, options.quick)
    metrics += bench_lab.run([name for name in wanted if name in LAB], options.quick)
    print(f"\n{about['processor']}, {about['cores']} cores, Linux {about['kernel']}, load {about['load_before']:.1f} before\n")
    print(table(metrics))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"machine": about, "metrics": metrics}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except system.LabError as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        sys.exit(1)
