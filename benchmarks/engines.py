"""Whether an algorithm learns the same on both engines: areas under the learning curves of committed experiments.

    python benchmarks/engines.py                 prints the tables of PPO, SAC and TD3
    python benchmarks/engines.py --write         and puts them into the READMEs of experiments/*engines*

The runs themselves: `trl-suite run experiments/NAME`, followed by `trl-suite report runs/NAME --keep
experiments/NAME/results`. The report has the paired contrast of the same runs.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from scipy import stats

import trl_suite

ROOT = Path(__file__).parent.parent / "experiments"
# study -> its experiment, and its robots
STUDIES = {
    "ppo": ("engines", ("hopper", "half-cheetah")),
    "sac": ("sac-engines", ("hopper", "half-cheetah")),
    "sac-again": ("sac-engines-again", ("half-cheetah",)),
    "sac-long": ("sac-engines-long", ("hopper", "half-cheetah")),
    "sac-long-again": ("sac-engines-long-again", ("half-cheetah",)),
    "td3": ("td3-engines", ("hopper", "half-cheetah")),
}
BETWEEN = re.compile(r"(<!-- engines: [^\n]*-->\n).*?(<!-- /engines -->)", re.DOTALL)


def readme(algorithm: str) -> Path:
    """Return the page of an algorithm's comparison."""
    return ROOT / STUDIES[algorithm][0] / "README.md"


def areas(algorithm: str, engine: str, env: str) -> np.ndarray:
    """Return the mean return over the curve of every seed, by the trapezoid rule on the evaluation grid."""
    curves = trl_suite.load(ROOT / STUDIES[algorithm][0] / "results").curves[f"{env} (engine={engine})", "scratch"]
    return np.trapezoid(curves.returns, curves.steps, axis=1) / curves.steps[-1]


def compared(algorithm: str, env: str) -> dict[str, float]:
    """Return both means, and the difference with its 95 % interval (Welch's t)."""
    ours, theirs = areas(algorithm, "cohort", env), areas(algorithm, "sb3", env)
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


def table(algorithm: str) -> str:
    """Return an algorithm's table."""
    lines = [
        "| robot | seeds | cohort: mean (sd) | SB3: mean (sd) | difference | 95 % interval | p |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for env in STUDIES[algorithm][1]:
        row = compared(algorithm, env)
        lines.append(
            f"| `{env}` | {row['seeds']:.0f} | {row['cohort']:.0f} ({row['cohort_sd']:.0f}) "
            f"| {row['sb3']:.0f} ({row['sb3_sd']:.0f}) | {row['difference']:+.0f} "
            f"| {row['low']:+.0f} to {row['high']:+.0f} | {row['p']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def page(algorithm: str, text: str) -> str:
    """Return the README's text with the table as it should be."""
    return BETWEEN.sub(lambda found: found[1] + table(algorithm) + found[2], text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into the READMEs")
    given = parser.parse_args()
    for algorithm in STUDIES:
        if given.write:
            readme(algorithm).write_text(page(algorithm, readme(algorithm).read_text()))
        print(f"{algorithm}\n{table(algorithm)}")
