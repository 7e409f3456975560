# ruff: noqa: N801, N802, N815  MuJoCo's own names
"""Types for the part of MuJoCo 4 that trl_suite uses; its wheel ships none."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]

class MjModel:
    nq: int
    nv: int
    nu: int
    na: int
    nbody: int
    njnt: int
    ngeom: int
    opt: Any
    vis: Any
    qpos0: Floats
    body_mass: Floats
    body_inertia: Floats
    body_ipos: Floats
    body_iquat: Floats
    jnt_type: Integers
    jnt_qposadr: Integers
    jnt_dofadr: Integers
    geom_bodyid: Integers
    geom_contype: Integers
    geom_conaffinity: Integers
    geom_condim: Integers
    geom_friction: Floats
    actuator_ctrllimited: NDArray[np.bool_]
    actuator_ctrlrange: Floats
    actuator_gear: Floats
    actuator_trntype: Integers
    actuator_trnid: Integers
    npair: int
    def joint(self, name: str | int) -> Any: ...
    def body(self, name: str | int) -> Any: ...
    def actuator(self, name: str | int) -> Any: ...
    def __copy__(self) -> Self: ...

class MjData:
    def __init__(self, model: MjModel) -> None: ...
    time: float
    qpos: Floats
    qvel: Floats
    qfrc_bias: Floats
    qacc_warmstart: Floats
    ctrl: Floats
    warning: Any

class MjsElement:
    id: int
    name: str

class MjsBody(MjsElement):
    mass: float
    inertia: Floats
    ipos: Floats
    iquat: Floats
    explicitinertial: bool

class MjsJoint(MjsElement): ...

class MjsGeom(MjsElement):
    friction: Floats

class MjsPair(MjsElement):
    friction: Floats

class MjsActuator(MjsElement):
    target: str
    gear: Floats

class MjSpec:
    compiler: Any
    option: Any
    bodies: list[MjsBody]
    joints: list[MjsJoint]
    geoms: list[MjsGeom]
    pairs: list[MjsPair]
    actuators: list[MjsActuator]
    @staticmethod
    def from_file(filename: str) -> MjSpec: ...
    def compile(self) -> MjModel: ...
    def to_xml(self) -> str: ...

class MjLogConfig:
    logto_console: bool
    logto_file: bool
    @staticmethod
    def get() -> MjLogConfig: ...
    @staticmethod
    def set(config: MjLogConfig) -> None: ...

class mjtInertiaFromGeom:
    mjINERTIAFROMGEOM_AUTO: int

class mjtWarning:
    mjWARN_BADQPOS: int
    mjWARN_BADCTRL: int

class mjtJoint:
    mjJNT_SLIDE: int
    mjJNT_HINGE: int

class mjtTrn:
    mjTRN_JOINT: int

def mj_step(m: MjModel, d: MjData, nstep: int = 1) -> None: ...
def mj_forward(m: MjModel, d: MjData) -> None: ...
def mj_resetData(m: MjModel, d: MjData) -> None: ...
