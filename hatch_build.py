"""The description that PyPI shows: README.md, whose relative links would lead nowhere there, with absolute ones."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)]+)\)")


def absolute(markdown: str, repository: str) -> str:
    """Markdown with each relative link, to a page or a picture, as an address below the repository's."""
    pages = f"{repository}/blob/main"
    files = f"{repository.replace('//github.com/', '//raw.githubusercontent.com/')}/main"
    return LINK.sub(lambda link: f"{link[1]}[{link[2]}]({files if link[1] else pages}/{link[3]})", markdown)


class Readme(MetadataHookInterface):
    """Fills the field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description from README.md."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Homepage"]),
        }
