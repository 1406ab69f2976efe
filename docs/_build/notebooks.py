# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

LINKS = {"../bundles/gmcl_classification/docs/README.md": "../how-to/bundle.md"}
"""What notebooks link to in the repository, and the page that tells the same here."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks as pages, with the outputs that they were saved with."""
    folder = Path(config.config_file_path).parent / "tutorials"
    exporter = MarkdownExporter()
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        body, resources = exporter.from_notebook_node(notebook, resources=names)
        for there, here in LINKS.items():
            body = body.replace(f"]({there})", f"]({here})")
        files.append(
            File.generated(config, f"tutorials/{path.stem}.md", content=_page(ESCAPES.sub("", body), path.stem))
        )
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def _page(body: str, name: str) -> str:
    """The notebook's own heading, then where the notebook is, then the rest; its licence is the repository's."""
    heading, rest = re.split(r"^# (.+)$", body, maxsplit=1, flags=re.MULTILINE)[1:]
    return f"# {heading}\n\n*The notebook `tutorials/{name}.ipynb`, as it was saved.*\n{rest}"
