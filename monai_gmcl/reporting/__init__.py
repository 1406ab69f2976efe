# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pages, pictures and tables of reports of runs, comparisons and synthetic data sets. Imports no handler or engine."""

from __future__ import annotations

from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet
from monai_gmcl.reporting.page import Picture, Section, Table, html_page, markdown_page

__all__ = ["Picture", "Section", "SheetRow", "Table", "html_page", "image_sheet", "markdown_page"]
