"""A policy's card: everything about it besides its numbers."""

from typing import Annotated, Any

import msgspec

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm
from trl_suite.interface import Interface

SCHEMA = 1
Width = Annotated[int, msgspec.Meta(gt=0, le=65536)]


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of actor and critic."""

    actor: tuple[Width, ...]  # units of each trunk layer
    critic: tuple[Width, ...]
    activation: Activation
    critics: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # twins in SAC and TD3
    residual: Annotated[float, msgspec.Meta(gt=0)] | None = None  # bound of what actor.head adds to source.actor.head
    action_low: tuple[float, ...]  # the env clips actions to these bounds
    action_high: tuple[float, ...]


class Normaliser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the statistics in the weights file are applied, as by SB3's VecNormalize."""

    observation: bool
    reward: bool
    clip_observation: float
    clip_reward: float
    epsilon: float
    gamma: float


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the policy came to be."""

    env: str  # address
    seed: int
    steps: int  # env steps
    return_mean: float | None = None  # deterministic, unnormalised, over the last evaluation's episodes
    return_std: float | None = None
    episodes: int = 0
    seconds: float = 0.0
    hyperparameters: dict[str, Any] = {}
    versions: dict[str, str] = {}
    commit: str = ""
    dirty: bool = False
    origin: str = ""  # of an imported policy: the zip's name, or hf://user/name@revision


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `memory.safetensors`, which lies beside the weights."""

    sha256: str
    transitions: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0  # of the replay; 0 where none was kept
    terms: tuple[str, ...] = ()  # of the reward, kept with each transition
    moments: tuple[str, ...] = ()  # optimiser.actor, ...


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `card.toml`."""

    schema: int = SCHEMA
    algorithm: Algorithm
    network: Network
    interface: Interface
    training: Training
    normaliser: Normaliser | None = None
    memory: Memory | None = None
    sha256: str = ""  # of weights.safetensors
