"""The axes that change what is observed, paid for or ended, not how the robot moves."""

from collections.abc import Callable
from typing import Any

import mujoco
from msgspec.structs import replace

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.variation import Region, Timestep
from trl_suite.worlds.env_spec import EnvSpec

FORWARD = "forward"  # reward terms of this name, or opening with it, pay for running
TRACKING = "tracking"  # in their place where a target speed is wanted


def direction(spec: EnvSpec, sign: int) -> EnvSpec:
    """Return the task that pays for running the other way where `sign` is -1.

    Raises:
        InputError: no term of the reward pays for running.
    """
    _refuse_unless_paid_for_running(spec)
    turned = tuple(
        replace(term, weight=term.weight * sign) if _pays_for_running(term.term) else term for term in spec.reward
    )
    return replace(spec, reward=turned)


def target_speed(spec: EnvSpec, speed: float) -> EnvSpec:
    """Return the task that takes away by how much the speed misses the target, instead of paying for speed.

    Raises:
        InputError: no term of the reward pays for running.
    """
    _refuse_unless_paid_for_running(spec)
    terms = tuple(
        replace(
            term,
            term=TRACKING + term.term.removeprefix(FORWARD),
            name=term.label,
            weight=-abs(term.weight),
            target=speed,
        )
        if _pays_for_running(term.term)
        else term
        for term in spec.reward
    )
    return replace(spec, reward=terms)


def reward(spec: EnvSpec, scales: dict[str, float]) -> EnvSpec:
    """Return the task with the weights of some terms scaled.

    Raises:
        InputError: the reward has no such term.
    """
    labels = [term.label for term in spec.reward]
    for name in scales:
        if name not in labels:
            raise unknown("term", name, labels)
    scaled = tuple(replace(term, weight=term.weight * scales.get(term.label, 1.0)) for term in spec.reward)
    return replace(spec, reward=scaled)


def goal(spec: EnvSpec, region: Region) -> EnvSpec:
    """Return the task whose goals are drawn from another box.

    Raises:
        InputError: the task has no goal, or one of other dimensions, or the box holds no allowed goal.
    """
    old = spec.reset.goal
    if old is None:
        raise InputError("the task draws no goal")
    if len(region.low) != len(old.joints):
        raise InputError(f"a goal is {len(old.joints)} numbers: {', '.join(old.joints)}")
    nearest = sum(max(low, 0.0, -high) ** 2 for low, high in zip(region.low, region.high, strict=True)) ** 0.5
    farthest = sum(max(abs(low), abs(high)) ** 2 for low, high in zip(region.low, region.high, strict=True)) ** 0.5
    if (old.within is not None and nearest >= old.within) or (old.beyond is not None and farthest <= old.beyond):
        raise InputError("no goal of this region is allowed: see `within` and `beyond` of the env's goal")
    return replace(spec, reset=replace(spec.reset, goal=replace(old, low=region.low, high=region.high)))


def terminates(spec: EnvSpec, ends: bool) -> EnvSpec:
    """Return the task that an unhealthy robot ends, or does not.

    Raises:
        InputError: nothing is ever unhealthy in it.
    """
    if not spec.healthy:
        raise InputError("it never ends before its time")
    return replace(spec, terminates=ends)


def observe(spec: EnvSpec, visibility: dict[str, bool]) -> EnvSpec:
    """Return the task with named blocks of the observation shown or hidden.

    Raises:
        InputError: there is no such block.
    """
    names = {block.name for block in spec.observation if block.name}
    for name in visibility:
        if name not in names:
            raise unknown("block", name, names)
    blocks = tuple(replace(block, visible=visibility.get(block.name, block.visible)) for block in spec.observation)
    return replace(spec, observation=blocks)


def edit_frame_skip(spec: EnvSpec, change: float | Timestep, model: mujoco.MjModel) -> EnvSpec:
    """Return the task whose control step lasts as long as before on the new timestep, or the steps that are asked for.

    Raises:
        InputError: no whole number of the new steps lasts as long.
    """
    if isinstance(change, Timestep) and change.frame_skip is not None:
        return replace(spec, frame_skip=change.frame_skip)
    timestep = change if isinstance(change, Timestep) else Timestep(scale=change)
    scale = timestep.scale if timestep.scale is not None else None
    steps = spec.frame_skip / scale if scale else 0.0
    if scale is None or abs(steps - round(steps)) > 1e-9:
        raise InputError(f"{spec.frame_skip} old steps are no whole number of new ones: give a frame_skip")
    return replace(spec, frame_skip=round(steps))


TASK: dict[str, Callable[[EnvSpec, Any], EnvSpec]] = {
    "direction": direction,
    "target_speed": target_speed,
    "reward": reward,
    "goal": goal,
    "terminates": terminates,
    "observe": observe,
}


def _pays_for_running(term: str) -> bool:
    return term.startswith(FORWARD)


def _refuse_unless_paid_for_running(spec: EnvSpec) -> None:
    if not any(_pays_for_running(term.term) for term in spec.reward):
        raise InputError("no term of its reward pays for running")
