"""`trl-suite envs`: robots and their variants."""

import textwrap
from typing import Any

import msgspec

from trl_suite import content
from trl_suite.cli.arguments import Envs
from trl_suite.errors import printable, unknown
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.address import FOREIGN, Address, OutsideAddress
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.outside.outside_env import is_installed
from trl_suite.worlds.outside.suite_table import Suite, by_id, suites
from trl_suite.worlds.registration import gymnasium_id

INDENT = "  "


def execute(arguments: Envs) -> int:
    """Print every env with its Gymnasium id and variants, or one with its model and reward; return the exit code."""
    if arguments.env.startswith(FOREIGN):
        return _one_outside(arguments)
    if arguments.env:
        return _one(Address.parse(arguments.env), arguments)
    specs = {name: load(name) for name in content.names("envs")}
    if arguments.json:
        print_json({name: _as_table(name, spec) for name, spec in specs.items()} | _installed_tables())
        return 0
    console = Terminal()
    for name, spec in specs.items():
        _print_env(name, spec, [", ".join(spec.variants) or "no variants"], console)
    for suite in suites():
        _print_suite(suite, console)
    return 0


def _one(address: Address, arguments: Envs) -> int:
    """Print an env with all its variants, or what a variant or the axes of an address change of it."""
    spec = load(address.env)
    variation = address.variation(spec)
    if arguments.json:
        print_json({address.env: _as_table(address.env, spec)})
        return 0
    _print_env(
        address.env, spec, _changed(address, spec, variation) if any(variation.axes()) else _variants(spec), Terminal()
    )
    return 0


def _print_env(name: str, spec: EnvSpec, lines: list[str], console: Terminal) -> None:
    console.print(f"{name}  {gymnasium_id(name, spec)}", style="bold", highlight=False, soft_wrap=True)
    for line in lines:
        console.print(wrapped(line, console.width), highlight=False, soft_wrap=True)


def _print_suite(suite: Suite, console: Terminal) -> None:
    """Print a suite's ids where it is installed, how to install it where it is not."""
    console.print(f"{suite.title}  {suite.documentation}", style="bold", highlight=False, soft_wrap=True)
    ids = [f"{FOREIGN}{pattern}" for spec in suite.envs for pattern in spec.ids]
    for line in ids if is_installed(suite) else [f"not installed: {suite.install}"]:
        console.print(wrapped(line, console.width), highlight=False, soft_wrap=True)


def _installed_tables() -> dict[str, Any]:
    """Return a table of each env of the outside suites that are installed, by address."""
    return {
        f"{FOREIGN}{env_id}": {"id": env_id, "variants": [], "suite": listed.suite.title}
        for env_id, listed in by_id().items()
        if is_installed(listed.suite)
    }


def _one_outside(arguments: Envs) -> int:
    """Print the slots, the goal and the success of one env of another package, from the table alone."""
    env_id = OutsideAddress.parse(arguments.env).env_id
    if env_id not in by_id():
        raise unknown("env of another package", env_id, by_id())
    suite, spec = by_id()[env_id]
    if arguments.json:
        print_json({f"{FOREIGN}{env_id}": {"id": env_id, "suite": suite.title, "interface": spec.interface}})
        return 0
    success = spec.success
    when = "at the episode's last step" if success.holds == "at_end" else "at any step of the episode"
    console = Terminal()
    console.print(f"{FOREIGN}{env_id}  {suite.title}", style="bold", highlight=False, soft_wrap=True)
    for line in (
        spec.about,
        f"{'installed' if is_installed(suite) else 'not installed'}: {suite.install}",
        f"goal: {', '.join(spec.goal) or 'none'}{'; hindsight (HER) can be used' if spec.hindsight else ''}",
        f"observation: {', '.join(spec.observation)}",
        f"action: {', '.join(spec.action)}",
        f"success: info['{success.key}'] is {success.means}, {when}",
        f"shifts: {FOREIGN}{env_id}?gravity=1.5, and `trl-suite verify` certifies one",
    ):
        console.print(wrapped(line, console.width), highlight=False, soft_wrap=True)
    return 0


def wrapped(line: str, width: int) -> str:
    """Return a line indented and wrapped between words; a name is never broken, even where it is too long."""
    return textwrap.fill(
        printable(line), max(width, 20), initial_indent=INDENT, subsequent_indent=INDENT,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _as_table(name: str, spec: EnvSpec) -> dict[str, Any]:
    return {"id": gymnasium_id(name, spec), "variants": sorted(spec.variants)}


def _variants(spec: EnvSpec) -> list[str]:
    """Return the lines about one env: model, reward terms, and one per variant."""
    variants = [f"{name}: {variant.about}" if variant.about else name for name, variant in spec.variants.items()]
    return [*_model(spec), f"{len(variants)} variants:", *variants]


def _changed(address: Address, spec: EnvSpec, variation: Variation) -> list[str]:
    """Return the lines about one variant: the env's model and reward terms, and each axis with its value."""
    axes: dict[str, Any] = msgspec.to_builtins(variation.only_axes())
    changes = [f"{axis} = {msgspec.json.encode(value).decode()}" for axis, value in axes.items()]
    return [*_model(spec), f"{address} changes:", *changes]


def _model(spec: EnvSpec) -> list[str]:
    return [f"model: {spec.model}", f"reward: {', '.join(term.label for term in spec.reward)}"]
