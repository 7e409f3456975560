"""The page of results by others, from the folders in `submissions/`: each with the mark that a checker gave it."""

import re
from pathlib import Path

from trl_suite.evidence.results.number_format import printable
from trl_suite.experiment.reuse import submission
from trl_suite.experiment.reuse.submission import Submission

ROOT = Path(__file__).parents[2]
SUBMISSIONS = ROOT / "submissions"
_HEAD = """# Results by others

`trl-suite submit runs/mine --author NAME` lays out a folder for a pull request. A checker makes some of its runs again:
`trl-suite check submissions/mine --runs 3 --mark`.

- **verified**: every episode's return is the same to the last bit.
- **consistent**: made on another machine, or with other versions, each run lies where one more seed would.
- **differs**: neither.
"""


def page(folder: Path = SUBMISSIONS) -> str:
    """Return the page in Markdown; names that others gave are plain text in it."""
    submissions = [path.parent for path in sorted(folder.glob(f"*/{submission.SUBMISSION_FILE}"))]
    if not submissions:
        return f"{_HEAD}\nNone yet.\n"
    rows = [_row(path, submission.read_head(path)) for path in submissions]
    return "\n".join([_HEAD, "| results | question | by | mark |", "|---|---|---|---|", *rows, ""])


def _row(folder: Path, head: Submission) -> str:
    mark, checked = submission.read_mark(folder)
    said = f"**{mark}**, {checked} of {head.runs} runs made again" if checked else mark
    author = _text(head.author)
    if re.fullmatch(r"https://[\w./~%#?=&-]+", head.link):
        author = f"[{author}]({head.link})"
    return f"| {_text(head.name)} | {_text(head.question)} | {author} | {said} |"


def _text(words: str) -> str:
    """Return words of others so that no sign of them is markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#|&!~$:])", r"\\\1", printable(words))
