"""The advisor scored by what it is for: regret of the method that probes alone would choose, against the best one.

The regret on a pair of source and target is the gain in area of the best measured method less that of the chosen one,
where scratch has 0 and 1 is the way from random to reference. Rules that learn from other pairs never see a pair of the
robot that they are scored on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.conditions import FULL
from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.results import comparison, paired_contrast, probe_prediction
from trl_suite.evidence.results.experiment_results import SEED, Results
from trl_suite.evidence.statistics import bootstrap, similarity
from trl_suite.evidence.statistics.bootstrap import NESTED, Cells
from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.evidence.statistics.similarity import Probes
from trl_suite.record import SCRATCH

Gains = Mapping[int, float]  # seed -> gain in area over scratch, in units of the scale
SUPERIOR = 0.1  # zero-shot return from which on the source's policy counts as better than an untrained one
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # of the zero-shot return, that the learned rule chooses from


class AdvicePair(NamedTuple):
    """A source and a target whose probes are known, and what each method gained there."""

    env: str
    source: str
    probes: Probes
    gains: dict[str, Gains]  # by method; scratch, with which all are compared, has zeros

    @property
    def robot(self) -> str:
        """The robot of the target."""
        return conditions.robot(self.env)

    def nearest(self, method: str) -> str:
        """Return the method, or fine-tuning where it was not measured here."""
        return method if method in self.gains else FULL

    def mean_gain(self, method: str) -> float:
        """Return the mean gain of a method over seeds."""
        return float(np.mean(list(self.gains[self.nearest(method)].values())))

    @property
    def best(self) -> str:
        """The method that gained most."""
        return max(self.gains, key=self.mean_gain)


Rule = Callable[[AdvicePair], str]  # the method that it chooses
Trainer = Callable[[Sequence[AdvicePair]], Rule]  # makes a rule of the pairs of other robots


class RuleScore(NamedTuple):
    """The score of one rule over all pairs."""

    rule: str
    pairs: int
    robots: int
    right: int  # pairs on which it chooses the best method
    regret: Estimate  # mean over pairs, in units of the scale; for these pairs
    saved: Estimate  # regret of always fine-tuning less its own; for pairs like these

    @property
    def beats_finetuning(self) -> bool:
        """Whether its regret is shown to be smaller than that of always fine-tuning."""
        return self.saved.has_interval and self.saved.low > 0


def always_finetune(_: Sequence[AdvicePair]) -> Rule:
    """Return the rule that needs no probe."""
    return lambda pair: FULL


def suite_rule(_: Sequence[AdvicePair]) -> Rule:
    """Return the rule that `trl-suite probe` prints, with the depth that it says may be held."""

    def choose(pair: AdvicePair) -> str:
        suggestion = similarity.suggest(pair.probes)
        depth = suggestion.freeze_depth if suggestion.method == FULL else 0
        return f"partial-freeze-{depth}" if depth else suggestion.method

    return choose


def three_regimes(_: Sequence[AdvicePair]) -> Rule:
    """Return the rule of Li et al. 2025 (arXiv 2510.01460), carried over to a target without a data set.

    There the pretrained policy is compared with an offline data set, and the better one is what fine-tuning must keep.
    Here no data set stands beside the policy, and an untrained one takes its place. Superior: keep the policy, with a
    warm-up. Comparable: fine-tune. Inferior: plasticity alone, from scratch.
    """

    def choose(pair: AdvicePair) -> str:
        zero_shot = pair.probes.zero_shot
        return "critic-warmup" if zero_shot > SUPERIOR else SCRATCH if zero_shot < -SUPERIOR else FULL

    return choose


def learned_rule(pairs: Sequence[AdvicePair]) -> Rule:
    """Return the threshold on the zero-shot return, and a method on either side, with the least regret on the pairs."""
    names = sorted({method for pair in pairs for method in pair.gains}, key=lambda name: (name != FULL, name))
    best, least = (0.0, FULL, FULL), np.inf
    for threshold in THRESHOLDS:
        above = [pair for pair in pairs if pair.probes.zero_shot > threshold]
        below = [pair for pair in pairs if pair.probes.zero_shot <= threshold]
        upper, lower = _best_for(above, names), _best_for(below, names)
        regret = sum(pair.mean_gain(pair.best) for pair in pairs) - _total(above, upper) - _total(below, lower)
        if regret < least - 1e-12:
            best, least = (threshold, upper, lower), regret
    threshold, upper, lower = best
    return lambda pair: upper if pair.probes.zero_shot > threshold else lower


TRAINERS: Mapping[str, Trainer] = {
    "always fine-tune": always_finetune,
    "the suite's rules": suite_rule,
    "three regimes": three_regimes,
    "learned from other robots": learned_rule,
}


def advice_pairs(experiments: Sequence[Results]) -> list[AdvicePair]:
    """Return every pair of source and target that has probes, with the gains of all methods of all experiments.

    Runs of other hyperparameters, budgets or sources are other pairs. A method that several experiments measured counts
    as the one with most seeds has it.
    """
    probes: dict[tuple[str, str], Probes] = {}
    for results in experiments:
        for probed in probe_prediction.probed(results):
            probes.setdefault((probed.env, probed.source or _only_source(results, probed.env)), probed.probes)
    gains: dict[tuple[str, str, str], dict[str, Gains]] = {}
    for results in experiments:
        setting = _setting(results)
        for env, source, method, by_seed in _gains(results):
            place = gains.setdefault((env, source, setting), {})
            if len(by_seed) > len(place.get(method, {})):
                place[method] = by_seed
    pairs = [
        AdvicePair(env, source, probes[env, source], methods | {SCRATCH: dict.fromkeys(methods[FULL], 0.0)})
        for (env, source, _), methods in gains.items()
        if (env, source) in probes and FULL in methods and np.isfinite(probes[env, source].zero_shot)
    ]
    return sorted(pairs, key=lambda pair: (pair.robot, pair.env, pair.source))


def scores(pairs: Sequence[AdvicePair], seed: int = SEED) -> list[RuleScore]:
    """Return the score of each rule; one that learns is scored on each robot by what it learned of the others.

    Args:
        pairs: of all robots.
        seed: of the resampling.
    """
    robots = list(dict.fromkeys(pair.robot for pair in pairs))
    scored: list[RuleScore] = []
    for name, trainer in TRAINERS.items():
        rules = {robot: trainer([pair for pair in pairs if pair.robot != robot]) for robot in robots}
        choices = [pair.nearest(rules[pair.robot](pair)) for pair in pairs]
        scored.append(
            RuleScore(
                rule=name,
                pairs=len(pairs),
                robots=len(robots),
                right=sum(pair.best == choice for pair, choice in zip(pairs, choices, strict=True)),
                regret=_mean(pairs, [pair.best for pair in pairs], choices, seed, drawn=False),
                saved=_mean(pairs, choices, [FULL] * len(pairs), seed, drawn=True),
            )
        )
    return scored


def _best_for(pairs: Sequence[AdvicePair], names: Sequence[str]) -> str:
    return max(names, key=lambda name: _total(pairs, name), default=FULL)


def _total(pairs: Sequence[AdvicePair], method: str) -> float:
    return sum(pair.mean_gain(method) for pair in pairs)


def _mean(
    pairs: Sequence[AdvicePair], first: Sequence[str], second: Sequence[str], seed: int, *, drawn: bool
) -> Estimate:
    """Return the mean over pairs of the first choice's gain less the second's; pairs are drawn anew where asked."""
    if not pairs:
        return Estimate()
    cells = [_cells(pair, *choices) for pair, *choices in zip(pairs, first, second, strict=True)]
    return bootstrap.hierarchical(
        bootstrap.stacked(cells),
        np.random.default_rng(seed),
        resample_tasks=drawn,
        groups=[pair.robot for pair in pairs],
    )


def _cells(pair: AdvicePair, first: str, second: str) -> Cells:
    before, after = pair.gains[first], pair.gains[second]
    seeds = sorted(set(before) & set(after))
    values: Floats = np.array([[before[seed] - after[seed]] for seed in seeds]).reshape(-1, 1)
    return Cells(values, tuple(f"seed {seed}" for seed in seeds), (NESTED,))


def _gains(results: Results) -> list[tuple[str, str, str, Gains]]:
    """Return env, source, method and the gain of each seed, of all that has a scale."""
    gains: list[tuple[str, str, str, Gains]] = []
    for (env, name), curves in results.curves.items():
        scratch, scale = results.curves.get((env, SCRATCH)), paired_contrast.usable_scale(results, env)
        condition = results.condition(curves)
        if scratch is None or scale is None or name == SCRATCH:
            continue
        differences = comparison.area_differences_by_seed(curves, scratch)
        by_seed = {seed: difference / scale.width for seed, difference in differences.items()}
        if by_seed:
            gains.append((env, condition.source or _only_source(results, env), condition.method, by_seed))
    return gains


def _only_source(results: Results, env: str) -> str:
    """Return the source of an env's methods where there is one; "" otherwise."""
    sources = {
        member.condition.source
        for member in results.recorded
        if member.planned.role == "target" and member.planned.target == env
    } - {""}
    return sources.pop() if len(sources) == 1 else ""


def _setting(results: Results) -> str:
    """Return the settings that decide a target's runs besides method and seed: budget, hyperparameters, source."""
    specification: Mapping[str, Any] = results.plan.specification
    algorithm = specification.get("algorithm", "ppo")
    target = specification.get("target") or {}
    source = {key: value for key, value in (specification.get("source") or {}).items() if key in ("steps", "shipped")}
    parts = [algorithm, specification.get("preset"), target.get("steps"), source, specification.get(algorithm)]
    return json.dumps(msgspec.to_builtins(parts), sort_keys=True)
