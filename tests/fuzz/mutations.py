"""The kinds of damage: each changes one thing in a model folder, by a generator of random numbers."""

import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from landed_jax.files.checksums import folder_checksums, sealed
from tests.fuzz.values import JUNK, NUMBERS, Raw, damaged_bytes, damaged_json, junk, somewhere, written

Mutation = Callable[[Path, random.Random], str]
"""Changes the folder, and says how."""

INDEX = "model.safetensors.index.json"
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim")
_READS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": (
        *("factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow"),
        *("mscale", "mscale_all_dim", "truncate", "rope_theta"),
    ),
}
_SOUND = {"rms_norm_eps": (1e-3, 1, 1e-6), "rope_theta": (10**5, 2.5, 1e-3), "max_position_embeddings": (2, 5, 10**6)}

_REPLACE = {"type": "Replace", "pattern": {"String": ""}, "content": "aa"}
_GROWING = {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 1000}
_TEMPLATE = [{"SpecialToken": {"id": "<none>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
# Steps that panic, loop or multiply in some version of the tokenizers.
_STEPS: dict[str, tuple[Any, ...]] = {
    "normalizer": (
        _REPLACE,
        {"type": "Sequence", "normalizers": [_GROWING] * 4},
        {"type": "Precompiled", "precompiled_charsmap": "AAAA/////w=="},
        {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8AAAAA"},
        {"type": "Prepend", "prepend": "a" * 10_000},
        {"type": "Strip", "strip_left": 3, "strip_right": None},
    ),
    "pre_tokenizer": (
        {"type": "Split", "pattern": {"Regex": "(a+a+)+y"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Removed", "invert": True},
        {"type": "FixedLength", "length": 0},
        {"type": "Metaspace", "replacement": "é", "prepend_scheme": "always", "split": False},
        None,
    ),
    "decoder": (_REPLACE, {"type": "Strip", "content": "a", "start": 2**60, "stop": 2**60}, {"type": "CTC"}, None),
    "post_processor": (
        {"type": "TemplateProcessing", "single": _TEMPLATE, "pair": [], "special_tokens": {}},
        {"type": "BertProcessing", "sep": ["</s>", 2**31], "cls": ["<s>", 2**31]},
        None,
    ),
    "padding": ({"strategy": {"Fixed": 2**40}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": ""},),
    "truncation": ({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 5},),
}


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _write(path: Path, values: Any) -> None:
    path.write_text(written(values))


def config_numbers(folder: Path, pick: random.Random) -> str:
    """Sizes and settings that are no sizes and settings, or of another model."""
    values = _json(folder / "config.json")
    others = ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "sliding_window")
    for _ in range(pick.choice((1, 1, 1, 2))):
        name = pick.choice((*_SIZES, *others, *_SOUND))
        values[name] = pick.choice(_SOUND.get(name, NUMBERS) if pick.random() < 0.5 else NUMBERS)
    _write(folder / "config.json", values)
    return "config numbers"


def config_fields(folder: Path, pick: random.Random) -> str:
    """Fields of any value: known ones, unknown ones, and those that concern no logit."""
    values = _json(folder / "config.json")
    names = (
        *(*values, "attention_bias", "mlp_bias", "tie_word_embeddings", "hidden_act", "layer_types", "is_causal"),
        *("bos_token_id", "eos_token_id", "id2label", "torch_dtype", "pretraining_tp", "_name_or_path", "unknown"),
        *("quantization_config", "auto_map", "architectures", "model_type", "partial_rotary_factor"),
    )
    name = pick.choice(names)
    if name in values and pick.random() < 0.3:
        del values[name]
    elif name == "layer_types":
        values[name] = [pick.choice(("full_attention", "sliding_attention"))] * pick.choice((1, 2, 3))
    elif name == "hidden_act":
        values[name] = pick.choice(("silu", "gelu", "relu", "gelu_new", "quick_gelu", "relu2", "mish", 3))
    else:
        values[name] = pick.choice((True, False, junk(pick), junk(pick)))
    _write(folder / "config.json", values)
    return f"config field {name}"


def config_rope(folder: Path, pick: random.Random) -> str:
    """Rotary settings of every kind, sound and unsound."""
    values = _json(folder / "config.json")
    kind = pick.choice([*_READS, *_READS, "longrope", 3])
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": pick.choice((100.0, 10_000, 5e5))}
    for name in _READS.get(kind, ()):
        if name in ("factor", "low_freq_factor", "high_freq_factor") or pick.random() < 0.5:
            rope[name] = {"low_freq_factor": 1.0, "truncate": False}.get(name, pick.choice((2.0, 4.0, 8, 16, 1.5)))
    for name in pick.sample((*_READS["llama3"], *_READS["yarn"], "mrope_section"), pick.choice((0, 0, 1, 2))):
        rope[name] = pick.choice((1.0, 2.0, 4.0, 8, 16, 0.5, junk(pick)))
    values[pick.choice(("rope_scaling", "rope_parameters"))] = rope
    _write(folder / "config.json", values)
    return f"rope {rope['rope_type']}"


def config_text(folder: Path, pick: random.Random) -> str:
    """The text of config.json damaged, or one of its values anywhere."""
    file = folder / "config.json"
    if pick.random() < 0.5:
        file.write_bytes(damaged_bytes(file.read_bytes(), pick))
    else:
        file.write_text(damaged_json(_json(file), pick))
    return "config text"


def safetensors_bytes(folder: Path, pick: random.Random) -> str:
    """Bytes of a weights file."""
    file = _shard(folder, pick)
    data = file.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    if pick.random() < 0.5:
        file.write_bytes(damaged_bytes(data[:header], pick) + data[header:])
        return "safetensors header bytes"
    file.write_bytes(damaged_bytes(data, pick))
    return "safetensors bytes"


def safetensors_header(folder: Path, pick: random.Random) -> str:
    """Entries of a weights file's header, or its length."""
    file = _shard(folder, pick)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = pick.randrange(5)
    if way == 0:
        text = damaged_json(header, pick)
    elif way == 1:
        name = pick.choice([name for name in header if name != "__metadata__"])
        field = pick.choice(("dtype", "shape", "data_offsets"))
        header[name][field] = {
            "dtype": pick.choice(("F64", "F16", "BF16", "I32", "F8_E4M3", "F4", "f32", 3, None)),
            "shape": pick.choice(([], [0], [-1], [2**62, 0], [2**64], [1.5], [1] * 5000, "x", [2**32, 2**32])),
            "data_offsets": pick.choice(([0, 0], [0, 2**63], [5, 1], [-1, 4], [0], [0, len(body) + 4], [0.0, 4.0])),
        }[field]
        text = written(header)
    elif way == 2:
        one, other = pick.sample([name for name in header if name != "__metadata__"], 2)
        header[one], header[other] = header[other], header[one]
        text = written(header)
    elif way == 3:
        name = pick.choice([name for name in header if name != "__metadata__"])
        header[pick.choice(("x", "", "\0", "a" * 100_000, f"{name}x", name.replace("model.", "")))] = header.pop(name)
        text = written(header)
    else:
        header["__metadata__"] = pick.choice(({"format": "pt"}, {"a": junk(pick)}, junk(pick)))
        text = written(header)
    encoded = text.encode(errors="replace")
    said = len(encoded) if pick.random() < 0.9 else pick.choice((0, 1, 2**24 + 1, 99_999_999, 2**40, 2**64 - 1))
    file.write_bytes(said.to_bytes(8, "little") + encoded + body)
    return "safetensors header"


def index(folder: Path, pick: random.Random) -> str:
    """The index of the shards, and which shards there are."""
    file = folder / INDEX
    values = _json(file)
    weights, way = values["weight_map"], pick.randrange(7)
    name = pick.choice([*weights])
    if way == 0:
        file.write_bytes(damaged_bytes(file.read_bytes(), pick))
        return "index bytes"
    if way == 1:
        file.write_text(damaged_json(values, pick))
        return "index values"
    if way == 2:
        odd = (f"{'a' * 300}.safetensors", "../x.safetensors", "/dev/zero", "\0.safetensors", "\ud800.safetensors", "")
        weights[name] = pick.choice((*odd, "config.json", ".safetensors", *weights.values(), junk(pick)))
    elif way == 3:
        weights |= {f"extra.{i}": f"model-{i}.safetensors" for i in range(pick.choice((1, 13, 100_000)))}
    elif way == 4:
        del weights[name]
    elif way == 5:
        os.unlink(folder / weights[name])
    else:
        os.rename(folder / weights[name], folder / pick.choice(("model.safetensors", "other.safetensors")))
    _write(file, values)
    return f"index {way}"


def tokenizer(folder: Path, pick: random.Random) -> str:
    """Values and bytes of the tokenizer's files."""
    name = pick.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"))
    file = folder / name
    values = _json(file) if file.exists() else {"bos_token": "<s>", "unk_token": "<unk>"}
    way = pick.randrange(4)
    if way == 0 and file.exists():
        file.write_bytes(damaged_bytes(file.read_bytes(), pick))
        return f"{name} bytes"
    if way == 1 and name == "tokenizer_config.json":
        field = pick.choice(("model_max_length", "added_tokens_decoder", "tokenizer_class", "unk_token", "bos_token"))
        values[field] = pick.choice((junk(pick), {"1": {"content": "a"}}, "AutoTokenizer", {"content": 3}))
    elif way == 1 and name == "tokenizer.json":
        vocabulary, words = values["model"]["vocab"], [*values["model"]["vocab"]]
        for word in pick.sample(words, pick.choice((1, 5, 100))):
            vocabulary[word] = pick.choice((vocabulary[pick.choice(words)], *NUMBERS[:20]))
    elif way == 2 and name == "tokenizer.json":
        part = pick.choice(("merges", "unk_token", "type", "byte_fallback", "vocab", "dropout", "fuse_unk", "added"))
        odd = ("<none>", [["a", "b"]], ["a b c"], 0.5, "Unigram", "WordLevel", "WordPiece", True, None, {}, [])
        (values if part == "added" else values["model"])[{"added": "added_tokens"}.get(part, part)] = pick.choice(odd)
    elif way == 3 and name == "tokenizer.json":
        part = pick.choice([*_STEPS])
        values[part] = pick.choice(_STEPS[part])
    else:
        file.write_text(damaged_json(values, pick))
        return f"{name} values"
    _write(file, values)
    return f"{name} {way}"


def native(folder: Path, pick: random.Random) -> str:
    """A native folder: bytes of any file; or its manifest, sealed again as a program with a mistake would."""
    manifest = folder / "landed.json"
    way = pick.randrange(4)
    if way == 0:
        file = pick.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
        if pick.random() < 0.2:
            file.unlink()
            return f"without {file.relative_to(folder)}"
        file.write_bytes(damaged_bytes(file.read_bytes(), pick))
        return f"bytes of {file.relative_to(folder)}"
    values = {name: value for name, value in _json(manifest).items() if name != "checksum"}
    if way == 1:  # Orbax's own files
        files = [p for p in sorted((folder / "params").rglob("*")) if p.is_file() and not p.suffix and p.stat().st_size]
        file = pick.choice(files)
        try:
            file.write_text(damaged_json(_json(file), pick))
        except (ValueError, TypeError):  # not JSON: an array's data, whose numbers nothing but the checksum vouches for
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        manifest.unlink()
        values["files"] = folder_checksums(folder)
        _write(manifest, sealed(values))
        return f"{file.relative_to(folder)}, sealed"
    if way == 2:
        config = values["config"]
        node = pick.choice((config, config, config["rope"]))
        node[pick.choice([*node])] = junk(pick)
    else:
        node, key = somewhere(values, pick)
        node[key] = junk(pick)
    try:
        text = written(sealed(json.loads(written(values))))
    except (ValueError, RecursionError):  # its checksum cannot be computed
        text = written({**values, "checksum": "0"})
    manifest.write_text(text)
    return "manifest, sealed"


def kinds(folder: Path, pick: random.Random) -> str:
    """Something else in the place of a file."""
    file = pick.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
    if pick.random() < 0.3:
        file = folder / pick.choice(("special_tokens_map.json", "landed.json", INDEX, "merges.txt", "tokenizer.model"))
    file.unlink(missing_ok=True)
    links = ("nowhere", "itself", "/dev/zero", "/dev/full")
    way = pick.choice(("pipe", "folder", "sparse", "socket", *links))
    if way == "pipe":
        os.mkfifo(file)
    elif way == "folder":
        file.mkdir()
    elif way == "sparse":
        with file.open("wb") as opened:
            opened.truncate(8 << 30)
    elif way == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            place = os.open(folder, os.O_RDONLY)
            opened.bind(f"/proc/self/fd/{place}/{file.relative_to(folder)}"[:107])
            os.close(place)
    else:
        file.symlink_to(file.name if way == "itself" else way)
    return f"{way} for {file.relative_to(folder)}"


def neutral(folder: Path, pick: random.Random) -> str:
    """What changes no logit: this must be accepted."""
    values = _json(folder / "config.json")
    values["_comment"] = pick.choice([value for value in (*NUMBERS, *JUNK) if not isinstance(value, Raw)])
    values["eos_token_id"] = pick.choice((2, [1, 2], 2**40, None))
    values["initializer_range"] = pick.choice((0.5, 10**20, "x"))
    names = pick.sample([*values], len(values))
    (folder / "config.json").write_text(json.dumps({name: values[name] for name in names}, indent=pick.randrange(4)))
    return "neutral"


def _shard(folder: Path, pick: random.Random) -> Path:
    return pick.choice(sorted(folder.glob("*.safetensors")))


MUTATIONS: tuple[tuple[str, Mutation], ...] = (
    ("single", config_numbers),
    ("shards", config_fields),
    ("single", config_rope),
    ("shards", config_text),
    ("single", safetensors_bytes),
    ("shards", safetensors_header),
    ("shards", index),
    ("single", tokenizer),
    ("native", native),
    ("any", kinds),
    ("single", neutral),
)
"""Each kind, and which of the folders it changes."""
