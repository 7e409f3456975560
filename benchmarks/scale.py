"""How long a whole experiment of 1, 2, 4, ... runs takes on this machine, beside one run after the other.

    python benchmarks/scale.py                    writes scale.json and scale.svg into experiments/benchmarks/
    python benchmarks/scale.py --runs 1 2 4 8
    python benchmarks/scale.py --resume           what a stopped run of the same commit has not written
    python benchmarks/scale.py --page             draws the committed figures again

A run is PPO's default training of HalfCheetah for some rollouts, evaluated before and after. The runs are shared
out to one process per core, as `trl-suite run` does it; Stable-Baselines3 trains one run in each process at a time.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from cohort import CORES, README, Contender, Trial, contend, write

from trl_suite import provenance
from trl_suite.algorithms.ppo import PPOHyperparameters

RUNS = (1, 2, 4, 8, 16, 32)
RECORD = README.with_name("scale.json")


def measure(requested: argparse.Namespace) -> None:
    """Write the seconds that an experiment of so many runs takes, each number as soon as it is measured.

    Stable-Baselines3's are measured for a run per core.
    """
    begun = json.loads(requested.out.read_text()) if requested.resume and requested.out.exists() else {}
    rows: list[dict[str, Any]] = begun["rows"] if begun.get("commit") == provenance.commit()[0] else []
    rollouts = requested.rollouts
    hyperparameters = PPOHyperparameters()
    rollout = hyperparameters.n_envs * hyperparameters.n_steps
    contenders: list[tuple[Contender, int]] = [("sb3", CORES), *(("cohort", count) for count in requested.runs)]
    for engine, count in contenders:
        if any((row["engine"], row["runs"]) == (engine, count) for row in rows):
            continue
        trial = Trial(
            engine=engine, robot="half-cheetah", hyperparameters=hyperparameters, steps=rollouts * rollout, warm=rollout
        )
        result = contend(trial, count)
        seconds = count * trial.steps / result["steps_per_second"]
        cpu = 1e-6 * count * trial.steps * result["cpu_us"]
        rows.append({"engine": engine, "runs": count, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)})
        print(rows[-1], flush=True)
        write(requested.out, "scale", {"rollouts": rollouts, "rows": rows})


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw the seconds, and the CPU-seconds, for each run over the number of runs."""
    sb3, *cohorts = record["rows"]
    runs = [row["runs"] for row in cohorts]
    mpl.rcParams["svg.hashsalt"] = "scale"  # the same file for the same figures
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), layout="constrained")
    for axis, key, label in ((axes[0], "seconds", "seconds"), (axes[1], "cpu_seconds", "CPU-seconds")):
        axis.plot(runs, [row[key] / row["runs"] for row in cohorts], marker="o", label="cohorts")
        axis.axhline(sb3[key] / sb3["runs"], color="0.5", linestyle="--", label="Stable-Baselines3, a run per core")
        axis.set_xscale("log", base=2)
        axis.set_xticks(runs, [str(count) for count in runs])
        axis.set_ylim(bottom=0.0)
        axis.set_xlabel("runs of the experiment")
        axis.set_ylabel(f"{label} for each run")
    axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Measure, write the figures as JSON, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=list(RUNS))
    parser.add_argument("--rollouts", type=int, default=10, help="of each run")
    parser.add_argument("--resume", action="store_true", help="leave what was measured at this commit")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--page", action="store_true", help="measure nothing, draw the committed figures")
    requested = parser.parse_args()
    if not requested.page:
        measure(requested)
    draw(json.loads(requested.out.read_text()), requested.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
