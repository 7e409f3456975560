"""Patterns of an env's table that fit nothing of its robot: refused, unless another robot of the family has it."""

import functools

import msgspec
import mujoco

from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.model.compilation import FAMILY, compiled
from trl_suite.worlds.model.families import FAMILIES
from trl_suite.worlds.stepping.task import BoundTask
from trl_suite.worlds.terms.model_sensors import SINGLE
from trl_suite.worlds.terms.play_joints import seen_joints
from trl_suite.worlds.terms.sensors import UnmatchedPattern, unmatched

TABLES_IN_MEMORY = 64  # of families' envs whose patterns are remembered
Absent = dict[tuple[str, str], UnmatchedPattern]
"""Patterns that fit nothing of a model, by their place in the table and their text."""


def refuse_unmatched(spec: EnvSpec, model: mujoco.MjModel, task: BoundTask, *, shaped: bool) -> None:
    """Refuse each pattern that fits nothing, and each part that reads nothing of the table's own robot.

    A table of a family names what some of its robots have: an arm of seven joints rolls its upper arm.

    Args:
        spec: of the env.
        model: compiled, of this robot.
        task: of the env on that model.
        shaped: whether the robot is another one of the family than the table's own.

    Raises:
        InputError: there is such a pattern or part; the message names the key, the pattern and the nearest name.
    """
    absent = absent_patterns(spec, model, task)
    if absent and spec.model.startswith(FAMILY):
        missing = _absent_from_family(msgspec.msgpack.encode(spec))
        absent = {key: missing[key] for key in absent if key in missing}
    for (place, _), entry in absent.items():
        raise entry.refusal(place)
    for place in () if shaped else (*_idle_motors(spec, model), *task.empty_parts):
        raise InputError(f"{place}: nothing of the model fits; mend the pattern, or take this part out")


def absent_patterns(spec: EnvSpec, model: mujoco.MjModel, task: BoundTask) -> Absent:
    """Patterns of motors, of the displaced hand's joints, and of all that the task reads."""
    joints = [model.joint(index).name for index in seen_joints(model) if int(model.jnt_type[index]) in SINGLE]
    named = {f"motors[{index}].of": motor.of for index, motor in enumerate(spec.motors)}
    if spec.displacement is not None:
        named["displacement.joints"] = spec.displacement.joints
    absent = {
        (place, entry.pattern): entry for place, names in named.items() for entry in unmatched(names, joints, "joints")
    }
    return absent | task.unmatched


def _idle_motors(spec: EnvSpec, model: mujoco.MjModel) -> list[str]:
    """Places of the tables [[motors]] that drive no joint of the model."""
    joints = [model.actuator(index).name for index in range(model.nu)]
    return [
        f"motors[{index}].of"
        for index, motor in enumerate(spec.motors)
        if len(unmatched(motor.of, joints, "joints")) == len(motor.of)
    ]


@functools.lru_cache(maxsize=TABLES_IN_MEMORY)
def _absent_from_family(written: bytes) -> Absent:
    """Patterns of a table that fit nothing of any robot of its family, with the names of the largest one."""
    spec = msgspec.msgpack.decode(written, type=EnvSpec)
    family = FAMILIES[spec.model.removeprefix(FAMILY)]
    absent: Absent | None = None
    for count in range(family.most, family.least - 1, -1):
        try:
            model = compiled(spec, Variation(shape={family.number: count}))
            missing = absent_patterns(spec, model, BoundTask(spec, model))
        except InputError:
            continue  # the table is not of this one: it lacks a joint that is named in full
        absent = missing if absent is None else {key: entry for key, entry in absent.items() if key in missing}
        if not absent:
            break
    return absent or {}
