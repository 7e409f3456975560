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
from trl_suite.evidence.statistics.claim import Claim
from trl_suite.record import SCRATCH

MAPS: Mapping[str, str] = {"freeze-map-half-cheetah": "HalfCheetah", "freeze-map-walker2d": "Walker2d"}
ANSWERS = ((FULL, SCRATCH), ("feature-extraction", SCRATCH), ("feature-extraction", FULL))
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
        parts.append(f"{link}. " + " ".join(_answers(results[name])))
    return "\n\n".join(parts)


def _chapter(name: str, robot: str, results: Results | None, experiments: str) -> str:
    head = f"### [{robot}]({experiments}{name}/README.md)"
    if results is None:
        return f"{head}\n\nNot run yet."
    told = "\n".join(f"- {line}" for line in (*_answers(results), *_expectation_lines(results)))
    return "\n\n".join([head, told, _contrast_table(results.contrasts()), _budget_table(results.budgets())])


def _answers(results: Results) -> list[str]:
    """Return a sentence for each question and target: after how many steps which claim is made."""
    readings = results.budgets()
    lines: list[str] = []
    for env in results.envs:
        for method, baseline in ANSWERS:
            fitting = [r for r in readings if (r.env, r.method, r.baseline) == (env, method, baseline)]
            if fitting:
                lines.append(f"`{env}`: `{method}` minus `{baseline}` is {_by_claim(fitting)}.")
    return lines or ["No two methods have finished runs of one seed yet."]


def _by_claim(readings: Sequence[BudgetReading]) -> str:
    """Return the claims on the end of the budget in the order of budgets: `better after 10,240 and 30,720 steps`."""
    groups = groupby(readings, key=lambda reading: reading.end_claim)
    return ", ".join(f"{claim} after {_listed(reading.step for reading in group)} steps" for claim, group in groups)


def _listed(steps: Iterable[int]) -> str:
    texts = [f"{step:,}" for step in steps]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _expectation_lines(results: Results) -> list[str]:
    """Return a sentence for the claims of all contrasts, by what is claimed at the end of the whole budget."""
    by_claim: dict[Claim, list[str]] = {}
    for row in results.contrasts():
        by_claim.setdefault(row.end_claim, []).append(f"{row.name} ({row.env.rpartition('.')[2]})")
    return [f"Contrasts that end {claim}: {', '.join(names)}." for claim, names in by_claim.items()]


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
