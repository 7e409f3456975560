"""Probes of how well a source will transfer, as functions of arrays, and how well each predicted it afterwards.

Collecting transitions and features is training's; this module knows neither envs nor networks. No probe is best for
every method (Carroll & Seppi 2005), so that each is reported with its measured rank correlation, null or not.
"""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import msgspec
import numpy as np
from scipy import stats

from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.statistics.estimates import NAN, Estimate
from trl_suite.evidence.statistics.measures import normalise

NEAR = 0.5  # normalised zero-shot return above which the whole policy is worth keeping
SOME = 0.1  # and below which its behaviour is worth nothing
TOLERANCE = 0.02  # of decodability that a frozen layer may lose
FEWEST_PAIRS = 8  # of one robot, below which a rank correlation has no interval; one more for each further robot
FEWEST_ARRANGEMENTS = 20  # of pairs within robots, below which no p is given
MOST_ARRANGEMENTS = 50_000  # that are counted; of more, so many are drawn
PENALTIES = tuple(10.0**power for power in range(-3, 5))  # of the ridge; the best on held-out data is taken


class Probes(msgspec.Struct, frozen=True, kw_only=True):
    """The measures of a source and a target before training; NaN where a probe was not made."""

    zero_shot: float = NAN  # normalised return of the source policy on the target: 0 is untrained, 1 the reference
    dynamics: float = NAN  # paired-transition distance; 0 is the same world
    critic: float = NAN  # explained variance of the source's critic on the target; 1 is perfect
    layers: tuple[float, ...] = ()  # decodability of the observation, then of each layer, R^2


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """The probes of one pair of envs, as `probes.json` in an experiment's folder holds them: a list of these."""

    env: str  # target
    source: str = ""  # env of the source policies; "" where the experiment has one only
    policies: tuple[str, ...] = ()  # folders of the source policies that the probes are the mean of
    probes: Probes


# whether the rules' regret is shown to be below that of always fine-tuning in the committed results; a test compares
RULES_BEAT = False


class Suggestion(NamedTuple):
    """A method for a pair of source and target, and the rule that gave it: a hypothesis, not a promise."""

    method: str
    freeze_depth: int  # trunk layers that may be held
    rule: str


class Pair(NamedTuple):
    """One source and target with a probe made before training and the log speed-up measured after."""

    probe: float
    log_speed_up: float
    robot: str = ""  # of the target


def zero_shot(returns: Floats, random: float, reference: float) -> float:
    """Return the mean normalised return of the source policy on the target: 0 is untrained, 1 the reference.

    Args:
        returns: (episodes,), undiscounted, of the source policy on the target before any update.
        random: return of an untrained policy on the target.
        reference: return of a trained one.

    Raises:
        ValueError: the reference does not exceed the random return.
    """
    return float(np.mean(normalise(returns, random, reference)))


def transition_distance(source: Floats, target: Floats) -> float:
    """Return the root mean square distance of next states from the same state and action, in the source's spread.

    Every slot counts in units of its standard deviation over the source's changes, so that 1 means: the worlds differ
    as much as a step in one of them differs from another step. Both simulators are set to the same states, which makes
    this the distance with the least noise.

    Args:
        source: (transitions, slots), change of the state in the source's world.
        target: (transitions, slots), change from the same states and actions in the target's.

    Raises:
        ValueError: the arrays differ in shape, or there are fewer than two transitions.
    """
    if source.shape != target.shape or len(source) < 2:
        raise ValueError(f"changes of shape {source.shape} and {target.shape}; two of one shape are needed")
    spread = source.std(axis=0)
    moving = spread > 1e-12 * max(1.0, float(np.abs(source).max()))  # a slot that never changes has no unit
    difference = (target - source)[:, moving] / spread[moving]
    return float(np.sqrt(np.mean(difference**2))) if moving.any() else 0.0


def slot_distances(source: Floats, target: Floats) -> Floats:
    """Return the distance of each slot by itself, in its spread: (slots,); it tells which joints changed."""
    spread = source.std(axis=0)
    gap = np.sqrt(np.mean((target - source) ** 2, axis=0))
    return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)


def explained_variance(predicted: Floats, observed: Floats) -> float:
    """Return 1 - var(observed - predicted) / var(observed) of a critic: 1 is perfect, 0 a constant, below 0 misleading.

    A constant offset counts nothing. NaN where the returns do not vary.

    Args:
        predicted: (states,), value of the source's critic.
        observed: (states,), discounted return that followed on the target.
    """
    spread = float(np.var(observed))
    return float(1 - np.var(observed - predicted) / spread) if spread > 0 else NAN


def decodability(features: Floats, targets: Floats, episodes: Sequence[int] | Floats) -> float:
    """Return the R^2 on held-out episodes of a ridge regression from features: 1 is perfect, 0 no better than the mean.

    Two folds of whole episodes, because states of one episode resemble each other; of the penalties, the one that does
    best on both. It may be below 0.

    Args:
        features: (states, features), of one layer.
        targets: (states,) or (states, values), what the layer should tell, such as the return to go.
        episodes: (states,), the episode of each state.

    Raises:
        ValueError: fewer than two episodes.
    """
    names = np.asarray(episodes)
    distinct = np.unique(names)
    if len(distinct) < 2:
        raise ValueError(f"{len(distinct)} episodes; two are needed, one to fit and one to hold out")
    values = targets.reshape(len(targets), -1)
    even = np.isin(names, distinct[::2])
    errors = np.zeros(len(PENALTIES))
    total = 0.0
    for fold in (even, ~even):
        errors += _held_out(features[fold], values[fold], features[~fold], values[~fold])
        total += float(((values[~fold] - values[fold].mean(axis=0)) ** 2).sum())
    return float(1 - errors.min() / total) if total > 0 else NAN


def _held_out(features: Floats, values: Floats, others: Floats, truth: Floats) -> Floats:
    """Return the squared error on other states for each penalty: (penalties,)."""
    centre, scale = features.mean(axis=0), features.std(axis=0)
    usable = scale > 1e-12
    x, x_held_out = ((array[:, usable] - centre[usable]) / scale[usable] for array in (features, others))
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    middle = values.mean(axis=0)
    inner = left.T @ (values - middle)
    guesses = [
        middle + x_held_out @ (right.T @ ((singular / (singular**2 + penalty * len(x) / 100))[:, None] * inner))
        for penalty in PENALTIES
    ]
    return np.array([((truth - guess) ** 2).sum() for guess in guesses])


def freeze_depth(layers: Sequence[float], tolerance: float = TOLERANCE) -> int:
    """Return how many trunk layers may be held: the deepest whose decodability keeps up with the observation's.

    Args:
        layers: R^2 from the observation, then from each trunk layer in order.
        tolerance: how much may be lost.
    """
    depth = 0
    for layer, score in enumerate(layers[1:], start=1):
        if not score >= layers[0] - tolerance:
            break
        depth = layer
    return depth


def suggest(probes: Probes) -> Suggestion:
    """Return the method that the rules name for a pair, with the rule in words: a hypothesis, see `RULES_BEAT`."""
    depth = freeze_depth(probes.layers) if probes.layers else 0
    evidence = f"zero-shot {probes.zero_shot:.2f}"
    if math.isnan(probes.zero_shot):
        return Suggestion("finetune", depth, "zero-shot return unknown: fine-tuning is the method that assumes least")
    if probes.zero_shot > NEAR:
        return Suggestion("finetune", depth, f"{evidence} > {NEAR}: the policy works already, keep all of it")
    if probes.zero_shot >= SOME:
        critic = "" if math.isnan(probes.critic) else f", critic's explained variance {probes.critic:.2f}"
        return Suggestion(
            "critic-warmup",
            depth,
            f"{SOME} <= {evidence} <= {NEAR}{critic}: warm the critic up before the actor moves",
        )
    if probes.layers and max(probes.layers[1:], default=-math.inf) > probes.layers[0]:
        rule = f"{evidence} < {SOME}, and layers tell more than the observation: keep the features, not the behaviour"
        return Suggestion("feature-extraction", depth, rule)
    if probes.critic < 0:
        return Suggestion(
            "scratch", 0, f"{evidence} < {SOME} and the critic misleads ({probes.critic:.2f}): start afresh"
        )
    return Suggestion("scratch", 0, f"{evidence} < {SOME} and no layer tells more than the observation: start afresh")


def prediction(pairs: Sequence[Pair], generator: np.random.Generator, replicates: int = 10_000) -> Estimate:
    """Return Spearman's rank correlation of a probe with the measured log speed-up over pairs; null or not.

    Ranks are those among the pairs of one robot, as shares of their number: that one robot gains more than another, and
    has greater probes, says nothing of which shift of a robot can be learned sooner, and would pass for it.

    The unit is the pair of source and target, not the run. The interval is a bootstrap over the pairs of each robot, on
    Fisher's scale; p is that of all arrangements within robots, as `permutation_p` has it. Below eight pairs, and one
    more for each further robot, there is no interval. With 18 pairs it must exceed about 0.47 to reach 0.05.

    Args:
        pairs: those with a finite probe and speed-up count, of which their robot has two.
        generator: of the resamples.
        replicates: number of resamples.
    """
    robots = _robots(pairs)
    n, freedom = sum(map(len, robots)), sum(map(len, robots)) - len(robots) - 1
    rho = (
        float(_correlations(robots, [np.ones((1, len(robot_pairs))) for robot_pairs in robots])[0])
        if freedom > 0
        else NAN
    )
    if not math.isfinite(rho):
        return Estimate(n=n)
    p = permutation_p(robots)
    if freedom < FEWEST_PAIRS - 2:
        return Estimate(value=rho, p=p, n=n)
    sizes = [len(robot_pairs) for robot_pairs in robots]
    counts = [generator.multinomial(size, np.full(size, 1 / size), replicates).astype(float) for size in sizes]
    most = 1 - 12 / (n * (n * n - 1))  # half a rank swap short of 1, which has no place on Fisher's scale
    spread = float(np.nanstd(np.arctanh(np.clip(_correlations(robots, counts), -most, most))))
    centre = math.atanh(min(most, max(-most, rho)))
    half = float(stats.t.ppf(0.975, freedom)) * max(spread, 1 / math.sqrt(n))
    return Estimate(value=rho, low=math.tanh(centre - half), high=math.tanh(centre + half), p=p, n=n)


def leave_one_out(pairs: Sequence[Pair]) -> tuple[float, float]:
    """Return the least and the greatest rank correlation when one pair is left out: whether one pair carries it."""
    robots = _robots(pairs)
    if sum(map(len, robots)) < 4:
        return NAN, NAN
    left = 1 - np.eye(sum(map(len, robots)))
    correlations = _correlations(
        robots, np.split(left, np.cumsum([len(robot_pairs) for robot_pairs in robots])[:-1], axis=1)
    )
    return float(correlations.min()), float(correlations.max())


def _robots(pairs: Sequence[Pair]) -> list[Floats]:
    """Return the pairs that count by robot: (pairs, 2) each."""
    pairs_by_robot: dict[str, list[tuple[float, float]]] = {}
    for pair in pairs:
        if math.isfinite(pair.probe) and math.isfinite(pair.log_speed_up):
            pairs_by_robot.setdefault(pair.robot, []).append((pair.probe, pair.log_speed_up))
    return [np.array(robot_pairs) for robot_pairs in pairs_by_robot.values() if len(robot_pairs) > 1]


def _correlations(robots: Sequence[Floats], counts: Sequence[Floats]) -> Floats:
    """Return the rank correlation where each pair counts so often, without copies: (samples,), NaN where constant.

    Args:
        robots: the pairs of each (pairs, 2).
        counts: of each (samples, pairs).
    """
    moments = [
        _moments(robot_pairs, often) / len(robot_pairs) ** 2 for robot_pairs, often in zip(robots, counts, strict=True)
    ]
    product, x, y = np.sum(moments, axis=0)
    size = np.sqrt(x * y)
    return np.divide(product, size, out=np.full(len(product), np.nan), where=size > 0)


def _moments(robot_pairs: Floats, counts: Floats) -> Floats:
    """Return the sums of the ranks' products and of their squares (3, samples), each rank from its sample's mean."""
    middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
    x, y = (_ranks(counts, column) - middle for column in robot_pairs.T)
    return np.stack([(counts * product).sum(axis=1) for product in (x * y, x * x, y * y)])


def _ranks(counts: Floats, values: Floats) -> Floats:
    """Return the rank of each value among those drawn so often; ties share their mean: (replicates, values)."""
    distinct, place = np.unique(values, return_inverse=True)
    often = counts @ (place[:, None] == np.arange(len(distinct)))  # (replicates, distinct values)
    return (np.cumsum(often, axis=1) - (often - 1) / 2)[:, place]


def permutation_p(robots: Sequence[Floats]) -> float:
    """Return the two-sided p of a rank correlation within robots: the share of arrangements at least as far from 0.

    Only pairs of one robot change places, since only their ranks are comparable. All arrangements are counted up to
    `MOST_ARRANGEMENTS`; beyond, that many are drawn, and p is never below one of them (Phipson & Smyth 2010). NaN below
    `FEWEST_ARRANGEMENTS`, of which none could reach 0.05.

    Args:
        robots: the pairs of each, (pairs, 2).
    """
    arrangements = math.prod(math.factorial(len(pairs)) for pairs in robots)
    if arrangements < FEWEST_ARRANGEMENTS:
        return NAN
    blocks = [_centred_ranks(pairs) for pairs in robots]
    observed = abs(sum(float(x @ y) for x, y in blocks)) - 1e-12
    if arrangements <= MOST_ARRANGEMENTS:
        sums = np.zeros(1)
        for x, y in blocks:
            orders = np.array(list(permutations(range(len(y)))))
            sums = (sums[:, None] + y[orders] @ x).ravel()
        return float(np.mean(np.abs(sums) >= observed))
    generator = np.random.default_rng(0)  # the same pairs give the same p
    drawn = sum(generator.permuted(np.tile(y, (MOST_ARRANGEMENTS, 1)), axis=1) @ x for x, y in blocks)
    return float((np.sum(np.abs(drawn) >= observed) + 1) / (MOST_ARRANGEMENTS + 1))


def _centred_ranks(pairs: Floats) -> tuple[Floats, Floats]:
    """Return the ranks of both columns from their mean, as shares of the number of pairs: (pairs,) each."""
    ranks = (stats.rankdata(pairs, axis=0) - (len(pairs) + 1) / 2) / len(pairs)
    return ranks[:, 0], ranks[:, 1]
