"""What a study's variables are, in words and with their units: an axis's title is no name of Python's."""

_VALUE = "units of the value"
_WORDS = {
    "attribution.embedding": f"landed contribution ({_VALUE})",
    "attribution.heads": f"landed contribution ({_VALUE})",
    "attribution.mlp": f"landed contribution ({_VALUE})",
    "attribution.neurons": f"landed contribution ({_VALUE})",
    "attribution.value": f"what was read ({_VALUE})",
    "attribution.closure_error": f"closure error ({_VALUE})",
    "coordinates.first": "number of coordinates that first reach the part",
    "coordinates.settled": "number of coordinates that settle at the part",
    "effects.heads": f"direct effect ({_VALUE})",
    "effects.mlp": f"direct effect ({_VALUE})",
    "lens.own_sigma": f"lens, each site's own σ ({_VALUE})",
    "lens.final_sigma": f"lens, the final norm's σ ({_VALUE})",
    "scale.sigma": "σ (units of the stream)",
    "scale.mean_sigma": "mean σ (units of the stream)",
    "scale.amplification": "median |γ|/σ (no unit)",
}


def worded(name: str) -> str:
    """A variable in words; one of a user's own keeps its name.

    >>> worded("attribution.mlp"), worded("mine.own_number")
    ('landed contribution (units of the value)', 'mine: own number')
    """
    return _WORDS.get(name, name.replace(".", ": ", 1).replace("_", " "))
