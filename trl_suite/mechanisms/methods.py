"""Transfer methods as data: `methods.toml` holds the suite's own, an experiment file may define others."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trl_suite import tables
from trl_suite.errors import unknown
from trl_suite.networks.components import OPTIMISER, REPLAY

SHIPPED = Path(__file__).with_name("methods.toml")
DEPTH = "K"  # stands for a number in a name and in its selectors: partial-freeze-K, actor.trunk.:K


Share = Annotated[float, msgspec.Meta(ge=0, le=1)]  # of the target's budget, or of a mixture
Strength = Annotated[float, msgspec.Meta(gt=0)]


class WeightPull(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A decay towards the source's weights: after each step, w -= rate * strength * importance * (w - source).

    The importance is 1 (L2-SP, Li et al. 2018) or the actor's Fisher information, scaled to a mean of 1 (EWC,
    Kirkpatrick et al. 2017).
    """

    strength: Strength
    on: tuple[str, ...] = ("actor", "critic")
    fisher: bool = False


class BehaviourPull(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A penalty on the divergence of the learner's actions from the source's.

    On the learner's own states it is kickstarting (Schmitt et al. 2018), on states that the source visited at home
    behavioural cloning.
    """

    strength: Strength
    states: Literal["own", "source"] = "own"
    halving: Share | None = None  # of the budget, in which the strength halves; None keeps it
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # the strength never falls below


class Guide(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The source opens each training episode and hands over after a random number of steps (Uchendu et al. 2023).

    What it does is paid from the budget. The longest opening shrinks linearly to nothing.
    """

    opening: Share = 0.5  # longest opening, as a share of the time limit
    until: Share = 0.5  # of the budget, when openings have shrunk to nothing


Part = Literal["actor", "critic"]


class _Kind(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """A table whose key `kind` says what it is."""


class LearnedInput(_Kind, frozen=True, tag="learned-input"):
    """A linear map from the target's slots to the source's before the first layer, which starts as the names say.

    The head, whose rows are the target's actions, is the map on the other side: it starts from trunk features, never
    from the source's actions (as in arXiv 2509.22310).
    """

    on: tuple[Part, ...] = ("actor", "critic")


class LowRank(_Kind, frozen=True, tag="low-rank"):
    """A product of two thin matrices, 0 at first, on the frozen weights of every trunk layer (LoRA, Hu et al. 2021).

    Biases learn beside it. For layers as small as these it constrains the rank, and saves nothing.
    """

    on: tuple[Part, ...] = ("actor", "critic")
    rank: Annotated[int, msgspec.Meta(gt=0)] = 4


class Lateral(_Kind, frozen=True, tag="lateral"):
    """The source's trunk as a frozen column beside a fresh one (progressive networks, Rusu et al. 2016, eq. 1).

    From the second layer on, the fresh column takes in the source's features through weights that are 0 at first.
    """

    on: tuple[Part, ...] = ("actor", "critic")


class Residual(_Kind, frozen=True, tag="residual"):
    """Actions that are the frozen source's plus bound * tanh(a fresh network), which is 0 at first.

    Silver et al. 2018 and Johannink et al. 2018; the sum is made before the algorithm bounds it, and the critic sees
    what is executed.
    """

    bound: Strength = 0.5  # of the correction, in units of the action before it is clipped or squashed


Adapter = LearnedInput | LowRank | Lateral | Residual


class Method(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is done with each component; see `components.select` for the selectors."""

    summary: str = ""
    copy: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    thaw: dict[str, Share] = {}  # frozen components and the share of the budget after which they learn
    rate: dict[str, Strength] = {}  # learning-rate factor per component; 1 where none is given
    keep: dict[str, Share] = {}  # copied components: keep * source + (1 - keep) * fresh (shrink and perturb)
    shuffle: tuple[str, ...] = ()  # copied components whose rows are permuted: a control
    weights: WeightPull | None = None
    behaviour: BehaviourPull | None = None
    guide: Guide | None = None
    adapter: Adapter | None = None
    head_start: bool = False  # learn on the target for as many steps as the source had, before the first counts

    def __post_init__(self) -> None:
        """Refuse what no engine could do.

        Raises:
            ValueError: the method weighs by the Fisher information what an adapter has changed, or takes something
                from a source and its steps as well.
        """
        if self.head_start and self.needs_source:
            raise ValueError("head_start gives the source's steps to a run without one: nothing can be taken from it")
        if self.adapter and self.weights and self.weights.fisher:
            raise ValueError("weights.fisher is of the source's own layers: give no adapter with it")

    @property
    def needs_source(self) -> bool:
        """Whether a source has any part in it."""
        return bool(self.copy or self.weights or self.behaviour or self.guide or self.adapter)


def remembered(method: Method) -> tuple[str, ...]:
    """Return the selectors by which the method copies what lies beside a source's weights: replay, moments."""
    return tuple(name for name in method.copy if name == REPLAY or f"{name}.".startswith(OPTIMISER))


def shipped() -> dict[str, Method]:
    """Return the suite's methods by name; `K` in a name stands for a number."""
    return read(tables.load(SHIPPED), str(SHIPPED.name))


def read(table: Mapping[str, object], where: str) -> dict[str, Method]:
    """Return the methods in a table of tables.

    Raises:
        InputError: a method has an unknown key.
    """
    return {name: tables.convert(entry, Method, f"{where}: method '{name}'") for name, entry in table.items()}


def find(name: str, extra: Mapping[str, Method] | None = None) -> Method:
    """Return the method of that name; `own` methods hide the suite's.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    methods = {**shipped(), **(extra or {})}
    if name in methods and DEPTH not in name:
        return methods[name]
    for template, method in methods.items():
        pattern = re.escape(template).replace(DEPTH, r"(\d+)")
        if DEPTH in template and (match := re.fullmatch(pattern, name)):
            return _at_depth(method, match[1])
    raise unknown("method", name, methods)


def _at_depth(method: Method, depth: str) -> Method:
    """Return the method with the number in place of `K`, in whatever names components."""
    table = msgspec.json.encode(method).decode().replace(f".:{DEPTH}", f".:{depth}").replace(f" {DEPTH} ", f" {depth} ")
    return msgspec.json.decode(table, type=Method)
