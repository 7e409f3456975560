"""Whether PPO learns the same on both engines: areas under the learning curves of two committed experiments.

    python benchmarks/engines.py                 prints the table of experiments/engine-cohort/README.md
    python benchmarks/engines.py --write         and puts it there

The runs themselves: `trl-suite run experiments/engine-cohort` and `trl-suite run experiments/engine-sb3`, each followed
by `trl-suite report runs/NAME --keep experiments/NAME/results`.
"""

import argparse
import csv
import re
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).parent.parent / "experiments"
ENGINES = ("cohort", "sb3")
README = ROOT / "engine-cohort" / "README.md"
BETWEEN = re.compile(r"(<!-- engines: [^\n]*-->\n).*?(<!-- /engines -->)", re.DOTALL)


def areas(engine: str, env: str) -> np.ndarray:
    """Return the mean return over the curve of every seed, by the trapezoid rule on the evaluation grid."""
    folders = sorted((ROOT / f"engine-{engine}" / "results" / env / "scratch").glob("seed-*"))
    return np.array([_area(folder / "evaluations.csv") for folder in folders])


def _area(path: Path) -> float:
    returns: dict[int, list[float]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            returns.setdefault(int(row["step"]), []).append(float(row["return"]))
    steps = sorted(returns)
    return float(np.trapezoid([np.mean(returns[step]) for step in steps], steps) / steps[-1])


def compared(env: str) -> dict[str, float]:
    """Return both means, and the difference with its 95 % interval (Welch's t)."""
    ours, theirs = areas("cohort", env), areas("sb3", env)
    found = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return {
        "seeds": len(ours),
        "cohort": ours.mean(),
        "cohort_sd": ours.std(ddof=1),
        "sb3": theirs.mean(),
        "sb3_sd": theirs.std(ddof=1),
        "difference": ours.mean() - theirs.mean(),
        "low": low,
        "high": high,
        "p": found.pvalue,
    }


def table() -> str:
    """Return the table."""
    lines = [
        "| robot | seeds | cohort: mean (sd) | SB3: mean (sd) | difference | 95 % interval | p |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for env in ("hopper", "half-cheetah"):
        row = compared(env)
        lines.append(
            f"| `{env}` | {row['seeds']:.0f} | {row['cohort']:.0f} ({row['cohort_sd']:.0f}) "
            f"| {row['sb3']:.0f} ({row['sb3_sd']:.0f}) | {row['difference']:+.0f} "
            f"| {row['low']:+.0f} to {row['high']:+.0f} | {row['p']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the README's text with the table as it should be."""
    return BETWEEN.sub(lambda found: found[1] + table() + found[2], text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    if parser.parse_args().write:
        README.write_text(page(README.read_text()))
    print(table(), end="")
