"""Transfer methods as data: `methods.toml` holds the suite's own, an experiment file may define others.

A `Method` is put together from the rooms of `MECHANISMS`: each of its keys belongs to one of them, and a place that
does not know a key's mechanism refuses it by name.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import torch

from trl_suite import tables
from trl_suite.errors import InputError, unknown
from trl_suite.mechanisms.adapters import ADAPTERS, Adapter
from trl_suite.mechanisms.compress_phase import COMPRESS_PHASE, Compress
from trl_suite.mechanisms.copy import COPY, LogStd
from trl_suite.mechanisms.distillation import DISTILLATION, Distillation
from trl_suite.mechanisms.freeze_schedule import FREEZE_SCHEDULE
from trl_suite.mechanisms.guide_policy import GUIDE_POLICY, GuidePolicy
from trl_suite.mechanisms.head_start import HEAD_START
from trl_suite.mechanisms.mechanism import Mechanism, MethodCallback, MethodLearner, Place, Share, Strength
from trl_suite.mechanisms.normaliser_statistics import NORMALISER_STATISTICS, NormaliserRule, frozen_statistics
from trl_suite.mechanisms.packing import PACKING, Packing
from trl_suite.mechanisms.rate import RATE
from trl_suite.mechanisms.reset import RESET, Reset
from trl_suite.mechanisms.self_composing import SELF_COMPOSING, Composition
from trl_suite.mechanisms.source_replay import REPLAYED
from trl_suite.mechanisms.task_heads import TASK_HEADS
from trl_suite.mechanisms.task_replay import TASK_REPLAY, Transitions
from trl_suite.mechanisms.weight_regularizer import WEIGHT_REGULARIZER, WeightRegularizer
from trl_suite.networks.components import LOG_STD, REPLAY, Components

SHIPPED_METHODS = Path(__file__).with_name("methods.toml")
RENAMED_METHODS: Mapping[str, str] = {"jumpstart": "jsrl"}  # of earlier versions -> what they are called now
DEPTH = "K"  # stands for a number in a name and in its selectors: partial-freeze-K, actor.trunk.:K
MECHANISMS: tuple[Mechanism, ...] = (
    COPY,
    NORMALISER_STATISTICS,
    FREEZE_SCHEDULE,
    RATE,
    WEIGHT_REGULARIZER,
    DISTILLATION,
    GUIDE_POLICY,
    HEAD_START,
    RESET,
    COMPRESS_PHASE,
    ADAPTERS,
    REPLAYED,
    PACKING,
    TASK_HEADS,
    TASK_REPLAY,
    SELF_COMPOSING,
)


class Method(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The treatment of each component; see `components.select` for the selectors."""

    renamed: ClassVar[Mapping[str, str]] = {  # keys of earlier versions -> what they are called now
        "weights": "weight_regularizer",
        "behaviour": "distillation",
        "guide": "guide_policy",
    }

    summary: str = ""
    paper: str = ""  # `Li et al. 2018, section 3`, or `none: why`; no part of what it does
    copy: tuple[str, ...] = ()
    log_std: LogStd = "fresh"  # or "copied"
    fresh: tuple[str, ...] = ()  # of what `copy` names, all that is not copied after all
    normaliser: NormaliserRule = "learn"  # copied statistics: "learn", "frozen", { slow = COUNT }
    freeze: tuple[str, ...] = ()
    thaw: dict[str, Share] = {}  # frozen components and the share of the budget after which they learn
    rate: dict[str, Strength] = {}  # learning-rate factor per component; 1 where none is given
    keep: dict[str, Share] = {}  # copied components: keep * source + (1 - keep) * fresh (shrink and perturb)
    shuffle: tuple[str, ...] = ()  # copied components whose rows are permuted: a control
    weight_regularizer: WeightRegularizer | None = None
    distillation: Distillation | None = None
    guide_policy: GuidePolicy | None = None
    adapter: Adapter | None = None
    head_start: bool = False  # learn on the target for as many steps as the source had, before the first counts
    reset: Reset | None = None
    packing: Packing | None = None
    heads: tuple[str, ...] = ()  # components that every task of a sequence has of its own
    task_replay: Transitions | None = None  # of each earlier task of a sequence, in the learner's replay
    composition: Composition | None = None  # the source becomes a frozen module that the learner attends to
    compress: Compress | None = None  # the active column is distilled into the source at the end

    def __post_init__(self) -> None:
        """Refuse what no engine could do.

        Raises:
            ValueError: a mechanism's keys contradict each other or another's.
        """
        for mechanism in MECHANISMS:
            if wrong := mechanism.check(self):
                raise ValueError(wrong)

    @property
    def needs_source(self) -> bool:
        """Whether a source has any part in it."""
        return any(mechanism.needs_source(self) for mechanism in MECHANISMS)

    @property
    def copied_selectors(self) -> tuple[str, ...]:
        """The selectors of all that is copied."""
        return (*self.copy, LOG_STD) if self.log_std == "copied" else self.copy

    @property
    def first_stage(self) -> "Method":
        """The method in the first stage of a sequence, which has no source; scratch for most."""
        return Method(packing=self.packing, heads=self.heads if self.packing else ())

    @property
    def frozen_selectors(self) -> tuple[str, ...]:
        """The selectors of all that begins frozen: layers, statistics and replay where the method holds them."""
        return (*self.freeze, *frozen_statistics(self), *((REPLAY,) if self.task_replay else ()))


@functools.cache
def _plain() -> Method:
    return Method()


def active(method: Method) -> Iterator[Mechanism]:
    """Yield the mechanisms that a method uses: those of which a key is not as it is by default."""
    plain = _plain()
    for mechanism in MECHANISMS:
        if any(getattr(method, key) != getattr(plain, key) for key in mechanism.keys):
            yield mechanism


def refusal(place: Place, method: Method, algorithm: str) -> str:
    """Return why an engine, or `trl_suite.transplant`, cannot do the method; "" where it can."""
    return next((why for mechanism in active(method) if (why := mechanism.refusal(place, method, algorithm))), "")


def sequence_key(method: Method) -> str:
    """Return the key by which a method takes from all stages of a sequence; "" where it needs none."""
    return "packing" if method.packing else "task_replay" if method.task_replay else ""


def label(method: Method) -> str:
    """Return the method's doings during training, for the tables: `thaws, resets`."""
    return ", ".join(text for mechanism in MECHANISMS if (text := mechanism.label(method)))


def callbacks(method: Method, learner: MethodLearner, thaws: Mapping[str, int | None]) -> list[MethodCallback]:
    """Return the method's callbacks between two rollouts of one run.

    Args:
        method: what is done.
        learner: of the run, just transplanted.
        thaws: each component that begins frozen -> the env step after which it learns, or None.

    Raises:
        InputError: a mechanism does not fit the learner.
    """
    acting = [mechanism.callback for mechanism in active(method) if mechanism.callback is not None]
    return [callback(method, learner, thaws) for callback in acting]


def handed_on(acting: Sequence[MethodCallback], besides: Components) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return the memory for the next stage of a sequence: that of callbacks, and an engine's own besides."""
    return dict(besides) | {name: tensors for callback in acting for name, tensors in callback.hands_on().items()}


def fresh_values(method: Method, components: Components) -> dict[str, dict[str, torch.Tensor]]:
    """Return copies of the components for what acts between rollouts; empty where nothing does.

    Args:
        method: what is done.
        components: before the transplant.
    """
    if all(mechanism.callback is None for mechanism in active(method)):
        return {}
    return {
        name: {tensor: value.detach().clone() for tensor, value in tensors.items()}
        for name, tensors in components.items()
    }


def shipped() -> dict[str, Method]:
    """Return the suite's methods by name; `K` in a name stands for a number."""
    return dict(_shipped())


@functools.cache
def _shipped() -> dict[str, Method]:
    return read(tables.load(SHIPPED_METHODS), str(SHIPPED_METHODS.name))


def read(table: Mapping[str, object], where: str) -> dict[str, Method]:
    """Return the methods in a table of tables.

    Raises:
        InputError: a method has an unknown key.
    """
    return {name: tables.convert(entry, Method, f"{where}: method '{name}'") for name, entry in table.items()}


def find(name: str, defined: Mapping[str, Method] | None = None) -> Method:
    """Return the method of that name; those that an experiment has `defined` hide the suite's.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    methods = {**shipped(), **(defined or {})}
    if name in methods and DEPTH not in name:
        return methods[name]
    for template, method in methods.items():
        pattern = re.escape(template).replace(DEPTH, r"(\d+)")
        if DEPTH in template and (match := re.fullmatch(pattern, name)):
            return _at_depth(method, match[1])
    if name in RENAMED_METHODS:
        raise InputError(f"unknown method '{name}': it is called '{RENAMED_METHODS[name]}' now")
    raise unknown("method", name, methods)


def _at_depth(method: Method, depth: str) -> Method:
    """Return the method with the number in place of `K`, in whatever names components."""
    table = msgspec.json.encode(method).decode().replace(f".:{DEPTH}", f".:{depth}").replace(f" {DEPTH} ", f" {depth} ")
    return msgspec.json.decode(table, type=Method)
