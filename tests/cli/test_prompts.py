"""Prompts of the command line: arguments, standard input, files with one a line, ids, chats."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import landed_jax as landed
from landed_jax.checkpoints.bundle import bundled_folder
from landed_jax.checkpoints.hf.gate import config_from_hf
from landed_jax.checkpoints.hf.table import to_hf
from landed_jax.cli import prompts as prompts_module
from landed_jax.cli.commands import status_of
from landed_jax.cli.prompts import Asked, several, single
from landed_jax.errors import LandedError
from landed_jax.prompts import PromptWarning
from tests.models import random_params

PROMPT = "The Colosseum is in the city of"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a", "a"),
        (b"a\n", "a"),
        (b"a\r\n", "a"),
        (b"a\n\n", "a\n"),
        (b"a\r\n\r\n", "a\r\n"),
        (b"a\r", "a\r"),
        (b"\n", ""),
        (b"", ""),
        (b" a \n b ", " a \n b "),
        (b"a\0b\n", "a\0b"),
        ("日本\n".encode(), "日本"),
    ],
)
@pytest.mark.parametrize("argument", [None, "-"])
def test_standard_input_loses_one_newline_at_most(
    argument: str | None, data: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard_input(monkeypatch, data)
    assert single(argument, ids=False) == Asked(text)


@pytest.mark.parametrize("text", ["1 5 7", "1,5,7", " 1, 5\t7\n", "[1, 5, 7]", "[1 5 7]", "1 ,5 , 7"])
def test_ids(text: str) -> None:
    assert single(text, ids=True) == Asked([1, 5, 7])


@pytest.mark.parametrize("text", ["1 x", "1.5", "-1", "1,,5", "[1, 5", "[[1]]", "١", "9" * 6000, "1 5 7" * 900 + "x"])
def test_what_is_no_list_of_ids(text: str) -> None:
    with pytest.raises(LandedError, match="is no token id") as caught:
        single(text, ids=True)
    assert len(str(caught.value)) < 200


FILES = {
    "lines": (b"a b\n\n  \nc\r\n d", [("a b", 1), ("c", 4), (" d", 5)]),
    "a byte order mark": ("\ufeffa\nb\n".encode(), [("a", 1), ("b", 2)]),
    "separators of Unicode": ("a\u2028b\x0bc\x85d\n".encode(), [("a\u2028b\x0bc\x85d", 1)]),
    "quotes in plain lines": (b'"Yes," she said\n{"a"}', None),
    "JSON strings": (b'"a\\nb"\n\n"{c}"\n', [("a\nb", 1), ("{c}", 3)]),
    "objects": (
        b'{"prompt": "a", "target": " b"}\n"c"\n{"prompt": "", "target": null, "against": "#3"}',
        [("a", 1, " b", None), ("c", 2), ("", 3, None, "#3")],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_prompts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, expected = FILES[name]
    path = tmp_path / "prompts"
    path.write_bytes(data)
    if expected is None:
        assert [asked.prompt for asked in several(str(path), ids=False)] == data.decode().split("\n")
        return
    for source in (str(path), "-"):
        standard_input(monkeypatch, data)
        found = several(source, ids=False)
        assert [(asked.prompt, asked.target, asked.against) for asked in found] == [
            (text, *(more or (None, None))) for text, _, *more in expected
        ]
        named = "Standard input" if source == "-" else source
        assert [asked.place for asked in found] == [f"{named}, line {line}" for _, line, *_ in expected]


def test_files_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("1 5\n[3, 2]\n")
    assert [asked.prompt for asked in several(str(path), ids=True)] == [[1, 5], [3, 2]]
    path.write_text('{"prompt": [1, 5], "target": "#2"}\n[7]\n"8 9"')
    assert [asked.prompt for asked in several(str(path), ids=True)] == [[1, 5], [7], [8, 9]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no prompt"),
        (b" \n\n", "holds no prompt"),
        (b'{"prompt": "a"}\nplain\n', "line 2: this is no JSON"),
        (b'{"prompt": "a', "line 1: this is no JSON"),
        (b'"a"\n{"prompt": "a", "tagret": "b"}', "line 2: the field 'tagret' is none of prompt, target, against"),
        (b'{"target": "a"}', 'line 1: an object has a field "prompt"'),
        (b'\n{"prompt": ["a"]}', r"line 2: a prompt is text, not \['a'\]"),
        (b'{"prompt": [1]}', "With --ids"),
        (b'"a"\n5', "line 2: a prompt is text, not 5"),
        (b'{"prompt": "a", "target": 5}', "line 1: target is"),
        (b"{" + b'"a":{' * 100_000, "line 1: this is no JSON"),
        (b"a\nb\xff\n" + b"x" * 500, r"is not text in UTF-8, from byte 3 \(line 2\) on"),
    ],
)
def test_a_faulty_file_is_one_short_sentence(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_bytes(data)
    with pytest.raises(LandedError, match=message) as caught:
        several(str(path), ids=False)
    assert len(str(caught.value).removeprefix(str(path))) < 250


def test_names_decide_and_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("plain text")
    with pytest.raises(LandedError, match="line 1: this is no JSON"):
        several(str(path), ids=False)
    for bad in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(LandedError, match="cannot be read"):
            several(str(bad), ids=False)
    monkeypatch.setattr(prompts_module, "_MOST_BYTES", 1 << 20)
    with pytest.raises(LandedError, match="more than 1 MiB"):
        several("/dev/zero", ids=False)
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        with pytest.raises(LandedError, match="more than 1 MiB"):
            single("-", ids=False)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(LandedError, match="Give a prompt"):
        single(None, ids=False)
    for ask in (lambda: single("-", ids=False), lambda: several("-", ids=False)):
        with pytest.raises(LandedError, match="no standard input"):
            ask()


def test_bytes_that_are_no_text_are_quoted_by_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"\xff" * 100_000, b"ab\xe4\xf6" + b"x" * 100_000, "日".encode() * 50_000 + b"\xff"):
        standard_input(monkeypatch, data)
        with pytest.raises(LandedError, match="not text in UTF-8") as caught:
            single("-", ids=False)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--prompts", "FILE"], "not both"),
        (["x", "--ids", "--chat"], "give one of them"),
        (["x", "--no-bos", "--chat"], "give one of them"),
        (["--prompts", "FILE", "--out", "x.nc"], "--out holds the results of one prompt"),
        (["--prompts", "/no/such/file"], "/no/such/file cannot be read"),
        (["", "--no-bos"], "becomes no token"),
        (["", "--ids"], "holds no token id"),
        (["1 99999", "--ids"], "no token 99999"),
        (["x", "--chat"], "no chat template"),
        (["--prompts", "FILE", "--against", ","], "FILE, line 3: --target and --against are the same token"),
        (["--prompts", "FILE", "--position", "2"], "FILE, line 1: Position 2 is outside the prompt"),
        (["--prompts", "FILE", "--target", "qq"], "FILE, line 1: 'qq' is no token"),
    ],
)
def test_bad_usage_is_one_sentence_before_anything_is_computed(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "prompts", tmp_path / "out"
    file.write_text('{"prompt": "Rome"}\n{"prompt": "The Colosseum is"}\n{"prompt": "Rome", "target": ","}\n')
    typed = [str(file) if part == "FILE" else part for part in arguments]
    assert status_of(["run", *typed, "--json", str(out)]) == 2
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and len(said.err) < 400
    assert message.replace("FILE", str(file)) in said.err
    assert status_of(["run", "--prompts", str(file), "--json", str(file)]) == 2
    assert "name the same file" in capfd.readouterr().err and file.read_text().startswith('{"prompt"')
    assert [path.name for path in tmp_path.iterdir()] == ["prompts"]


def test_each_prompt_of_a_file_is_accounted_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = landed.load()
    file, out = tmp_path / "prompts.jsonl", tmp_path / "accounts.jsonl"
    asked = [{"prompt": PROMPT}, {"prompt": "The qwx\0", "target": " keys", "against": "#3"}, {"prompt": ""}]
    file.write_text("\n".join(map(json.dumps, asked)))
    assert status_of(["run", "--prompts", str(file), "--json", "-", "--top", "3"]) == 0
    printed, said = capfd.readouterr()
    assert said.splitlines() == [
        f"landed: {file}, line 2: not in this model's vocabulary, and read as an unknown word: 'qwx\\x00'",
        f"landed: {file}, line 3: the prompt is empty: the model reads <s> alone",
    ]
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["prompt"] for line in lines] == [each["prompt"] for each in asked]
    assert [line["against"] and line["against"]["id"] for line in lines] == [None, 3, None]
    for line, each in zip(lines, asked, strict=True):
        trace = model.trace(landed.Tokens.from_lists([line["token_ids"]]), at=-1)
        assert line["token_ids"] == model.vocabulary.tokenizer(each["prompt"])["input_ids"]
        target = model.vocabulary.token_id(each["target"]) if "target" in each else int(trace.logits[0, 0].argmax())
        value = float(trace.logits[0, 0, target]) - (float(trace.logits[0, 0, 3]) if "against" in each else 0)
        assert line["target"]["id"] == target
        np.testing.assert_allclose([line["logit"], line["sum_of_landed"]], value, atol=1e-4)
        assert len(line["top_writes"]) == 3

    assert status_of(["run", "--prompts", str(file), "--json", str(out), "--top", "3"]) == 0
    table = capfd.readouterr().out
    assert out.read_text() == printed
    headings = [line for line in table.splitlines() if re.search(r"\d of 3:", line)]
    assert [f"{n} of 3:" in heading for n, heading in enumerate(headings, 1)] == [True] * 3
    assert table.count("Largest landed contributions") == 3


def test_three_ways_to_read_a_prompt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(bundled_folder(), tmp_path / "model", copy_function=shutil.copyfile))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    template = (
        "{{ bos_token }}{% for m in messages %} {{ m.content }}{% endfor %}{% if add_generation_prompt %} is{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    vocabulary = landed.load().vocabulary
    said = vocabulary.encode("The Colosseum", add_special_tokens=False)
    bos = vocabulary.tokenizer.bos_token_id
    found = []
    for arguments in (
        ["<s> The Colosseum"],
        ["The Colosseum", "--no-bos"],
        [f"{bos} {said[0]},{said[1]}", "--ids"],
        ["The Colosseum", "--chat"],
    ):
        assert status_of(["run", *arguments, "--model", str(folder), "--json", "-", "--top", "0"]) == 0
        printed, err = capfd.readouterr()
        assert err == ""
        found.append(json.loads(printed))
    assert found[0]["token_ids"] == found[2]["token_ids"] == [bos, *said]
    assert found[1]["token_ids"] == said
    assert found[3]["token_ids"] == [bos, *said, *vocabulary.encode(" is", add_special_tokens=False)]
    assert found[0]["logit"] == found[2]["logit"]
    assert [each["prompt"] for each in found] == [
        "<s> The Colosseum",
        "The Colosseum",
        found[2]["prompt"],
        "The Colosseum",
    ]
    assert found[2]["prompt"] == vocabulary.decode([bos, *said])


def windowed(folder: Path, tokenizer: bool) -> Path:
    """A small model that looks at eight tokens at a time, so that a long prompt takes little time."""
    folder.mkdir()
    sizes = {"vocab_size": 1537, "hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1}
    config = {"model_type": "mistral", "num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 8, **sizes}
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    config = config_from_hf(json.loads((folder / "config.json").read_text()))
    save_file({k: np.array(v) for k, v in to_hf(random_params(config), config).items()}, folder / "model.safetensors")
    for name in TOKENIZER if tokenizer else ():
        shutil.copyfile(bundled_folder() / name, folder / name)
    return folder


def test_a_model_without_a_tokenizer_is_asked_by_ids(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = windowed(tmp_path / "model", tokenizer=False)
    assert status_of(["run", "Rome", "--model", str(folder)]) == 2
    assert "Give token ids (--ids)" in capfd.readouterr().err
    assert status_of(["run", "1 5 7", "--ids", "--target", "#9", "--model", str(folder), "--json", "-"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["tokens"] == ["#1", "#5", "#7"] and found["prompt"] == "#1 #5 #7"
    trace = landed.load(folder).trace([1, 5, 7], at=-1)
    assert found["logit"] == pytest.approx(float(trace.logits[0, 0, 9]), abs=1e-5)


@pytest.mark.slow  # a hundred thousand tokens take a while, with the smallest model too
def test_a_hundred_thousand_tokens_take_bounded_memory(tmp_path: Path) -> None:
    folder = windowed(tmp_path / "model", tokenizer=True)
    code = """
import sys
from landed_jax.cli import main
try:
    main()
finally:  # not getrusage, whose maximum has the parent's from before exec in it
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    print("KiB:", status["VmHWM"].split()[0], file=sys.stderr)
"""
    command = [sys.executable, "-c", code, "run", "--model", str(folder)]
    text = "The Colosseum is in the city of Rome . " * 11_200
    done = subprocess.run([*command, "--json", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["token_ids"]) > 100_000 and found["closure_error"] < 1e-4
    assert f"the prompt has {len(found['token_ids'])} tokens, more than the 4096" in done.stderr
    with pytest.warns(PromptWarning, match="more than the 4096"):
        trace = landed.load(folder).trace(text.rstrip(), at=-1)
    assert trace.logits[0, 0].max() == pytest.approx(found["logit"], abs=1e-4)
    assert int(done.stderr.split("KiB:")[1]) < 2 << 20
