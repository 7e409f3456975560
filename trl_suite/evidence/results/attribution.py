"""Which component carries the transfer: methods that differ in one respect, compared seed by seed."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates
from trl_suite.evidence.statistics.estimates import Estimate


class Contrast(NamedTuple):
    """Two methods on one env that differ only in what is copied, or only in what is frozen."""

    kind: Literal["copying", "freezing"]
    components: tuple[str, ...]  # what the one copies or freezes beyond the other, folded: `critic`
    more: str  # method
    less: str  # method
    effect: Estimate  # of area, more minus less; in scores where the env has a reference, else in return


class _Treatment(NamedTuple):
    """The components that a method copies and freezes on an env."""

    method: str
    source: str  # env, "" without one
    copied: frozenset[str]
    frozen: frozenset[str]


def contrasts(results: Results, env: str) -> list[Contrast]:
    """Return all contrasts of an env between neighbours: no other method of the plan lies between the two."""
    components, treatments = _treatments(results, env)
    neighbour_contrasts: list[Contrast] = []
    for more in treatments:
        for less in (other for other in treatments if other.source in ("", more.source)):
            if less.frozen == more.frozen and _next(less.copied, more.copied, _copies(treatments, more)):
                neighbour_contrasts.append(_contrast(results, env, "copying", more, less, components))
            if less.copied == more.copied and _next(less.frozen, more.frozen, _freezes(treatments, more)):
                neighbour_contrasts.append(_contrast(results, env, "freezing", more, less, components))
    return [contrast for contrast in neighbour_contrasts if contrast.effect.n]


def fold(components: Iterable[str], all_components: Iterable[str]) -> tuple[str, ...]:
    """Return components with whole families written as one: all that begin with `critic.` become `critic`."""
    left, everything = set(components), set(all_components)
    prefixes = {".".join(name.split(".")[:depth]) for name in left for depth in range(1, name.count(".") + 1)}
    for prefix in sorted(prefixes, key=lambda prefix: prefix.count(".")):
        family = {name for name in everything if name.startswith(f"{prefix}.")}
        if len(family) > 1 and family <= left:
            left = (left - family) | {prefix}
    return tuple(sorted(left))


def _treatments(results: Results, env: str) -> tuple[set[str], list[_Treatment]]:
    """Return all components of an env's runs, and what each method did to them."""
    components: set[str] = set()
    treatments: dict[str, _Treatment] = {}
    for member in results.recorded:
        transplant = member.run.transplant if member.run else None
        if member.planned.role != "target" or member.planned.target != env or transplant is None:
            continue
        components |= {*transplant.copied, *transplant.synced, *transplant.fresh}
        if (env, member.condition.name) in results.curves:
            treatment = _Treatment(
                member.condition.name,
                member.condition.source,
                frozenset(transplant.copied),
                frozenset(transplant.frozen),
            )
            treatments.setdefault(member.condition.name, treatment)
    return components, list(treatments.values())


def _copies(treatments: list[_Treatment], like: _Treatment) -> list[frozenset[str]]:
    return [t.copied for t in treatments if t.frozen == like.frozen and t.source in ("", like.source)]


def _freezes(treatments: list[_Treatment], like: _Treatment) -> list[frozenset[str]]:
    return [t.frozen for t in treatments if t.copied == like.copied and t.source in ("", like.source)]


def _next(less: frozenset[str], more: frozenset[str], others: list[frozenset[str]]) -> bool:
    return less < more and not any(less < other < more for other in others)


def _contrast(
    results: Results,
    env: str,
    kind: Literal["copying", "freezing"],
    more: _Treatment,
    less: _Treatment,
    components: set[str],
) -> Contrast:
    cells = comparison.area_differences(results.curves[env, more.method], results.curves[env, less.method])
    reference = results.scales.get(env)
    scale = reference.reference - reference.random if reference is not None and reference.usable else 1.0
    added = more.copied - less.copied if kind == "copying" else more.frozen - less.frozen
    effect = estimates.effect(cells.by_source / scale)
    return Contrast(kind, fold(added, components), more.method, less.method, effect)
