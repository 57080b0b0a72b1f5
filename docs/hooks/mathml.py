"""Formulas become MathML while the site is built: browsers draw it, so no page needs a script or a network."""

import html
import re

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves of $…$ and $$…$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """A page's HTML with its formulas as MathML.

    >>> on_page_content(r'<p><span class="arithmatex">\\(a < b\\)</span></p>')[:48]
    '<p><math xmlns="http://www.w3.org/1998/Math/Math'
    """
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    _, bracket, formula = found.groups()
    display = "block" if bracket == "[" else "inline"
    made = convert(html.unescape(formula).strip(), display=display)
    return made if display == "inline" else f'<div class="formula">{made}</div>'  # which scrolls where it is wide
