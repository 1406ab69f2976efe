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
"""Folders of the repository with PNG pictures, and their folders here, so that no picture is stored twice."""
PAGE = re.compile(r"^\{\{ (\S+\.md) \}\}$", re.MULTILINE)
LINKS = ((re.compile(r"\]\(\.\./(\w+)/README\.md"), r"](\1.md"), (re.compile(r"\]\(\.\./\.\./docs/"), "](../"))
"""Links of the READMEs of ``studies``, and the pages with the same content here."""
FILES = (
    (re.compile(r"\]\(\.\./((?:\.\./)*)studies/(\w+)/README\.md"), r"](\1studies/\2.md"),
    (re.compile(r"\]\(\.\./((?:\.\./)*)studies/proof/summary\.md"), r"](\1studies/proof_tables.md"),
    (re.compile(r"\]\(\.\./((?:\.\./)*)studies/proof/figures/"), r"](\1studies/figures/"),
    (re.compile(r"\]\(\.\./((?:\.\./)*)bundles/gmcl_classification/docs/images\.png"), r"](\1pictures/images.png"),
    (re.compile(r"\]\(\.\./((?:\.\./)*)tutorials/(\w+)\.ipynb"), r"](\1tutorials/\2.md"),
)
"""Links of pages to files of the repository, which also work in a clone, and the same content here."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures from other folders of the repository."""
    root = Path(config.config_file_path).parent
    for folder, target in PICTURES.items():
        for picture in sorted((root / folder).glob("*.png")):
            files.append(File.generated(config, f"{target}/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace ``{{ path.md }}`` by this page of the repository, and links to files by links to pages."""
    root = Path(config.config_file_path).parent
    linked = _linked(markdown, FILES)
    return PAGE.sub(lambda path: _linked((root / path[1]).read_text(encoding="utf-8"), LINKS), linked)


def _linked(text: str, links: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for there, here in links:
        text = there.sub(here, text)
    return text
