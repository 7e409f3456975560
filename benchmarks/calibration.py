"""Coverage of the printed intervals and the rate of false claims, on synthetic experiments whose truth is known.

`python benchmarks/calibration.py` writes `experiments/benchmarks/calibration.json` and the table in the README there.
A scenario draws curves of scratch, of a method and of a reference measured apart; its truth is that of 20,000 runs.
Over targets, two values of each pair of a task and a seed are drawn, whose truth is that of 20,000 seeds. Aims: 93 to
97 % coverage at ten seeds, rare failures aside, and false claims in at most 5 % of experiments with twelve methods that
are no different from scratch. What is outside is listed, and the exit code is 1. A rate of 1,000 experiments has a
standard error of 0.7 points.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit

from trl_suite.evidence.reading.conditions import Condition
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.comparison import MeasureRow, SourceCost
from trl_suite.evidence.results.return_scale import FRACTION, LATE, ReturnScale
from trl_suite.evidence.statistics import bootstrap, measures

STEPS = np.arange(0, 100_001, 5_000)
POPULATION = 20_000  # runs that stand for the truth
REFERENCES = 10  # seeds of a reference measured apart
NULL_METHODS = 12
SOURCE_STEPS = 100_000.0  # env steps that a source policy is said to have cost
AIM = (0.93, 0.97)  # coverage at ten seeds
AIM_SEEDS = 10
CLAIMS_MAX = 0.05  # share of null experiments with any claim
RARE = "failing seeds"  # the scenario that no interval can cover
RARE_SHARE = 0.75  # of the runs with one and the same value: what the others have is rare
TASKS, ROBOTS = 9, 3  # of the experiments over targets
OUT = Path(__file__).parents[1] / "experiments/benchmarks/calibration.json"
PAGE, BEGIN, END = OUT.with_name("README.md"), "<!-- calibration -->\n", "<!-- /calibration -->"
Rates = dict[str, float]
Draw = Callable[[np.random.Generator, int], np.ndarray]  # -> returns (runs, evaluations)


def sigmoid(
    start: float, end: float, middle: float, spread: float = 0.25, noise: float = 30.0, tail: bool = False
) -> Draw:
    """Return a drawer of curves that rise from `start` to `end` around `middle` steps."""

    def draw(generator: np.random.Generator, runs: int) -> np.ndarray:
        scales = np.exp(spread * (generator.standard_t(3, runs) if tail else generator.normal(size=runs)))
        ends = start + (end - start) * np.exp(spread * generator.normal(size=runs))
        rise = expit((STEPS[None] - middle * scales[:, None]) / 8_000)
        return start + (ends - start)[:, None] * rise + generator.normal(0, noise, (runs, len(STEPS)))

    return draw


def failing(draw: Draw, share: float, level: float) -> Draw:
    """Return a drawer of which a share of the runs never learns."""

    def drawn(generator: np.random.Generator, runs: int) -> np.ndarray:
        returns = draw(generator, runs)
        lost = generator.random(runs) < share
        returns[lost] = level + generator.normal(0, 20, (int(lost.sum()), len(STEPS)))
        return returns

    return drawn


def tied(draw: Draw) -> Draw:
    """Return a drawer whose returns are rounded to hundreds: many are equal."""
    return lambda generator, runs: np.round(draw(generator, runs), -2)


SCRATCH = sigmoid(0, 1_000, 50_000)
SCENARIOS: dict[str, tuple[Draw, Draw]] = {  # scratch, method
    "sigmoids": (SCRATCH, sigmoid(100, 1_100, 30_000)),
    "heavy tails": (sigmoid(0, 1_000, 50_000, tail=True), sigmoid(100, 1_100, 35_000, tail=True)),
    "crossing": (SCRATCH, sigmoid(400, 800, 45_000)),
    "never": (SCRATCH, sigmoid(0, 200, 50_000)),
    "at once": (SCRATCH, sigmoid(900, 1_200, 10_000)),
    "ties": (tied(SCRATCH), tied(sigmoid(0, 1_000, 40_000))),
    "failing seeds": (failing(SCRATCH, 0.1, 0.0), failing(sigmoid(100, 1_100, 30_000), 0.1, 0.0)),
}


def curves(returns: np.ndarray, method: str) -> Curves:
    """Return drawn returns as the curves of a method's runs."""
    runs = len(returns)
    return Curves(
        env="target", method=method, steps=STEPS, returns=returns, complete=np.ones(runs, np.bool_),
        seeds=np.arange(runs), samples=tuple(f"seed {seed}" for seed in range(runs)),
        folders=tuple(f"{method}/{seed}" for seed in range(runs)), seconds=np.ones(runs),
    )  # fmt: skip


def scale_of(returns: np.ndarray, paired: bool, name: str) -> ReturnScale:
    """Return the scale that reference runs give."""
    starts, ends = measures.zero_shot(returns), measures.asymptote(STEPS, returns)
    return ReturnScale(
        random=float(starts.mean()), reference=float(ends.mean()), paired=paired, env=name,
        random_runs=tuple(starts.tolist()), reference_runs=tuple(ends.tolist()), seeds=tuple(range(len(returns))),
    )  # fmt: skip


def row_of(method: np.ndarray, scratch: np.ndarray, scale: ReturnScale) -> MeasureRow:
    """Return the measures that a report prints of a method."""
    runs = curves(method, "method")
    cost = SourceCost(steps=SOURCE_STEPS)
    row = comparison.alone(
        runs, scale, len(method), Condition("method", "method", ""), cost, np.full(len(method), np.nan)
    )
    return comparison.against(row, runs, curves(scratch, "scratch"), scale, np.random.default_rng(0))


def rare(scratch: Draw, method: Draw) -> set[str]:
    """Return the measures of which most runs have one and the same value, so that ten may show nothing else."""
    generator = np.random.default_rng(2)
    base, other = scratch(generator, POPULATION), method(generator, POPULATION)
    threshold = base[:, 0].mean() + FRACTION * (measures.asymptote(STEPS, base).mean() - base[:, 0].mean())
    values = {
        "zero_shot": other[:, 0],
        "dip": measures.dip(STEPS, other),
        "jumpstart": other[:, 0] - base[:, 0],
        "time": measures.time_to_threshold(STEPS, other, float(threshold)).steps,
    }
    return {
        name for name, runs in values.items() if np.unique(runs, return_counts=True)[1].max() > RARE_SHARE * len(runs)
    }


def truth(scratch: Draw, method: Draw) -> Rates:
    """Return the value of each measure in the population."""
    generator = np.random.default_rng(1)
    base, other = scratch(generator, POPULATION), method(generator, POPULATION)
    random, reference = float(base[:, 0].mean()), float(measures.asymptote(STEPS, base).mean())
    width, first = reference - random, float(STEPS[1])
    times, late = (
        [measures.time_to_threshold(STEPS, returns, random + share * width).steps for returns in (other, base)]
        for share in (FRACTION, LATE)
    )
    area = [measures.area(STEPS, returns) for returns in (other, base)]
    end = [measures.asymptote(STEPS, returns) for returns in (other, base)]
    return {
        "zero_shot": float(other[:, 0].mean()),
        "asymptote": float(end[0].mean()),
        "dip": float(measures.dip(STEPS, other).mean()),
        "score": float((area[0].mean() - random) / width),
        "jumpstart": float((other[:, 0] - base[:, 0]).mean()),
        "area_difference": float((area[0] - area[1]).mean()),
        "asymptote_difference": float((end[0] - end[1]).mean()),
        "area_gain": float((area[0] - area[1]).mean() / width),
        "end_gain": float((end[0] - end[1]).mean() / width),
        "time": float(times[0].mean()),
        "saved": float((times[1] - times[0]).mean()),
        "speed_up": float(measures.speed_up(times[0], times[1], first)),
        "late_speed_up": float(measures.speed_up(late[0], late[1], first)),
        "ratio_of_means": float(times[1].mean() / times[0].mean()) if times[0].any() else float("inf"),
        "net_speed_up": float(times[1].mean() / (times[0].mean() + SOURCE_STEPS)),
    }


def coverage(name: str, seeds: int, paired: bool, experiments: int) -> Rates:
    """Return the share of experiments whose interval holds the truth, by measure."""
    scratch, method = SCENARIOS[name]
    true, generator = truth(scratch, method), np.random.default_rng([seeds, paired, len(name)])
    hits = dict.fromkeys(true, 0)
    for number in range(experiments):
        base = scratch(generator, seeds)
        scale = scale_of(base if paired else scratch(generator, REFERENCES), paired, f"{name}-{number}")
        if not scale.usable:
            continue
        row = row_of(method(generator, seeds), base, scale)
        for measure, value in true.items():
            estimate = getattr(row, measure)
            hits[measure] += bool(estimate.low - 1e-9 <= value <= estimate.high + 1e-9)
    return {measure: round(count / experiments, 3) for measure, count in hits.items()}


def over_targets(seeds: int, experiments: int) -> Rates:
    """Return the coverage of the mean and of the interquartile mean over targets whose robots share their sources."""
    generator, means = np.random.default_rng([11, seeds]), np.linspace(-0.2, 1.0, TASKS)
    groups = [f"robot {task % ROBOTS}" for task in range(TASKS)]

    def drawn(count: int) -> np.ndarray:
        shared = generator.normal(0, 0.3, (ROBOTS, count))[np.arange(TASKS) % ROBOTS]  # of the robot's sources
        return (means[:, None] + shared + generator.normal(0, 0.3, (TASKS, count)))[:, :, None]

    population = np.sort(drawn(POPULATION).ravel())
    quarter = len(population) // 4
    true = {"mean": float(means.mean()), "iqm": float(population[quarter:-quarter].mean())}
    hits = dict.fromkeys(true, 0)
    for _ in range(experiments):
        values = drawn(seeds)
        for statistic, value in true.items():
            kind: bootstrap.Statistic = "iqm" if statistic == "iqm" else "mean"
            estimate = bootstrap.hierarchical(values, generator, statistic=kind, groups=groups, replicates=1_000)
            hits[statistic] += bool(estimate.low <= value <= estimate.high)
    return {f"{statistic}_over_targets": round(count / experiments, 3) for statistic, count in hits.items()}


def false_claims(seeds: int, experiments: int) -> Rates:
    """Return the share of experiments in which any of twelve methods like scratch is claimed to differ, by rule."""
    generator, counts = np.random.default_rng([7, seeds]), {"area": 0, "end": 0, "time": 0, "area, interval alone": 0}
    for number in range(experiments):
        base = SCRATCH(generator, seeds)
        scale = scale_of(SCRATCH(generator, REFERENCES), False, f"null-{number}")
        rows = comparison.adjusted_on_env([row_of(SCRATCH(generator, seeds), base, scale) for _ in range(NULL_METHODS)])
        counts["area"] += any(row.area_claim in ("better", "worse") for row in rows)
        counts["end"] += any(row.end_claim in ("better", "worse") for row in rows)
        counts["time"] += any(row.time_claim in ("sooner", "later") for row in rows)
        counts["area, interval alone"] += any(row.area_gain.excludes(0) for row in rows)
    return {name: round(count / experiments, 3) for name, count in counts.items()}


def misses(covered: list[dict[str, object]], claims: dict[str, Rates]) -> list[str]:
    """Return each rate at ten seeds that is outside its aim, as a line; besides those of rare events."""
    rare_of: dict[object, set[str]] = {name: rare(*draws) for name, draws in SCENARIOS.items()}
    lines = [
        f"{row['scenario']}, reference {row['reference']}: {measure} {rate:.1%}"
        for row in covered
        if row["seeds"] == AIM_SEEDS and row["scenario"] != RARE
        for measure, rate in row.items()
        if isinstance(rate, float) and not AIM[0] <= rate <= AIM[1] and measure not in rare_of.get(row["scenario"], ())
    ]
    return lines + [
        f"false claims on {name}: {rate:.1%}"
        for name, rate in claims.get(str(AIM_SEEDS), {}).items()
        if "alone" not in name and rate > CLAIMS_MAX
    ]


def table(covered: list[dict[str, object]]) -> str:
    """Return the coverage at ten seeds as a table: a line is a measure, a column a scenario, lowest to highest."""
    rows = [row for row in covered if row["seeds"] == AIM_SEEDS]
    scenarios = list(dict.fromkeys(str(row["scenario"]) for row in rows))
    names = dict.fromkeys(name for row in rows for name, rate in row.items() if isinstance(rate, float))
    lines = [f"| measure | {' | '.join(scenarios)} |", f"| --- |{' --: |' * len(scenarios)}"]
    for name in names:
        cells = [_span([row[name] for row in rows if row["scenario"] == each and name in row]) for each in scenarios]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _span(rates: list[object]) -> str:
    """Return the lowest and the highest of some rates in percent."""
    percent = sorted(100 * rate for rate in rates if isinstance(rate, float))
    if not percent:
        return ""
    return f"{percent[0]:.1f}" if percent[0] == percent[-1] else f"{percent[0]:.1f} to {percent[-1]:.1f}"


def main() -> int:
    """Run all scenarios, write their rates, and return 1 where one is outside its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1_000, help="of each scenario at ten seeds")
    parser.add_argument("--fewer", type=int, default=200, help="of each scenario at other numbers of seeds")
    parser.add_argument("--nulls", type=int, default=600, help="experiments with twelve null methods")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    covered: list[dict[str, object]] = []
    for name, seeds in product(SCENARIOS, options.seeds):
        count = options.experiments if seeds == AIM_SEEDS else options.fewer
        for paired in (False, True):
            row: dict[str, object] = {"scenario": name, "seeds": seeds, "reference": "scratch" if paired else "apart"}
            covered.append(row | dict(coverage(name, seeds, paired, count)))
            print(*covered[-1].values(), flush=True)
    for seeds in options.seeds:
        count = options.experiments if seeds == AIM_SEEDS else options.fewer
        row = {"scenario": "nine targets", "seeds": seeds, "reference": "given"}
        covered.append(row | dict(over_targets(seeds, count)))
        print(*covered[-1].values(), flush=True)
    claims = {str(seeds): false_claims(seeds, options.nulls) for seeds in options.seeds if seeds > 5}
    outside = misses(covered, claims)
    print(claims, *outside, sep="\n")
    about = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    counts = {"ten seeds": options.experiments, "other seeds": options.fewer, "nulls": options.nulls}
    report = {"experiments": counts, "coverage": covered, "false_claims": claims, "outside": outside, "versions": about}
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.out == OUT:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(covered) + END + rest.partition(END)[2], encoding="utf-8")
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(main())
