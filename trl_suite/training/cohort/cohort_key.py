"""Properties that trainings must share to be members of one cohort, and obstacles to being a member."""

import hashlib
from typing import Any, Literal, NamedTuple, cast

import msgspec

from trl_suite.algorithms.hyperparameters import Hyperparameters, OffPolicyHyperparameters, OnPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import Adapter
from trl_suite.networks.components import TARGET
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.cohort.learning import replay_rings
from trl_suite.training.cohort.learning.off_policy import layouts, rows_of, terms_of
from trl_suite.training.cohort.stacked.noise import CHUNK
from trl_suite.training.cohort.stacked.parameter_layout import on_policy, padded
from trl_suite.training.policy_import import spaces_of, trainable_spaces
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.axes.variation import Play
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.domain_pool import domain_pool, size
from trl_suite.worlds.stepping.vector_env import bytes_per_variant, bytes_per_world
from trl_suite.worlds.warp import limits


def obstacle(run: TrainingRun) -> str:
    """Return why a training cannot be a member of a cohort, or `""` if it can; its source may be missing."""
    source_training = run.source_training
    why = {
        "the env is not the suite's own": run.env.startswith(FOREIGN),
        "use_sde: state-dependent exploration (gSDE) is on Stable-Baselines3 alone": getattr(
            run.hyperparameters, "use_sde", False
        ),
        "n_sampled_goal: hindsight goals (HER) are on Stable-Baselines3 alone": getattr(
            run.hyperparameters, "n_sampled_goal", 0
        ),
        "its source has heads or learns dynamics": source_training.heads or source_training.dynamics is not None,
    }
    refused = next((reason for reason, holds in why.items() if holds), find(run.hyperparameters.algorithm).no_cohort)
    return refused or methods.refusal("cohort", run.definition, run.hyperparameters.algorithm)


def cohort_key(run: TrainingRun) -> str:
    """Return a digest that trainings share exactly when they can be members of one cohort.

    Variants of one robot may differ in anything but the slots, the bounds of the actions and the robot itself.
    """
    place = trainable_spaces(run.env)
    common = {
        "env": Address.parse(run.env).env,
        "interface": place.interface.digest(),
        "low": place.action_low,
        "high": place.action_high,
        "algorithm": run.hyperparameters.algorithm,
        "hyperparameters": shared_hyperparameters(run.hyperparameters),
        "steps": (run.head_start, run.steps),
        "evaluation": msgspec.to_builtins(run.evaluation),
        "terms": terms_of(run),
        "adapter": msgspec.to_builtins(run.definition.adapter),
    }
    if joints := _joints_with_play(run.env):
        common["play"] = joints
    if run.training_variants and (joints := _joints_with_play(run.training_variants[0])):
        common["training_play"] = joints  # the same in all worlds of one run: see BatchSpec
    return hashlib.sha256(msgspec.json.encode(common, order="deterministic")).hexdigest()


def _joints_with_play(address: str) -> tuple[str, ...]:
    """Joints to which the axis `backlash` adds one each, "" for all that a motor drives; no batch holds both."""
    place = domain_pool(Address.parse(address)).addresses[0]
    play = place.variation(load(place.env)).backlash
    parts = play if isinstance(play, tuple) else () if play is None else (play,)
    return tuple(sorted(part.joint if isinstance(part, Play) else "" for part in parts))


def shared_hyperparameters(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Hyperparameters in which the members of one cohort agree."""
    table: dict[str, Any] = msgspec.to_builtins(hyperparameters)
    return {key: value for key, value in table.items() if key not in hyperparameters.by_member}


class MemoryNeed(NamedTuple):
    """Bytes that a member takes."""

    host: int
    device: int  # of a GPU; 0 where it learns on the CPU


def bytes_of(run: TrainingRun, physics: Physics = "mujoco") -> int:
    """Return how much memory a member takes altogether: its arrays and the models of its variants, counted."""
    return sum(memory_of(run, physics, "cpu"))


def memory_of(run: TrainingRun, physics: Physics, device: Literal["cpu", "cuda"]) -> MemoryNeed:
    """Return how much memory a member takes, on each side: its arrays and the models of its variants, counted."""
    place, hyperparameters = spaces_of(run.env), run.hyperparameters
    slots, actions = len(place.interface.observation), len(place.interface.action)
    others = hyperparameters.n_envs + run.evaluation.episodes
    if isinstance(hyperparameters, OffPolicyHyperparameters):
        ring = replay_rings.numbers(
            rows_of(hyperparameters, run.total), hyperparameters.n_envs, slots, actions, len(terms_of(run))
        )
        learner = 4 * (ring + _off_policy(hyperparameters, slots, actions, others))
        drawn = 4 * CHUNK * hyperparameters.batch_size * (4 + 2 * actions)
    else:
        rollouts = cast("OnPolicyHyperparameters", hyperparameters)
        learner = 4 * _on_policy(rollouts, slots, actions, others, run.definition.adapter)
        last_observations = rollouts.n_envs * rollouts.n_steps * slots  # of each step, kept where Warp simulates
        learner += 4 * last_observations if physics == "warp" else 0
        drawn = 4 * rollouts.n_envs * rollouts.n_steps * (actions + 2 * rollouts.passes)
    if physics == "warp":
        learner += others * _bytes_per_world(run.env, physics)
        worlds = 0
    else:
        worlds = others * _bytes_per_world(run.env, physics)
    worlds += _models(run) * bytes_per_variant(run.env) if run.training_variants else 0
    # of a GPU's member the host has the worlds of MuJoCo's, and draws this chunk's numbers and the next one's
    return MemoryNeed(worlds + 2 * drawn, learner) if device == "cuda" else MemoryNeed(worlds + learner, 0)


def _models(run: TrainingRun) -> int:
    """Compiled models of the training envs, those of pools counted one by one."""
    return sum(size(address) for address in set(run.training_variants))


def _bytes_per_world(address: str, physics: Physics) -> int:
    """Return the bytes of one env; those of another package are not known, and counted as none."""
    if address.startswith(FOREIGN):
        return 0
    return limits.bytes_per_world(address) if physics == "warp" else bytes_per_world(address)


def _on_policy(
    hyperparameters: OnPolicyHyperparameters, slots: int, actions: int, others: int, adapter: Adapter | None
) -> int:
    """Return how many numbers of four bytes PPO takes; `others` is how many worlds act beside the minibatch."""
    rollout, recorded = hyperparameters.n_envs * hyperparameters.n_steps, slots + actions + 3
    batch = min(hyperparameters.minibatch, rollout)
    copies = 4 if adapter is None else 5  # values, gradient, two moments; and what they are folded to
    parameters = (
        copies * 2 * on_policy(slots, actions, hyperparameters.hidden, adapter, hyperparameters.layer_norm).size
    )
    stored = rollout * (slots + 2 * actions + 3)  # while it is collected
    ordered = rollout * (recorded + padded(recorded))  # by world, and packed
    orders = 2 * 2 * hyperparameters.passes * rollout  # of eight bytes
    # outputs and gradients of actor and critic
    widths = 2 * 2 * (_layer_numbers(hyperparameters) + padded(actions))
    layers = widths * (batch + rollout % batch + others) + padded(slots) * others + batch * padded(recorded)
    return parameters + stored + ordered + orders + layers


def _off_policy(hyperparameters: OffPolicyHyperparameters, slots: int, actions: int, others: int) -> int:
    """Return how many numbers of four bytes SAC or TD3 takes, the ring apart."""
    sizes = {name: layout.rows * layout.size for name, layout in layouts(hyperparameters, slots, actions).items()}
    parameters = sum(size if name.startswith(TARGET) else 4 * size for name, size in sizes.items())
    heads = 2 * padded(actions) if find(hyperparameters.algorithm).log_std == "head" else padded(actions)
    actor, critic = (
        2 * (_layer_numbers(hyperparameters) + heads),
        2 * (_layer_numbers(hyperparameters) + padded(1)),
    )
    # actors here and ahead; both critics, both targets, and the first critic, which TD3's actor follows
    layers = hyperparameters.batch_size * (2 * actor + (2 + 2 + 1) * critic) + others * actor
    # which transitions (in double precision) and the noise of their actions; then a batch and what follows it
    drawn = CHUNK * hyperparameters.batch_size * (4 + 2 * actions) + hyperparameters.batch_size * 3 * (
        slots + actions + 1
    )
    return parameters + layers + drawn


def _layer_numbers(hyperparameters: Hyperparameters) -> int:
    """Return the numbers of a trunk's layers for one row of a batch, with those that a norm keeps for the way back."""
    return sum(map(padded, hyperparameters.hidden)) * (2 if hyperparameters.layer_norm else 1)
