"""What trainings must have in common to be members of one cohort, and what keeps one from being a member."""

import hashlib

import msgspec

from trl_suite.networks.methods import remembered
from trl_suite.training import settings
from trl_suite.training.cohort.layout import Layout, padded
from trl_suite.training.cohort.worlds import Physics
from trl_suite.training.job import Job
from trl_suite.training.library import world
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.batch import bytes_per_world
from trl_suite.worlds.warp import limits


def obstacle(job: Job) -> str:
    """Return why a training cannot be a member of a cohort, or `""` if it can; its source may be missing."""
    method = job.definition
    why = {
        f"{job.how.algorithm.upper()} has no cohort": not isinstance(job.how, settings.PPO),
        "the env is not the suite's own": job.env.startswith(FOREIGN),
        "a guide opens its episodes": method.guide is not None,
        "its method has an adapter": method.adapter is not None,
        f"its method copies {', '.join(sorted(remembered(method)))}": bool(remembered(method)),
        "its source has heads, dynamics or memories": job.upbringing != settings.Upbringing(),
    }
    return next((reason for reason, holds in why.items() if holds), "")


def signature(job: Job) -> str:
    """Return a digest that trainings share exactly when they can be members of one cohort.

    Variants of one robot may differ in anything but the slots, the bounds of the actions and the robot itself.
    """
    place = world(job.env)
    common = {
        "env": Address.parse(job.env).env,
        "interface": place.interface.digest(),
        "low": place.action_low,
        "high": place.action_high,
        "algorithm": job.how.algorithm,
        "how": msgspec.to_builtins(job.how),
        "steps": (job.head_start, job.steps),
        "evaluation": msgspec.to_builtins(job.evaluation),
    }
    return hashlib.sha256(msgspec.json.encode(common, order="deterministic")).hexdigest()


def bytes_of(env: str, how: settings.PPO, evaluation: settings.Evaluation, physics: Physics = "mujoco") -> int:
    """Return how much memory a member takes: its arrays, counted."""
    place = world(env)
    layout = Layout(len(place.interface.observation), len(place.interface.action), how.hidden)
    slots, actions, rollout = layout.observations, layout.actions, how.n_envs * how.n_steps
    batch, others, told = min(how.batch_size, rollout), how.n_envs + evaluation.episodes, slots + actions + 3
    per_world = limits.bytes_per_world(env) if physics == "warp" else bytes_per_world(env)
    parameters = 4 * 2 * layout.size  # values, gradient, two moments
    stored = rollout * (slots + 2 * actions + 3)  # while it is collected
    ordered = rollout * (told + padded(told))  # by world, and packed
    orders = 2 * 2 * how.n_epochs * rollout  # of eight bytes
    widths = 2 * 2 * sum(map(padded, (*how.hidden, actions)))  # outputs and slopes of actor and critic
    layers = widths * (batch + rollout % batch + others) + padded(slots) * others + batch * padded(told)
    return 4 * (parameters + stored + ordered + orders + layers) + others * per_world
