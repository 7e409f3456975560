"""`trl-suite export`: a policy as an ONNX graph, or as a zip that Stable-Baselines3 opens."""

from trl_suite.cli.arguments import Export
from trl_suite.errors import InputError
from trl_suite.interface import Deployment
from trl_suite.networks.exchange.onnx_export import INPUT, NOISE, ONNX_SUFFIX, OPSET, OUTPUT
from trl_suite.networks.formats import zip_export
from trl_suite.networks.policy import Policy
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import load_policy
from trl_suite.worlds.deployment import deployment_of


def execute(arguments: Export) -> int:
    """Write the file, and a zip's statistics beside it, and return the exit code."""
    onnx = arguments.out.suffix == ONNX_SUFFIX
    if arguments.stochastic and not onnx:
        raise InputError(f"{arguments.out}: --stochastic is for OUT{ONNX_SUFFIX}: SB3's own predict draws actions")
    for path in (arguments.out,) if onnx else zip_export.files(arguments.out):
        if path.exists():
            raise InputError(f"{path} exists already")
    policy = load_policy(arguments.policy)
    lines = _onnx(policy, arguments) if onnx else _zip(policy, arguments)
    if arguments.json:
        files = [path for path in ((arguments.out,) if onnx else zip_export.files(arguments.out)) if path.exists()]
        print_json({"files": list(map(str, files)), "notes": lines})
        return 0
    for line in lines:
        Terminal().print(line, soft_wrap=True, highlight=False)
    return 0


def _onnx(policy: Policy, arguments: Export) -> list[str]:
    facts, lines = Deployment(), list[str]()
    try:
        facts = deployment_of(policy.card.training.env)
    except InputError as error:
        lines.append(f"without control rate, scales and gains: its training env cannot be made here: {error}")
    path = policy.to_onnx(arguments.out, facts, arguments.stochastic)
    inputs = f"{INPUT} and {NOISE}" if arguments.stochastic else INPUT
    return [f"{path}: opset {OPSET}, {inputs} -> {OUTPUT}, float32, any batch", *lines]


def _zip(policy: Policy, arguments: Export) -> list[str]:
    written = policy.to_sb3(arguments.out)
    lines = [f"{policy.card.algorithm.upper()}.load('{written[0]}')"]
    if left := ", ".join(zip_export.left_to_sb3(policy.card)):
        lines.append(f"not in its card, so SB3's defaults: {left}")
    if len(written) > 1:
        lines.append(f"on observations that come through VecNormalize.load('{written[1]}', env)")
    return lines
