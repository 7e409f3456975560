"""A whole experiment as found on disk: its curves, its measures, and everything that is missing or odd.

Nothing is dropped silently: what is not counted stands in `Results.findings` with what was done about it.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence import comparison, measures
from trl_suite.evidence.comparison import Reference, Row
from trl_suite.evidence.curve import Curves
from trl_suite.evidence.grids import gather, once
from trl_suite.evidence.members import Finding, Member, about, member, surplus
from trl_suite.record import Plan, decode

SCRATCH = "scratch"  # the method that every other is compared with


@dataclass(frozen=True, kw_only=True)
class Results:
    """An experiment's plan, its runs in planned order, the curves by env and method, and all findings."""

    folder: Path
    plan: Plan
    members: tuple[Member, ...]
    curves: dict[tuple[str, str], Curves]
    references: dict[str, Reference]
    findings: tuple[Finding, ...]

    @property
    def envs(self) -> tuple[str, ...]:
        """The target envs, in planned order."""
        return tuple(dict.fromkeys(p.env for p in self.plan.runs if p.role == "target"))

    def methods(self, env: str) -> tuple[str, ...]:
        """Return the methods planned on an env: scratch first, then in planned order."""
        found = dict.fromkeys(p.method for p in self.plan.runs if p.role == "target" and p.env == env)
        return tuple(sorted(found, key=lambda method: method != SCRATCH))

    def measures(self) -> tuple[Row, ...]:
        """Return one row per env and method that has a curve, scratch first."""
        return tuple(row for env in self.envs for row in self._rows(env))

    def source_steps(self, env: str, method: str) -> float:
        """Return the env steps that one source policy of a method cost: 0 without a source, NaN where unknown."""
        plans = [p for p in self.plan.runs if p.role == "target" and p.env == env and p.method == method]
        sources = {p.source for p in plans if p.source}
        steps = [m.run.steps for m in self.members if m.planned.folder in sources and m.run is not None]
        return float(np.mean(steps)) if steps else float("nan") if sources else 0.0

    def _rows(self, env: str) -> list[Row]:
        scratch, reference = self.curves.get((env, SCRATCH)), self.references.get(env)
        rows: list[Row] = []
        for method in self.methods(env):
            if (curves := self.curves.get((env, method))) is None:
                continue
            planned = sum(p.role == "target" and (p.env, p.method) == (env, method) for p in self.plan.runs)
            row = comparison.alone(curves, reference, planned, self.source_steps(env, method))
            paired = scratch is not None and method != SCRATCH
            rows.append(comparison.against(row, curves, scratch, reference) if paired and scratch else row)
        return comparison.with_holm(rows)


def load(runs: Path) -> Results:
    """Return the results of the experiment in a folder, complete or not.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    if not (runs / "plan.json").is_file():
        raise InputError(f"{runs}: no plan.json here, so it is not an experiment's folder; expected runs/<experiment>")
    plan = decode(runs / "plan.json", Plan)
    findings = surplus(runs, plan)
    members = tuple(member(runs, planned, plan, findings) for planned in plan.runs)
    curves: dict[tuple[str, str], Curves] = {}
    for env in dict.fromkeys(p.env for p in plan.runs if p.role == "target"):
        curves |= gather(env, once([m for m in members if m.planned.role == "target"], env, findings), findings)
    _compare(curves, plan, findings)
    references = _references(curves, plan, findings)
    return Results(
        folder=runs, plan=plan, members=members, curves=curves, references=references, findings=tuple(findings)
    )


def _compare(curves: dict[tuple[str, str], Curves], plan: Plan, findings: list[Finding]) -> None:
    """Note every run that has no scratch run of its seed."""
    folders = {p.folder: p for p in plan.runs}
    for (env, method), found in curves.items():
        scratch = curves.get((env, SCRATCH))
        seeds = set() if scratch is None else set(scratch.seeds.tolist())
        for folder, seed in zip(found.folders, found.seeds.tolist(), strict=True):
            if method != SCRATCH and seed not in seeds:
                treatment = "in the method's own measures, not in the comparison"
                findings.append(about("no pair", folders[folder], f"no scratch run with seed {seed}", treatment))


def _references(curves: dict[tuple[str, str], Curves], plan: Plan, findings: list[Finding]) -> dict[str, Reference]:
    """Return what scores 0 and 1 on each env: as the specification gives it, else from the scratch runs."""
    try:
        given = msgspec.convert(plan.specification.get("references", {}), dict[str, Reference])
    except msgspec.ValidationError as error:
        raise InputError(f"plan.json: references: {error}") from None
    references = dict(given)
    for env in dict.fromkeys(env for env, _ in curves):
        if env not in references and (scratch := curves.get((env, SCRATCH))) is not None:
            references |= _measured(env, scratch)
        if env not in references or np.isnan(references[env].threshold):
            what = "no finished scratch run" if env not in references else "scratch ended no better than it started"
            treatment = "no threshold, so no time to threshold and no speed-up"
            findings.append(Finding(kind="no reference", where=env, what=what, treatment=treatment))
    return references


def _measured(env: str, scratch: Curves) -> dict[str, Reference]:
    whole = scratch.returns[scratch.complete]
    whole = whole[np.isfinite(whole).all(axis=1)]
    if not len(whole) or len(scratch.steps) < 2:
        return {}
    return {
        env: Reference(
            random=float(measures.zero_shot(whole).mean()),
            reference=float(measures.asymptote(scratch.steps, whole).mean()),
            origin=f"the {len(whole)} scratch runs of this experiment",
            paired=True,
        )
    }
