"""Numbers of the committed summaries, computed again from the archives with plain NumPy and none of the package.

`python benchmarks/recompute.py [experiments/NAME/results ...]` prints how many numbers it compared and which differ
by more than the four digits that a summary has; the exit code is 1 where one does. Left out are conditions with several
sources of one method, and runs whose sources are crossed with target seeds.
"""

import csv
import json
import sys
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np

RENAMED = {"jumpstart": "jsrl"}  # methods in records of schema 1
TOLERANCE = 2e-3  # of a number with four digits
Curves = dict[tuple[str, str], dict[int, np.ndarray]]  # (env, method) -> seed -> returns


def archive(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name."""
    with tarfile.open(path) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened if entry.isreg()}  # type: ignore[union-attr]


def curve(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and mean returns of the deterministic evaluations of one run."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for line in csv.DictReader(text.splitlines()):
        if line.get("mode", "deterministic") == "deterministic":
            by_step[int(line["step"])].append(float(line["return"]))
    steps = np.array(sorted(by_step))
    return steps, np.array([np.mean(by_step[step]) for step in steps.tolist()])


def time_to(steps: np.ndarray, returns: np.ndarray, threshold: float) -> float:
    """Return the first of two evaluations in a row that reach a threshold, else the budget."""
    for place in range(len(steps) - 1):
        if returns[place] >= threshold and returns[place + 1] >= threshold:
            return float(steps[place])
    return float(steps[-1])


def numbers(folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return the recomputed numbers of each env and method."""
    files = archive(folder / "runs.tar.xz")
    plan = json.loads(files["plan.json"])
    target, apart, grids = defaultdict(dict), defaultdict(dict), {}
    for run in plan["runs"]:
        name = f"{run['folder']}/evaluations.csv"
        if run["role"] == "source" or name not in files:
            continue
        steps, returns = curve(files[name].decode())
        method = RENAMED.get(run["method"], run["method"])
        (target if run["role"] == "target" else apart)[run["env"], method][run["seed"]] = returns
        grids[run["env"], run["role"]] = steps
    found = {}
    for (env, method), runs in target.items():
        steps, scratch = grids[env, "target"], target[env, "scratch"]
        cohort = {s: r for s, r in apart.get((env, "scratch"), {}).items() if s not in scratch} or scratch
        at = grids[env, "reference"] if cohort is not scratch else steps
        random = np.mean([returns[0] for returns in cohort.values()])
        reference = np.mean([returns[at >= 0.9 * at[-1]].mean() for returns in cohort.values()])
        if measured := plan["specification"].get("references", {}).get(env):  # once, for every experiment of the target
            random, reference = (np.mean(measured[runs]) for runs in ("random_runs", "reference_runs"))
        found[env, method] = {"asymptote": np.mean([r[steps >= 0.9 * steps[-1]].mean() for r in runs.values()])}
        shared = sorted(runs.keys() & scratch.keys())
        if method == "scratch" or not reference > random or not shared:
            continue
        width, late = reference - random, steps >= 0.9 * steps[-1]
        differences = [runs[seed] - scratch[seed] for seed in shared]
        first, threshold = float(steps[1]), random + 0.5 * width
        logs = [np.log(max(first, time_to(steps, scratch[seed], threshold)) /
                       max(first, time_to(steps, runs[seed], threshold))) for seed in shared]  # fmt: skip
        found[env, method] |= {
            "area_gain": np.mean([np.trapezoid(d, steps) / steps[-1] for d in differences]) / width,
            "end_gain": np.mean([d[late].mean() for d in differences]) / width,
            "speed_up": np.exp(np.mean(logs)),
        }
    return found


def compare(folder: Path) -> tuple[int, list[str]]:
    """Return how many numbers were compared, and a line for each that differs."""
    again, count, differing = numbers(folder), 0, []
    for line in csv.DictReader((folder / "summary.csv").read_text().splitlines()):
        for name, value in again.get((line["env"], line["method"]), {}).items():
            if not line.get(name) or int(line["complete"]) != int(line["planned"]):
                continue
            printed, count = float(line[name]), count + 1
            if abs(printed - value) > TOLERANCE * max(1e-9, abs(printed), abs(value)):
                differing.append(
                    f"{folder}: {line['env']}, {line['method']}, {name}: {printed:g} printed, {value:g} again"
                )
    return count, differing


def main() -> int:
    """Compare the summaries of all committed results, or of these, and return the exit code."""
    root = Path(__file__).parents[1] / "experiments"
    folders = [Path(name) for name in sys.argv[1:]] or sorted(
        path.parent for path in root.glob("*/results/summary.csv")
    )
    total, differing = 0, []
    for folder in folders:
        count, lines = compare(folder)
        total, differing = total + count, differing + lines
    print(*differing, f"{total} numbers compared, {len(differing)} differ", sep="\n")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
