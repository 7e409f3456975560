"""Parameters that a log is fitted by: an axis of all elements, `damping`, or of one, `damping:thigh_joint`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import mujoco

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.variation import Gear, Joint, Mass, Variation
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.model.compilation import edited_model

FIT_AXES: Mapping[str, tuple[type[Any], str]] = {  # axis -> the change of one element, and the key that names it
    "damping": (Joint, "joint"),
    "armature": (Joint, "joint"),
    "frictionloss": (Joint, "joint"),
    "stiffness": (Joint, "joint"),
    "mass": (Mass, "body"),
    "gear": (Gear, "actuator"),
}
SCALE_BOUNDS = (0.05, 20.0)  # of the nominal value
VALUE_BOUNDS = (1e-3, 100.0)  # in the axis' own unit, where the nominal value is 0
_TRIED = 1.1  # a scale that an axis must take


class FitParameter(NamedTuple):
    """One number that is fitted."""

    name: str  # as it was asked for
    axis: str
    elements: tuple[str, ...]  # () for a scale of all
    form: str  # scale or value

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest number that is tried."""
        return SCALE_BOUNDS if self.form == "scale" else VALUE_BOUNDS

    @property
    def start(self) -> float:
        """Number that the fit begins with."""
        return 1.0 if self.form == "scale" else 0.1

    def changes(self, number: float) -> list[Any]:
        """Return the axis' changes of each element."""
        kind, key = FIT_AXES[self.axis]
        elements = [{key: element} for element in self.elements] or [{}]
        return [kind(**element, **{self.form: number}) for element in elements]


def fit_parameters(spec: EnvSpec, names: Sequence[str]) -> list[FitParameter]:
    """Return the parameters to fit.

    Raises:
        InputError: an axis cannot be fitted, does not apply to the env, or stands twice.
    """
    parameters = [_parameter(spec, name) for name in names]
    if not parameters:
        raise InputError(f"--fit: name what is to be fitted: {', '.join(FIT_AXES)}, or one element: damping:JOINT")
    variation_of(parameters, [parameter.start * _TRIED for parameter in parameters], spec)
    return parameters


def _parameter(spec: EnvSpec, name: str) -> FitParameter:
    axis, _, element = name.partition(":")
    if axis not in FIT_AXES:
        raise unknown("axis", axis, FIT_AXES, "--fit")
    elements = (element,) if element else ()
    scale = FitParameter(name, axis, elements, "scale")
    try:
        variation_of([scale], [_TRIED], spec)
    except InputError:
        joints = elements or _motor_joints(edited_model(spec, Variation()))
        value = FitParameter(name, axis, joints, "value")
        if FIT_AXES[axis][0] is not Joint or not joints:
            raise
        variation_of([value], [value.start], spec)
        return value
    return scale


def variation_of(
    parameters: Sequence[FitParameter], numbers: Sequence[float], spec: EnvSpec | None = None
) -> Variation:
    """Return the variation that the numbers stand for; it is tried on an env where one is given.

    Raises:
        InputError: an element is changed twice, or an axis does not apply to the env.
    """
    by_axis: dict[str, list[Any]] = {}
    for parameter, number in zip(parameters, numbers, strict=True):
        by_axis.setdefault(parameter.axis, []).extend(parameter.changes(number))
    axes: dict[str, Any] = {axis: tuple(changes) for axis, changes in by_axis.items()}
    variation = Variation(**axes)
    if spec is not None:
        edited_model(spec, variation)
    return variation


def _motor_joints(model: mujoco.MjModel) -> tuple[str, ...]:
    """Return the joints that actuators move, of which one value is fitted where none has any."""
    moved = model.actuator_trntype == int(mujoco.mjtTrn.mjTRN_JOINT)
    joints = dict.fromkeys(model.actuator_trnid[moved, 0].tolist())
    return tuple(model.joint(joint).name for joint in joints)
