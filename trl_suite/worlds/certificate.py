"""The machine-checked proof that a variant is what its name says: as a model, in motion, and among its neighbours.

An axis of the reward leaves the motion alone: its certificate is about the reward, and says so in `acts_on`.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite import content
from trl_suite.errors import InputError, unknown
from trl_suite.files import storing, write_atomically
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.axes.model_axes import MODEL, SHAPE
from trl_suite.worlds.axes.promises import fields_of
from trl_suite.worlds.axes.task_axes import TASK
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.identity import identity
from trl_suite.worlds.model.compilation import breaches, edited_model, recompiled
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.terms.play_joints import seen_positions

Floats = NDArray[np.float64]
Acts = Literal["motion", "observation", "reward", "termination", "start", "slots"]
CERTIFICATES_FILE = "certificates.json"  # beside env.toml
DIVERGENCE_STEPS = (1, 10, 100, 1000)
_EPISODES = 10
ROUNDING = 1e-9
RECOMPILING = 1e-5  # relative difference that MuJoCo's rounding in XML may make
_UNLIMITED = 1.0  # how large a control is drawn where the model gives no range
_SHOWN = 3  # elements of a field that a certificate shows


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled field that the variant changes: how many numbers, and the first of them, base and variant."""

    changed: int
    base: tuple[float, ...]
    variant: tuple[float, ...]


class Severity(msgspec.Struct, frozen=True, kw_only=True):
    """The variant among those that change the same more or less: how far it is from the nearest, and in order."""

    among: tuple[str, ...]  # from the least to the most
    nearest: float  # how far the motion (or what is acted on) is from the nearest neighbour's
    ordered: bool


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's return: the mean and its 95 % interval over episodes."""

    mean: float
    low: float
    high: float
    episodes: int


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was computed of a variant, and what of it speaks against the variant."""

    env: str
    variant: str
    digest: str  # of everything that acts: another one, and the certificate speaks of another world
    mujoco: str
    fields: dict[str, Difference]
    recompiled: float  # the largest relative difference between the model and its recompiled XML
    acts_on: Acts
    parted: dict[int, float]  # how far base and variant are apart after so many steps under the same controls
    severity: Severity | None
    random: Return
    problems: tuple[str, ...]

    @property
    def address(self) -> str:
        """The env's address under the variant."""
        return f"{self.env}{'?' if self.env.startswith(FOREIGN) else '.'}{self.variant}"

    @property
    def proved(self) -> bool:
        """Whether nothing speaks against the variant."""
        return not self.problems


def certify(env: str, variant: str) -> Certificate:
    """Return the certificate of a variant, computed now.

    A variant whose compiled model is not what its axes promise is refuted by that alone: it is no world to move in.

    Raises:
        InputError: the env or the variant does not exist, or an axis does not apply.
    """
    spec = load(env)
    if variant not in spec.variants:
        raise unknown("variant", variant, spec.variants, env)
    if refutations := breaches(spec, spec.variants[variant]):
        return _refuted(env, spec, variant, refutations)
    base, varied = RobotEnv(env), RobotEnv(env, variant)
    acts_on = acting(spec, variant)
    random, unstable = _random_episodes(env, variant)
    certificate = Certificate(
        env=env,
        variant=variant,
        digest=digest(env, variant),
        mujoco=mujoco.mj_versionString(),
        fields=differences(base.model, varied.model),
        recompiled=_recompiled(spec, spec.variants[variant], varied.model),
        acts_on=acts_on,
        parted=_parted(base, varied, acts_on),
        severity=_severity(env, spec, variant, acts_on),
        random=random,
        problems=(),
    )
    if certificate.recompiled > RECOMPILING and _recompiled(spec, Variation(), base.model) > RECOMPILING:
        certificate = msgspec.structs.replace(certificate, recompiled=0.0)  # MuJoCo cannot write the base itself
    return msgspec.structs.replace(certificate, problems=tuple(_problems(spec, certificate, unstable)))


def moves(env: str, variant: str) -> bool:
    """Whether a variant's model is what its axes promise, and it parts from the env's within a hundred steps.

    The quick half of a certificate, for variants that keep the slots.

    Raises:
        InputError: the env or the variant does not exist, or an axis does not apply.
    """
    spec = load(env)
    if variant not in spec.variants:
        raise unknown("variant", variant, spec.variants, env)
    if breaches(spec, spec.variants[variant]):
        return False
    first, second = (trace(RobotEnv(env, name), acting(spec, variant), DIVERGENCE_STEPS[2]) for name in (None, variant))
    return bool(np.nan_to_num(np.abs(first - second), nan=np.inf).max() > ROUNDING)


def _refuted(env: str, spec: EnvSpec, variant: str, refutations: Sequence[str]) -> Certificate:
    """Return the certificate of a variant that is not what its axes promise."""
    change = spec.variants[variant]
    axes = ", ".join(axis for axis, _ in change.axes())
    return Certificate(
        env=env,
        variant=variant,
        digest=digest(env, variant),
        mujoco=mujoco.mj_versionString(),
        fields=differences(edited_model(spec, Variation()), edited_model(spec, change)),
        recompiled=0.0,
        acts_on=acting(spec, variant),
        parted={},
        severity=None,
        random=Return(mean=0.0, low=0.0, high=0.0, episodes=0),
        problems=tuple(f"{axes}: {breach}" for breach in refutations),
    )


def write(env: str, certificates: Sequence[Certificate]) -> Path:
    """Store certificates beside the env's table, in place of those of the same variants; return the file.

    Raises:
        InputError: the env is part of the installed suite.
        StorageError: the file cannot be written.
    """
    path = content.find("envs", env) / CERTIFICATES_FILE
    content.refuse_installed(path)
    by_variant = stored(env) | {certificate.variant: certificate for certificate in certificates}
    ordered = {name: by_variant[name] for name in load(env).variants if name in by_variant}
    with storing(path):
        write_atomically(path, msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    return path


def stored(env: str) -> dict[str, Certificate]:
    """Return the certificates that are stored beside the env's table, by variant.

    Raises:
        InputError: there is no such env, or the file is not what `write` writes.
    """
    path = content.find("envs", env) / CERTIFICATES_FILE
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Certificate])
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}") from None


def outdated(env: str) -> list[str]:
    """Variants of an env without a certificate of the world that ships, or whose neighbours have changed since.

    Raises:
        InputError: there is no such env, or its file of certificates is not what `write` writes.
    """
    spec, certificates = load(env), stored(env)

    def valid(variant: str) -> bool:
        certificate = certificates.get(variant)
        if certificate is None or certificate.digest != digest(env, variant):
            return False
        neighbours = tuple(_neighbours(spec, variant))
        among = certificate.severity.among if certificate.severity else ()
        return among == (neighbours if len(neighbours) > 1 else ())

    return [variant for variant in spec.variants if not valid(variant)]


def digest(env: str, variant: str) -> str:
    """Return 16 hex digits of everything that acts in a variant."""
    return address_digest(str(Address.of(env, variant, {})))


def address_digest(address: str) -> str:
    """Return 16 hex digits of everything that acts at an address.

    Raises:
        InputError: there is no such env, variant or axis.
    """
    table = identity(address)
    return hashlib.sha256(msgspec.json.encode(table, order="sorted")).hexdigest()[:16]


def differences(base: mujoco.MjModel, varied: mujoco.MjModel) -> dict[str, Difference]:
    """Return every compiled field in which two models differ."""
    left, right = fields_of(base), fields_of(varied)
    fields: dict[str, Difference] = {}
    for name, value in left.items():
        other = right[name]
        if value.shape != other.shape:
            fields[name] = Difference(changed=-1, base=(float(value.size),), variant=(float(other.size),))
        elif not np.array_equal(value, other):
            where = np.flatnonzero(value.reshape(-1) != other.reshape(-1))
            first_places = where[:_SHOWN]
            before, after = value.reshape(-1)[first_places], other.reshape(-1)[first_places]
            fields[name] = Difference(
                changed=len(where), base=tuple(map(float, before)), variant=tuple(map(float, after))
            )
    return fields


def acting(spec: EnvSpec, variant: str) -> Acts:
    """Return where a variant shows itself: the motion, unless only the task or the senses are changed."""
    axes = {axis for axis, _ in spec.variants[variant].axes()}
    if axes & {"shape", "observe"}:
        return "slots"
    if axes - TASK.keys() - _SENSES:
        return "motion"
    kinds: dict[Acts, set[str]] = {
        "start": {"goal"},
        "observation": _SENSES,
        "termination": {"terminates"},
    }
    for kind, names in kinds.items():
        if axes & names:
            return kind
    return "reward"


_SENSES = {"observation_noise", "observation_mask", "observation_delay"}


def random_return(env: str, variant: str, seed: int = 0, episodes: int = _EPISODES) -> Return:
    """Return the return of a policy that draws its actions uniformly, one episode per world of a batch."""
    return _random_episodes(env, variant, seed, episodes)[0]


def _random_episodes(env: str, variant: str, seed: int = 0, episodes: int = _EPISODES) -> tuple[Return, int]:
    """Return the return of uniformly drawn actions, and of how many episodes MuJoCo called the simulation unstable."""
    batch = RobotVectorEnv(episodes, env, variant=variant or None, autoreset_mode="Disabled")
    batch.reset(seed=seed)
    rng = np.random.default_rng(seed)
    limits: Any = batch.single_action_space
    low = np.where(np.isfinite(limits.low), limits.low, -_UNLIMITED)
    high = np.where(np.isfinite(limits.high), limits.high, _UNLIMITED)
    total, running, unstable = np.zeros(episodes), np.ones(episodes, dtype=bool), 0
    while running.any():
        action = rng.uniform(low, high, (episodes, *limits.shape)).astype(np.float32)
        _, reward, terminated, truncated, infos = batch.step(action)
        total += reward * running
        unstable += int((running & infos.get("sim_unstable", False)).sum())
        running &= ~(terminated | truncated)
    batch.close()
    lowest, highest = interval_of_mean(total, rng)
    return Return(mean=float(total.mean()), low=lowest, high=highest, episodes=episodes), unstable


def breakdowns(unstable: int, episodes: int) -> list[str]:
    """Return the problem of a world in most of whose episodes of random actions the simulation breaks down."""
    if 2 * unstable <= episodes:
        return []
    return [f"no world to learn in: MuJoCo calls {unstable} of {episodes} episodes of random actions unstable"]


def interval_of_mean(values: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean."""
    means = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def trace(world: RobotEnv, acts_on: Acts, steps: int) -> Floats:
    """Return states, observations or rewards of a world under fixed controls (steps, n).

    The controls are shares of each world's own range, some held, so that limits are reached.
    """
    observation, _ = world.reset(seed=0)
    rng = np.random.default_rng(0)
    rows: list[Any] = [seen_positions(world.model, world.data.qpos)] if acts_on == "start" else []
    limits = world.action_limits
    share = np.zeros(limits.shape[1])
    low, high = np.where(np.isfinite(limits), limits, [[-_UNLIMITED], [_UNLIMITED]])
    for step in range(steps):
        if step % 7 in (0, 1, 3):
            share = rng.uniform(-1, 1, len(share))
        observation, reward, terminated, *_ = world.step((low + (high - low) * (share + 1) / 2).astype(np.float32))
        traced: dict[Acts, Any] = {"observation": observation, "reward": [reward], "termination": [terminated]}
        positions = seen_positions(world.model, world.data.qpos)
        rows.append(np.array(traced[acts_on], float) if acts_on in traced else positions)
    return np.array(rows)


def _nearest(env: str, variant: str, among: Sequence[str], acts_on: Acts, steps: int) -> float:
    """Return how far the nearest neighbour is from the variant after so many steps, 0 within rounding."""
    trail = {name: _trail(env, name, digest(env, name), acts_on, steps) for name in among}
    apart = [float(np.nan_to_num(np.abs(trail[variant] - trail[name]).max())) for name in among if name != variant]
    return min(apart) if min(apart) > ROUNDING else 0.0


@functools.lru_cache(maxsize=128)
def _trail(env: str, variant: str, digest: str, acts_on: Acts, steps: int) -> Floats:
    """Return some steps of a variant, kept for its neighbours; the digest tells a changed table apart."""
    return trace(RobotEnv(env, variant), acts_on, steps)


def _parted(base: RobotEnv, varied: RobotEnv, acts_on: Acts) -> dict[int, float]:
    """Return how far two worlds are apart after 1, 10 and 100 steps; after 1000 where they then still are not."""
    if acts_on == "slots":
        return {0: float(len(set(base.interface.observation) ^ set(varied.interface.observation)))}
    distance: dict[int, float] = {}
    for steps in (DIVERGENCE_STEPS[:-1], DIVERGENCE_STEPS[-1:]):
        first, second = (trace(world, acts_on, max(steps)) for world in (base, varied))
        apart = np.nan_to_num(np.abs(first - second).max(axis=1), nan=np.inf)
        distance |= {step: float(apart[:step].max()) for step in steps}
        if max(distance.values()) > ROUNDING:
            break
    return distance


def _recompiled(spec: EnvSpec, variation: Variation, model: mujoco.MjModel) -> float:
    """Return the largest relative difference between a model and what its XML compiles to."""
    try:
        again = recompiled(spec, variation)
    except ValueError:  # MuJoCo does not read what it has written
        return float("inf")
    return relative_difference(model, again)


def relative_difference(model: mujoco.MjModel, other_model: mujoco.MjModel) -> float:
    """Return the largest relative difference of two models' numbers, infinite where they have others."""
    largest, others = 0.0, fields_of(other_model)
    for name, value in fields_of(model).items():
        other = others[name]
        if value.shape != other.shape:
            return float("inf")
        if value.dtype.kind == "f" and value.size and name not in _UNWRITTEN:
            scale = max(1.0, float(np.abs(value).max()))
            largest = max(largest, float(np.abs(value - other).max()) / scale)
    return largest


# an inertia's axes are known up to their sign and order; MuJoCo writes no size that a shape does not have
_UNWRITTEN = {"body_iquat", "geom_size", "site_size"}


def _severity(env: str, spec: EnvSpec, variant: str, acts_on: Acts) -> Severity | None:
    """Return the variant's place among those of the same name but another number."""
    among = _neighbours(spec, variant)
    if len(among) < 2:
        return None
    nearest = _nearest(env, variant, among, acts_on, 100) or _nearest(env, variant, among, acts_on, 1000)
    measured = [_amount(RobotEnv(env, name).model, spec, name) for name in among]
    rising, falling = sorted(set(measured)), sorted(set(measured), reverse=True)
    return Severity(among=tuple(among), nearest=nearest, ordered=measured in (rising, falling))


def _neighbours(spec: EnvSpec, variant: str) -> list[str]:
    """The variants of the same name and axes, itself among them, by their number; none where slots are changed."""
    stem, number = _split(variant)
    if number is None or acting(spec, variant) == "slots":
        return []
    axes = {axis for axis, _ in spec.variants[variant].axes()}
    amounts = {
        name: _split(name)[1] or 0.0
        for name, change in spec.variants.items()
        if _split(name)[0] == stem and {axis for axis, _ in change.axes()} == axes
    }
    return sorted(amounts, key=lambda name: amounts[name])


def _split(variant: str) -> tuple[str, float | None]:
    numbered = re.fullmatch(r"(.*)-(\d+(?:\.\d+)?)", variant)
    return (numbered[1], float(numbered[2])) if numbered else (variant, None)


_AMOUNTS: dict[str, Callable[[mujoco.MjModel], float]] = {
    "gravity": lambda model: float(np.linalg.norm(model.opt.gravity)),
    "mass": lambda model: float(model.body_mass.sum()),
    "friction": lambda model: float(model.geom_friction.sum()),
    "size": lambda model: float(model.geom_size[:, :2].sum()),
    "length": lambda model: float(np.abs(model.geom_size[:, 1]).sum() + 1e-3 * np.abs(model.body_pos).sum()),
    "joint_range": lambda model: float(np.ptp(model.jnt_range, axis=1).sum()),
    "damping": lambda model: float(model.dof_damping.sum() + model.tendon_damping.sum()),
    "stiffness": lambda model: float(model.jnt_stiffness.sum() + model.tendon_stiffness.sum()),
    "armature": lambda model: float(model.dof_armature.sum()),
    "frictionloss": lambda model: float(model.dof_frictionloss.sum() + model.tendon_frictionloss.sum()),
    "gear": lambda model: float((model.actuator_gear.sum(axis=1) * _gain(model)).sum()),
    "control_range": lambda model: float(np.ptp(model.actuator_ctrlrange, axis=1).sum()),
    "fluid": lambda model: float(model.opt.viscosity + 1e-6 * model.opt.density),
    "timestep": lambda model: float(model.opt.timestep),
    "contact_softness": lambda model: float(model.geom_solref[:, 0].sum()),
    "backlash": lambda model: float(np.ptp(model.jnt_range, axis=1).sum()),
    "terrain": lambda model: float(model.hfield_size[:, 2].sum()),
}


def _gain(model: mujoco.MjModel) -> Floats:
    """Return how large each actuator's gains are; a muscle's is its peak force, and the bounds of its length stay."""
    return np.abs(model.actuator_gainprm[:, :3]).sum(axis=1)


def _amount(model: mujoco.MjModel, spec: EnvSpec, variant: str) -> float:
    """Return how much there is, in the compiled model, of what the variant's first axis changes."""
    axis = next(axis for axis, _ in spec.variants[variant].axes())
    return _AMOUNTS[axis](model) if axis in _AMOUNTS else _split(variant)[1] or 0.0


def _problems(spec: EnvSpec, certificate: Certificate, unstable: int) -> list[str]:
    axes = [axis for axis, _ in spec.variants[certificate.variant].axes()]
    problems = breakdowns(unstable, certificate.random.episodes)
    if any(axis in MODEL or axis in SHAPE for axis in axes) and not certificate.fields:
        problems.append("the compiled model is the base's")
    if certificate.recompiled > RECOMPILING:
        problems.append(f"its XML compiles to another model: {certificate.recompiled:g}")
    if max(certificate.parted.values()) <= ROUNDING:
        problems.append(f"its {certificate.acts_on} is the base's")
    if certificate.severity is not None and certificate.severity.nearest <= ROUNDING:
        problems.append("it cannot be told from its neighbour")
    if certificate.severity is not None and not certificate.severity.ordered:
        problems.append(f"{', '.join(certificate.severity.among)} are not ordered")
    return sorted(problems)


def table(rows: Sequence[Certificate]) -> list[dict[str, Any]]:
    """Return certificates as rows of plain values: variant, fields, motion, return, problems."""
    return [
        {
            "variant": certificate.address,
            "fields": ", ".join(certificate.fields) or "-",
            "acts on": certificate.acts_on,
            **{f"parted after {steps}": value for steps, value in certificate.parted.items()},
            "random return": _in_words(certificate.random),
            "problems": "; ".join(certificate.problems) or "none",
        }
        for certificate in rows
    ]


def _in_words(score: Return) -> str:
    return f"{score.mean:.4g} [{score.low:.4g}, {score.high:.4g}]"
