"""A policy's card: everything about it besides its numbers."""

import math
import sys
from typing import Annotated, Any

import msgspec

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm, find
from trl_suite.interface import Interface
from trl_suite.tables import Unbounded

CARD_SCHEMA = 1
SMALLEST, LARGEST = sys.float_info.min, sys.float_info.max  # that a positive, finite number can be
Positive = Annotated[float, msgspec.Meta(ge=SMALLEST, le=LARGEST)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**31)]  # of a tensor in one dimension
Width = Annotated[int, msgspec.Meta(gt=0, le=65536)]


class Composed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The frozen policies that a policy attends to, which have its widths."""

    modules: Annotated[int, msgspec.Meta(ge=1, le=127)]
    attention: Width  # of queries and keys, and of what is told to the policy's own network


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of actor and critic."""

    actor: tuple[Width, ...]  # units of each trunk layer
    critic: tuple[Width, ...]
    activation: Activation
    critics: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # twins in SAC and TD3
    layer_norm: bool = False  # each trunk layer is normalised before its activation: actor.trunk.0.norm
    actor_only: bool = False  # no critic and no deviation, as of an ONNX file
    state_noise: bool = False  # the noise of its actions depends on the state (gSDE): log_std.by_feature
    residual: Positive | None = None  # bound of what actor.head adds to source.actor.head
    composed: Composed | None = None  # where it attends to frozen policies: module.0.actor.head
    action_low: tuple[Unbounded, ...]  # the env clips actions to these bounds
    action_high: tuple[Unbounded, ...]

    def __post_init__(self) -> None:
        """Refuse bounds between which no action lies.

        Raises:
            ValueError: one is not a number, or a lower one is not below its upper one.
        """
        if not all(low < high for low, high in zip(self.action_low, self.action_high, strict=False)):
            raise ValueError(f"action_low {self.action_low} is to lie below action_high {self.action_high}")


class Normaliser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the statistics in the weights file are applied, as by SB3's VecNormalize."""

    observation: bool
    reward: bool
    clip_observation: Positive
    clip_reward: Positive
    epsilon: Positive
    gamma: Annotated[float, msgspec.Meta(ge=0, le=1)]


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
    preset: str = ""  # where they come from: `half-cheetah/ppo`, or `sb3` for its defaults
    versions: dict[str, str] = {}
    commit: str = ""
    dirty: bool = False
    trained_by: str = ""  # A2C, TRPO or DDPG, whose policies are those of the card's algorithm
    origin: str = ""  # of an imported policy: the zip's name, or hf://user/name@revision


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `memory.safetensors`, which lies beside the weights."""

    sha256: str
    transitions: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0  # of the replay; 0 where none was kept
    terms: tuple[str, ...] = ()  # of the reward, kept with each transition
    moments: tuple[str, ...] = ()  # optimiser.actor, ...
    tasks: tuple[str, ...] = ()  # addresses of the stages before, in a sequence whose method hands something on
    stages: dict[str, tuple[Size, ...]] = {}  # what is handed on, `component/tensor` -> its shape


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `card.toml`."""

    schema: int = CARD_SCHEMA
    algorithm: Algorithm
    network: Network
    interface: Interface
    training: Training
    normaliser: Normaliser | None = None
    memory: Memory | None = None
    sha256: str = ""  # of weights.safetensors

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself.

        Raises:
            ValueError: a slot's name stands twice, there are not as many bounds as actions, or actions that are
                squashed into bounds have none.
        """
        self.interface.refuse_twins()
        low, high = self.network.action_low, self.network.action_high
        if not len(low) == len(high) == len(self.interface.action):
            raise ValueError(
                f"network.action_low and action_high need {len(self.interface.action)} numbers, one per action slot"
            )
        if not find(self.algorithm).on_policy and not all(map(math.isfinite, (*low, *high))):
            raise ValueError(f"{self.algorithm.upper()} squashes actions into their bounds, and one is not finite")
