"""The JSON schema of `env.toml`, in which the kinds and the reward terms are choices."""

from typing import Any

from trl_suite.table_schema import schema_of
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.terms.memory import MEMORY_KINDS
from trl_suite.worlds.terms.rewards import REWARD_TERMS
from trl_suite.worlds.terms.sensors import QUANTITIES

SCHEMA_FILE = "env.schema.json"  # beside the folders of envs, so that a table says `#:schema ../env.schema.json`


def env_schema() -> dict[str, Any]:
    """JSON schema of an env's table."""
    schema = schema_of(EnvSpec, "env.toml of trl_suite")
    tables = schema["$defs"]
    tables["Block"]["properties"]["kind"]["enum"] = sorted([*QUANTITIES, *MEMORY_KINDS])
    for table in ("Bound", "SuccessCondition"):
        tables[table]["properties"]["kind"]["enum"] = sorted(QUANTITIES)
    tables["Term"]["properties"]["term"]["enum"] = sorted(REWARD_TERMS)
    return schema
