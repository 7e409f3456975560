"""Repairs of two packages that MuJoCo 4 broke: each acts while its fault is there, on versions that it knows.

A fault is looked for by calling the broken function on a model of a few lines, never by a version alone. A repair whose
fault is gone does nothing; `trl-suite doctor` says so, and a test then asks that it be deleted from this file.
"""

import importlib
from collections.abc import Callable
from functools import cache
from importlib import metadata
from types import SimpleNamespace
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import NotInstalledError

_HINGE = "<mujoco><worldbody><body><joint name='hinge'/><geom size='1'/></body></worldbody></mujoco>"
_WELD = """<mujoco>
<worldbody><body name='a' mocap='true'/><body name='b'><freejoint/><geom size='1'/></body></worldbody>
<equality><weld body1='a' body2='b'/></equality></mujoco>"""
_JOINT_TYPES = ("mjJNT_FREE", "mjJNT_BALL", "mjJNT_SLIDE", "mjJNT_HINGE")
_MUJOCO: Any = mujoco  # whose stubs lack a part
_RESET_WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)  # Meta-World's own numbers


class Repair(NamedTuple):
    """A package's fault under MuJoCo 4, and what mends it."""

    distribution: str
    versions: tuple[str, ...]  # on which the repair has been tried
    fault: str  # in words
    is_broken: Callable[[], bool]
    mend: Callable[[], None]


def repair(package: str) -> str:
    """Mend a package where its fault is there; return what was done in words, "" where nothing is to be done.

    Raises:
        NotInstalledError: the fault is there, in a version that the repair does not know, or is there still afterwards.
    """
    fix = REPAIRS.get(package)
    return "" if fix is None else _repaired(fix)


@cache
def _repaired(fix: Repair) -> str:
    if not fix.is_broken():
        return f"{fix.fault}: gone, the repair is not needed any more"
    version = metadata.version(fix.distribution)
    advice = f"pip install --no-deps {fix.distribution}=={fix.versions[-1]}"
    if version in fix.versions:
        fix.mend()
        if not fix.is_broken():
            return f"{fix.fault}: mended, in {version}"
    raise NotInstalledError(
        f"{fix.distribution} {version} fails on MuJoCo {mujoco.mj_versionString()} ({fix.fault}), and is mended in "
        f"{', '.join(fix.versions)} alone: {advice}"
    )


def _robotics() -> Any:
    return importlib.import_module("gymnasium_robotics.utils.mujoco_utils")


def _joint_type_is_unknown() -> bool:
    """Whether gymnasium-robotics does not know the type of a hinge: NumPy's 3 is none of MuJoCo's joint types."""
    model = mujoco.MjModel.from_xml_string(_HINGE)
    try:
        _robotics().get_joint_qpos(model, mujoco.MjData(model), "hinge")
    except AssertionError:
        return True
    return False


class _MujocoOfNumbers:
    """MuJoCo's module, with joint types as plain numbers, which NumPy's equal from either side."""

    mjtJoint = SimpleNamespace(  # noqa: N815  MuJoCo's name
        **{name: int(getattr(mujoco.mjtJoint, name)) for name in _JOINT_TYPES}
    )

    def __getattr__(self, name: str) -> Any:
        return getattr(mujoco, name)


def _number_joint_types() -> None:
    _robotics().mujoco = _MujocoOfNumbers()


def _sawyer() -> Any:
    return importlib.import_module("metaworld.sawyer_xyz_env").SawyerMocapBase


def _weld_is_longer() -> bool:
    """Whether Meta-World writes eleven numbers over a weld's, of which MuJoCo 4 has twelve."""
    model = mujoco.MjModel.from_xml_string(_WELD)
    try:
        _sawyer().reset_mocap_welds(SimpleNamespace(model=model, data=mujoco.MjData(model)))
    except ValueError:
        return True
    return False


def _reset_mocap_welds(env: Any) -> None:
    """Write the first eleven numbers of each weld, as Meta-World does; the twelfth stays."""
    welds = np.flatnonzero(env.model.eq_type == int(_MUJOCO.mjtEq.mjEQ_WELD)) if env.model.nmocap else ()
    for weld in welds:
        env.model.eq_data[weld, : len(_RESET_WELD)] = _RESET_WELD


def _shorten_weld() -> None:
    _sawyer().reset_mocap_welds = _reset_mocap_welds


REPAIRS = {
    "gymnasium_robotics": Repair(
        "gymnasium-robotics", ("1.4.2",), "its joint types are no numbers", _joint_type_is_unknown, _number_joint_types
    ),
    "metaworld": Repair("metaworld", ("3.1.1",), "its welds have eleven numbers", _weld_is_longer, _shorten_weld),
}
"""Imported name of a package -> its repair."""
