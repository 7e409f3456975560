"""Pages from the committed results: `python -m tools.site.experiment_pages` writes them, a test compares.

They are `experiments/README.md` and what the project's README tells of the study.

The prose between the generated parts is written by hand; what has no results says so.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tools.site import freeze_map_section, preset_table, study_plan
from trl_suite import content, tables
from trl_suite.evidence.figures import effect_intervals, gallery, learning_curves, profiles, transfer_matrix
from trl_suite.evidence.figures.style import LOOKS, looks, svg
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import across_targets, advice_regret, experiment_claims
from trl_suite.evidence.results.across_targets import Overall
from trl_suite.evidence.results.advice_regret import AdvicePair
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_claims import FEW_TARGETS, ClaimLine, UnmetExpectation
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import estimate, number, plural, probability, speed_up
from trl_suite.evidence.results.probe_prediction import PROBES
from trl_suite.evidence.statistics.claim import Claim, counted
from trl_suite.record import SCRATCH

README, FIGURES, RESULTS = "README.md", "figures", "results"
FINDINGS, IMAGES = "docs/findings.md", "docs/images"
NOTHING = "Not run yet."
README_PICTURE = ("quickstart", "half-cheetah.gravity-1.5", "docs/images/quickstart.svg")  # experiment, target, file
_ADVISOR = ("method", "probe", "pairs", "rank correlation [95 %]", "without one pair", "p")
_REGRET = ("rule", "regret [95 %]", "saved against always fine-tuning [95 %]", "chose the best")
WITHDRAWN = (
    "severity",
    "methods",
    "freeze-depth",
    "parts",
    "published",
    "inverted-actions",
    "running-backwards",
    "shapes",
)  # experiments of the first study that measure methods
FEWEST_ROBOTS = 2  # of which one can be left out
_BLOCK = re.compile(r"(<!-- (\w+): .*? -->\n).*?(<!-- /\2 -->)", re.DOTALL)


class ExperimentLibrary:
    """All experiments of a folder, and the results of those that have been run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables: dict[str, dict[str, Any]] = {
            path.parent.name: tables.load(path) for path in sorted(folder.glob("*/experiment.toml"))
        }
        self.results = {
            name: Results.read(folder / name / RESULTS)
            for name in self.tables
            if (folder / name / RESULTS / "plan.json").is_file()
        }


def blocks(found: ExperimentLibrary) -> dict[str, str]:
    """Return the generated parts of all pages by name."""
    return {
        "severity": _finding(found),
        "questions": _questions(found),
        "findings": _findings(found),
        "surprises": _surprises(found),
        "advisor": _advisor(found),
        "regret": _regret(found),
        "figures": _figures(found),
        "study": study_plan.table(found.folder),
        "presets": preset_table.table(found.folder.parent / "envs"),
        "freeze_map": freeze_map_section.section(found.results, "../experiments/"),
        "answer": freeze_map_section.answer(found.results, "experiments/", f"{IMAGES}/"),
    }


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Return a page's text with these generated parts, by name, in place of the old ones; other parts stay."""
    return _BLOCK.sub(lambda block: f"{block[1]}{parts[block[2]]}\n{block[3]}" if block[2] in parts else block[0], text)


def figures(found: ExperimentLibrary) -> dict[str, tuple[str, Figure]]:
    """Return the page's pictures with their captions; none of what has not been run."""
    makers: dict[str, tuple[str, Callable[[ExperimentLibrary], Figure | None]]] = {
        "identity": ("Where the target is the source: every method, and three controls.", _identity),
        "controls": ("Negative controls: running backwards, and every motor inverted.", _controls),
        "severity": ("Fine-tuning, by how far the target departs from the source; a panel for each robot.", _severity),
        "freeze-depth": ("What is gained where everything is copied and the first layers are held.", _freeze_depth),
        "parts": ("What of the source was copied, on three robots at 1.5 times their gravity.", _parts),
        "methods": ("Twelve methods on six targets; grey where nothing is claimed.", _methods),
    }
    drawn = {name: (caption, make(found)) for name, (caption, make) in makers.items()}
    return {name: (caption, figure) for name, (caption, figure) in drawn.items() if figure is not None}


def write(folder: Path) -> Path:
    """Write the page, its pictures and its parts of the project's README and of each experiment's; return the page."""
    found, path = ExperimentLibrary(folder), folder / README
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, (_, figure) in figures(found).items():
        (folder / FIGURES / f"{name}.svg").write_text(report_files.standalone(svg(figure, name)), encoding="utf-8")
    for place, figure in linked_figures(found).items():
        place.write_text(svg(figure, place.stem), encoding="utf-8")
    parts = blocks(found)
    pages = (folder.parent / README, folder.parent / FINDINGS, path, *folder.glob(f"*/{README}"))
    for written in (page for page in pages if page.is_file()):
        written.write_text(filled(written.read_text(encoding="utf-8"), parts), encoding="utf-8")
    return path


def linked_figures(found: ExperimentLibrary) -> dict[Path, Figure]:
    """Return the pictures that stand in the project's README, by their places."""
    name, env, place = README_PICTURE
    pictures = {found.folder.parent / place: _curves(found.results[name], env)} if name in found.results else {}
    for freeze_map in (one for one in freeze_map_section.MAPS if one in found.results):
        grid = transfer_matrix.by_budget(found.results[freeze_map].budgets(), SCRATCH)
        if grid.cells:
            pictures[found.folder.parent / IMAGES / f"{freeze_map}.svg"] = transfer_matrix.gain_grid(grid)
    return pictures


def _curves(results: Results, env: str) -> Figure:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    return learning_curves.learning(curves, results.scales.get(env), gallery.style(results))


def _questions(found: ExperimentLibrary) -> str:
    rows = [(f"[{name}]({name}/README.md)", table["question"], _state(found, name)) for name, table in
            found.tables.items()]  # fmt: skip
    return _table(("experiment", "question", "results"), rows)


def _state(found: ExperimentLibrary, name: str) -> str:
    if name not in found.results:
        return "not run yet"
    runs = [member.run for member in found.results[name].recorded if member.run is not None]
    done, wanted = sum(run.status == "done" for run in runs), len(found.results[name].plan.runs)
    return f"{done} of {plural(wanted, 'run')}"


def _findings(found: ExperimentLibrary) -> str:
    told = {name: experiment_claims.claims(results) for name, results in found.results.items()}
    parts = [f"### [{name}]({name}/README.md)\n\n{_claims(claims)}" for name, claims in told.items() if claims]
    return "\n\n".join(parts) if parts else NOTHING


def _claims(claims: Sequence[ClaimLine]) -> str:
    """Return a table of an experiment: methods down, targets across."""
    by_place = {(claim.method, claim.target): claim for claim in claims}
    targets = {target: sorted({one.pairs for one in claims if one.target == target}) for _, target in by_place}
    head = ["method", *(f"{target}, n = {'–'.join(map(str, pairs))}" for target, pairs in targets.items())]
    rows = [
        [f"`{method}`", *(_claim(by_place.get((method, target))) for target in targets)]
        for method in dict.fromkeys(claim.method for claim in claims)
    ]
    return _table(head, rows)


def _claim(claim: ClaimLine | None) -> str:
    if claim is None:
        return ""
    gain = f"{_bold(claim.gain_claim)}{estimate(claim.gain, signed=True)}"
    if claim.time_claim == "not measured":
        return f"{gain} of return<br>**not timed**"
    return f"{gain}<br>{_bold(claim.time_claim)}{speed_up(claim.speed_up)}"


def _bold(claim: Claim) -> str:
    return "" if claim == "not shown" else f"**{claim}** "


def _surprises(found: ExperimentLibrary) -> str:
    told = [one for results in found.results.values() for one in experiment_claims.unmet_expectations(results)]
    asked = [name for name, results in found.results.items() if results.plan.specification.get("expected")]
    if not told:
        return f"Nothing so far: all went as expected in {', '.join(asked)}." if asked else NOTHING
    return "\n".join(f"- {_surprise(one)}" for one in told)


def _surprise(one: UnmetExpectation) -> str:
    happened = "; ".join(f"{what} on {_named(targets, one)}" for what, targets in one.happened.items())
    return (
        f"[{one.experiment}]({one.experiment}/README.md): `{one.method}` was expected to be {one.expected}: {happened}."
    )


def _named(targets: Sequence[str], one: UnmetExpectation) -> str:
    if one.is_matrix:
        return f"{len(targets)} of {one.targets} pairs of source and target"
    return ", ".join(targets) if len(targets) <= FEW_TARGETS else f"{len(targets)} of {one.targets} targets"


def _finding(found: ExperimentLibrary) -> str:
    """Return what `severity` found, in a sentence for each method, and in a table of methods by robots."""
    results = found.results.get("severity")
    if results is None:
        return NOTHING
    each = experiment_claims.claims(results, every_target=True)
    overall = across_targets.overall(results)
    told = "\n".join(_over_all(one, [claim for claim in each if claim.method == one.method]) for one in overall)
    robots = experiment_claims.robots(results)
    return f"{told}\n\n{_by_robot(results, robots, each)}" if robots else told


def _by_robot(results: Results, robots: Mapping[str, Sequence[str]], each: Sequence[ClaimLine]) -> str:
    cells: dict[str, dict[str, str]] = {}
    for robot, envs in robots.items():
        for one in across_targets.overall(results, envs):
            told = _counted([claim for claim in each if claim.target in envs and claim.method == one.method])
            cells.setdefault(one.method, {})[robot] = f"{speed_up(one.speed_up)}<br>{told}"
    head = ("method", *(f"{robot}, {plural(len(envs), 'target')}" for robot, envs in robots.items()))
    return _table(head, [[f"`{method}`", *(mine.get(one, "") for one in robots)] for method, mine in cells.items()])


def _counted(claims: Sequence[ClaimLine]) -> str:
    """Return on how many targets which claims on time are made."""
    return counted(claim.time_claim for claim in claims)


def _over_all(overall: Overall, claims: Sequence[ClaimLine]) -> str:
    told = _counted(claims)
    ordered = sorted(claims, key=lambda claim: claim.speed_up.value)
    least, most = (f"{speed_up(claim.speed_up)} on `{claim.target}`" for claim in (ordered[0], ordered[-1]))
    where = f"over {plural(overall.targets, 'target')} (geometric mean, 95 % interval for these targets)"
    found = f"`{overall.method}`: {speed_up(overall.speed_up)} as fast as scratch {where}; {told}"
    return f"- {found}. From {least} to {most}."


def _advisor(found: ExperimentLibrary) -> str:
    told = experiment_claims.scores(list(found.results.values()))
    rows = [
        (
            f"`{one.method}`",
            one.probe.replace("_", "-"),
            str(one.correlation.n),
            estimate(one.correlation, signed=True),
            " to ".join(number(end, signed=True) for end in one.without_one),
            probability(one.correlation.p),
        )
        for one in sorted(told, key=lambda one: (one.method, PROBES.index(one.probe)))
        if one.correlation.has_interval
    ]
    return _table(_ADVISOR, rows) if rows else NOTHING


def _regret(found: ExperimentLibrary) -> str:
    """Return the advisor's regret, apart for the withdrawn study and the one made again."""
    parts: list[str] = []
    for title, names in {
        "Of the study made again": study_plan.STUDY,
        "Of the withdrawn study, whose scratch was weak": WITHDRAWN,
    }.items():
        pairs = advice_regret.advice_pairs([found.results[name] for name in names if name in found.results])
        parts.append(f"{title}: {_scored(pairs)}")
    return "\n\n".join(parts)


def _scored(pairs: Sequence[AdvicePair]) -> str:
    robots = len({pair.robot for pair in pairs})
    if robots < FEWEST_ROBOTS:
        return f"{plural(len(pairs), 'pair')} with probes, of {plural(robots, 'robot')}: no robot could be left out."
    rows = [
        (score.rule, estimate(score.regret), estimate(score.saved, signed=True), f"{score.right} of {score.pairs}")
        for score in advice_regret.scores(pairs)
    ]
    return f"{len(pairs)} pairs with probes, of {robots} robots.\n\n{_table(_REGRET, rows)}"


def _figures(found: ExperimentLibrary) -> str:
    told = [f"![{caption}]({FIGURES}/{name}.svg)\n\n{caption}" for name, (caption, _) in figures(found).items()]
    return "\n\n".join(told) if told else NOTHING


def _rows(found: ExperimentLibrary, *names: str) -> list[MeasureRow]:
    """Return the timed rows of some experiments that have been run."""
    mine = [found.results[name] for name in names if name in found.results]
    return [row for results in mine for row in results.measures() if row.speed_up.n]


def _identity(found: ExperimentLibrary) -> Figure | None:
    rows = _rows(found, "identity")
    return effect_intervals.speed_ups(rows, looks([row.method for row in rows])) if rows else None


def _controls(found: ExperimentLibrary) -> Figure | None:
    return _forest(_rows(found, "inverted-actions", "running-backwards"))


def _parts(found: ExperimentLibrary) -> Figure | None:
    return _forest(_rows(found, "parts"))


def _forest(rows: list[MeasureRow]) -> Figure | None:
    return effect_intervals.forest(rows, [], looks([row.method for row in rows])) if rows else None


def _severity(found: ExperimentLibrary) -> Figure | None:
    robots: dict[str, dict[str, list[profiles.Point]]] = {}
    shifts = found.results["severity"].shifts if "severity" in found.results else {}
    for (robot, axis), methods in profiles.severities(_rows(found, "severity"), shifts).items():
        if "finetune" in methods:
            robots.setdefault(robot, {})[axis] = methods["finetune"]
    return profiles.fading(robots, looks([axis for axes in robots.values() for axis in axes])) if robots else None


def _freeze_depth(found: ExperimentLibrary) -> Figure | None:
    robots: dict[str, dict[str, list[profiles.Point]]] = {}
    for row in _rows(found, "freeze-depth"):
        depth, robot = conditions.depth(row.base or row.method), conditions.robot(row.env)
        if depth is not None:
            target = row.env.removeprefix(robot)[1:] or robot
            robots.setdefault(robot, {}).setdefault(target, []).append((depth, row.area_gain))
    return profiles.gains(robots, looks([name for targets in robots.values() for name in targets])) if robots else None


def _methods(found: ExperimentLibrary) -> Figure | None:
    rows = _rows(found, "methods")
    return effect_intervals.gains(rows, LOOKS[0]) if rows else None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    write(content.shipped() / "experiments")
