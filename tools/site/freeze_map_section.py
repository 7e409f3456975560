"""The answer to the seed's question, written from the freeze maps' results alone: which layers may be held, and when.

Every sentence says what a claim or an interval says. Before a map has been run, its part says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from trl_suite.evidence.reading.conditions import FULL
from trl_suite.evidence.results.budget_readings import BudgetReading
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.method_contrasts import MethodContrast
from trl_suite.evidence.results.number_format import estimate
from trl_suite.record import SCRATCH

MAPS: Mapping[str, str] = {"freeze-map-half-cheetah": "HalfCheetah", "freeze-map-walker2d": "Walker2d"}
ANSWERS = ((FULL, SCRATCH), ("feature-extraction", SCRATCH), ("feature-extraction", FULL))
HELD = {"statistics-held": "statistics", "first-layer-held": "the first layer", "layers-held": "both layers"}
NONE = "no pairs yet"
HEADS = ("contrast", "target", "over the budget", "claim", "at the end", "claim")


def section(results: Mapping[str, Results], experiments: str) -> str:
    """Return the part of the page of findings: a chapter for each map.

    Args:
        results: of the experiments that have been run, by name.
        experiments: the way from the page to the folder of experiments.
    """
    return "\n\n".join(_chapter(name, robot, results.get(name), experiments) for name, robot in MAPS.items())


def answer(results: Mapping[str, Results], experiments: str, images: str) -> str:
    """Return the paragraph and the pictures of the project's README.

    Args:
        results: of the experiments that have been run, by name.
        experiments: the way from the page to the folder of experiments.
        images: the way to the folder of pictures.
    """
    parts: list[str] = []
    for name, robot in MAPS.items():
        link = f"[{robot}]({experiments}{name}/README.md)"
        if name not in results:
            parts.append(f"{link}: not run yet.")
            continue
        caption = (
            f"{robot}: gain over scratch at the end of each budget, by method and target; hatched: nothing is claimed"
        )
        parts.append(f"![{caption}]({images}{name}.svg)\n\n{caption}.")
        parts.append(f"{link}, beside a tuned scratch:\n\n{_answers(results[name])}")
    return "\n\n".join(parts)


def _chapter(name: str, robot: str, results: Results | None, experiments: str) -> str:
    head = f"### [{robot}]({experiments}{name}/README.md)"
    if results is None:
        return f"{head}\n\nNot run yet."
    return "\n\n".join(
        [head, _answers(results), _contrast_table(results.contrasts()), _budget_table(results.budgets())]
    )


def _answers(results: Results) -> str:
    """Return questions by targets: which claim holds at which budgets, and what held parts gain over the budget."""
    readings, contrasts, envs = results.budgets(), results.contrasts(), results.envs
    rows = [
        (f"`{method}` minus `{baseline}`", *(_by_claim(_of(readings, env, method, baseline)) for env in envs))
        for method, baseline in ANSWERS
    ]
    for name, part in HELD.items():
        areas = {
            row.env: f"{estimate(row.area, signed=True)}, {row.area_claim}" for row in contrasts if row.name == name
        }
        rows.append((f"{part} held, over the budget", *(areas.get(env, NONE) for env in envs)))
    return _table(("", *(f"`{env}`" for env in envs)), rows)


def _of(readings: Iterable[BudgetReading], env: str, method: str, baseline: str) -> list[BudgetReading]:
    return [one for one in readings if (one.env, one.method, one.baseline) == (env, method, baseline)]


def _by_claim(readings: Sequence[BudgetReading]) -> str:
    """Return the claims at the ends of budgets: `better up to 30,720 steps, worse from 102,400 steps on`."""
    groups = [
        (claim, [reading.step for reading in group]) for claim, group in groupby(readings, lambda one: one.end_claim)
    ]
    if not groups:
        return NONE
    if len(groups) == 1:
        return f"{groups[0][0]} at every budget"
    (first, begun), *between = groups
    return ", ".join([f"{first} up to {begun[-1]:,} steps", *(f"{claim} {_range(steps)}" for claim, steps in between)])


def _range(steps: Sequence[int]) -> str:
    return f"at {steps[0]:,} steps" if len(steps) == 1 else f"from {steps[0]:,} to {steps[-1]:,} steps"


def _contrast_table(rows: Sequence[MethodContrast]) -> str:
    return _table(
        HEADS,
        [
            (row.name, row.env, estimate(row.area, signed=True), row.area_claim, estimate(row.end, signed=True),
             row.end_claim)
            for row in rows
        ],
    )  # fmt: skip


def _budget_table(readings: Sequence[BudgetReading]) -> str:
    """Return methods by targets and budgets: the gain over scratch at the end of each."""
    over_scratch = [reading for reading in readings if reading.baseline == SCRATCH]
    places = list(dict.fromkeys((reading.env, reading.step) for reading in over_scratch))
    cells = {(reading.method, reading.env, reading.step): _cell(reading) for reading in over_scratch}
    methods = dict.fromkeys(reading.method for reading in over_scratch)
    head = ("method", *(f"{env}, {step:,} steps" for env, step in places))
    return _table(head, [(f"`{name}`", *(cells.get((name, *place), "") for place in places)) for name in methods])


def _cell(reading: BudgetReading) -> str:
    claim = reading.end_claim
    return f"{'' if claim == 'not shown' else f'**{claim}** '}{estimate(reading.end, signed=True)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))
