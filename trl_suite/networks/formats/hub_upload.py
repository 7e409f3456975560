"""A policy on its way to the Hugging Face hub: the folder that `load_policy("hf://...")` reads, and a model card."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.files import storing, whole_folder, write_atomically
from trl_suite.networks.formats.hub import SCHEME
from trl_suite.networks.policy import Policy

MODEL_CARD = "README.md"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def push(policy: Policy, repository: str, *, private: bool = False) -> str:
    """Upload the policy and its model card in one commit, and return the address with that commit: hf://user/name@...

    A replay or moments that the policy keeps stay here. The token is the client's: `hf auth login`, or HF_TOKEN.

    Raises:
        InputError: the name is none, or the hub refuses it, or cannot be reached.
        NotInstalledError: `huggingface_hub` is missing.
    """
    name = repository.removeprefix(SCHEME)
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"{repository}: a repository of the hub is user/name, of letters, digits, - _ and .")
    try:
        import huggingface_hub
    except ImportError:
        raise NotInstalledError("push needs huggingface_hub: pip install 'trl-suite[hub]'") from None
    with tempfile.TemporaryDirectory(prefix="trl-suite-push-") as place:
        folder = write(policy, name, Path(place))
        try:
            api = huggingface_hub.HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=name, folder_path=folder, commit_message=_message(policy))
        except Exception as error:  # the client's HTTP library, and so its errors, change between its versions
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{SCHEME}{name}: {type(error).__name__}: {reason}") from None
    return f"{SCHEME}{name}@{done.oid}"


def write(policy: Policy, name: str, folder: Path) -> Path:
    """Write what a push uploads into a folder, and return it: card.toml, weights.safetensors and README.md.

    Args:
        policy: without its memory, which is left out.
        name: of the repository, user/name.
        folder: is made where it is not there.
    """
    alone = Policy(card=msgspec.structs.replace(policy.card, memory=None), components=policy.components)
    with whole_folder(folder), storing(folder / MODEL_CARD):
        alone.save(folder)
        write_atomically(folder / MODEL_CARD, model_card(policy, name).encode())
    return folder


def model_card(policy: Policy, name: str) -> str:
    """Return the model card: front matter that the hub reads, and what a person wants to know."""
    card, training = policy.card, policy.card.training
    value = "not measured" if training.return_mean is None else f"{training.return_mean:,.1f}"
    if training.return_mean is not None:
        spread = "" if training.return_std is None else f" ± {training.return_std:,.1f}"
        value += f"{spread} over {training.episodes} episodes, deterministic"
    facts = {
        "algorithm": training.trained_by or card.algorithm.upper(),
        "env": training.env,
        "env steps": f"{training.steps:,}",
        "seed": str(training.seed),
        "return": value,
        "network": f"{' x '.join(map(str, card.network.actor))} {card.network.activation}".strip(),
        "sha256 of the weights": policy.digest,
        **({"came from": training.origin} if training.origin else {}),
        **{f"version of {package}": version for package, version in training.versions.items()},
    }
    return "\n".join([
        *_front_matter(policy),
        f"# {_plain(name)}",
        "",
        f"A policy for `{_plain(training.env)}`, trained with [trl_suite](https://github.com/trl-suite/trl-suite).",
        "",
        "```python",
        "import trl_suite",
        "",
        f'policy = trl_suite.load_policy("{SCHEME}{name}")  # pip install \'trl-suite[hub]\'; nothing is executed',
        "action, _ = policy.predict(observation)",
        'policy.to_sb3("policy.zip")  # for Stable-Baselines3',
        "```",
        "",
        "|  |  |",
        "|---|---|",
        *(f"| {fact} | {_plain(text)} |" for fact, text in facts.items()),
        "",
        "| observation | unit |",
        "|---|---|",
        *(f"| {_plain(slot.name)} | {_plain(slot.unit)} |" for slot in card.interface.observation),
        "",
        "| action | unit |",
        "|---|---|",
        *(f"| {_plain(slot.name)} | {_plain(slot.unit)} |" for slot in card.interface.action),
        "",
    ])  # fmt: skip


def _front_matter(policy: Policy) -> Iterator[str]:
    """Yield the lines between two rules of dashes; texts are JSON, which is YAML too."""
    training = policy.card.training
    yield "---"
    yield "library_name: trl-suite"
    yield "pipeline_tag: reinforcement-learning"
    tags = ("deep-reinforcement-learning", "reinforcement-learning", "robotics", "mujoco", policy.card.algorithm)
    yield f"tags: {_json([*tags, training.env])}"
    if training.return_mean is not None:
        metric = {"type": "mean_reward", "value": round(training.return_mean, 2), "name": "mean_reward"}
        task = {"type": "reinforcement-learning", "name": "reinforcement-learning"}
        result = {"task": task, "dataset": {"name": training.env, "type": training.env}, "metrics": [metric]}
        yield f"model-index: {_json([{'name': policy.card.algorithm.upper(), 'results': [result]}])}"
    yield "---"
    yield ""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _plain(text: str) -> str:
    """Return a text as one cell of a Markdown table, in which nothing acts."""
    return re.sub(r"[|`<>\[\]\\\r\n]", " ", text)


def _message(policy: Policy) -> str:
    training = policy.card.training
    return f"{policy.card.algorithm.upper()} on {training.env}, {training.steps:,} steps"
