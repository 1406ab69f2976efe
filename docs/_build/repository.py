# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PICTURES = {
    "studies/proof/figures": "studies/figures",
    "bundles/gmcl_classification/docs": "pictures",
}
"""Folders of the repository whose PNG pictures pages show, and where the pages find them: no picture is kept twice."""
PAGE = re.compile(r"^\{\{ (\S+\.md) \}\}$", re.MULTILINE)
LINKS = ((re.compile(r"\]\(\.\./(\w+)/README\.md"), r"](\1.md"), (re.compile(r"\]\(\.\./\.\./docs/"), "](../"))
"""What pages of ``studies`` link to in the repository, and the page that tells the same here."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures that lie elsewhere in the repository."""
    root = Path(config.config_file_path).parent
    for folder, target in PICTURES.items():
        for picture in sorted((root / folder).glob("*.png")):
            files.append(File.generated(config, f"{target}/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put a page of the repository where ``{{ its/path.md }}`` stands, and let its links lead to the pages here."""
    root = Path(config.config_file_path).parent
    return PAGE.sub(lambda path: _linked((root / path[1]).read_text(encoding="utf-8")), markdown)


def _linked(text: str) -> str:
    for there, here in LINKS:
        text = there.sub(here, text)
    return text
