"""The axes of the simulator itself: integrator, solver, friction cone and how soft contacts are.

The world is the same; how it is computed differs, as it does between two simulators.
"""

import copy
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.axes.effects import common_limits
from trl_suite.worlds.axes.idle import refuse_disabled, touches

STEPS_COMPARED = 10  # physics steps by which two integrators are told apart
STIFFEST_TIMESTEPS = 2.0  # of a contact's time constant: MuJoCo raises a shorter one to it (refsafe)

_OPTIONS: dict[str, dict[str, Any]] = {
    "integrator": {
        "Euler": mujoco.mjtIntegrator.mjINT_EULER,
        "RK4": mujoco.mjtIntegrator.mjINT_RK4,
        "implicit": mujoco.mjtIntegrator.mjINT_IMPLICIT,
        "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
    },
    "solver": {
        "PGS": mujoco.mjtSolver.mjSOL_PGS,
        "CG": mujoco.mjtSolver.mjSOL_CG,
        "Newton": mujoco.mjtSolver.mjSOL_NEWTON,
    },
    "cone": {"pyramidal": mujoco.mjtCone.mjCONE_PYRAMIDAL, "elliptic": mujoco.mjtCone.mjCONE_ELLIPTIC},
}


def integrator(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: str) -> None:
    """Integrate by another scheme.

    Raises:
        InputError: the model's is that one, or one that moves this model to the same bits.
    """
    _choose("integrator", model, nominal, change)
    if np.array_equal(
        _moved(nominal, int(nominal.opt.integrator)), _moved(nominal, int(_OPTIONS["integrator"][change]))
    ):
        raise InputError(f"{change} moves this model as its own integrator does")


def solver(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: str) -> None:
    """Solve the constraints by another algorithm.

    Raises:
        InputError: the model's is that one, or nothing is to be solved.
    """
    refuse_disabled(nominal, "solver")
    _refuse_without_constraints(nominal)
    _choose("solver", model, nominal, change)


def cone(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: str) -> None:
    """Bound friction by another cone.

    Raises:
        InputError: the model's is that one, or nothing can touch with friction.
    """
    refuse_disabled(nominal, "cone")
    if not touches(nominal):
        raise InputError("no two of its geoms can touch with friction")
    _choose("cone", model, nominal, change)


def contact_softness(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float) -> None:
    """Scale the time constant of all contacts: at 2 a contact gives way for twice as long.

    Raises:
        InputError: nothing can touch, or contacts would be stiffer than the timestep lets them be.
    """
    refuse_disabled(nominal, "contact_softness")
    if not touches(nominal):
        raise InputError("no two of its geoms can touch with friction")
    for element in (*model.geoms, *model.pairs, *model.flexes):
        element.solref = softened(np.array(element.solref), change)
    least = STIFFEST_TIMESTEPS * nominal.opt.timestep
    constants = softened(np.concatenate([nominal.geom_solref, nominal.pair_solref]), change)[:, 0]
    if change < 1 and np.any((constants > 0) & (constants < least)):
        shortest = float(constants[constants > 0].min())
        raise InputError(
            f"a contact's time constant would be {shortest:g} s, and MuJoCo lets none be shorter than "
            f"{STIFFEST_TIMESTEPS:g} timesteps ({least:g} s)"
        )


def softened(solref: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """MuJoCo's (time constant, damping ratio) with a scaled time constant; (..., 2).

    Below 0 the numbers are -stiffness and -damping, which are 1/(timeconst² ratio²) and 2/timeconst: the first falls
    with the square of the scale, the second with the scale.
    """
    factors = np.where(solref[..., :1] > 0, [scale, 1.0], [1.0 / scale**2, 1.0 / scale])
    return np.asarray(solref * factors)


def promise_option(axis: str, model: mujoco.MjModel, change: str) -> None:
    """Write the promised choice into a compiled model."""
    setattr(model.opt, axis, int(_OPTIONS[axis][change]))


def promise_softness(model: mujoco.MjModel, nominal: mujoco.MjModel, change: float) -> None:
    """Write the promised softness of contacts into a compiled model."""
    for field in ("geom_solref", "pair_solref", "flex_solref"):
        getattr(model, field)[:] = softened(getattr(nominal, field), change)


def _choose(axis: str, model: mujoco.MjSpec, nominal: mujoco.MjModel, change: str) -> None:
    if int(_OPTIONS[axis][change]) == int(getattr(nominal.opt, axis)):
        raise InputError(f"its {axis} is {change} already")
    setattr(model.option, axis, _OPTIONS[axis][change])


def _moved(nominal: mujoco.MjModel, scheme: int) -> NDArray[np.float64]:
    """Where a few steps of an integrator take a robot that is thrown at full force, (nq + nv,)."""
    model = copy.copy(nominal)
    model.opt.integrator = scheme
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    mujoco.mj_integratePos(model, data.qpos, rng.uniform(-1, 1, model.nv), 0.3)
    data.qvel[:] = rng.uniform(-1, 1, model.nv)
    limits = common_limits(model, model)
    for _ in range(STEPS_COMPARED):
        data.ctrl[:] = rng.uniform(*limits)
        mujoco.mj_step(model, data)
    return np.concatenate([data.qpos, data.qvel])


def _refuse_without_constraints(nominal: mujoco.MjModel) -> None:
    limited = nominal.jnt_limited.any() or nominal.tendon_limited.any() or nominal.dof_frictionloss.any()
    if not (limited or nominal.neq or touches(nominal)):
        raise InputError("it has no contacts, limits, dry friction or equalities to be solved")
