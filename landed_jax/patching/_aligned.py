"""Clean prompts and their corrupted counterparts, token by token; refused where they do not align."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from landed_jax.errors import LandedError, listed
from landed_jax.model import Model, Prompts
from landed_jax.prompts import read_prompts
from landed_jax.tasks._pairs import Pairs
from landed_jax.tokens import Tokens, check_aligned, rows_of
from landed_jax.vocabulary import NumberedTokens, Vocabulary, quoted

_MOST = 5  # pairs that an error names


class Aligned(NamedTuple):
    """Clean and corrupted prompts of one shape and one mask.

    Attributes:
        differ: ``[batch, position]``, where the two have different tokens.
        warnings: of prompts that are computed as they are, but may not be what was meant.
    """

    clean: Tokens
    corrupted: Tokens
    differ: np.ndarray
    warnings: tuple[str, ...] = ()


def aligned(model: Model, clean: Prompts | Pairs, corrupted: Prompts | None = None) -> Aligned:
    """Two prompts, or two batches of them, aligned token by token.

    Args:
        clean, corrupted: text, ids or `Tokens`, as for ``model.trace``; or `Pairs` alone.

    Raises:
        LandedError: for two prompts of unlike numbers of tokens, or of the same tokens; what `read_prompts` refuses.

    >>> from landed_jax import load
    >>> pair = aligned(load(), "The Colosseum is in the city of", "The Louvre is in the city of")
    >>> pair.differ.nonzero()[1].tolist()
    [2]
    """
    if isinstance(clean, Pairs):
        if corrupted is not None:
            raise LandedError("Pairs hold their corrupted prompts: give them alone.")
        clean, corrupted = clean.clean, clean.corrupted
    if corrupted is None:
        raise LandedError("Patching takes a clean prompt and a corrupted one: give both, or Pairs.")
    how = model.vocabulary, model.config, model.no_vocabulary
    read = {name: read_prompts(given, *how) for name, given in (("clean", clean), ("corrupted", corrupted))}
    both = read["clean"][0], read["corrupted"][0]
    said = [f"{name}: {sentence}" for name, (_, sentences) in read.items() for sentence in sentences]
    vocabulary = model.vocabulary or NumberedTokens()
    _check(rows_of(both[0]), rows_of(both[1]), vocabulary)
    check_aligned(*both)
    differ = (np.asarray(both[0].ids) != np.asarray(both[1].ids)) & np.asarray(both[0].mask)
    return Aligned(*both, differ, tuple(said))


def _check(clean: Sequence[list[int]], corrupted: Sequence[list[int]], vocabulary: Vocabulary) -> None:
    if len(clean) != len(corrupted):
        raise LandedError(
            f"There are {len(clean)} clean prompts and {len(corrupted)} corrupted ones: each clean prompt takes one."
        )
    unlike = [place for place, pair in enumerate(zip(clean, corrupted, strict=True)) if len(pair[0]) != len(pair[1])]
    if unlike:
        first, where = unlike[0], "" if len(clean) == 1 else f" of pair {unlike[0]}"
        more = f" ({len(unlike)} of {len(clean)} pairs do not align.)" if len(clean) > 1 else ""
        raise LandedError(
            f"The clean prompt{where} has {len(clean[first])} tokens and the corrupted one {len(corrupted[first])}, so "
            f"they do not align: {_parting(clean[first], corrupted[first], vocabulary)}. Reword one so that each token "
            f"has its counterpart.{more}"
        )
    same = [str(place) for place, pair in enumerate(zip(clean, corrupted, strict=True)) if pair[0] == pair[1]]
    if same:
        which = "" if len(clean) == 1 else f" of pair {listed(same, _MOST).replace('; ', ', ')}"
        raise LandedError(
            f"The clean and the corrupted prompt{which} have the same tokens, so there is nothing to patch: change "
            "what the answer depends on."
        )


def _parting(clean: list[int], corrupted: list[int], vocabulary: Vocabulary) -> str:
    """Where the two first differ, with both tokens' text; positions count from 0."""
    pairs = enumerate(zip(clean, corrupted, strict=False))
    place = next((at for at, pair in pairs if pair[0] != pair[1]), min(len(clean), len(corrupted)))
    texts = [quoted(vocabulary.text(ids[place])) if place < len(ids) else "its end" for ids in (clean, corrupted)]
    return f"they part at position {place}, where the clean one has {texts[0]} and the corrupted one {texts[1]}"
