"""Probes of a source policy on a target, before any training: episodes and transitions made, then put into numbers."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from trl_suite.errors import InputError
from trl_suite.evidence.statistics import similarity
from trl_suite.evidence.statistics.similarity import Probes
from trl_suite.networks import activations
from trl_suite.networks.actor import SourceActor, source_actor
from trl_suite.networks.align import Alias, align
from trl_suite.networks.policy import Policy
from trl_suite.training.acting.evaluation import Act, Evaluator, mean_return
from trl_suite.training.acting.paired_steps import PairedSteps, paired
from trl_suite.training.acting.recording import Recording, record
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.reproducibility import seed_for

Floats = npt.NDArray[np.float64]
T = TypeVar("T")
EPISODES_PER_RETURN = 10  # for each return
TRANSITIONS_COMPARED = 1_000  # whose steps are compared
STATES_DECODED_MAX = 2_000  # from which layers are decoded
DEFAULT_GAMMA = 0.99  # where the card tells none


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements of one policy on one target."""

    source_return: float  # return of the policy in the world that it was trained in
    random_return: float  # return of random actions on the target
    target_return: float  # return of the policy on the target, NaN where it cannot act there
    probes: Probes
    joints: dict[str, float]  # distance of the step by joint, in the spread of the source's steps
    notes: tuple[str, ...]  # why a probe could not be made


class _Visit(NamedTuple):
    """A source policy on a target, and the episodes that it made there."""

    actor: SourceActor
    recording: Recording

    @property
    def seen(self) -> Floats:
        """Observations of the source: (steps, its slots)."""
        return self.recording.observations[:, self.actor.observation]


def probe(
    policy: Policy,
    target: str,
    *,
    alias: Alias | None = None,
    episodes: int = EPISODES_PER_RETURN,
    reference: float | None = None,
) -> ProbeReport:
    """Return everything that can be known of a policy on a target without training.

    Args:
        policy: the source.
        target: address of the target.
        alias: names in the target -> names in the source.
        episodes: for each return, at least two.
        reference: return that scores 1 on the target; the policy's own at home where not given.

    Raises:
        InputError: there is no such env, or fewer than two episodes.
    """
    if episodes < 2:
        raise InputError(f"{episodes} episodes: at least 2, because layers are fitted on some and judged on others")
    notes: list[str] = []
    source_return = _return(policy.card.training.env, episodes, lambda seen: policy.predict(seen)[0])
    random_return = _return(target, episodes, _at_random(target))
    visit = _try(notes, "zero-shot, critic and layers", lambda: _visit(policy, target, alias, episodes))
    seed = seed_for(policy.card.training.seed, "home")
    steps = _try(notes, "dynamics", lambda: paired(policy, target, TRANSITIONS_COMPARED, seed))
    probes = Probes(
        zero_shot=_zero_shot(visit, random_return, source_return if reference is None else reference, notes),
        dynamics=similarity.transition_distance(steps.source, steps.target) if steps else math.nan,
        critic=_critic(policy, visit) if visit else math.nan,
        layers=_layers(policy, visit) if visit else (),
    )
    there = float(visit.recording.returns.mean()) if visit else math.nan
    return ProbeReport(
        source_return=source_return,
        random_return=random_return,
        target_return=there,
        probes=probes,
        joints=_joints(steps),
        notes=tuple(notes),
    )


def _return(env: str, episodes: int, act: Act) -> float:
    evaluator = Evaluator(env, episodes)
    try:
        return mean_return(evaluator(act))
    finally:
        evaluator.close()


def _at_random(env: str) -> Act:
    """Return the policy of somebody who has learned nothing: every action is as likely as any other."""
    bounds, generator = spaces_of(env), np.random.default_rng(seed_for(0, "evaluation", 1))
    low, high = (np.nan_to_num(bound, posinf=1.0, neginf=-1.0) for bound in (bounds.action_low, bounds.action_high))
    return lambda seen: generator.uniform(low, high, (len(seen), len(low))).astype(np.float32)


def _try(notes: list[str], what: str, make: Callable[[], T]) -> T | None:
    """Return the result of `make`, or None with a note where the two worlds do not allow it."""
    try:
        return make()
    except InputError as error:
        notes.append(f"no {what}: {error}")
        return None


def _visit(policy: Policy, target: str, alias: Alias | None, episodes: int) -> _Visit:
    interface = spaces_of(target).interface
    actor = source_actor(policy, interface, align(policy.interface, interface, alias))
    return _Visit(actor, record(target, actor.predict, episodes))


def _zero_shot(visit: _Visit | None, random_return: float, reference: float, notes: list[str]) -> float:
    if visit is None:
        return math.nan
    if not reference > random_return:
        notes.append(
            f"no zero-shot: the reference return, {reference:.1f}, is not above random actions' {random_return:.1f}"
        )
        return math.nan
    return similarity.zero_shot(visit.recording.returns, random_return, reference)


def _critic(policy: Policy, visit: _Visit) -> float:
    if policy.card.network.actor_only:
        return math.nan
    gamma = _gamma(policy)
    actions = policy.predict(visit.seen)[0].astype(np.float64)
    values, settled = activations.values(policy, visit.seen, actions), visit.recording.settled(gamma)
    return similarity.explained_variance(values[settled], visit.recording.to_go(gamma)[settled])


def _layers(policy: Policy, visit: _Visit) -> tuple[float, ...]:
    """Return how well the observation and each layer tell the return to come and the change of the observation."""
    gamma, recording = _gamma(policy), visit.recording
    settled = np.flatnonzero(recording.settled(gamma))
    settled = settled[:: -(-len(settled) // STATES_DECODED_MAX)]
    truth = np.column_stack([recording.to_go(gamma), recording.changes])[settled]
    spread = truth.std(axis=0)
    truth = truth[:, spread > 0] / spread[spread > 0]  # each counts alike
    features = activations.trunk(policy, visit.seen[settled])
    return tuple(similarity.decodability(layer, truth, recording.episodes[settled].astype(float)) for layer in features)


def _gamma(policy: Policy) -> float:
    how = policy.card.normaliser
    hyperparameters: Mapping[str, object] = policy.card.training.hyperparameters
    gamma = hyperparameters.get("gamma", how.gamma if how else DEFAULT_GAMMA)
    return float(gamma) if isinstance(gamma, int | float) else DEFAULT_GAMMA


def _joints(steps: PairedSteps | None) -> dict[str, float]:
    if steps is None:
        return {}
    distances = similarity.slot_distances(steps.source, steps.target)
    return {name: float(distance) for name, distance in zip(steps.names, distances, strict=True)}
