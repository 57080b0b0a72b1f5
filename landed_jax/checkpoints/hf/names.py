"""Tensor names as programs that wrap a model save them, and the table's names for the same tensors."""

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from landed_jax.errors import cut
from landed_jax.families import families

# What torch.compile and FSDP put in front of a wrapped module's own names, at any depth.
_WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# What they, data-parallel training and PEFT put in front of the whole model's.
_OUTER = re.compile(rf"(?:(?:module|{'|'.join(_WRAPPED)})\.|base_model\.model\.)")
# What a model with several parts puts in front of its text model's names, or inside them.
TEXT_MODEL = "language_model."
# Rotary tables, which are computed from the config, and other constants that old checkpoints hold.
_UNUSED = re.compile(r"(?:.*\.)?(?:rotary_emb\.(?:inv_freq|cos_cached|sin_cached)|position_ids)")
_UNMERGED = re.compile(r".*\.(?:lora_\w+|base_layer|modules_to_save)\..*")


@dataclass(frozen=True)
class Naming:
    """The file's names of a model's tensors.

    Attributes:
        stored: for each of the table's names that is there, the file's.
        left: the file's other names.
        wrappers: what was taken off in front of names, or inside them.
        problems: names of which two stand for one tensor.
        cause: one sentence that says why the names are strange, where that explains the rest; or None.
    """

    stored: dict[str, str]
    left: list[str]
    wrappers: list[str]
    problems: list[str]
    cause: str | None


def match_names(found: Collection[str], wanted: Collection[str], embedding: str = "") -> Naming:
    """Which of the names `found` in a file is which of those `wanted`.

    A name may have the prefixes of common wrappers, and may lack ``model.``, which the base model's own weights do.

    Args:
        embedding: the name of the embedding's table, by which strange prefixes are seen.

    >>> naming = match_names(["_orig_mod.norm.weight", "extra"], {"model.norm.weight"})
    >>> naming.stored, naming.left, naming.wrappers
    ({'model.norm.weight': '_orig_mod.norm.weight'}, ['extra'], ['_orig_mod.'])
    """
    candidates: dict[str, list[str]] = defaultdict(list)
    left: list[str] = []
    wrappers: set[str] = set()
    for name in sorted(found):
        plain = plain_name(name, wanted)
        if plain is None:
            left.append(name)
        else:
            candidates[plain].append(name)
            wrappers |= _unwrapped(name)[1] if name != plain else set()
    problems = [f"{' and '.join(names)} are one tensor under two names" for names in candidates.values() if names[1:]]
    stored = {plain: names[0] for plain, names in candidates.items()}
    return Naming(stored, left, sorted(wrappers), problems, _cause(left, stored, embedding))


def plain_name(name: str, wanted: Collection[str]) -> str | None:
    """The table's name of a tensor; None for one that the model does not have."""
    bare = _unwrapped(name)[0]
    bases, also = _spellings()
    forms = (name, bare, *(base + bare for base in bases), also.get(bare))
    return next((plain for plain in forms if plain in wanted), None)


@functools.cache
def _spellings() -> tuple[frozenset[str], dict[str, str]]:
    """What the families' whole models put in front of the base model's names, and other names of some tensors."""
    known = families().values()
    return frozenset(family.base for family in known), {k: v for family in known for k, v in family.aliases.items()}


def is_unused(name: str, family: str) -> bool:
    """Whether a tensor is a constant that old checkpoints hold and no forward pass reads."""
    constants = families()[family].constants if family in families() else ()
    return _UNUSED.fullmatch(name) is not None or any(f".{name}".endswith(f".{constant}") for constant in constants)


def is_value_head(name: str) -> bool:
    """Whether a tensor belongs to the value head of reinforcement learning, on which no logit depends."""
    return _unwrapped(name)[0].startswith("v_head.")


def part_of(name: str) -> str:
    """The part that a tensor belongs to, in a model that has several.

    >>> part_of("vision_tower.ln_pre.weight"), part_of("model.vision_tower.ln_pre.weight")
    ('vision_tower', 'vision_tower')
    """
    return _unwrapped(name)[0].removeprefix("model.").partition(".")[0]


def _unwrapped(name: str) -> tuple[str, set[str]]:
    """A name without wrappers, and the wrappers that it had."""
    taken: set[str] = set()
    while outer := _OUTER.match(name):
        taken.add(outer[0])
        name = name[outer.end() :]
    parts = name.split(".")
    inner = {f"{part}." for part in parts if part in _WRAPPED or f"{part}." == TEXT_MODEL}
    return ".".join(part for part in parts if f"{part}." not in inner), taken | inner


def _cause(left: Sequence[str], stored: Collection[str], embedding: str) -> str | None:
    unmerged = [name for name in left if _UNMERGED.fullmatch(name)]
    if unmerged:
        return (
            f"the weights hold an adapter that is not merged into them ({some(unmerged)}): save them again after "
            "peft's merge_and_unload"
        )
    if stored or not left:
        return None
    for name in left:
        for ending in (embedding, embedding.partition(".")[2]):
            if ending and name.endswith(f".{ending}"):
                prefix = name.removesuffix(ending)
                return f"the names of the tensors begin with {cut(prefix, 80)}: write the model without this prefix"
    return f"these are weights of another kind of model: none of this one's tensors is there, but {some(left)}"


def some(names: Sequence[str]) -> str:
    """Three of these names, each of at most 80 characters, and the count of the rest.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(cut(name, 80) for name in names[:3]) + more
