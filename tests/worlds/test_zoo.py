"""Small models with one awkward feature each: every axis is right on each, by plain MuJoCo, or refused in one line."""

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

from tools.site import axis_table
from tools.site.axis_table import CHANGES, SCALE, SOFTNESS, spec_of
from trl_suite.errors import InputError
from trl_suite.worlds.axes.model_axes import MODEL, SHAPE
from trl_suite.worlds.axes.variation import Length, Size, Variation
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.model.compilation import compiled

ZOO = axis_table.models()
EVERY = 8  # in the fast run, one model of so many
MODELS = [pytest.param(path, marks=pytest.mark.slow) if i % EVERY else path for i, path in enumerate(ZOO)]
Check = Callable[[mujoco.MjModel, mujoco.MjModel], bool]


@pytest.fixture(autouse=True)
def _ours(monkeypatch: pytest.MonkeyPatch):
    """These files are ours: no child process looks at them first."""
    monkeypatch.setattr(mjcf, "vet", lambda path: None)


def forces(model: mujoco.MjModel, limits: mujoco.MjModel) -> np.ndarray:
    """What the actuators do to the joints off the first state, under controls that both models allow."""
    data = mujoco.MjData(model)
    mujoco.mj_integratePos(model, data.qpos, np.linspace(0.1, 0.2, model.nv), 1.0)
    data.qvel[:], data.act[:], data.ctrl[:] = 0.1, 0.2, 0.3 * limits.actuator_ctrlrange[:, 1]
    mujoco.mj_forward(model, data)
    return data.qfrc_actuator.copy()


def scaled(*names: str) -> Check:
    return lambda base, varied: all(np.allclose(getattr(varied, n), SCALE * getattr(base, n)) for n in names)


def _ranges(base: mujoco.MjModel, varied: mujoco.MjModel) -> bool:
    """The width, which both of the axis' rules scale."""
    limited = base.jnt_limited.astype(bool)
    widths = [np.ptp(model.jnt_range[limited], axis=1) for model in (base, varied)]
    return np.allclose(widths[1], SCALE * widths[0])


def _mass(base: mujoco.MjModel, varied: mujoco.MjModel) -> bool:
    inertias = [np.sort(model.body_inertia, axis=1) for model in (base, varied)]
    unchanged = ("dof_damping", "jnt_stiffness", "actuator_ctrlrange", "body_ipos", "geom_size")
    return (
        np.allclose(varied.body_mass, SCALE * base.body_mass)
        and np.allclose(inertias[1], SCALE * inertias[0])
        and np.allclose(forces(varied, base), forces(base, base), rtol=1e-5)
        and all(np.allclose(getattr(base, name), getattr(varied, name)) for name in unchanged)
    )


def _length(base: mujoco.MjModel, varied: mujoco.MjModel) -> bool:
    """One geom is half as long, no radius differs, and no density: half as long is never as heavy."""
    ratio = varied.geom_size[:, 1] / np.where(base.geom_size[:, 1] > 0, base.geom_size[:, 1], 1.0)
    shorter = np.isclose(ratio, SCALE)
    lighter = varied.body_mass < base.body_mass
    return shorter.sum() == 1 and lighter.sum() == 1 and np.allclose(varied.geom_size[:, 0], base.geom_size[:, 0])


def _size(base: mujoco.MjModel, varied: mujoco.MjModel) -> bool:
    moving = base.geom_bodyid > 0
    solid = np.isin(np.arange(base.nbody), base.geom_bodyid)  # the points of a flex have a mass and no geom
    power = np.full(base.nbody, 3)
    if base.names.startswith(b"shell\0"):
        power[base.body("b").id] = 2  # its mass is that of a surface
    return (
        np.allclose(varied.geom_size[moving], SCALE * base.geom_size[moving])
        and np.allclose(varied.body_mass, np.where(solid, SCALE**power, 1.0) * base.body_mass)
        and np.allclose(varied.geom_pos, base.geom_pos)
        and np.allclose(varied.body_pos, base.body_pos)
    )


RIGHT: dict[str, Check] = {
    "gravity": lambda a, b: np.allclose(b.opt.gravity, SCALE * a.opt.gravity),
    "mass": _mass,
    "friction": scaled("geom_friction", "pair_friction"),
    "joint_range": _ranges,
    "damping": scaled("dof_damping", "tendon_damping"),
    "stiffness": scaled("jnt_stiffness", "tendon_stiffness"),
    "armature": scaled("dof_armature", "tendon_armature"),
    "frictionloss": scaled("dof_frictionloss", "tendon_frictionloss"),
    "gear": lambda a, b: np.allclose(forces(b, a), SCALE * forces(a, a), atol=1e-6),
    "control_range": scaled("actuator_ctrlrange"),
    "cripple": lambda a, b: not forces(b, a).any(),
    "fluid": lambda a, b: b.opt.density == 1.2,
    "timestep": lambda a, b: b.opt.timestep == SCALE * a.opt.timestep,
    "integrator": lambda a, b: b.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4 != a.opt.integrator,
    "solver": lambda a, b: b.opt.solver == mujoco.mjtSolver.mjSOL_CG != a.opt.solver,
    "cone": lambda a, b: b.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC != a.opt.cone,
    "contact_softness": lambda a, b: np.allclose(b.geom_solref, a.geom_solref * [SOFTNESS, 1.0]),
    "terrain": lambda a, b: (b.nhfield, int((b.geom_type != a.geom_type).sum())) == (a.nhfield + 1, 1),
    "backlash": lambda a, b: b.njnt > a.njnt and (b.nq - a.nq, b.nv - a.nv) == (b.njnt - a.njnt,) * 2,
    "size": _size,
    "length": _length,
}
NO_SCALE = ("cripple", "fluid", "size", "length", "integrator", "solver", "cone", "terrain", "backlash")
CELLS = axis_table.stored()


def nominal(path: Path) -> mujoco.MjModel:
    try:
        return compiled(spec_of(path), Variation())
    except InputError as error:
        if path.name not in str(error) or CELLS[path.stem][axis_table.WHOLE] not in str(error):
            pytest.fail(f"the refusal does not name {path.name}, or is not the table's: {error}")
        pytest.skip(f"refused as a whole: {error}")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_axis_is_right_or_refused_as_the_table_says(path: Path):
    """If this fails although it is right: python -m tools.site.axis_table, then tools.site.env_pages."""
    base = nominal(path)
    for axis, right in RIGHT.items():
        try:
            varied = compiled(spec_of(path), Variation(**{axis: CHANGES[axis](base)}))
        except InputError as error:
            reason = CELLS[path.stem][axis]
            if "\n" in str(error) or not reason or reason not in str(error):
                pytest.fail(f"{axis}: {error}\nand in the table: {reason}")
            continue
        assert not CELLS[path.stem][axis], axis
        assert right(base, varied), axis


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_an_edit_by_next_to_nothing_changes_next_to_nothing(path: Path):
    base, scale = nominal(path), 1.0000001
    plain = [axis for axis in RIGHT if axis not in NO_SCALE]
    shaped = {"size": Size(scale=scale), "length": Length(body=base.body(1).name, scale=scale)}
    for axis, change in {**dict.fromkeys(plain, scale), **shaped}.items():
        try:
            varied = compiled(spec_of(path), Variation(**{axis: change}))
        except InputError:
            continue
        for name in dir(base):
            value = None if name.startswith("_") else getattr(base, name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                assert np.allclose(getattr(varied, name), value, rtol=1e-6, atol=1e-6, equal_nan=True), (axis, name)


def test_the_table_has_every_model_and_every_axis():
    assert list(CELLS) == [path.stem for path in ZOO]
    assert RIGHT.keys() == CHANGES.keys() == {*SHAPE, *MODEL}
    assert all(cells.keys() in (RIGHT.keys(), {axis_table.WHOLE}) for cells in CELLS.values())


def test_the_zoo_is_large_and_each_model_says_what_it_is():
    assert len(ZOO) >= 40
    assert all(path.read_text().startswith("<!-- ") for path in ZOO)
