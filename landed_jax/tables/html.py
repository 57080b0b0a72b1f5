"""Tables and paragraphs as HTML, for notebooks: all columns, whatever the width."""

import html
from collections.abc import Sequence

from landed_jax.tables.flow import Item
from landed_jax.tables.heat_map import HeatMap
from landed_jax.tables.quoted import Name, Passage, Quoted
from landed_jax.tables.screen import Screen
from landed_jax.tables.table import Block, Cell, Column, Paragraph, Table

_ENDLESS = Screen(10_000)


def html_of(blocks: Sequence[Block]) -> str:
    """Each table a ``<table>``, each paragraph a ``<p>``.

    >>> html_of([Paragraph(["read", Quoted("<b>")])])
    '<div><p>read &#x27;&lt;b&gt;&#x27;</p></div>'
    """
    return f"<div>{''.join(map(_block, blocks))}</div>"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_items(block.items)}</p>"
    if isinstance(block, HeatMap):
        columns = [Column(block.corner), *(Column(f"{name}\n{text}".rstrip()) for name, text in block.columns)]
        rows = [
            [name, *(f"{value:.3g}" for value in values)] for name, values in zip(block.rows, block.values, strict=True)
        ]
        return _block(Table(block.title, columns, rows, notes=block.notes))
    head = "".join(f"<th>{html.escape(column.name)}</th>" for column in block.columns) if block.header else ""
    rows = "".join(f"<tr>{''.join(f'<td>{_items([cell])}</td>' for cell in row)}</tr>" for row in block.rows)
    legends = [column.legend if isinstance(column.legend, str) else tuple(column.legend) for column in block.columns]
    notes = "<br>".join(_items(note) for note in [*dict.fromkeys(legends), *block.notes] if note)
    return (
        f"<table><caption>{_items(block.title)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p><small>{notes}</small></p>"
    )


def _items(items: str | Sequence[Item] | Sequence[Cell]) -> str:
    return html.escape(" ".join(map(_item, [items] if isinstance(items, str) else items)))


def _item(item: Item) -> str:
    if isinstance(item, Passage):
        return Quoted(item.text).fit(None, _ENDLESS)
    if isinstance(item, Quoted):
        return item.fit(None, _ENDLESS)
    return item.fit(_ENDLESS.width, _ENDLESS) if isinstance(item, Name) else _ENDLESS.own(item)
