"""The lines of Python that a page shows, read in the JSON of the same run."""

import ast
from typing import Any


def read(line: str, documents: dict[str, Any]) -> Any:
    """What a line such as ``run["heads"][2][7]`` finds; nothing but subscripts is read.

    >>> read('run["heads"][-1]', {"run": {"heads": [1, 2]}})
    2
    """
    keys: list[Any] = []
    node = ast.parse(line, mode="eval").body
    while isinstance(node, ast.Subscript):
        keys.append(ast.literal_eval(node.slice))
        node = node.value
    assert isinstance(node, ast.Name), line
    value = documents[node.id]
    for key in reversed(keys):
        value = value[key]
    return value
