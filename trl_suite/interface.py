"""Slots and interfaces: what each number that a policy sees or moves means."""

import hashlib

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

    def digest(self) -> str:
        """Return 16 hex digits that two interfaces share exactly when all slots are equal."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def anonymous(observations: int, actions: int) -> Interface:
    """Return the interface of an env that names nothing: `obs.0 ...`, `action.0 ...`, without units."""
    return Interface(
        observation=tuple(Slot(f"obs.{i}", "?") for i in range(observations)),
        action=tuple(Slot(f"action.{i}", "?") for i in range(actions)),
    )
