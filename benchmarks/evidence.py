"""How long a report takes over 10,000 runs of 100 evaluations, bootstrap included, and how much memory.

    python benchmarks/evidence.py [--runs 10000] [--evaluations 100] [--episodes 1] [--out evidence.json]

The run folders are made up in a temporary folder first; that is not timed. Each repetition is a process of its own.
"""

import argparse
import importlib.metadata
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from trl_suite import provenance
from trl_suite.record import SOURCE_METHOD, Freeze, Plan, PlannedRun, RunRecord, Transplant, encode

SEEDS, METHODS = 10, ("scratch", *(f"partial-freeze-{depth}" for depth in range(1, 9)))
PACKAGES = ("trl-suite", "numpy", "scipy", "matplotlib", "msgspec", "jinja2")


def planned(runs: int) -> list[PlannedRun]:
    """Return sources and targets, as many envs as it takes."""
    found = [PlannedRun(folder=f"home/source/seed-{s}", role="source", env="home", method=SOURCE_METHOD, seed=s)
             for s in range(SEEDS)]  # fmt: skip
    for number in range(runs // (SEEDS * len(METHODS)) + 1):
        env = f"home.mass-{1 + number / 10:.1f}"
        found += [
            PlannedRun(folder=f"{env}/{method}/seed-{seed}", role="target", env=env, method=method, seed=seed,
                    source="" if method == "scratch" else f"home/source/seed-{seed}")
            for method in METHODS for seed in range(SEEDS)
        ]  # fmt: skip
    return found[:runs]


def record(one: PlannedRun, steps: int) -> RunRecord:
    """Return the record of a run."""
    names = tuple(f"actor.trunk.{layer}" for layer in range(3))
    hashes = {name: f"{one.seed:064x}" for name in names}
    return RunRecord(
        experiment="bench", role=one.role, env=one.env, method=one.method, algorithm="ppo", seed=one.seed, steps=steps,
        digest=f"{one.seed:016x}", specification={"hyperparameters": {str(i): i / 7 for i in range(20)}}, status="done",
        source=one.source, started="2026-01-01T00:00:00Z", seconds=60.0, versions=dict.fromkeys(PACKAGES, "1.0"),
        machine={"cpu": "any"}, transplant=Transplant(method=one.method, source="", copied=names, frozen=names),
        freeze=Freeze(before=hashes, after=hashes, trainable=1, total=2),
    )  # fmt: skip


def make(root: Path, runs: int, evaluations: int, episodes: int) -> None:
    """Write an experiment of saturating curves with noise."""
    generator = np.random.default_rng(0)
    every = 1_000
    steps = np.arange(evaluations) * every
    plan = planned(runs)
    specification = Plan(
        name="bench", question="How fast is the report?", command="none", runs=tuple(plan), every=every,
        episodes=episodes, specification={},
    )  # fmt: skip
    root.mkdir(parents=True)
    (root / "plan.json").write_bytes(encode(specification))
    for one in plan:
        folder = root / one.folder
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(encode(record(one, int(steps[-1]))))
        speed = generator.uniform(0.2, 0.5) * steps[-1] / (1 + METHODS.index(one.method) / 4 if one.source else 1)
        mean = 1_000 - 900 * np.exp(-steps / speed)
        returns = mean[:, None] + generator.normal(0, 50, (evaluations, episodes))
        lines = (f"{step},{i},{float(value)!r},{int(900 + i)}" for step, row in zip(steps, returns, strict=True)
                 for i, value in enumerate(row))  # fmt: skip
        (folder / "evaluations.csv").write_text("step,episode,return,length\n" + "\n".join(lines) + "\n")


def once(root: Path) -> dict[str, float]:
    """Load, measure and render, and return seconds of each, bytes of the page and the peak of memory."""
    begun, processor = time.perf_counter(), time.process_time()
    from trl_suite.evidence.report import report_files
    from trl_suite.evidence.results import experiment_results

    imported = time.perf_counter()
    found = experiment_results.load(root)
    loaded = time.perf_counter()
    rows = found.measures()
    measured = time.perf_counter()
    page = report_files.render(found)
    rendered = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "import_s": imported - begun, "load_s": loaded - imported, "measure_s": measured - loaded,
        "render_s": rendered - measured, "report_s": rendered - imported,
        "processor_s": time.process_time() - processor, "rows": len(rows),
        "page_bytes": len(page.encode()), "peak_memory_bytes": peak,
    }  # fmt: skip


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return provenance.machine() | provenance.versions() | versions


def main() -> None:
    """Write the figures as JSON: the median of the repetitions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--episodes", type=int, default=1, help="per evaluation")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--once", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(arguments.once)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bench"
        make(root, arguments.runs, arguments.evaluations, arguments.episodes)
        command = [sys.executable, __file__, "--once", str(root)]
        outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout
                   for _ in range(arguments.repetitions)]  # fmt: skip
    each = [json.loads(output) for output in outputs]
    sizes = {"runs": arguments.runs, "evaluations": arguments.evaluations, "episodes": arguments.episodes}
    median = {name: statistics.median(found[name] for found in each) for name in each[0]}
    text = json.dumps({"sizes": sizes, "median": median, "machine": machine()}, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
