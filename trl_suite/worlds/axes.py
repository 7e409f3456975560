"""The axes of variation: each is an edit of the model before it is compiled, or of the task.

An edit of a live model would leave what MuJoCo derives from it stale; here the compiler derives everything anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.spec import Change, EnvSpec, Gear, Gravity, Mass, Variation

FORWARD = "forward"  # reward terms of this name, or opening with it, are turned by `direction`


class Axis(NamedTuple):
    """What an axis does, in words for the reader and as an edit of (uncompiled model, nominal model, change)."""

    about: str
    edit: Callable[[mujoco.MjSpec, mujoco.MjModel, Any], None]


def gravity(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gravity) -> None:
    """Scale gravity, or replace its vector (m/s²).

    Raises:
        InputError: nothing in this model can feel it.
    """
    wanted = change if isinstance(change, Gravity) else Gravity(scale=change)
    if wanted.value is not None:
        model.option.gravity = np.array(wanted.value)
    elif not _feels_gravity(nominal):
        raise InputError("no joint feels it")
    else:
        model.option.gravity = nominal.opt.gravity * wanted.scale


def mass(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Mass | tuple[Mass, ...]) -> None:
    """Scale or set the mass of bodies; their inertia follows, and every other body keeps its own.

    The compiled inertias are written out first. Otherwise `settotalmass` (HalfCheetah) would undo a scale
    of all masses without a word, and a body's change would move the mass of all others.

    Raises:
        InputError: a body does not exist, has no mass, or is changed twice.
    """
    changes = _listed(change, Mass)
    bodies = {body.name: body for body in model.bodies if nominal.body_mass[nominal.body(body.name).id] > 0}
    for name, body in bodies.items():
        index = nominal.body(name).id
        body.mass, body.inertia = float(nominal.body_mass[index]), nominal.body_inertia[index]
        body.ipos, body.iquat = nominal.body_ipos[index], nominal.body_iquat[index]
        body.explicitinertial = True
    model.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    model.compiler.settotalmass = -1
    for name, wanted in _assigned("body", [(one.body, one) for one in changes], bodies):
        scale = _scale(wanted, bodies[name].mass)
        bodies[name].mass *= scale
        bodies[name].inertia = bodies[name].inertia * scale


def friction(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Change) -> None:
    """Scale the friction of everything, or set the sliding friction of everything.

    MuJoCo takes the larger coefficient of the two geoms that touch, so robot and floor change together.

    Raises:
        InputError: nothing in this model can touch with friction.
    """
    if not _touches(nominal):
        raise InputError("no two of its geoms can touch with friction")
    wanted = change if isinstance(change, Change) else Change(scale=change)
    for element in (*model.geoms, *model.pairs):
        if wanted.scale is not None:
            element.friction = element.friction * wanted.scale
        else:
            sliding = 1 if len(element.friction) == 3 else 2  # a pair has two tangential coefficients
            element.friction = np.concatenate((np.full(sliding, wanted.value), element.friction[sliding:]))


def gear(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gear | tuple[Gear, ...]) -> None:
    """Scale or set the gear of actuators: the force (N, N m) per unit of control.

    Raises:
        InputError: an actuator does not exist, or is changed twice.
    """
    actuators = {actuator.name: actuator for actuator in model.actuators}
    named = [(one.actuator, one) for one in _listed(change, Gear)]
    for name, wanted in _assigned("actuator", named, actuators):
        actuators[name].gear = actuators[name].gear * _scale(wanted, actuators[name].gear[0])


def direction(spec: EnvSpec, sign: int) -> EnvSpec:
    """Return the task that pays for running the other way where `sign` is -1.

    Raises:
        InputError: no term of the reward pays for running.
    """
    if not any(_pays_for_running(term.term) for term in spec.reward):
        raise InputError("no term of its reward pays for running")
    turned = tuple(
        msgspec.structs.replace(term, weight=term.weight * sign) if _pays_for_running(term.term) else term
        for term in spec.reward
    )
    return msgspec.structs.replace(spec, reward=turned)


MODEL: dict[str, Axis] = {
    "gravity": Axis("gravity", gravity),
    "mass": Axis("mass and inertia of the bodies", mass),
    "friction": Axis("friction of robot and floor", friction),
    "gear": Axis("force per unit of control", gear),
}
TASK: dict[str, Callable[[EnvSpec, Any], EnvSpec]] = {"direction": direction}


def edit_model(model: mujoco.MjSpec, nominal: mujoco.MjModel, variation: Variation) -> None:
    """Apply the axes that change the model; `nominal` is the model compiled without them.

    Raises:
        InputError: an axis does not apply to this model.
    """
    for name, change in variation.axes():
        if name in MODEL:
            try:
                MODEL[name].edit(model, nominal, change)
            except InputError as error:
                raise InputError(f"{name} does not apply: {error}") from None


def edit_task(spec: EnvSpec, variation: Variation) -> EnvSpec:
    """Return the task under the axes that change it.

    Raises:
        InputError: an axis does not apply to this task.
    """
    for name, change in variation.axes():
        if name in TASK:
            try:
                spec = TASK[name](spec, change)
            except InputError as error:
                raise InputError(f"{name} does not apply: {error}") from None
    return spec


def _pays_for_running(term: str) -> bool:
    return term.startswith(FORWARD)


def _listed(change: Any, kind: type[Any]) -> tuple[Any, ...]:
    if isinstance(change, tuple):
        return change
    return (change if isinstance(change, kind) else kind(scale=change),)


def _assigned(kind: str, named: Sequence[tuple[str, Any]], known: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return (element, change) pairs; an unnamed change stands for all elements."""
    pairs = [(one, change) for name, change in named for one in ([name] if name else known)]
    seen: set[str] = set()
    for name, _ in pairs:
        if name not in known:
            raise unknown(kind, name, known)
        if name in seen:
            raise InputError(f"{kind} '{name}' is changed twice")
        seen.add(name)
    return pairs


def _scale(change: Change, nominal: float) -> float:
    return change.scale if change.scale is not None else (change.value or 0.0) / nominal


def _feels_gravity(nominal: mujoco.MjModel) -> bool:
    """Return whether gravity moves any joint, tried in a pose off the symmetric ones."""
    data = mujoco.MjData(nominal)
    data.qpos[:] += 0.1 + 0.01 * np.arange(nominal.nq)
    mujoco.mj_forward(nominal, data)
    return bool(np.abs(data.qfrc_bias).max(initial=0.0) > 1e-9)


def _touches(nominal: mujoco.MjModel) -> bool:
    """Return whether two geoms of different bodies can touch with friction."""
    if nominal.npair:
        return True
    affine = nominal.geom_contype[:, None] & nominal.geom_conaffinity[None, :]
    rough = np.maximum(nominal.geom_condim[:, None], nominal.geom_condim[None, :]) > 1
    apart = nominal.geom_bodyid[:, None] != nominal.geom_bodyid[None, :]
    return bool((((affine | affine.T) != 0) & rough & apart).any())
