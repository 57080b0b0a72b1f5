"""A sample of the mutations that `make fuzz` tries for five minutes."""

import pytest

from tests.fuzz.watch import fuzz


@pytest.mark.slow  # 500 model folders are written and opened
def test_whatever_is_in_a_folder_it_is_refused_or_read_rightly() -> None:
    found = fuzz("suite", count=500)
    assert found.faults == [], found.table()
    assert found.total("refused") + found.total("accepted") == 500
    assert found.total("accepted") > 50 and found.total("refused") > 200
