"""`landed run --stream`: prompts of a file share each read, and each has the account that it has by itself."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landed_jax as landed
from landed_jax.cli.commands import status_of
from landed_jax.nn.weights_on_disk import WeightOnDisk
from landed_jax.report.account import answer_together, together
from landed_jax.report.question import ask
from landed_jax.report.sections import sections

PROMPTS = ["The Colosseum is in the city of", "The keys near the bottle", "The", "The Louvre is in the city of"]


def assert_same_account(found: Any, expected: Any, where: str = "") -> None:
    """Equal but for the rounding of numbers."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            assert_same_account(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_same_account(one, other, where)
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5, err_msg=where)
    else:
        assert found == expected, where


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each leaf was read, by the leaf's identity."""
    counts: Counter[int] = Counter()
    made = WeightOnDisk.__init__

    def init(leaf: WeightOnDisk, shape: Any, dtype: Any, read: Any, read_rows: Any) -> None:
        def counted() -> Any:
            counts[id(leaf)] += 1
            return read()

        made(leaf, shape, dtype, counted, read_rows)

    monkeypatch.setattr(WeightOnDisk, "__init__", init)
    return counts


@pytest.mark.slow
def test_prompts_share_each_read(reads: Counter[int]) -> None:
    memory, disk = landed.load(), landed.load(stream=True)
    questions = [ask(disk, prompt) for prompt in PROMPTS]
    answer_together(disk, questions[:1], bucketed=True)
    alone = dict(reads)
    assert set(alone.values()) == {1, 2}  # in the forward pass; and what writes, once more for all that is asked of it
    reads.clear()
    found = answer_together(disk, questions, bucketed=True)
    assert dict(reads) == alone
    for account, prompt in zip(found, PROMPTS, strict=True):
        assert_same_account(account.to_dict(), memory.run(prompt).to_dict())


@pytest.mark.slow
def test_sections_of_prompts_together() -> None:
    memory, disk = landed.load(), landed.load(stream=True)
    names = [section.name for section in sections()]
    found = answer_together(disk, [ask(disk, prompt) for prompt in PROMPTS], sections=sections(), bucketed=True)
    for account, prompt in zip(found, PROMPTS, strict=True):
        assert_same_account(account.to_dict(), memory.run(prompt, sections=names).to_dict())


def test_which_questions_go_together() -> None:
    model = landed.load()

    def asked(prompt: str = PROMPTS[0], **how: Any) -> Any:
        return ask(model, prompt, **how)

    assert together(asked(), asked(PROMPTS[1]))
    assert together(asked(target=" Rome"), asked(target=" Paris"))
    assert not together(asked(), asked(target=" Rome"))
    assert not together(asked(target=" Rome"), asked(target=" Rome", against=" Paris"))
    assert not together(asked(position=2), asked(PROMPTS[1], position=2))


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"prompt": PROMPTS[0], "target": " Rome"}, {"prompt": PROMPTS[1]}, *({"prompt": p} for p in PROMPTS[2:])]
    (tmp_path / "prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    asked = ["run", "--prompts", str(tmp_path / "prompts.jsonl"), "--json", "-"]
    texts = []
    for how in (["--stream"], []):
        assert status_of([*asked, *how]) == 0
        texts.append(capsys.readouterr().out.splitlines())
    assert len(texts[0]) == len(PROMPTS)
    for one, other in zip(*texts, strict=True):
        assert_same_account(json.loads(one), json.loads(other))


@pytest.mark.slow
def test_a_study() -> None:
    found, expected = (landed.study(landed.load(stream=on), PROMPTS, keep=["scale", "effects"]) for on in (True, False))
    assert found.manifest["model"] == expected.manifest["model"]  # the weights' checksum is in it
    assert found.statistics.keys() == expected.statistics.keys()
    for name, statistic in expected.statistics.items():
        mean = found.statistics[name].moments.mean
        np.testing.assert_allclose(mean, statistic.moments.mean, rtol=1e-3, atol=1e-4, err_msg=name)


def test_generation_from_weights_on_disk() -> None:
    expected = landed.load().generate(PROMPTS[0], 3)
    found = landed.load(stream=True).generate(PROMPTS[0], 3)
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.logits[0], expected.logits[0], rtol=1e-5)
