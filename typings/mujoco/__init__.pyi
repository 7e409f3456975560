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
    geom_rbound: Floats
    geom_aabb: Floats
    nhfield: int
    nhfielddata: int
    hfield_nrow: Integers
    hfield_ncol: Integers
    hfield_adr: Integers
    hfield_size: Floats
    hfield_data: NDArray[np.float32]
    body_rootid: Integers
    tendon_adr: Integers
    tendon_num: Integers
    wrap_type: Integers
    wrap_objid: Integers
    geom_contype: Integers
    geom_conaffinity: Integers
    geom_condim: Integers
    geom_friction: Floats
    geom_solref: Floats
    pair_solref: Floats
    neq: int
    tendon_limited: Any
    jnt_limited: NDArray[np.bool_]
    nsite: int
    nsensor: int
    nsensordata: int
    sensor_type: Integers
    sensor_adr: Integers
    sensor_dim: Integers
    geom_pos: Floats
    geom_quat: Floats
    geom_size: Floats
    actuator_gaintype: Integers
    actuator_biastype: NDArray[np.int32]
    actuator_ctrllimited: NDArray[np.bool_]
    actuator_ctrlrange: Floats
    actuator_gear: Floats
    actuator_trntype: Integers
    actuator_trnid: Integers
    npair: int
    geom_type: Integers
    body_weldid: Integers
    body_parentid: Integers
    body_jntnum: Integers
    body_jntadr: Integers
    site_bodyid: Integers
    jnt_bodyid: Integers
    dof_jntid: Integers
    pair_geom1: Integers
    pair_geom2: Integers
    pair_dim: Integers
    geom_priority: Integers
    flex_contype: Integers
    flex_conaffinity: Integers
    flex_selfcollide: Integers
    exclude_signature: Integers
    actuator_ctrlnum: Integers
    names: bytes
    nbuffer: int
    geom_dataid: Integers
    mesh_vertnum: Integers
    mesh_vertadr: Integers
    mesh_vert: NDArray[np.float32]
    jnt_pos: Floats
    body_quat: Floats
    site_pos: Floats
    site_quat: Floats
    pair_friction: Floats
    actuator_gainprm: Floats
    actuator_biasprm: Floats
    actuator_acc0: Floats
    actuator_lengthrange: Floats
    actuator_forcerange: Floats
    actuator_forcelimited: NDArray[np.bool_]
    dof_frictionloss: Floats
    tendon_damping: Floats
    tendon_stiffness: Floats
    tendon_armature: Floats
    tendon_frictionloss: Floats
    ntendon: int
    nflex: int
    ncam: int
    cam_bodyid: Integers
    def key(self, name: str | int) -> Any: ...
    def joint(self, name: str | int) -> Any: ...
    def body(self, name: str | int) -> Any: ...
    def actuator(self, name: str | int) -> Any: ...
    def geom(self, name: str | int) -> Any: ...
    def site(self, name: str | int) -> Any: ...
    def sensor(self, name: str | int) -> Any: ...
    @staticmethod
    def from_xml_string(xml: str, assets: dict[str, bytes] | None = None) -> MjModel: ...
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
    qfrc_passive: Floats
    xaxis: Floats
    geom_xpos: Floats
    xpos: Floats
    act: Floats
    actuator_force: Floats
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
    fullinertia: Floats
    ialt: Any
    alt: Any
    frame: Any
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
    armature: float
    type: Any
    pos: Floats
    stiffness: Floats
    damping: Floats
    springdamper: Floats
    range: Floats

class MjsGeom(MjsElement):
    contype: int
    conaffinity: int
    type: int
    friction: Floats
    solref: Floats
    fromto: Floats
    pos: Floats
    quat: Floats
    size: Floats
    mass: float
    density: float
    alt: Any
    frame: Any
    meshname: str
    parent: MjsBody
    compiler: Any
    group: int
    typeinertia: int

class MjsMesh(MjsElement):
    inertia: int
    scale: Floats

class MjsPair(MjsElement):
    friction: Floats
    solref: Floats

class MjsActuator(MjsElement):
    biastype: int
    target: str
    group: int
    gaintype: int
    gainprm: Floats
    biasprm: Floats
    gear: Floats
    ctrlrange: Floats

class MjSpec:
    def __init__(self) -> None: ...
    modelname: str
    compiler: Any
    stat: Any
    option: Any
    default: Any
    worldbody: MjsBody
    bodies: list[MjsBody]
    joints: list[MjsJoint]
    geoms: list[MjsGeom]
    pairs: list[MjsPair]
    actuators: list[MjsActuator]
    sensors: list[Any]
    keys: list[Any]
    tendons: list[MjsElement]
    sites: list[MjsSite]
    flexes: list[Any]
    meshes: list[MjsMesh]
    meshdir: str
    texturedir: str
    modelfiledir: str
    assets: dict[str, bytes]
    @staticmethod
    def from_file(filename: str) -> MjSpec: ...
    @staticmethod
    def from_string(xml: str) -> MjSpec: ...
    @staticmethod
    def resolve_orientation(*, degree: bool, sequence: Any, orientation: Any) -> list[float]: ...
    def add_actuator(self, **fields: Any) -> MjsActuator: ...
    def add_equality(self, **fields: Any) -> MjsElement: ...
    def add_sensor(self, **fields: Any) -> MjsElement: ...
    def add_hfield(self, **fields: Any) -> MjsElement: ...
    def geom(self, name: str) -> Any: ...
    def delete(self, element: Any) -> None: ...
    def body(self, name: str) -> MjsBody: ...
    def add_mesh(self, **fields: Any) -> MjsMesh: ...
    def add_texture(self, **fields: Any) -> MjsElement: ...
    def add_material(self, **fields: Any) -> MjsElement: ...
    def compile(self) -> MjModel: ...
    def copy(self) -> MjSpec: ...
    def discard_visual(self) -> None: ...
    def fuse_static(self) -> None: ...
    def to_xml(self) -> str: ...

class FatalError(Exception): ...

class MjLogConfig:
    logto_console: bool
    logto_file: bool
    @staticmethod
    def get() -> MjLogConfig: ...
    @staticmethod
    def set(config: MjLogConfig) -> None: ...

class mjtIntegrator:
    mjINT_EULER: int
    mjINT_RK4: int
    mjINT_IMPLICIT: int
    mjINT_IMPLICITFAST: int

class mjtEq:
    mjEQ_JOINT: int

class mjtCone:
    mjCONE_PYRAMIDAL: int
    mjCONE_ELLIPTIC: int

class mjtInertiaFromGeom:
    mjINERTIAFROMGEOM_FALSE: int
    mjINERTIAFROMGEOM_TRUE: int
    mjINERTIAFROMGEOM_AUTO: int

class mjtSolver:
    mjSOL_PGS: int
    mjSOL_CG: int
    mjSOL_NEWTON: int

class mjtWarning:
    mjWARN_BADQPOS: int
    mjWARN_BADCTRL: int

class mjtJoint:
    mjJNT_SLIDE: int
    mjJNT_HINGE: int

    mjJNT_FREE: int
    mjJNT_BALL: int

class mjtGeom:
    mjGEOM_ELLIPSOID: int
    mjGEOM_MESH: int
    name: str
    def __init__(self, value: int) -> None: ...
    mjGEOM_PLANE: int
    mjGEOM_HFIELD: int
    mjGEOM_SPHERE: int
    mjGEOM_CAPSULE: int
    mjGEOM_CYLINDER: int
    mjGEOM_BOX: int

class mjtGeomInertia:
    mjINERTIA_SHELL: int

class mjtMeshInertia:
    mjMESH_INERTIA_SHELL: int

class mjtOrientation:
    mjORIENTATION_QUAT: int

class mjtState:
    mjSTATE_INTEGRATION: int
    mjSTATE_FULLPHYSICS: int

class mjtStage:
    mjSTAGE_NONE: int

class mjtTrn:
    mjTRN_JOINT: int
    mjTRN_JOINTINPARENT: int
    mjTRN_BODY: int
    mjTRN_TENDON: int
    mjTRN_SITE: int

class mjtWrap:
    mjWRAP_JOINT: int

class mjtGain:
    mjGAIN_FIXED: int
    mjGAIN_AFFINE: int
    mjGAIN_MUSCLE: int
    name: str
    def __init__(self, value: int) -> None: ...

class mjtBias:
    mjBIAS_NONE: int
    mjBIAS_AFFINE: int
    mjBIAS_MUSCLE: int

class mjtDisableBit:
    mjDSBL_ACTUATION: int
    mjDSBL_CONSTRAINT: int
    mjDSBL_CONTACT: int
    mjDSBL_DAMPER: int
    mjDSBL_FILTERPARENT: int
    mjDSBL_FRICTIONLOSS: int
    mjDSBL_GRAVITY: int
    mjDSBL_LIMIT: int
    mjDSBL_SPRING: int

class mjtEnableBit:
    mjENBL_IPC: int
    mjENBL_OVERRIDE: int
    mjENBL_SLEEP: int

class mjtObj:
    mjOBJ_ACTUATOR: mjtObj
    mjOBJ_BODY: mjtObj
    mjOBJ_CAMERA: mjtObj
    mjOBJ_EQUALITY: mjtObj
    mjOBJ_GEOM: mjtObj
    mjOBJ_JOINT: mjtObj
    mjOBJ_LIGHT: mjtObj
    mjOBJ_SENSOR: mjtObj
    mjOBJ_SITE: mjtObj
    mjOBJ_TENDON: mjtObj
    mjOBJ_XBODY: mjtObj
    def __int__(self) -> int: ...

def mj_step(m: MjModel, d: MjData, nstep: int = 1) -> None: ...
def mj_forward(m: MjModel, d: MjData) -> None: ...
def mj_resetDataKeyframe(m: MjModel, d: MjData, key: int) -> None: ...
def mj_resetData(m: MjModel, d: MjData) -> None: ...
def mj_getCache() -> Any: ...
def mj_setCacheCapacity(cache: Any, size: int) -> int: ...
def mj_kinematics(m: MjModel, d: MjData) -> None: ...
def mj_normalizeQuat(m: MjModel, qpos: Floats) -> None: ...
def mj_stateSize(m: MjModel, sig: int) -> int: ...
def mj_getState(m: MjModel, d: MjData, state: Floats, sig: int) -> None: ...
def mj_setState(m: MjModel, d: MjData, state: Floats, sig: int) -> None: ...
def mj_fwdPosition(m: MjModel, d: MjData) -> None: ...
def mj_fwdVelocity(m: MjModel, d: MjData) -> None: ...
def mj_fwdActuation(m: MjModel, d: MjData) -> None: ...
def mj_integratePos(m: MjModel, qpos: Floats, qvel: Floats, dt: float) -> None: ...
def mj_setConst(m: MjModel, d: MjData) -> None: ...
def mj_id2name(m: MjModel, type: mjtObj, id: int) -> str | None: ...
def mj_name2id(m: MjModel, type: mjtObj, name: str) -> int: ...
def mju_mat2Quat(quat: Floats, mat: Floats) -> None: ...
def mj_rnePostConstraint(m: MjModel, d: MjData) -> None: ...
def mj_rayHfield(m: MjModel, d: MjData, geomid: int, pnt: Floats, vec: Floats, normal: Floats | None) -> float: ...
def mj_fullM(m: MjModel, d: MjData, dst: Floats) -> None: ...
def mju_quat2Mat(res: Floats, quat: Floats) -> None: ...
def mj_getTotalmass(m: MjModel) -> float: ...
def mj_versionString() -> str: ...

class mjtSensor:
    mjSENS_TOUCH: int
    mjSENS_ACCELEROMETER: int
    mjSENS_VELOCIMETER: int
    mjSENS_GYRO: int
    mjSENS_FORCE: int
    mjSENS_TORQUE: int
    mjSENS_MAGNETOMETER: int
    mjSENS_JOINTACTFRC: int
    mjSENS_FRAMEPOS: int
    mjSENS_FRAMEQUAT: int
    mjSENS_FRAMELINVEL: int
    mjSENS_FRAMEANGVEL: int
    mjSENS_CONTACT: int
