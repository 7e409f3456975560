"""Return of every policy of a sequence on each of its tasks: measured on finished runs, which stay as they are."""

from collections.abc import Sequence
from pathlib import Path

from trl_suite import files
from trl_suite.evidence.reading.run_records import TASKS, tasks_text
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running.run_folder import state_of
from trl_suite.networks.policy import Policy, load
from trl_suite.networks.stage_memory import policy_of_task
from trl_suite.training.acting.evaluation import Act, Evaluator


def write(root: Path, specs: Sequence[RunSpec], envs: Sequence[str], episodes: int) -> None:
    """Write `tasks.csv` beside every finished run that has none yet.

    Args:
        root: the experiment's folder.
        specs: the plan's runs.
        envs: the tasks.
        episodes: per task.

    Raises:
        StorageError: it cannot be written.
    """
    waiting = [
        spec
        for spec in specs
        if spec.role in ("target", "revisit")
        and not (root / spec.folder / TASKS).is_file()
        and state_of(root, spec).condition == "done"
    ]
    if not waiting:
        return
    evaluators = {env: Evaluator(env, episodes) for env in envs}
    for spec in waiting:
        _measure(root / spec.folder, evaluators)
    for evaluator in evaluators.values():
        evaluator.close()


def _measure(folder: Path, evaluators: dict[str, Evaluator]) -> None:
    policy = load(folder / POLICY)
    episodes = {
        env: [(episode.value, episode.length) for episode in evaluator(_acting(policy_of_task(policy, env)))]
        for env, evaluator in evaluators.items()
    }
    with files.storing(folder):
        files.write_atomically(folder / TASKS, tasks_text(episodes).encode())


def _acting(policy: Policy) -> Act:
    return lambda observations: policy.predict(observations)[0]
