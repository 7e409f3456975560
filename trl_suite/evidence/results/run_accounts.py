"""The account of an experiment: what was copied, frozen and proved, what it cost, and on what it was made."""

from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from trl_suite.evidence.reading.run_records import RecordedRun, changed, unproved
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.record import RunRecord, Transplant

_RANDOMISED = "randomise="  # in the address of a training env whose episodes are drawn anew
Proof = Literal["held", "broken", "unproved", "pending", "nothing frozen"]


class Hash(NamedTuple):
    """The numbers of one frozen component of one run, as sha256."""

    run: str
    component: str
    before: str
    after: str


class Treatment(NamedTuple):
    """The fate of the components in those runs of a method on an env that were treated alike."""

    env: str
    method: str
    seeds: tuple[int, ...]
    transplant: Transplant
    trainable: int
    total: int
    proofs: dict[Proof, int]  # how many runs
    runs: tuple[RecordedRun, ...]

    @property
    def hashes(self) -> tuple[Hash, ...]:
        """The numbers of every frozen component, before and after."""
        return tuple(
            component_hash
            for recorded in self.runs
            if recorded.run
            for component_hash in _hashes(recorded.run, recorded.planned.folder)
        )


class Cost(NamedTuple):
    """The steps and seconds that the runs of one method on one env took."""

    env: str
    method: str
    runs: int
    steps: float
    seconds: float


class Circumstance(NamedTuple):
    """One fact about how runs were made; more than one value means that they differ."""

    name: str
    values: tuple[tuple[str, int], ...]  # value, number of runs


def treatments(results: Results) -> list[Treatment]:
    """Return the components copied, frozen and fresh, one entry for all runs that were treated alike."""
    groups: dict[tuple[object, ...], list[RecordedRun]] = {}
    for member in results.recorded:
        if member.run is not None and member.run.role == "target" and member.run.transplant is not None:
            groups.setdefault(_alike(member.run, member.run.transplant), []).append(member)
    return [_treatment(members) for members in groups.values()]


def proof(run: RunRecord) -> Proof:
    """Return whether what a run froze is shown not to have moved."""
    if run.transplant is None or not (run.transplant.frozen or (run.freeze and run.freeze.before)):
        return "nothing frozen"
    if changed(run):
        return "broken"
    if run.status != "done" and (run.freeze is None or not run.freeze.after):
        return "pending"
    return "unproved" if unproved(run) else "held"


def costs(results: Results) -> list[Cost]:
    """Return the steps and seconds by env and method, in planned order; sources first where the plan has them first."""
    costs_by_method: dict[tuple[str, str], Cost] = {}
    for member in results.recorded:
        if (run := member.run) is None:
            continue
        steps = float(member.curve.steps[-1]) if member.curve is not None and len(member.curve.steps) else 0.0
        trained = float(run.steps) if run.status == "done" else steps
        method = _as_billed(run)
        had = costs_by_method.get((run.env, method), Cost(run.env, method, 0, 0.0, 0.0))
        spent = (had.steps + trained, had.seconds + run.seconds)
        costs_by_method[run.env, method] = Cost(run.env, method, had.runs + 1, *spent)
    return list(costs_by_method.values())


def circumstances(results: Results) -> list[Circumstance]:
    """Return commit, versions and machine, each with all values that occur."""
    runs = [m.run for m in results.recorded if m.run is not None]
    names: dict[str, Callable[[RunRecord], str]] = {
        "commit": _commit,
        "algorithm": lambda run: run.algorithm,
        "engine": lambda run: f"{run.engine} on {run.device}",
        "trained together": lambda run: str(run.cohort_size),
    }
    facts = [Circumstance(name, _values(runs, read)) for name, read in names.items()]
    for name in dict.fromkeys(name for run in runs for name in run.versions):
        facts.append(Circumstance(name, tuple(Counter(run.versions.get(name, "?") for run in runs).items())))
    for name in dict.fromkeys(name for run in runs for name in run.machine):
        facts.append(Circumstance(name, tuple(Counter(run.machine.get(name, "?") for run in runs).items())))
    return facts


def _as_billed(run: RunRecord) -> str:
    """Return the method of a run as the bill has it: references apart, and runs whose episodes are drawn anew."""
    method = f"{run.method}, reference" if run.role == "reference" else run.method
    variants = run.specification.get("training_variants", ())
    if run.ranges:  # of a run that has ended
        return f"{method}, drawn anew at each episode: {', '.join(run.ranges)}"
    return f"{method}, drawn anew at each episode" if any(_RANDOMISED in name for name in variants) else method


def _commit(run: RunRecord) -> str:
    return (run.commit or "unknown") + (" with uncommitted changes" if run.dirty else "")


def _values(runs: list[RunRecord], read: Callable[[RunRecord], str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(read(run) for run in runs).items())


def _alike(run: RunRecord, transplant: Transplant) -> tuple[object, ...]:
    counts = (run.freeze.trainable, run.freeze.total) if run.freeze else ()
    names = (transplant.copied, transplant.fresh, transplant.frozen, transplant.missing)
    return (run.env, run.method, *names, transplant.left_over, transplant.unmatched, counts)


def _treatment(members: list[RecordedRun]) -> Treatment:
    runs = [member.run for member in members if member.run is not None]
    first = runs[0]
    assert first.transplant is not None
    return Treatment(
        env=first.env,
        method=first.method,
        seeds=tuple(run.seed for run in runs),
        transplant=first.transplant,
        trainable=first.freeze.trainable if first.freeze else 0,
        total=first.freeze.total if first.freeze else 0,
        proofs=dict(Counter(proof(run) for run in runs)),
        runs=tuple(members),
    )


def _hashes(run: RunRecord, folder: str) -> list[Hash]:
    if run.freeze is None:
        return []
    before, after = run.freeze.before, run.freeze.after
    return [Hash(folder, name, before.get(name, ""), after.get(name, "")) for name in {**before, **after}]
