"""What devices send each other, read from lines as compilers write them."""

import pytest

from landed_jax.planning._collectives import collectives_of

LINES = {
    "%a = f32[2,8]{1,0:T(8,128)} all-reduce(%x), to_apply=%add": ("all-reduce", 64),
    "%a = (f32[1000]{0}, bf16[2000]{0}) all-reduce(%x, %y), to_apply=%add": ("all-reduce", 8000),
    "%a = (f32[1000]{0}, f32[2000]{0}) all-reduce-start(%x, %y), to_apply=%add": ("all-reduce", 12000),
    "%a = (f32[10]{0:T(256)}, f32[80]{0}) all-gather-start(%x), dimensions={0}": ("all-gather", 320),
    "%a = ((f32[10], f32[20]), (f32[40], f32[80])) all-gather-start(%x, %y)": ("all-gather", 480),
    "%a = ((f32[64]), f32[8], u32[]) reduce-scatter-start(%x)": ("reduce-scatter", 32),
    "%a = (s8[4]{0}, s8[4]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x)": ("collective-permute", 4),
    "%a = pred[16]{0} ragged-all-to-all(%x, %y)": ("ragged-all-to-all", 16),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line(line: str) -> None:
    found = collectives_of(f"ENTRY %main {{\n  {line}\n}}\n")
    assert [(one.kind, one.bytes) for one in found] == [LINES[line]]


def test_what_only_ends_or_uses_one_is_none() -> None:
    assert not collectives_of(
        "ENTRY %main {\n  %a = f32[8] all-gather-done(%start)\n  %b = f32[8] add(%all-reduce.1, %x)\n}\n"
    )


def test_loops_and_branches_reach_what_they_call() -> None:
    text = """
%fused (p: f32[8]) -> f32[8] {
  %r = f32[8] all-reduce(%p), to_apply=%add
}
%body (p: f32[8]) -> f32[8] {
  %c = f32[8] fusion(%p), kind=kLoop, calls=%fused
}
%test (p: f32[8]) -> pred[] {
  %t = pred[] all-reduce(%q), to_apply=%or
}
%rare (p: f32[8]) -> f32[8] {
  %g = f32[64] all-gather(%p)
}
ENTRY %main {
  %w = f32[8] while(%x), condition=%test, body=%body
  %k = f32[8] conditional(%i, %x, %x), branch_computations={%rare, %other}
  %o = f32[8] all-to-all(%x)
}
"""
    found = {one.kind: (one.in_loop, one.in_branch) for one in collectives_of(text) if one.bytes != 1}
    assert found == {"all-reduce": (True, False), "all-gather": (False, True), "all-to-all": (False, False)}
    assert [one.in_loop for one in collectives_of(text) if one.bytes == 1] == [True]
