"""A first `env.toml` for a model: slots, reward, end and camera are read off it, and comments say what to change.

A robot that stands free is paid for running, another for moving its outermost body; a plain start, and no task yet.
"""

import itertools
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
import tomli_w
from numpy.typing import NDArray

from trl_suite import tables
from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import Block, EnvSpec, Spread, Start, Term
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.model.outside_models import FILE_PREFIX
from trl_suite.worlds.stepping.task import BoundTask, nominal_state
from trl_suite.worlds.terms.sensors import BALL, FREE, HINGE, QUANTITIES, SLIDE, NamedScalar, controls, reading, single

CONTROL_SECONDS = 0.02  # length of a control step that the table aims at
EPISODE_STEPS = 1000
RANDOM_STEPS = 200  # physics steps of random control, by which the body that moves most is found
FULL_EFFORT_COST = 0.1  # of the reward in a step of full control on all actuators
SETTLING_SECONDS = 0.25  # in which a robot that starts in the air comes down
LOWEST_SHARE = 0.5  # of its height over its lowest geom, below which a free robot counts as fallen
LINE_CHARACTERS = 110
VARIANTS: dict[str, dict[str, Any]] = {  # those that apply are written into the table
    "gravity-1.5": {"gravity": 1.5},
    "mass-1.5": {"mass": 1.5},
    "friction-0.5": {"friction": 0.5},
    "damping-2.0": {"damping": 2.0},
    "gear-0.5": {"gear": 0.5},
    "inverted-actions": {"action_inversion": True},
}
_NOTHING = Spread(spread=0.0, shape="uniform")

Floats = NDArray[np.float64]


class FirstTable(NamedTuple):
    """A table as text, but for its variants, with what its author should know."""

    text: str
    notes: tuple[str, ...]

    def with_variants(self, names: Iterable[str]) -> str:
        """The whole table, with those of `VARIANTS`."""
        return f"{self.text}\n{_variants(names)}"


class _Base(NamedTuple):
    """The body that a robot stands on the world with, and how far that leaves it free."""

    body: int
    travel: str  # coordinate that grows where it runs ahead: `root.x`; "" where it cannot run
    places: tuple[int, ...]  # addresses of the coordinates that only say where it is on the ground
    falls: bool  # whether it can come nearer to the ground


def compiled_model(path: str) -> mujoco.MjModel:
    """The model of an MJCF file, with names for all of its parts.

    Raises:
        InputError: it is unsafe, wrong, or nothing can be learned on it.
    """
    spec = EnvSpec(
        title="", about="", model=f"{FILE_PREFIX}{path}", version=0, frame_skip=1, episode_steps=1,
        observation=(Block(kind="position", of=("*",)),), reward=(Term(term="effort", weight=-1.0),),
        reset=Start(position=_NOTHING, velocity=_NOTHING),
    )  # fmt: skip
    return compiled(spec, Variation())


def first_table(model: mujoco.MjModel, name: str, file: str) -> FirstTable:
    """First table of a model: `file` is its MJCF beside the table.

    Raises:
        InputError: no table of this kind fits the model.
    """
    base = _base(model)
    keyframe = _keyframe(model)
    frame_skip = max(1, round(CONTROL_SECONDS / model.opt.timestep))
    parts = [
        _head(model, name, file, frame_skip),
        _observation(model, base),
        _reward(model, base, keyframe),
        _healthy(model, base, keyframe),
        _reset(keyframe),
        _camera(model, base, keyframe),
    ]
    text = "\n".join(part for part in parts if part)
    BoundTask(tables.convert(tables.parse(text, name), EnvSpec, name), model)
    return FirstTable(text, tuple(_notes(model)))


def _notes(model: mujoco.MjModel) -> list[str]:
    unlimited = [model.actuator(index).name for index in range(model.nu) if not model.actuator_ctrllimited[index]]
    if not unlimited:
        return []
    return [f"no ctrlrange: {', '.join(unlimited)}. Training refuses an action without limits: give it in the MJCF"]


# --- what the model is ---


def _base(model: mujoco.MjModel) -> _Base:
    roots = [int(model.body_rootid[body]) for body in _driven_bodies(model)] or [min(1, model.nbody - 1)]
    body = max(set(roots), key=lambda root: (roots.count(root), -root))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    driven = set(_driven_joints(model))
    travel, places, falls = "", [], False
    for joint in _joints_of(model, body):
        name, address = model.joint(joint).name, int(model.jnt_qposadr[joint])
        if model.jnt_type[joint] == FREE:
            travel, places, falls = f"{name}.x", [address, address + 1], True
        elif model.jnt_type[joint] == SLIDE and joint not in driven and not model.jnt_limited[joint]:
            axis = data.xaxis[joint]
            if abs(axis[2]) > 0.9:
                falls = True
            else:
                places.append(address)
                travel = travel or (name if axis[0] > 0.9 else "")
    return _Base(body, travel, tuple(places), falls and bool(np.any(model.opt.gravity)))


def _joints_of(model: mujoco.MjModel, body: int) -> range:
    first = int(model.body_jntadr[body])
    return range(first, first + int(model.body_jntnum[body])) if first >= 0 else range(0)


def _driven_joints(model: mujoco.MjModel) -> list[int]:
    """The joints that actuators drive, themselves or by a tendon that is fixed to them."""
    joints: list[int] = []
    for kind, (target, _) in zip(model.actuator_trntype, model.actuator_trnid, strict=True):
        if kind in (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)):
            joints.append(int(target))
        elif kind == int(mujoco.mjtTrn.mjTRN_TENDON):
            first, count = int(model.tendon_adr[target]), int(model.tendon_num[target])
            wraps = range(first, first + count)
            joints += [
                int(model.wrap_objid[i]) for i in wraps if model.wrap_type[i] == int(mujoco.mjtWrap.mjWRAP_JOINT)
            ]
    return joints


def _driven_bodies(model: mujoco.MjModel) -> list[int]:
    bodies = [int(model.jnt_bodyid[joint]) for joint in _driven_joints(model)]
    for kind, (target, _) in zip(model.actuator_trntype, model.actuator_trnid, strict=True):
        if kind == int(mujoco.mjtTrn.mjTRN_SITE):
            bodies.append(int(model.site_bodyid[target]))
        elif kind == int(mujoco.mjtTrn.mjTRN_BODY):
            bodies.append(int(target))
    return [body for body in bodies if body > 0]


def _keyframe(model: mujoco.MjModel) -> str:
    names = [model.key(index).name for index in range(model.nkey)]
    named = [name for name in names if name]
    return "home" if "home" in named else next(iter(named), "")


def _state(model: mujoco.MjModel, keyframe: str) -> mujoco.MjData:
    """The state that episodes start around."""
    data, nominal = mujoco.MjData(model), nominal_state(model, keyframe)
    if nominal.keyframe >= 0:
        mujoco.mj_resetDataKeyframe(model, data, nominal.keyframe)
    mujoco.mj_forward(model, data)
    return data


# --- the parts of the table ---


def _head(model: mujoco.MjModel, name: str, file: str, frame_skip: int) -> str:
    hertz = 1.0 / (frame_skip * model.opt.timestep)
    unit = f"x {1000 * model.opt.timestep:g} ms = {hertz:.4g} Hz control"
    return "\n".join(
        [
            "#:schema ../env.schema.json",
            "# Written by `trl-suite new` from the model: a start, of which each line may be changed.",
            "# All keys, kinds, reward terms and axes: docs/env-table.md of the suite, or `trl-suite schema`.",
            f"title         = {_quoted(name)}   # a robot and its task, in a line",
            f"about         = {_quoted('A first table, written from the model.')}",
            f"model         = {_quoted(file)}",
            "version       = 0      # raise it when the table acts otherwise than before",
            f"frame_skip    = {frame_skip}   # {unit}",
            f"episode_steps = {EPISODE_STEPS}   # {EPISODE_STEPS / hertz:.3g} s",
            "",
            "# Action, slot by slot, from the model's actuators:",
            *(f"#   {line}" for line in _actuators(model)),
            "",
        ]
    )


def _actuators(model: mujoco.MjModel) -> list[str]:
    lines: list[str] = []
    for index, slot in enumerate(controls(model)):
        low, high = model.actuator_ctrlrange[index]
        limits = f"{low:g} to {high:g}" if model.actuator_ctrllimited[index] else "NO RANGE: give it a ctrlrange"
        lines.append(_plain(f"{slot.name}: {limits}, gear {model.actuator_gear[index, 0]:g}"))
    return lines


def _observation(model: mujoco.MjModel, base: _Base) -> str:
    positions = _selected(model, "position", base.places)
    left_out = [place.name for place in QUANTITIES["position"].find(model) if place.address in base.places]
    why = "" if positions == ["*"] or not left_out else f"; without {', '.join(left_out)}: where it runs is no matter"
    return "\n".join(
        [
            _block("position", positions, _plain(f"{_units(model, 'position')}{why}")),
            _block("velocity", _selected(model, "velocity", ()), _units(model, "velocity")),
        ]
    )


def _selected(model: mujoco.MjModel, kind: str, without: Sequence[int]) -> list[str]:
    """The names of all numbers of a kind but some, a joint's own where all of it is read; `*` where names deceive."""
    places = [place for place in QUANTITIES[kind].find(model) if place.address not in without]
    names: list[str] = []
    for joint, grouped in itertools.groupby(places, key=_joint(model)):
        numbers = [place.name for place in grouped]
        names += [joint] if len(numbers) == _size(model, kind, joint) else numbers
    try:
        slots = [slot.name for slot in reading(model, kind, names).slots]
    except InputError:
        slots = []
    return names if slots == [f"{place.name}.{kind}" for place in places] else ["*"]


def _joint(model: mujoco.MjModel) -> Callable[[NamedScalar], str]:
    joints = {model.joint(index).name for index in range(model.njnt)}
    return lambda place: place.name if place.name in joints else place.name.rpartition(".")[0]


def _size(model: mujoco.MjModel, kind: str, joint: str) -> int:
    kinds = {FREE: (7, 6), BALL: (4, 3), SLIDE: (1, 1), HINGE: (1, 1)}
    return kinds[int(model.joint(joint).type[0])][0 if kind == "position" else 1]


def _units(model: mujoco.MjModel, kind: str) -> str:
    return ", ".join(dict.fromkeys(place.unit for place in QUANTITIES[kind].find(model)))


def _block(kind: str, names: Sequence[str], comment: str) -> str:
    listed = textwrap.wrap(", ".join(map(_quoted, names)), LINE_CHARACTERS, break_long_words=False,
                           break_on_hyphens=False)  # fmt: skip
    of = f"[{listed[0]}]" if len(listed) == 1 else "[\n    " + "\n    ".join(listed) + ",\n]"
    return f"[[observation]]\nkind = {_quoted(kind)}   # {comment}\nof   = {of}\n"


def _reward(model: mujoco.MjModel, base: _Base, keyframe: str) -> str:
    lines = ["# The reward is the sum of these terms: replace the first by what your task is."]
    term, of, comment = _progress(model, base, keyframe)
    if term:
        lines += [
            "[[reward]]",
            f"term   = {_quoted(term)}   # {comment}",
            f"of     = {_quoted(of)}",
            "weight = 1.0",
            "",
        ]
    if base.falls:
        lines += ["[[reward]]", 'term   = "alive"   # 1 per step while healthy: see below', "weight = 1.0", ""]
    lines += ["[[reward]]", 'term   = "effort"   # sum of the squared action', f"weight = {_effort_weight(model):g}"]
    lines[-1] += f"   # full control of all actuators costs {FULL_EFFORT_COST:g} a step"
    return "\n".join(lines) + "\n"


def _effort_weight(model: mujoco.MjModel) -> float:
    limits = np.where(model.actuator_ctrllimited[:, None].astype(bool), model.actuator_ctrlrange, 1.0)
    full = float((np.abs(limits).max(axis=1) ** 2).sum())
    return float(f"{-FULL_EFFORT_COST / full:.1g}") if full > 0 else -FULL_EFFORT_COST


def _progress(model: mujoco.MjModel, base: _Base, keyframe: str) -> tuple[str, str, str]:
    """Term that pays for motion, what it is of, and a comment; the first of a few that the model has."""
    trail = _random_motion(model, keyframe)
    tip = _outermost(model, base.body)
    moved = trail.places[:, tip].std(axis=0)
    candidates = [("forward", base.travel, "m/s: running")] if base.travel else []
    if moved.max() > 1e-3 * max(model.stat.extent, 1e-9):
        place = f"{model.body(tip).name}.{'xyz'[int(moved.argmax())]}"
        candidates.append(("forward_body", place, "m/s: the outermost body, the way that it moves most"))
    candidates += [("forward", name, "rad/s or m/s: the joint that moves most") for name in trail.joints]
    for term, of, comment in candidates:
        try:
            single(model, "place" if term == "forward_body" else "position", of)
        except InputError:  # a name that looks like a pattern
            continue
        return term, of, comment
    return "", "", ""


class _Trail(NamedTuple):
    """Random motion of a model."""

    places: Floats  # of all bodies (steps, bodies, 3), m
    joints: list[str]  # the driven ones of a single number, from that which moves most


def _random_motion(model: mujoco.MjModel, keyframe: str) -> _Trail:
    data, rng = _state(model, keyframe), np.random.default_rng(0)
    limited = model.actuator_ctrllimited.astype(bool)
    low, high = np.where(limited, model.actuator_ctrlrange.T, [[-1.0], [1.0]])
    places, positions = np.zeros((RANDOM_STEPS, model.nbody, 3)), np.zeros((RANDOM_STEPS, model.nq))
    for step in range(RANDOM_STEPS):
        if step % 10 == 0:
            data.ctrl[:] = rng.uniform(low, high)
        mujoco.mj_step(model, data)
        places[step], positions[step] = data.xpos, data.qpos
    spread = np.nan_to_num(positions.std(axis=0))
    scalars = [joint for joint in dict.fromkeys(_driven_joints(model)) if model.jnt_type[joint] in (HINGE, SLIDE)]
    scalars.sort(key=lambda joint: -spread[model.jnt_qposadr[joint]])
    return _Trail(np.nan_to_num(places), [model.joint(joint).name for joint in scalars])


def _outermost(model: mujoco.MjModel, root: int) -> int:
    """The body of a robot that most joints lie before, the last of several."""
    depth = np.zeros(model.nbody, int)
    for body in range(1, model.nbody):
        depth[body] = depth[model.body_parentid[body]] + model.body_jntnum[body]
    return max((body for body in range(model.nbody) if model.body_rootid[body] == root), key=lambda body: depth[body])


def _healthy(model: mujoco.MjModel, base: _Base, keyframe: str) -> str:
    if not base.falls:
        return ""
    data, name = _state(model, keyframe), model.body(base.body).name
    first = float(data.xpos[base.body, 2])
    mujoco.mj_step(model, data, max(1, round(SETTLING_SECONDS / model.opt.timestep)))
    mujoco.mj_forward(model, data)
    height = min(first, float(data.xpos[base.body, 2]))
    low = math.floor(1000 * (height - (1 - LOWEST_SHARE) * _clearance(model, base, data))) / 1000
    return "\n".join(
        [
            "# The episode ends where this is left; without this table it never does.",
            "[[healthy]]",
            'kind  = "place"   # m',
            f"of    = [{_quoted(f'{name}.z')}]   # {first:.3g} at first",
            f"range = [{low:g}, inf]",
            "",
        ]
    )


def _clearance(model: mujoco.MjModel, base: _Base, data: mujoco.MjData) -> float:
    """Height of the robot's base above its lowest geom, in m; a tenth of the robot's extent at least."""
    geoms = np.flatnonzero(model.body_rootid[model.geom_bodyid] == base.body)
    bottoms = data.geom_xpos[geoms, 2] - model.geom_rbound[geoms]
    height = float(data.xpos[base.body, 2])
    return max(height - float(bottoms.min(initial=height)), _extent(model, data)[1] / 10)


def _reset(keyframe: str) -> str:
    start = [f"keyframe = {_quoted(keyframe)}   # of the model: where episodes start"] if keyframe else []
    return "\n".join(
        [
            "# Noise around the first state.",
            "[reset]",
            *start,
            'position = { spread = 0.01, shape = "uniform" }   # m, rad',
            'velocity = { spread = 0.01, shape = "uniform" }   # m/s, rad/s',
            "",
        ]
    )


def _camera(model: mujoco.MjModel, base: _Base, keyframe: str) -> str:
    centre, radius = _extent(model, _state(model, keyframe))
    lines = ["[camera]", f"distance  = {3 * radius:.2g}   # m: three times the robot's extent", "elevation = -20"]
    if base.travel:
        lines.append(f"body      = {_quoted(model.body(base.body).name)}   # that it follows")
    else:
        lines.append(f"lookat    = [{', '.join(f'{x:.2g}' for x in centre)}]   # m")
    return "\n".join(lines) + "\n"


def _extent(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[Floats, float]:
    """Centre and radius of all geoms that do not belong to the world, in m."""
    moving = np.flatnonzero((model.geom_bodyid > 0) & (model.geom_rbound > 0))
    if not len(moving):
        return np.array(model.stat.center), max(float(model.stat.extent), 0.1)
    rbound = model.geom_rbound[moving, None]
    low, high = (data.geom_xpos[moving] - rbound).min(axis=0), (data.geom_xpos[moving] + rbound).max(axis=0)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 0.1)


def _variants(names: Iterable[str]) -> str:
    lines = ["# Named variants: the axes that apply to this model. `trl-suite verify` proves them.", "[variants]"]
    for name in names:
        values = ", ".join(f"{axis} = {json.dumps(value)}" for axis, value in VARIANTS[name].items())
        lines.append(f"{_quoted(name)} = {{ {values} }}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as TOML writes it."""
    return tomli_w.dumps({"text": text}).partition(" = ")[2].strip()


def _plain(text: str) -> str:
    """A text that may stand in a comment: control characters are escaped."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
