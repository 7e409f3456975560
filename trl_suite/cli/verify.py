"""`trl-suite verify`: the certificates of variants, computed now."""

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from trl_suite import content
from trl_suite.cli.arguments import Verify
from trl_suite.worlds.certificate import Certificate, certify, outdated, write
from trl_suite.worlds.env_spec import load


def execute(arguments: Verify) -> int:
    """Compute, store and print the certificates; return 0, or 1 where one does not prove its variant."""
    wanted = _wanted(arguments)
    errors = Console(stderr=True)
    found = [certify(env, variant) for env, variant in track(wanted, "verifying", console=errors, transient=True)]
    if not arguments.dry:
        for env in dict.fromkeys(env for env, _ in wanted):
            write(env, [certificate for certificate in found if certificate.env == env])
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _print(found)
    return 0 if all(certificate.proved for certificate in found) else 1


def _wanted(arguments: Verify) -> list[tuple[str, str]]:
    envs = [arguments.env] if arguments.env else content.names("envs")
    return [(env, variant) for env in envs for variant in _variants(env, arguments)]


def _variants(env: str, arguments: Verify) -> list[str]:
    if arguments.missing:
        return [variant for variant in outdated(env) if arguments.variant in ("", variant)]
    return [arguments.variant] if arguments.variant else list(load(env).variants)


def _print(found: list[Certificate]) -> None:
    table = Table(box=None)
    for column in (
        "variant",
        "compiled fields that differ",
        "acts on",
        "apart after 1, 10, 100",
        "random policy",
        "",
    ):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            f"{one.env}.{one.variant}",
            ", ".join(one.fields) or "none",
            one.acts_on,
            ", ".join(f"{distance:.2g}" for distance in one.parted.values()),
            f"{one.random.mean:,.1f} [{one.random.low:,.1f}, {one.random.high:,.1f}]",
            "proved" if one.proved else "NOT PROVED: " + "; ".join(one.problems),
        )
    Console().print(table, highlight=False)
