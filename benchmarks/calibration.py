"""Coverage of the printed intervals and the rate of false claims, on synthetic experiments whose truth is known.

`python benchmarks/calibration.py --experiments 400` writes `experiments/benchmarks/calibration.json`. A scenario draws
curves of scratch, of a method and of a reference measured apart; its truth is that of 20,000 runs. Aims: 93 to 97 %
coverage at ten seeds, rare failures aside, and false claims in at most 5 % of experiments with twelve methods that are
no different from scratch.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import expit

from trl_suite.evidence.reading.conditions import Condition
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.comparison import MeasureRow, SourceCost
from trl_suite.evidence.results.return_scale import FRACTION, ReturnScale
from trl_suite.evidence.statistics import measures

STEPS = np.arange(0, 100_001, 5_000)
POPULATION = 20_000  # runs that stand for the truth
REFERENCES = 10  # seeds of a reference measured apart
NULL_METHODS = 12
OUT = Path(__file__).parents[1] / "experiments/benchmarks/calibration.json"
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
    row = comparison.alone(
        runs, scale, len(method), Condition("method", "method", ""), SourceCost(), np.full(len(method), np.nan)
    )
    return comparison.against(row, runs, curves(scratch, "scratch"), scale, np.random.default_rng(0))


def truth(scratch: Draw, method: Draw) -> dict[str, float]:
    """Return the value of each measure in the population."""
    generator = np.random.default_rng(1)
    base, other = scratch(generator, POPULATION), method(generator, POPULATION)
    random, reference = float(base[:, 0].mean()), float(measures.asymptote(STEPS, base).mean())
    width = reference - random
    times = [measures.time_to_threshold(STEPS, returns, random + FRACTION * width).steps for returns in (other, base)]
    area = [measures.area(STEPS, returns) for returns in (other, base)]
    end = [measures.asymptote(STEPS, returns) for returns in (other, base)]
    return {
        "score": float((area[0].mean() - random) / width),
        "area_difference": float((area[0] - area[1]).mean()),
        "area_gain": float((area[0] - area[1]).mean() / width),
        "end_gain": float((end[0] - end[1]).mean() / width),
        "speed_up": float(measures.speed_up(times[0], times[1], float(STEPS[1]))),
        "saved": float((times[1] - times[0]).mean()),
    }


def coverage(name: str, seeds: int, paired: bool, experiments: int) -> dict[str, float]:
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


def false_claims(seeds: int, experiments: int) -> dict[str, float]:
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


def main() -> None:
    """Run all scenarios and write their rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    covered: list[dict[str, object]] = []
    for name in SCENARIOS:
        for seeds in options.seeds:
            for paired in (False, True):
                rates = coverage(name, seeds, paired, options.experiments)
                covered.append(
                    {"scenario": name, "seeds": seeds, "reference": "scratch" if paired else "apart", **rates}
                )
                print(*covered[-1].values(), flush=True)
    claims = {str(seeds): false_claims(seeds, options.experiments) for seeds in options.seeds if seeds > 5}
    print(claims)
    about = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    report = {"experiments": options.experiments, "coverage": covered, "false_claims": claims, "versions": about}
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
