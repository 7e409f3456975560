"""A method tried on blank networks: what a run would refuse before its first step is refused in milliseconds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.freeze_schedule import FreezeSchedule
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.packing import owners_after
from trl_suite.mechanisms.rate import factors
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.networks.card import Training
from trl_suite.networks.components import REPLAY, Components, select
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_OWNERS
from trl_suite.training.cohort.member_start import moments_of, policy_of, start
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.settings import Evaluation
from trl_suite.training.training_run import TrainingRun

REHEARSED_WIDTH_MAX = 256  # units of a layer: the fit of two networks of equal widths does not depend on them
_LEAST = {"n_envs": 1, "n_steps": 2, "batch_size": 2, "buffer_size": 2}  # of which a blank learner takes no memory


@dataclass(frozen=True, kw_only=True)
class _BlankLearner:
    """A learner before its first step; see `mechanisms.mechanism.MethodLearner`."""

    where: str
    steps: int
    fresh: Components
    blank: Components
    env: str
    source: Policy | None

    def components(self) -> Components:
        """Return the components."""
        return self.blank

    def restart(self, components: Collection[str]) -> None:
        """Nothing: it has no optimizer state."""

    def mask(self, masks: Components) -> None:
        """Nothing: it learns nothing."""


def blank_source(env: str, hyperparameters: Hyperparameters, remembers: Sequence[str]) -> Policy:
    """Policy that a source's training begins with, with what it keeps beside its weights, the replay apart."""
    small, training = _small(hyperparameters), Training(env=env, seed=0, steps=0)
    names = [name for name in remembers if name != REPLAY]
    if find(hyperparameters.algorithm).no_cohort:
        model = sb3.build(env, small, 0)
        return replace(sb3.policy_of(model, training), memory=source_memory.selected(model, names))
    run = TrainingRun(env=env, hyperparameters=small, seed=0, steps=1, evaluation=Evaluation())
    begun = start(run, spaces_of(env))
    memory = moments_of(begun.memory)
    chosen_names = select(names, begun.memory, "keep")
    policy = policy_of(small, spaces_of(env), begun.components, training)
    return replace(policy, memory={name: memory[name] for name in chosen_names})


def packed_source(source: Policy, method: Method, stages: int) -> Policy:
    """Return a blank source of which so many stages of a sequence own weights."""
    assert method.packing is not None
    owners = owners_after(method.packing, method.heads, source.components, stages)
    return replace(source, memory={**source.memory, STAGE_OWNERS: owners})


def rehearse(run: TrainingRun) -> None:
    """Do what the run's method does before its first step, on a blank network; a replay is left out.

    Raises:
        InputError: the method names what source or target do not have, does not fit them, or leaves nothing to learn.
    """
    if compress := run.definition.compress:
        compress.begins(run.steps, run.hyperparameters.rollout, f"method '{run.method}'")
    run = replace(run, definition=_without_replay(run.definition), hyperparameters=_small(run.hyperparameters))
    method = run.definition
    if find(run.hyperparameters.algorithm).no_cohort or methods.refusal(
        "cohort", method, run.hyperparameters.algorithm
    ):
        model = sb3.build(run.env, run.hyperparameters, 0)
        fresh = methods.fresh_values(method, sb3.components_of(model))
        record = implant(run.source, model, run.method, method, run.alias, 0)
        blank: Components = sb3.components_of(model)
    else:
        begun = start(run, spaces_of(run.env))
        fresh, record, blank = begun.fresh, begun.record, begun.components
    factors(method.rate, blank)
    schedule = FreezeSchedule(method.thaw, run.steps, record, blank)
    learner = _BlankLearner(
        where=f"method '{run.method}'", steps=run.steps, fresh=fresh, blank=blank, env=run.env, source=run.source
    )
    methods.callbacks(method, learner, schedule.thaws)
    if method.distillation or method.guide_policy:
        run.actor(spaces_of(run.env).interface)


def _small(hyperparameters: Hyperparameters) -> Hyperparameters:
    """Hyperparameters of a network of the same layers that takes no time to make."""
    widths = tuple(min(width, REHEARSED_WIDTH_MAX) for width in hyperparameters.hidden)
    least = {name: value for name, value in _LEAST.items() if hasattr(hyperparameters, name)}
    return msgspec.structs.replace(hyperparameters, hidden=widths, **least)


def _without_replay(method: Method) -> Method:
    """Method without what it does to a replay, which blank networks have none of."""
    method = msgspec.structs.replace(method, task_replay=None)
    if REPLAY not in remembered(method):
        return method
    rest = {key: tuple(name for name in getattr(method, key) if name != REPLAY) for key in ("copy", "freeze")}
    maps = {key: _without(getattr(method, key)) for key in ("keep", "thaw")}
    return msgspec.structs.replace(method, **rest, **maps)


def _without(shares: Mapping[str, Any]) -> dict[str, Any]:
    return {name: share for name, share in shares.items() if name != REPLAY}
