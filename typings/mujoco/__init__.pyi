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
    nkey: int
    nbody: int
    njnt: int
    ngeom: int
    opt: Any
    vis: Any
    stat: Any
    body_pos: Floats
    jnt_range: Floats
    jnt_stiffness: Floats
    dof_damping: Floats
    dof_armature: Floats
    qpos0: Floats
    body_mass: Floats
    body_inertia: Floats
    body_ipos: Floats
    body_iquat: Floats
    key_qpos: Floats
    key_qvel: Floats
    key_ctrl: Floats
    key_act: Floats
    jnt_type: Integers
    jnt_qposadr: Integers
    jnt_dofadr: Integers
    geom_bodyid: Integers
    geom_contype: Integers
    geom_conaffinity: Integers
    geom_condim: Integers
    geom_friction: Floats
    jnt_limited: NDArray[np.bool_]
    nsite: int
    geom_pos: Floats
    geom_quat: Floats
    geom_size: Floats
    actuator_biastype: NDArray[np.int32]
    actuator_ctrllimited: NDArray[np.bool_]
    actuator_ctrlrange: Floats
    actuator_gear: Floats
    actuator_trntype: Integers
    actuator_trnid: Integers
    npair: int
    def joint(self, name: str | int) -> Any: ...
    def key(self, name: str | int) -> Any: ...
    def body(self, name: str | int) -> Any: ...
    def actuator(self, name: str | int) -> Any: ...
    def geom(self, name: str | int) -> Any: ...
    def site(self, name: str | int) -> Any: ...
    @staticmethod
    def from_xml_string(xml: str) -> MjModel: ...
    def __copy__(self) -> Self: ...

class MjData:
    nbuffer: int
    ncon: int
    nefc: int
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
    pos: Floats
    quat: Floats
    ipos: Floats
    iquat: Floats
    explicitinertial: bool
    bodies: list[MjsBody]
    joints: list[MjsJoint]
    geoms: list[MjsGeom]
    sites: list[MjsSite]
    def add_body(self, **fields: Any) -> MjsBody: ...
    def add_joint(self, **fields: Any) -> MjsJoint: ...
    def add_geom(self, **fields: Any) -> MjsGeom: ...
    def add_site(self, **fields: Any) -> MjsElement: ...
    def add_light(self, **fields: Any) -> MjsElement: ...
    def add_camera(self, **fields: Any) -> MjsElement: ...

class MjsSite(MjsElement):
    pos: Floats

class MjsJoint(MjsElement):
    pos: Floats
    range: Floats

class MjsGeom(MjsElement):
    type: int
    friction: Floats
    fromto: Floats
    pos: Floats
    quat: Floats
    size: Floats
    mass: float
    density: float
    alt: Any

class MjsPair(MjsElement):
    friction: Floats

class MjsActuator(MjsElement):
    target: str
    gear: Floats
    ctrlrange: Floats

class MjSpec:
    def __init__(self) -> None: ...
    modelname: str
    compiler: Any
    option: Any
    default: Any
    worldbody: MjsBody
    bodies: list[MjsBody]
    joints: list[MjsJoint]
    geoms: list[MjsGeom]
    pairs: list[MjsPair]
    actuators: list[MjsActuator]
    @staticmethod
    def from_file(filename: str) -> MjSpec: ...
    @staticmethod
    def from_string(xml: str) -> MjSpec: ...
    def add_actuator(self, **fields: Any) -> MjsActuator: ...
    def add_texture(self, **fields: Any) -> MjsElement: ...
    def add_material(self, **fields: Any) -> MjsElement: ...
    def compile(self) -> MjModel: ...
    def copy(self) -> MjSpec: ...
    def to_xml(self) -> str: ...

class MjLogConfig:
    logto_console: bool
    logto_file: bool
    @staticmethod
    def get() -> MjLogConfig: ...
    @staticmethod
    def set(config: MjLogConfig) -> None: ...

class mjtIntegrator:
    mjINT_RK4: int

class mjtInertiaFromGeom:
    mjINERTIAFROMGEOM_TRUE: int
    mjINERTIAFROMGEOM_AUTO: int

class mjtSolver:
    mjSOL_PGS: int
    mjSOL_NEWTON: int

class mjtEnableBit:
    mjENBL_SLEEP: int

class mjtWarning:
    mjWARN_BADQPOS: int
    mjWARN_BADCTRL: int

class mjtJoint:
    mjJNT_SLIDE: int
    mjJNT_HINGE: int

    mjJNT_FREE: int
    mjJNT_BALL: int

class mjtGeom:
    mjGEOM_PLANE: int
    mjGEOM_SPHERE: int
    mjGEOM_CAPSULE: int
    mjGEOM_CYLINDER: int
    mjGEOM_BOX: int

class mjtOrientation:
    mjORIENTATION_QUAT: int

class mjtState:
    mjSTATE_INTEGRATION: int

class mjtStage:
    mjSTAGE_NONE: int

class mjtTrn:
    mjTRN_JOINT: int

def mj_step(m: MjModel, d: MjData, nstep: int = 1) -> None: ...
def mj_forward(m: MjModel, d: MjData) -> None: ...
def mj_resetDataKeyframe(m: MjModel, d: MjData, key: int) -> None: ...
def mj_resetData(m: MjModel, d: MjData) -> None: ...
def mj_kinematics(m: MjModel, d: MjData) -> None: ...
def mj_normalizeQuat(m: MjModel, qpos: Floats) -> None: ...
def mj_stateSize(m: MjModel, sig: int) -> int: ...
def mj_getState(m: MjModel, d: MjData, state: Floats, sig: int) -> None: ...
def mj_setState(m: MjModel, d: MjData, state: Floats, sig: int) -> None: ...
def mj_rnePostConstraint(m: MjModel, d: MjData) -> None: ...
def mju_quat2Mat(res: Floats, quat: Floats) -> None: ...
def mj_getTotalmass(m: MjModel) -> float: ...
def mj_versionString() -> str: ...
