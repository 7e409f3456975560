"""Slots and interfaces: what each number that a policy sees or moves means."""

import hashlib
from typing import NamedTuple

import msgspec


class Slot(msgspec.Struct, frozen=True):
    """One named scalar with its unit: `thigh_joint.velocity`, rad/s."""

    name: str
    unit: str


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """The ordered slots of an observation and an action."""

    observation: tuple[Slot, ...]
    action: tuple[Slot, ...]

    @property
    def observation_names(self) -> tuple[str, ...]:
        """The observation's slot names, in order."""
        return tuple(slot.name for slot in self.observation)

    @property
    def action_names(self) -> tuple[str, ...]:
        """The action's slot names, in order."""
        return tuple(slot.name for slot in self.action)

    def refuse_twins(self) -> None:
        """Refuse two slots of one name, which no alignment by name could tell apart.

        Raises:
            ValueError: a name stands twice among the observations or among the actions.
        """
        for names in (self.observation_names, self.action_names):
            if twins := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two slots are named {', '.join(twins)}")

    def digest(self) -> str:
        """Return 16 hex digits that two interfaces share exactly when all slots are equal."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """How a robot's controller is to run a policy; empty where nobody knows.

    The names are those of mjlab's and Isaac Lab's exporters where they have one.
    """

    control_hz: float | None = None
    action_names: tuple[str, ...] = ()
    action_scale: tuple[float, ...] = ()  # unit of the actuator per unit of action
    action_offset: tuple[float, ...] = ()  # what the controller adds to scaled actions
    joint_names: tuple[str, ...] = ()  # of hinges and slides, in the model's order
    default_joint_pos: tuple[float, ...] = ()  # rad or m, by joint_names
    joint_stiffness: tuple[float, ...] = ()  # N m/rad or N/m, by joint_names; 0 of a motor
    joint_damping: tuple[float, ...] = ()  # N m s/rad or N s/m, by joint_names
    command_names: tuple[str, ...] = ()
    history_length: int = 1  # control steps that an observation shows


_NEUTRAL = {  # package -> wrappers by which a policy sees and commands the same numbers
    "gymnasium": {
        "Autoreset", "ClipReward", "EnvCompatibility", "HumanRendering", "NormalizeReward", "OrderEnforcing",
        "PassiveEnvChecker", "RecordEpisodeStatistics", "RecordVideo", "RenderCollection", "TimeLimit",
        "TransformReward", "AddWhiteNoise", "ObstructView",
    },
    "gym": {"OrderEnforcing", "PassiveEnvChecker", "RecordEpisodeStatistics", "RecordVideo", "TimeLimit"},
    "stable_baselines3": {"Monitor", "VecCheckNan", "VecMonitor", "VecVideoRecorder"},
}  # fmt: skip


def neutral(path: str) -> bool:
    """Whether a wrapper of this path (`gymnasium.wrappers.common.TimeLimit`) leaves observations and actions alone.

    Only wrappers that are known to do so are neutral, of the packages that define them; the suite's own are.
    """
    package, _, rest = path.partition(".")
    return package == "trl_suite" or rest.rpartition(".")[2] in _NEUTRAL.get(package, ())


class Spaces(NamedTuple):
    """Slots of an env at an address, and the bounds of its numbers."""

    env: str  # address
    interface: Interface
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    observation_low: tuple[float, ...] = ()  # () where nobody asks for them
    observation_high: tuple[float, ...] = ()


def anonymous(observations: int, actions: int) -> Interface:
    """Return the interface of an env that names nothing: `obs.0 ...`, `action.0 ...`, without units."""
    return Interface(
        observation=tuple(Slot(f"obs.{i}", "?") for i in range(observations)),
        action=tuple(Slot(f"action.{i}", "?") for i in range(actions)),
    )
