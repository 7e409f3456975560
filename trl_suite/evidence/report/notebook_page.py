"""An experiment's results as a notebook shows them: what it says, and a row for each target and method."""

from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.headline import headline
from trl_suite.evidence.results.number_format import estimate, speed_up
from trl_suite.html_tables import html_table

TABLE_COLUMNS = (
    "target",
    "method",
    "runs",
    "gain over scratch",
    "claim",
    "speed-up",
    "claim on time",
    "return at the end",
)


def page(results: Results) -> str:
    """Return the headline and the table of measures as HTML."""
    rows = results.measures()
    cells = [
        (
            row.env,
            row.method,
            f"{row.complete} of {row.planned}",
            estimate(row.primary, signed=True),
            row.area_claim if row.jumpstart.n else "",
            speed_up(row.speed_up),
            row.time_claim if row.jumpstart.n else "",
            estimate(row.asymptote),
        )
        for row in rows
    ]
    return html_table(headline(results, rows).sentence, TABLE_COLUMNS, cells)
