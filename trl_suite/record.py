"""Files that a run and an experiment leave behind; written by `experiment.running`, read by `evidence`.

`runs/<experiment>/plan.json` is a `Plan`; `runs/<experiment>/<folder>/run.json` is a `RunRecord`, and beside it stand
`evaluations.csv` (`step,episode,return,length,mode`, one line per episode, step 0 before any update) and `policy/`.
TensorBoard's event files stand apart, in `tensorboard/`, under the names that its list of runs shows. This module
knows the shape of the files and nothing of how they come about.
"""

import hashlib
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast

import msgspec

from trl_suite.errors import InputError
from trl_suite.files import regular_bytes
from trl_suite.html_tables import html_table

RECORD_SCHEMA = 2
Status = Literal["waiting", "running", "done", "failed", "interrupted"]
Role = Literal["source", "target", "reference", "revisit"]  # revisit: a task of a sequence that was met before
SCRATCH = "scratch"  # the method that every other is compared with
EVENTS = "tensorboard"  # folder of an experiment's event files
TUNING_RUNS = "tuning"  # folder of a search's trials in that of its experiment, apart from the experiment's own runs
SOURCE_METHOD = "source"  # what stands for a method where a source policy is trained

T = TypeVar("T", bound=msgspec.Struct)


class Transplant(msgspec.Struct, frozen=True, kw_only=True):
    """Fate of every component; each name stands in one of copied, synced and fresh, and may be frozen too."""

    method: str
    source: str  # digest of the source policy's weights, "" without a source
    copied: tuple[str, ...] = ()
    synced: tuple[str, ...] = ()  # target networks made equal to what they follow
    fresh: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # the method asked for it and the source has none
    left_over: tuple[str, ...] = ()  # the source has it and the method did not ask for it
    unmatched: tuple[str, ...] = ()  # slots of the target that no slot of the source stands for
    normaliser: str = ""  # observation statistics: learn, slow(COUNT), frozen, fresh; none without; "" in old records
    log_std: str = ""  # copied, fresh; none without; "" in old records
    notes: tuple[str, ...] = ()  # what goes on besides the transplant, and what to do about it

    def __str__(self) -> str:
        """Return a short table: what was copied, synced, fresh, frozen, missing, left over and unmatched."""
        return "\n".join([self._title, *(_row(name, parts) for name, parts in self._parts.items())])

    def __repr__(self) -> str:
        """Return a line: how many components were copied, fresh and frozen, and how many slots stayed unmatched."""
        counts = ", ".join(f"{len(parts)} {name.replace('_', ' ')}" for name, parts in self._parts.items())
        return f"<{self._title}: {counts}>"

    def _repr_html_(self) -> str:
        """Return the table of `str` for a notebook."""
        rows = [(name.replace("_", " "), len(parts), ", ".join(parts)) for name, parts in self._parts.items()]
        return html_table(self._title, (), rows)

    @property
    def _title(self) -> str:
        return f"transplant '{self.method}'" + (f" from {self.source[:10]}" if self.source else "")

    @property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        """Components and slots by what became of them; empty parts only where a reader looks for them."""
        names = ("copied", "synced", "fresh", "frozen", "missing", "left_over", "unmatched", "notes")
        always = ("copied", "fresh", "frozen", "unmatched")
        return {name: getattr(self, name) for name in names if getattr(self, name) or name in always}


def _row(name: str, parts: tuple[str, ...]) -> str:
    """Return a line of the table, wrapped at 100 columns."""
    label = name.replace("_", " ")
    text = f"{len(parts):4d}  {', '.join(parts)}" if parts else f"{0:4d}"
    return textwrap.fill(text, 100, initial_indent=f"  {label:<9}", subsequent_indent=" " * 17)


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """The proof that what was frozen did not move."""

    before: dict[str, str] = {}  # component -> sha256 of its numbers before the first update
    after: dict[str, str] = {}  # the same when training ended
    until: dict[str, int] = {}  # env step at which a component was thawed; "after" is its hash then
    trainable: int = 0  # parameters that the optimiser may move from the start
    total: int = 0  # all parameters

    @property
    def holds(self) -> bool:
        """Whether every frozen component is bit-identical."""
        return self.before == self.after


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One training: its whole specification, its circumstances and how it ended."""

    experiment: str
    role: Role
    env: str  # the address of what was trained on: `half-cheetah.gravity-1.5`
    method: str  # SOURCE_METHOD where a source policy was trained
    algorithm: str
    seed: int
    steps: int  # budget in env steps
    digest: str  # of the specification: the run's identity
    specification: dict[str, Any]
    status: Status
    schema: int = RECORD_SCHEMA
    source: str = ""  # folder of the source run, relative to the experiment's; "" for scratch and for sources
    preset: str = ""  # where the hyperparameters come from: `half-cheetah/ppo`, `sb3`; "" in old records
    started: str = ""  # ISO 8601, UTC
    seconds: float = 0.0  # wall time of all attempts that the result is made of; of a cohort's, this run's share
    engine: str = "sb3"
    cohort_size: int = 1  # runs that trained together in one process
    device: str = "cpu"
    physics: str = "mujoco"  # or "warp", in single precision
    accelerator: dict[str, str] = {}  # GPU, driver, precision and, where the physics is Warp's, its versions
    attempts: int = 1  # how often it was begun or gone on with
    failures: int = 0  # how many of them failed
    command: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    commit: str = ""
    dirty: bool = False
    diff: str = ""  # file with the uncommitted changes, relative to the experiment's folder; "" where there are none
    unstable_episodes: int = 0  # episodes that ended because the simulation did
    ranges: dict[str, tuple[float, float]] = {}  # that episodes were drawn from at the end, by the numbers' names
    compress_steps: int = 0  # of the budget, env steps that trained nothing but a knowledge base
    transplant: Transplant | None = None
    freeze: Freeze | None = None
    error: str = ""
    former_digest: str = ""  # of a record of schema 1, after which its folder is named


SourcePhysics = Literal["", "mujoco", "warp"]


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run that the experiment wants, whether or not it has been made."""

    folder: str  # relative to the experiment's folder: `half-cheetah.gravity-1.5/finetune/seed-0--3fa9c1d2e0`
    role: Role
    env: str
    method: str
    seed: int
    source: str = ""  # folder of the source run
    cell: str = ""  # the values of factors that have several, "engine=sb3"; "" where none has
    physics: SourcePhysics = ""  # of a source, where the experiment says what sources are trained in

    @property
    def home(self) -> str:
        """The env of a source by the name that evidence compares sources under: `hopper (physics=warp)`."""
        return f"{self.env} (physics={self.physics})" if self.physics else self.env

    @property
    def target(self) -> str:
        """The env by the name that evidence compares runs under: of each cell apart, `hopper (engine=sb3)`."""
        return f"{self.env} ({self.cell})" if self.cell else self.env


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of an experiment, and what its report needs besides them."""

    name: str
    question: str
    command: str  # how to make it again
    runs: tuple[PlannedRun, ...]
    every: int  # env steps between two evaluations of a target run
    episodes: int  # per evaluation
    specification: dict[str, Any]
    schema: int = RECORD_SCHEMA
    version: int = 1  # of the experiment file, counted by its changes; earlier ones are kept in versions/

    def event_folders(self) -> dict[str, str]:
        """Return where each run's TensorBoard events lie, by the run's folder; both are relative to the experiment's.

        TensorBoard names a run by that path: `half-cheetah.gravity-1.5/finetune/seed-0`, and `finetune-from-hopper`
        where a method has several sources, and `finetune-visit-2` where a sequence comes back to a task. No digest is
        in it; of runs that differ in nothing else the last one shows.
        """
        sources = {planned.folder: planned.source.partition("/")[0] for planned in self.runs}
        several: dict[str, set[str]] = {}
        for folder, source in sources.items():
            several.setdefault(_undigested(folder), set()).add(source)
        visits = self._visits()

        def of_several(folder: str) -> str:
            return f"from-{sources[folder]}" if len(several[_undigested(folder)]) > 1 else ""

        return {
            folder: f"{EVENTS}/{_undigested(folder, visits.get(folder) or of_several(folder))}" for folder in sources
        }

    def _visits(self) -> dict[str, str]:
        """Return `visit-2` and so on for each run on a task that its sequence comes back to."""
        sources = {planned.folder: planned for planned in self.runs}
        visits: dict[str, str] = {}
        for planned in self.runs:
            if planned.role == "revisit":
                count, before = 1, sources.get(planned.source)
                while before is not None:
                    count += before.env == planned.env
                    before = sources.get(before.source)
                visits[planned.folder] = f"visit-{count}"
        return visits


def _undigested(folder: str, detail: str = "") -> str:
    """Return a run's folder without the digest, and with what tells it from another."""
    method, _, seed = (folder.rpartition("--")[0] or folder).rpartition("/")
    return f"{method}-{detail}/{seed}" if detail else f"{method}/{seed}"


def encode(record: msgspec.Struct) -> bytes:
    """Return the record as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2)


class Readable(Protocol):
    """A file by its content, wherever it lies; `str` names it."""

    def read_bytes(self) -> bytes:
        """Return its content."""
        ...


def digest_of(specification: object) -> str:
    """Return the identity of a run: the sha256 of its specification as JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(specification, order="deterministic")).hexdigest()


def content_of(file: Readable) -> bytes:
    """Bytes of a record's file.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    return regular_bytes(file) if isinstance(file, Path) else file.read_bytes()


def decode(path: Readable, into: type[T]) -> T:
    """Return the record in a JSON file; one of an earlier schema is upgraded.

    Raises:
        InputError: the file cannot be read, is not such a record, or is of a newer schema.
    """
    try:
        content = content_of(path)
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema == 1 and issubclass(into, RunRecord | Plan):
            table = msgspec.json.decode(content, type=dict[str, Any])
            return msgspec.convert(_upgraded_run(table) if "digest" in table else _upgraded_plan(table), into)
        if schema <= RECORD_SCHEMA:
            return msgspec.json.decode(content, type=into)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    raise InputError(f"{path}: schema {schema} is newer than this version reads ({RECORD_SCHEMA}); update trl-suite")


def relinked(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return an experiment's records with the present digests of their sources.

    A run's specification names its source by digest, and an upgrade changes that of the source as well.
    """
    runs = list(runs)
    digests = {run.former_digest: run.digest for run in runs if run.former_digest}
    return [_with_source(run, digests) for run in runs]


# --- Records of schema 1: the same facts under former names ---

_SPECIFICATION_KEYS = {"world": "env_spec", "mix": "training_variants", "upbringing": "source_training"}
_METHOD_KEYS = {"weights": "weight_regularizer", "behaviour": "distillation", "guide": "guide_policy"}
_METHODS = {"jumpstart": "jsrl"}
_FORMER_SAMPLES = 10_000  # that copied statistics counted as, at most


class _Schema(msgspec.Struct):
    schema: int = 1


def _upgraded_run(table: dict[str, Any]) -> dict[str, Any]:
    """Return a run's record under the present names; one that was edited keeps a digest that is not its own."""
    before: dict[str, Any] = table.get("specification", {})
    now = _renamed(before, _SPECIFICATION_KEYS) | {"schema": RECORD_SCHEMA}
    if isinstance(now.get("method"), dict):
        now["method"] = _upgraded_method(cast(dict[str, Any], now["method"]))
    former = str(table.get("digest", ""))
    digest = digest_of(now) if digest_of(before) == former else former
    names = {"method": _METHODS.get(str(table.get("method")), table.get("method")), "schema": RECORD_SCHEMA}
    return table | names | {"specification": now, "digest": digest, "former_digest": former}


def _upgraded_plan(table: dict[str, Any]) -> dict[str, Any]:
    """Return a plan under the present names; folders keep theirs, which are those on disk."""
    before: dict[str, Any] = table.get("specification", {})
    definitions: dict[str, dict[str, Any]] = before.get("method", {})
    methods = {name: _upgraded_method(definition) for name, definition in definitions.items()}
    names = {old: new for old, new in _METHODS.items() if old not in methods}
    now = before | {"method": methods}
    if "methods" in before:
        now["methods"] = [names.get(name, name) for name in before["methods"]]
    if "expected" in before:
        now["expected"] = _renamed(before["expected"], names)
    runs: list[dict[str, Any]] = table.get("runs", [])
    runs = [run | {"method": names.get(str(run.get("method")), run.get("method"))} for run in runs]
    return table | {"specification": now, "runs": runs, "schema": RECORD_SCHEMA}


def _upgraded_method(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method with the fates of log_std and of statistics, which were components like others, as own keys.

    Copied statistics counted as 10,000 samples at most then, which a method has to ask for now: the run is another.
    """
    now = _renamed(table, _METHOD_KEYS)
    copied: list[str] = now.get("copy", [])
    frozen: list[str] = now.get("freeze", [])
    freezes_statistics = any(_is_statistics(name) for name in frozen)
    counted = [
        name
        for name in copied
        if _is_statistics(name) and not (freezes_statistics and name == "normaliser.observation")
    ]
    if "log_std" in copied:
        now |= {"copy": [name for name in copied if name != "log_std"], "log_std": "copied"}
    if freezes_statistics:
        now["freeze"] = [name for name in frozen if not _is_statistics(name)]
    if counted or (freezes_statistics and any(_is_statistics(name) for name in now.get("thaw", {}))):
        now["normaliser"] = {"slow": _FORMER_SAMPLES} | ({"frozen": True} if freezes_statistics else {})
    elif freezes_statistics:
        now["normaliser"] = "frozen"
    return {key: value for key, value in now.items() if value != []}


def _is_statistics(selector: str) -> bool:
    return f"{selector}.".startswith("normaliser.")


def _with_source(run: RunRecord, digests: Mapping[str, str]) -> RunRecord:
    source = run.specification.get("source", "")
    if source not in digests or digest_of(run.specification) != run.digest:
        return run
    specification = run.specification | {"source": digests[source]}
    return msgspec.structs.replace(run, specification=specification, digest=digest_of(specification))


def _renamed(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in table.items()}
