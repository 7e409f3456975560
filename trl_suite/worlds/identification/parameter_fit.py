"""Fit of a robot's parameters to a log: `mujoco.sysid` begins, multiple shooting (Bock 1984) ends.

Predictions begin at logged states. Taken as exact, their sensor noise would bias the parameters; so the states at which
predictions begin are fitted too, each segment's for itself. Axes: C segments of H control steps, D measured numbers of
a state at each of their H + 1 rows, S coordinates of a state, P parameters (their logarithms).
"""

import contextlib
import importlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
import mujoco.rollout
import numpy as np
from scipy import stats

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.identification.fit_parameters import FitParameter, variation_of
from trl_suite.worlds.identification.state_log import Floats, StateLog, segments
from trl_suite.worlds.model.compilation import edited_model

HORIZON = 4  # control steps of a segment
SEGMENTS_MIN = 20
DIFFERENCE = 1e-4  # of a parameter's logarithm, by which residuals are differentiated
STATE_DIFFERENCE = 1e-5  # of a coordinate, in units of how much it varies
RESOLUTION = 1e-3  # of a parameter: no interval is narrower on either side, for contacts are solved iteratively
CONDITION_MAX = 1e10  # of the scaled information: beyond it a log does not tell parameters apart
FIRST_ITERATIONS, ITERATIONS_MAX = 6, 25
CONVERGED = 1e-4  # of a parameter's logarithm, or a tenth of its interval's half-width
_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)


class FittedParameter(NamedTuple):
    """A number with its 95 % interval."""

    parameter: FitParameter
    number: float
    low: float
    high: float


class Linearization(NamedTuple):
    """Residuals at a point, and their derivatives."""

    residual: Floats  # (C, (H + 1) D)
    by_state: Floats  # (C, (H + 1) D, S)
    by_parameter: Floats  # (C, (H + 1) D, P)


class Shooting:
    """Segments of a log beside what a model of some parameters predicts from the states at which they begin."""

    def __init__(self, spec: EnvSpec, parameters: Sequence[FitParameter], log: StateLog) -> None:
        if spec.displacement is not None:
            raise InputError(
                "a log of displacements cannot be fitted: log the motors' controls, in an env without them"
            )
        self._spec, self._parameters, self._measured = spec, parameters, log.measured
        model = self._model(np.log([parameter.start for parameter in parameters]))
        starts = segments(log, HORIZON)
        if len(starts) < SEGMENTS_MIN:
            raise InputError(f"the log has {len(starts)} stretches of {HORIZON} control steps; {SEGMENTS_MIN} at least")
        low, high = model.actuator_ctrlrange.T
        controls = np.where(model.actuator_ctrllimited.astype(bool), np.clip(log.actions, low, high), log.actions)
        states = np.concatenate([log.positions, log.velocities], axis=1)
        rows = starts[:, None] + np.arange(HORIZON + 1)
        self._controls = controls[rows[:, :-1]].repeat(spec.frame_skip, axis=1)  # (C, H * frame_skip, actions)
        self._observed = states[rows][..., log.measured]  # (C, H + 1, D)
        self.initial = states[starts]  # (C, S)
        spread = states.std(axis=0)
        self._state_steps = STATE_DIFFERENCE * np.where(spread > 0, spread, 1.0)  # (S,)
        self.scale = np.where(spread > 0, spread, 1.0)[log.measured]  # of each number's residual (D,)

    def residual(self, logarithms: Floats, initial: Floats) -> Floats:
        """Return the differences in units of the scale (B, C, (H + 1) D), from initial states (B, C, S)."""
        model, steps = self._model(logarithms), self._spec.frame_skip
        batch, count, _ = initial.shape
        begun = _states(model, initial.reshape(batch * count, -1))
        controls = np.tile(self._controls, (batch, 1, 1))
        data = mujoco.MjData(model)
        states = np.asarray(mujoco.rollout.rollout(model, [data], initial_state=begun, control=controls)[0])
        rows = np.concatenate([begun[:, None], states[:, steps - 1 :: steps]], axis=1)
        predicted = rows[..., 1 : 1 + model.nq + model.nv][..., self._measured].reshape(batch, count, HORIZON + 1, -1)
        left = (predicted - self._observed) / self.scale
        return np.nan_to_num(left, nan=1e3, posinf=1e3, neginf=-1e3).clip(-1e3, 1e3).reshape(batch, count, -1)

    def linearized(self, logarithms: Floats, initial: Floats) -> Linearization:
        """Return residuals and their derivatives by differences."""
        moves = np.diag(self._state_steps)[:, None]  # (S, 1, S)
        base, *moved = self.residual(logarithms, np.concatenate([initial[None], initial + moves]))
        by_state = (np.array(moved) - base) / self._state_steps[:, None, None]
        by_parameter = [
            (self.residual(logarithms + move, initial[None])[0] - self.residual(logarithms - move, initial[None])[0])
            / (2 * DIFFERENCE)
            for move in np.eye(len(logarithms)) * DIFFERENCE
        ]
        return Linearization(base, np.moveaxis(by_state, 0, 2), np.stack(by_parameter, axis=2))

    def rescale(self, residual: Floats) -> None:
        """Scale each number by what is left of it (C, (H + 1) D): precise ones then count as such."""
        self.scale = self.scale * np.maximum(residual.reshape(-1, len(self.scale)).std(axis=0), 1e-9)

    def _model(self, logarithms: Floats) -> mujoco.MjModel:
        return edited_model(self._spec, variation_of(self._parameters, np.exp(logarithms).tolist()))


def _states(model: mujoco.MjModel, coordinates: Floats) -> Floats:
    """Return full states at positions and velocities (B, S)."""
    data, states = mujoco.MjData(model), np.empty((len(coordinates), mujoco.mj_stateSize(model, _STATE)))
    for row, numbers in zip(states, coordinates, strict=True):
        data.qpos[:], data.qvel[:] = numbers[: model.nq], numbers[model.nq :]
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_getState(model, data, row, _STATE)
    return states


def fit(spec: EnvSpec, parameters: Sequence[FitParameter], log: StateLog) -> list[FittedParameter]:
    """Return the parameters under which the robot moves as the log says, each with its 95 % interval.

    Raises:
        InputError: the log is too short, or does not tell parameters apart.
        NotInstalledError: what `mujoco.sysid` needs is missing.
    """
    sysid = imported_sysid()
    shooting = Shooting(spec, parameters, log)
    logarithms = _begun(sysid, parameters, shooting)
    logarithms, half = _shot(parameters, shooting, logarithms)
    return [
        FittedParameter(parameter, *np.exp([value, value - width, value + width]).tolist())
        for parameter, value, width in zip(parameters, logarithms, half, strict=True)
    ]


def imported_sysid() -> Any:
    """The module `mujoco.sysid`, imported now.

    Raises:
        NotInstalledError: packages that it needs are missing.
    """
    module = importlib.import_module("mujoco.sysid")
    if not hasattr(module, "optimize"):
        raise NotInstalledError("identify needs what mujoco.sysid does: pip install 'trl-suite[sysid]'")
    return module


def _begun(sysid: Any, parameters: Sequence[FitParameter], shooting: Shooting) -> Floats:
    """Return the logarithms that fit best where logged states are taken as exact."""
    unknowns = sysid.ParameterDict()
    for parameter in parameters:
        low, high = np.log(parameter.bounds)
        unknowns.add(sysid.Parameter(parameter.name, float(np.log(parameter.start)), low, high))

    def residuals(numbers: Floats, _: object) -> tuple[list[Floats], None, None]:
        columns = [shooting.residual(column, shooting.initial[None]).ravel() for column in np.atleast_2d(numbers.T)]
        return [np.stack(columns, axis=1) if numbers.ndim == 2 else columns[0]], None, None

    with contextlib.redirect_stdout(io.StringIO()):  # its own table of iterations
        _, result = sysid.optimize(
            unknowns, residuals, optimizer="mujoco", verbose=False, eps=DIFFERENCE, max_iters=FIRST_ITERATIONS
        )
    return np.asarray(result.x, dtype=np.float64).reshape(-1)


def _shot(parameters: Sequence[FitParameter], shooting: Shooting, logarithms: Floats) -> tuple[Floats, Floats]:
    """Return the logarithms that fit best together with the initial states, and half of each 95 % interval."""
    low, high = np.log([parameter.bounds for parameter in parameters]).T
    initial, half = shooting.initial, np.zeros(len(parameters))
    shooting.rescale(shooting.residual(logarithms, initial[None])[0])
    for _ in range(ITERATIONS_MAX):
        linear = shooting.linearized(logarithms, initial)
        pseudo_inverse = np.linalg.pinv(linear.by_state, rcond=1e-8).astype(np.float64)  # (C, S, (H + 1) D)
        # min over x, theta of |r + J_x dx + J_theta dtheta|: dx = -J_x^+ (r + J_theta dtheta), and what J_x cannot
        # explain, r - J_x J_x^+ r, is left to dtheta (variable projection: Golub & Pereyra 1973; Kaufman 1975)
        left = _unexplained(linear.by_state, pseudo_inverse, linear.residual[..., None])[..., 0]
        slopes = _unexplained(linear.by_state, pseudo_inverse, linear.by_parameter)
        move, half = _step(parameters, slopes, left)
        moved = np.clip(logarithms + move.clip(-0.5, 0.5), low, high)
        explained = linear.residual + np.einsum("cnp,p->cn", linear.by_parameter, moved - logarithms)
        initial = initial - np.einsum("csn,cn->cs", pseudo_inverse, explained)
        done = np.all(np.abs(moved - logarithms) < np.maximum(CONVERGED, 0.1 * half))
        logarithms = moved
        if done:
            break
        shooting.rescale(shooting.residual(logarithms, initial[None])[0])
    return logarithms, np.maximum(half, RESOLUTION)


def _unexplained(by_state: Floats, pseudo_inverse: Floats, columns: Floats) -> Floats:
    return columns - by_state @ (pseudo_inverse @ columns)


def _step(parameters: Sequence[FitParameter], slopes: Floats, left: Floats) -> tuple[Floats, Floats]:
    """Return the Gauss-Newton step of the parameters, and half of each 95 % interval, from projected residuals."""
    information = np.einsum("cnp,cnq->pq", slopes, slopes)
    _refuse_indistinct(parameters, information)
    inverse = np.linalg.inv(information)
    scores = np.einsum("cnp,cn->cp", slopes, left)
    # V = C / (C - P) A^-1 (sum_c s_c s_c^T) A^-1 with A = J^T J (Liang & Zeger 1986; Cameron & Miller 2015, eq. 11)
    freedom = max(len(scores) - len(parameters), 1)
    covariance = len(scores) / freedom * inverse @ (scores.T @ scores) @ inverse
    return -inverse @ scores.sum(0), stats.t.ppf(0.975, freedom) * np.sqrt(np.diag(covariance))


def _refuse_indistinct(parameters: Sequence[FitParameter], information: Floats) -> None:
    """Refuse parameters of which the log shows only a combination, or nothing."""
    size = np.sqrt(np.diag(information))
    idle = [parameter.name for parameter, length in zip(parameters, size, strict=True) if length == 0]
    if idle:
        raise InputError(f"--fit: {', '.join(idle)} changes nothing that this log shows")
    values, vectors = np.linalg.eigh(information / np.outer(size, size))
    if values[0] * CONDITION_MAX < values[-1]:
        mixed = [p.name for p, share in zip(parameters, np.abs(vectors[:, 0]), strict=True) if share > 0.2]
        raise InputError(f"--fit: this log does not tell {' and '.join(mixed)} apart: leave one of them out")
