"""Hooks of MkDocs: adds pages whose files are outside of `docs`, and points links to them."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
OUTSIDE: Mapping[str, str] = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    **{
        f"services/{card.parent.name}/MODEL_CARD.md": f"cards/{card.parent.name}.md"
        for card in (ROOT / "services").glob("*/MODEL_CARD.md")
    },
}
"""Pages of the site by their files in the checkout."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of OUTSIDE."""
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=rewrite_links(text, source, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links of a page of `docs`."""
    uri: str = page.file.src_uri
    return markdown if uri in OUTSIDE.values() else rewrite_links(markdown, f"docs/{uri}", uri)


def rewrite_links(text: str, source: str, page: str) -> str:
    """Returns a page's text with links that work in the site.

    source: the page's file in the checkout, to which its links are relative; page: its place in the site. Links to
    files that the site has not, such as code, become plain text.
    """

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match["text"], match["target"], match["anchor"] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = OUTSIDE.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if place is None:
            return f"{text} (`{file}`)" if (ROOT / file).exists() else match[0]
        return f"[{text}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(rewrite, text)
