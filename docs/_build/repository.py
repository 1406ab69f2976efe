# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PICTURES = {
    "studies/proof/figures": "figures",
    "bundles/gmcl_classification/docs": "pictures",
}
"""Folders of the repository whose PNG pictures pages show, and where the pages find them: no picture is kept twice."""
PAGE = re.compile(r"^\{\{ (\S+\.md) \}\}$", re.MULTILINE)
HEADING = re.compile(r"^(#+ )", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures that lie elsewhere in the repository."""
    root = Path(config.config_file_path).parent
    for folder, target in PICTURES.items():
        for picture in sorted((root / folder).glob("*.png")):
            files.append(File.generated(config, f"{target}/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put a page of the repository where ``{{ its/path.md }}`` stands, its headings one step smaller."""
    root = Path(config.config_file_path).parent
    return PAGE.sub(lambda path: HEADING.sub(r"#\1", (root / path[1]).read_text(encoding="utf-8")), markdown)
