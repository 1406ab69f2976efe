# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML file that needs nothing else, and as Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Picture", "Section", "Table", "html_page", "markdown_page"]

STYLE = """
:root { --paper: #ffffff; --ink: #1d2128; --soft: #5b6472; --line: #d9dde3; --band: #f5f6f8; --good: #0f7a55;
  --bad: #b42318; --accent: #c2410c; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 1rem 0; }
.note { color: var(--soft); font-size: .88rem; }
.scroll { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 1px solid var(--line); background: var(--band); font-weight: 600; }
tbody tr:nth-child(even) > * { background: var(--band); }
tbody tr > * { background: var(--paper); }
tbody th { position: sticky; left: 0; font-weight: 500; max-width: 20rem; min-width: 12rem; white-space: normal; }
td.text { white-space: normal; min-width: 12rem; }
.met { color: var(--good); font-weight: 600; }
.missed { color: var(--bad); font-weight: 600; }
.photos { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 1rem 0 0; }
figure img { width: 100%; height: auto; display: block; border-radius: 6px; }
figcaption { color: var(--soft); font-size: .85rem; padding: .2rem 0; }
details { margin: .8rem 0; }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .2rem 1rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 32rem) { body { padding: .8rem .7rem 3rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; } .wide { overflow-x: auto; } .wide img { min-width: 38rem; }
  table { font-size: .72rem; } th, td { padding: .25rem; white-space: normal; overflow-wrap: break-word; }
  tbody th { max-width: 7rem; min-width: 4.5rem; } td.text { min-width: 6rem; } }
"""
LONG_TEXT = 45
"""Letters from which a cell of a table may break into lines."""


@dataclass(frozen=True)
class Table:
    """What a page shows in rows and columns.

    Attributes:
        title: above it.
        columns: headings; the first is of the row names.
        rows: as many texts each as there are columns.
        note: below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture of the report.

    Attributes:
        name: of its file.
        alt: what it shows, in words.
        png: the file.
    """

    name: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: of the section.
        text: first paragraphs.
        tables: those that everyone reads.
        pictures: figures.
        photos: of what arms trained on.
        folded: further tables, behind a line to open; not in Markdown.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    photos: Sequence[Picture] = ()
    folded: Sequence[Table] = ()


def html_page(title: str, facts: Sequence[tuple[str, Sequence[str]]], sections: Sequence[Section]) -> str:
    """Return a page that needs no network: style and pictures are in it.

    Args:
        title: of the page.
        facts: names and what is known of each, one line or several; below the sections, which readers come for.
        sections: in order.
    """
    links = "".join(f'<a href="#s{i}">{html.escape(part.title)}</a>' for i, part in enumerate(sections))
    listed = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{'<br>'.join(f'<code>{html.escape(line)}</code>' for line in lines)}</dd>"
        for name, lines in facts
    )
    body = "\n".join(_html_section(f"s{i}", part) for i, part in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<nav>{links}</nav>\n{body}\n<h2>The runs</h2>\n<dl>{listed}</dl>\n"
        "</body>\n</html>\n"
    )


def markdown_page(title: str, facts: Sequence[tuple[str, Sequence[str]]], sections: Sequence[Section]) -> str:
    """Return the report in Markdown; figures are linked as ``figures/<name>.png``."""
    listed = "\n".join(f"- {name}: {'; '.join(f'`{line}`' for line in lines)}" for name, lines in facts)
    return "\n\n".join([f"# {title}", listed, *map(_markdown_section, sections)]) + "\n"


def _html_section(anchor: str, part: Section) -> str:
    text = "".join(f"<p>{html.escape(line)}</p>" for line in part.text)
    folded = "".join(
        f"<details><summary>{html.escape(table.title)}</summary>{_html_table(table)}</details>" for table in part.folded
    )
    tables = "".join(f"<h3>{html.escape(table.title)}</h3>{_html_table(table)}" for table in part.tables)
    # On a narrow screen a figure is moved under the eye rather than made illegible.
    figures = "".join(_html_picture(picture, ' class="wide"') for picture in part.pictures)
    photos = f'<div class="photos">{"".join(map(_html_picture, part.photos))}</div>' if part.photos else ""
    return f'<h2 id="{anchor}">{html.escape(part.title)}</h2>{text}{tables}{figures}{photos}{folded}'


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(map(_html_cell, cells))}</tr>'
        for name, *cells in table.rows
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}'


def _html_cell(text: str) -> str:
    kind = {"met": "met", "missed": "missed"}.get(text, "")
    if len(text) > LONG_TEXT:
        kind = "text"
    elif text.endswith(("▲", "▼")):
        kind = "met" if text.endswith("▲") else "missed"
    return f'<td class="{kind}">{html.escape(text)}</td>' if kind else f"<td>{html.escape(text)}</td>"


def _html_picture(picture: Picture, kind: str = "") -> str:
    alt = html.escape(picture.alt)
    data = base64.b64encode(picture.png).decode()
    return f'<figure{kind}><img src="data:image/png;base64,{data}" alt="{alt}"><figcaption>{alt}</figcaption></figure>'


def _markdown_section(part: Section) -> str:
    tables = [f"**{table.title}**\n\n{_markdown_table(table)}" for table in part.tables]
    pictures = [f"![{picture.alt}](figures/{picture.name}.png)" for picture in part.pictures]
    return "\n\n".join([f"## {part.title}", *part.text, *tables, *pictures])


def _markdown_table(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{text}\n\n{table.note}" if table.note else text
