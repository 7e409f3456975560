"""Numbers that pages print in their prose, beside the committed facts that they come from; a test compares.

A page's sources are its own experiment, those that it links to, its generated parts, the JSON files beside it, and
files that a comment names: `<!-- numbers from references/hopper-ppo.json -->`, of another page its generated parts.
What is computed from them says how, with operands that must be found: `<!-- worked out: 4.03 = 1,778 / 441 -->`.
A number that is no result is of a kind in `PLAIN`, or a comment lists it with the reason:
`<!-- not compared (an audit's): 20,437 -->`. A page that is written from the source as a whole has a test of its own.
Every other number must be found as exactly as it is printed: an estimate with its interval as one measure's, `9 of 10`
as a count of runs or targets.
"""

import ast
import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.results import source_target_matrix, task_sequence
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics.estimates import Estimate

ROOT = Path(__file__).parents[2]
FROM_SOURCE = "<!-- written by `python -m "  # begins a page of which no line is written by hand
FEW_DIGITS = 2  # an integer of so few is found anywhere: it counts as asked or counted, never as measured
CONSTANTS = {"2", "100"}  # of a formula: halves and percents
NUMBER = r"[+\-\u2212]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
PLAIN = re.compile(
    r"[A-Z][\w&. ]+? (?:et al\. )?\(?(?:19|20)\d\d\)?"  # a paper
    r"|(?:[Ss]ection|eq\.|algorithm|version|schema|Python|CUDA|[Ss]tep|[Ss]eeds?) \d[\d.]*"  # a place, a version
    r"|^\d+\. "  # an item of a list
    r"|\d+(?:\.\d+)? \s*(?:s|seconds|minutes|hours|MB|GB|KB|cores)\b"  # durations and sizes: not a result of learning
    r"|95 %|(?<![\d,.])[01](?![\d,.]*\d)"  # the level of intervals; the ends of a score, none and one
    r"|^Expected[^\n]* before any run.*?(?=\n\n|\Z)",  # written before there was a result
    re.DOTALL | re.MULTILINE,
)
_HIDDEN = r"^```.*?^```|<!--.*?-->|`[^`\n]+`|\]\([^)]*\)|https?://\S+"
_GENERATED = re.compile(r"<!-- ([\w-]+)(?:: [^\n]*)? -->\n(.*?)<!-- /\1 -->", re.DOTALL)
_NO_PROSE = re.compile(_GENERATED.pattern + "|" + _HIDDEN, re.DOTALL | re.MULTILINE)
_ESTIMATE = re.compile(rf"({NUMBER})[\s×x%]*\[({NUMBER}),\s+({NUMBER})\]")
_COUNT = re.compile(r"(?<![\d,.])(\d+) of (?:the )?(\d+)\b")
_SINGLE = re.compile(rf"(?<![\w.\-+/\u2212])({NUMBER})")
_FROM = re.compile(r"<!-- numbers from (.*?) -->", re.DOTALL)
_NOT_COMPARED = re.compile(r"<!-- not compared \([^)]+\):\s(.*?) -->", re.DOTALL)
_WORKED_OUT = re.compile(r"<!-- worked out: (.*?) -->", re.DOTALL)
_LINKED = re.compile(r"\]\((?:[^)\s]*/)?([\w-]+)/(?:README\.md|results|experiment\.toml)[^)]*\)")
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv
}  # fmt: skip


@dataclass
class Facts:
    """Numbers of committed facts."""

    estimates: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    counts: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])  # of all, these
    measured: set[float] = field(default_factory=set[float])
    asked: set[float] = field(default_factory=set[float])

    def add(self, more: "Facts") -> None:
        """Take in the numbers of other facts."""
        self.estimates += more.estimates
        self.counts |= more.counts
        self.measured |= more.measured
        self.asked |= more.asked

    def has(self, number: str) -> bool:
        """Whether a number is one of these, to its last digit."""
        if any(is_printed(number, value) for value in self.asked):
            return True
        is_few = number.isdecimal() and len(number) <= FEW_DIGITS
        return not is_few and any(is_printed(number, value) for value in self.measured)


def of_experiment(table: Mapping[str, Any], results: Results | None) -> Facts:
    """Return what an experiment asks, and what it measured: measures, scales, each run's end, and counts of claims."""
    facts = Facts(asked=set(_numbers(table)))
    if results is None:
        return facts
    roles = Counter(member.planned.role for member in results.recorded)
    facts.asked |= {*map(float, roles.values()), float(roles.total()), float(roles.total() - roles["source"])}
    rows = results.measures()
    sequence = task_sequence.find(results)
    cells = [cell for matrix in source_target_matrix.matrices(results, rows) for cell in matrix.cells]
    for row in (*rows, *cells, *(sequence.rows if sequence else ()), *results.contrasts(), *results.budgets()):
        fields = {name: getattr(row, name) for name in row.__struct_fields__}
        estimates = [value for value in fields.values() if isinstance(value, Estimate) and value.n]
        facts.estimates += [(estimate.value, estimate.low, estimate.high) for estimate in estimates]
        facts.measured |= {value for name, value in fields.items() if name.startswith("p_")}
    facts.measured |= {bound for estimate in facts.estimates for bound in estimate}
    facts.measured |= set(_numbers([msgspec.to_builtins(scale) for scale in results.scales.values()]))
    for curves in results.curves.values():
        facts.measured |= {*curves.returns.mean(axis=0).tolist(), *curves.returns[:, -1].tolist()}
        facts.asked |= set(curves.steps.tolist())
    facts.counts = set(_counted(rows))
    return facts


def _counted(rows: Iterable[MeasureRow]) -> Iterator[tuple[int, int]]:
    """Yield how many runs arrived, or began, above the threshold; on how many targets a method claims what."""
    groups: dict[tuple[str, str], list[MeasureRow]] = {}
    for row in rows:
        for name in (row.env, conditions.robot(row.env), ""):
            groups.setdefault((name, row.method), []).append(row)
    for group in groups.values():
        for name in ("time_claim", "area_claim", "end_claim"):
            yield from ((count, len(group)) for count in Counter(getattr(row, name) for row in group).values())
        for name in ("at_once", "reached"):
            yield sum(getattr(row, name) for row in group), sum(row.timed for row in group)


def of_file(path: Path) -> Facts:
    """Return all numbers of a JSON file, its shares in percent too, or those of a page's generated parts."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return Facts(asked=set(_numbers([part for _, part in _GENERATED.findall(text)])))
    measured = set(_numbers(json.loads(text)))
    return Facts(measured=measured | {100 * number for number in measured if 0 < number < 1})


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in a table, those within its texts and keys too."""
    if isinstance(value, Mapping):
        yield from (number for item in value.items() for number in _numbers(item))
    elif isinstance(value, list | tuple):
        yield from (number for part in value for number in _numbers(part))
    elif isinstance(value, str):
        yield from map(parsed, re.findall(r"(?:(?<![\w.)])[-\u2212])?\d[\d_,]*(?:\.\d+)?(?:e-?\d+)?", value))
    elif isinstance(value, int | float):
        yield float(value)


def parsed(text: str) -> float:
    """Return the number that a page prints."""
    return float(text.replace(",", "").replace("_", "").replace("\u2212", "-"))


def is_printed(text: str, value: float) -> bool:
    """Whether a value is printed so: it rounds to the text's last digit."""
    if "e" in text:
        return math.isclose(parsed(text), value, rel_tol=1e-9)
    digits = len(text.partition(".")[2])
    return math.isfinite(value) and abs(parsed(text) - value) <= 0.5000001 * 10**-digits


def of_page(page: Path, experiments: Mapping[str, Facts]) -> Facts:
    """Return the facts that a page may print: of experiments, of its generated parts, and of files that it names."""
    text, facts = page.read_text(encoding="utf-8"), Facts()
    for name in {page.parent.name, *_LINKED.findall(text)} & set(experiments):
        facts.add(experiments[name])
    named = [ROOT / path for path in " ".join(_FROM.findall(text)).split()]
    for path in (page, *page.parent.glob("*.json"), *named):
        facts.add(of_file(path))
    return facts


def unknown(text: str, facts: Facts) -> list[str]:
    """Return the numbers of a page's prose that no fact has, in order of their kinds."""
    if text.startswith(FROM_SOURCE):
        return []
    missing: list[str] = []
    elsewhere = " ".join(" ".join(_NOT_COMPARED.findall(text)).split())
    listed = {number.rstrip(",") for number in re.findall(NUMBER, elsewhere)} | set(_worked_out(text, facts))

    def estimate(match: re.Match[str]) -> str:
        printed = " ".join(match[0].split())
        if printed not in elsewhere and not any(
            all(map(is_printed, match.groups(), values)) for values in facts.estimates
        ):
            missing.append(printed)
        return " "

    def count(match: re.Match[str]) -> str:
        return " " if (int(match[1]), int(match[2])) in facts.counts else match[0]  # then each number by itself

    prose = PLAIN.sub(" ", _NO_PROSE.sub(" ", text))
    numbers: list[str] = _SINGLE.findall(_COUNT.sub(count, _ESTIMATE.sub(estimate, prose)))
    missing += [number for one in numbers if (number := one.rstrip(",")) not in listed and not facts.has(number)]
    return missing


def _worked_out(text: str, facts: Facts) -> Iterator[str]:
    """Yield the numbers that a page's formulas give, of those whose operands are facts."""
    for result, formula in re.findall(rf"({NUMBER}) = ([^;]+)", "; ".join(_WORKED_OUT.findall(text))):
        operands = set(re.findall(r"\d[\d,]*(?:\.\d+)?", formula)) - CONSTANTS
        has_operands = all(facts.has(number) or facts.has(f"-{number}") for number in operands)
        if has_operands and is_printed(result, _value(formula.replace(",", ""))):
            yield result


def _value(formula: str) -> float:
    """Return the value of a formula of numbers, + - * / and brackets.

    Raises:
        ValueError: it holds something else.
    """

    def of(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](of(node.left), of(node.right))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        raise ValueError(f"{formula}: a number, + - * / and brackets are understood")

    return of(ast.parse(formula.strip(), mode="eval").body)
