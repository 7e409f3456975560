"""Return of a source policy at home after its target: measured on finished runs, which stay as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running.run_folder import state_of
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.policy import Policy, load
from trl_suite.training.acting.evaluation import Act, Episode, Evaluator, append

RETENTION_FILE = "retention.csv"  # as evaluations.csv: the source policy at step 0, and at the end after its target


class RetentionEvaluator:
    """The world of a source, and what its policies can do there."""

    def __init__(self, source: RunSpec) -> None:
        self._evaluator = Evaluator(source.env, source.evaluation.episodes)
        self._before: dict[str, list[Episode]] = {}

    def measure(self, path: Path, source: Policy, trained: Policy, alias: Mapping[str, str], steps: int) -> None:
        """Write what the source policy earns here, and what the policy does that was trained from it on a target.

        Args:
            path: of the file.
            source: policy that the training started from.
            trained: policy that it ended with.
            alias: names in the target -> names in the source.
            steps: env steps of the training.

        Raises:
            InputError: the trained policy sees or moves other slots than this world has.
        """
        names = {target_name: source_name for source_name, target_name in alias.items()}
        actor = source_actor(trained, source.interface, align(trained.interface, source.interface, names))
        if source.digest not in self._before:
            self._before[source.digest] = self._evaluator(_mean_action(source))
        part = files.temporary(path)  # others may be at work on the same experiment
        part.unlink(missing_ok=True)
        append(part, 0, self._before[source.digest])
        append(part, steps, self._evaluator(actor.predict))
        part.replace(path)

    def close(self) -> None:
        """Close the worlds."""
        self._evaluator.close()


def write(root: Path, specs: Sequence[RunSpec]) -> list[str]:
    """Write `retention.csv` beside every finished target run that has a source and none yet; return what could not be.

    Args:
        root: the experiment's folder.
        specs: the plan's runs.
    """
    sources = {spec.folder: spec for spec in specs if spec.role == "source"}
    evaluators: dict[str, RetentionEvaluator] = {}
    notes: dict[str, None] = {}
    for spec in specs:
        source, path = sources.get(spec.source), root / spec.folder / RETENTION_FILE
        if source is None or path.is_file() or state_of(root, spec).condition != "done":
            continue
        if source.env not in evaluators:
            evaluators[source.env] = RetentionEvaluator(source)
        before, after = (load(root / folder / POLICY) for folder in (spec.source, spec.folder))
        try:
            evaluators[source.env].measure(path, before, after, spec.specification["alias"], spec.steps)
        except InputError as error:
            notes[f"no retention of {spec.env} on {source.env}: {error}"] = None
    for evaluator in evaluators.values():
        evaluator.close()
    return list(notes)


def _mean_action(policy: Policy) -> Act:
    return lambda seen: policy.predict(seen)[0]
