"""Tasks of the user's own, from a file."""

import json
from pathlib import Path

import pytest

import landed_jax as landed
from landed_jax.tasks import answered, pairs_of, read_task

LINE = {
    "clean": "The Colosseum is in the city of",
    "corrupted": "The Louvre is in the city of",
    "right": [" Rome"],
    "wrong": " Paris",
}


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "places.jsonl"
    path.write_text("\n\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_a_file_is_a_task(tmp_path: Path) -> None:
    other = {**LINE, "condition": "turned", "clean": LINE["corrupted"], "corrupted": LINE["clean"]}
    other |= {"right": " Paris", "wrong": " Rome"}
    task = read_task(written(tmp_path, LINE, other))
    assert (task.name, task.conditions) == ("places", ("places", "turned"))
    assert [prompt.clean for prompt in task.prompts(9)] == [LINE["clean"], LINE["corrupted"]]
    assert [prompt.condition for prompt in task.prompts(9, condition="turned")] == ["turned"]
    found = answered(landed.load(), task, 2)
    assert len(found.prompts) == 2 and len(pairs_of(found)) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 3: this is no JSON"),
        ("[1]", "line 3: a prompt is a JSON object"),
        ({**LINE, "wrong": []}, "line 3: wrong is a token's text"),
        ({**LINE, "clean": 3}, "line 3: clean is text"),
        ({"clean": "a", "corrupted": "b", "right": " c"}, "line 3: the field wrong is missing"),
        ({**LINE, "more": 1}, "line 3: the field 'more' is none of"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, line: object, says: str) -> None:
    with pytest.raises(landed.LandedError, match=says):
        read_task(written(tmp_path, LINE, line))


def test_no_file_and_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(landed.LandedError, match="cannot be read"):
        read_task(tmp_path / "none.jsonl")
    with pytest.raises(landed.LandedError, match="holds no prompt"):
        read_task(written(tmp_path, "", ""))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(landed.LandedError, match="cannot be read"):
        read_task(tmp_path / "bytes.jsonl")
