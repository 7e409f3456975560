"""The advisor's regret from archives: `python benchmarks/advisor.py experiments/*/results`.

Each rule chooses a method, and how many layers to hold, from probes alone. Its regret is what the best measured method
gained more. `--page` writes the table into experiments/README.md, where a test compares it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trl_suite.evidence.results import advice_regret
from trl_suite.evidence.results.advice_regret import RuleScore
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import estimate


def lines(scores: Sequence[RuleScore]) -> list[str]:
    """Return the scores as lines of text."""
    return [
        f"{score.rule}: regret {estimate(score.regret)}, saved against always fine-tuning "
        f"{estimate(score.saved, signed=True)}; the best method on {score.right} of {score.pairs} pairs"
        for score in scores
    ]


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders of runs, or kept results")
    folders: list[Path] = parser.parse_args().results
    pairs = advice_regret.advice_pairs([Results.read(folder) for folder in folders])
    print(f"{len(pairs)} pairs of source and target with probes, of {len({pair.robot for pair in pairs})} robots")
    print("\n".join(lines(advice_regret.scores(pairs))))


if __name__ == "__main__":
    main()
