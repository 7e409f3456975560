"""`trl-suite report`: the table and the page of an experiment, complete or not."""

from rich import box
from rich.table import Table

from trl_suite.cli.arguments import Report
from trl_suite.evidence.report import report_files
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results, task_sequence
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.headline import headline
from trl_suite.evidence.results.number_format import estimate, number, speed_up
from trl_suite.evidence.results.task_sequence import TaskSequence
from trl_suite.evidence.statistics.claim import Claim
from trl_suite.terminal import Terminal, print_json

WIDE = 80  # columns of a terminal from which on there is room for all measures
NOTES = 5  # findings that the terminal shows; the report has them all
_MEASURE_COLUMNS: tuple[str, ...] = (
    "method",
    "return\nstep 0",
    "return\nend",
    "gain over\nscratch",
    "steps to\nthreshold",
    "speed-up",
)
_NARROW_COLUMNS = ("method", "gain over\nscratch", "speed-up")


def execute(arguments: Report) -> int:
    """Write the page, print the table, and return the exit code."""
    results = experiment_results.load(arguments.runs)
    page = report_files.write(arguments.runs)
    if arguments.keep:
        archive_results(arguments.runs, arguments.keep)
    if arguments.out:
        page = results.report(arguments.out)
    if arguments.tensorboard:
        results.tensorboard()
    if arguments.json:
        print_json(results.measures())
        return 0
    console = Terminal()
    show(console, results)
    console.print(f"report: {page}", soft_wrap=True, highlight=False)
    return 0


def show(console: Terminal, results: Results) -> None:
    """Print the verdict, one table per target, and what is missing or odd."""
    rows = results.measures()
    for env in results.envs:
        console.print(_table(env, [row for row in rows if row.env == env], console.width < WIDE))
    summary = headline(results, rows)
    console.print(summary.sentence, style="bold", highlight=False)
    for caveat in summary.caveats:
        console.print(f"- {caveat}", highlight=False)
    if (sequence := task_sequence.find(results)) is not None:
        console.print(_sequence(sequence))
    for finding in results.irregularities[:NOTES]:
        note = f"note: {finding.where}: {finding.what}; {finding.treatment}"
        console.print(note, style="yellow", highlight=False, soft_wrap=True)
    if len(results.irregularities) > NOTES:
        console.print(f"and {len(results.irregularities) - NOTES} more notes, all in the report", style="yellow")


def _table(env: str, rows: list[MeasureRow], narrow: bool) -> Table:
    table = Table(
        title=f"{env}: mean and 95 % interval", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    columns = [column for column in _MEASURE_COLUMNS if not narrow or column in _NARROW_COLUMNS]
    for column in columns:
        _add(table, column)
    for row in rows:
        by_column = dict(zip(_MEASURE_COLUMNS, _cells(row), strict=True))
        table.add_row(*(by_column[column] for column in columns))
    return table


def _add(table: Table, column: str) -> None:
    """Add a column; a method's long name is broken, never cut: names of several sources begin alike."""
    if column == "method":
        table.add_column(column, overflow="fold")
    else:
        table.add_column(column, justify="right", no_wrap=True)


def _sequence(sequence: TaskSequence) -> Table:
    table = Table(
        title=f"{len(sequence.stages)} stages, {len(sequence.tasks)} tasks: mean over tasks and 95 % interval",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("method", "average\nat the end", "gain\nover reset", "forgetting"):
        _add(table, column)
    for row in sequence.rows:
        gain = f"{estimate(row.average_gain, signed=True)}\n{row.claim}" if row.average_gain.n else "–"
        cells = (estimate(row.average), gain, estimate(row.forgetting, signed=True))
        table.add_row(row.method, *(cell.replace(" [", "\n[") for cell in cells))
    return table


def _cells(row: MeasureRow) -> tuple[str, ...]:
    """Return a method's cells, in the order of `_MEASURE_COLUMNS`."""
    return (
        f"{row.method}\n{row.complete} of {row.planned} runs",
        number(row.zero_shot.value),
        number(row.asymptote.value),
        _claimed(estimate(row.primary, signed=True), row.area_claim, row),
        f"{number(row.time.value)}\n{row.reached} of {row.timed}",
        _claimed(speed_up(row.speed_up), row.time_claim, row),
    )


def _claimed(text: str, claim: Claim, row: MeasureRow) -> str:
    """Put the interval and the claim below the estimate, so that the table fits into 80 columns."""
    stacked = text.replace(" [", "\n[")
    return f"{stacked}\n{claim}" if row.jumpstart.n else stacked
