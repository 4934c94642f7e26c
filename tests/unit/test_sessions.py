"""What the test of the tutorials takes for the same, and what it doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sessions import Command, Comparison, File, steps

PAGE = """
```python train.py
print(1)
```

    $ not this

```console
$ vfs init
made a store

$ for x in 1 2
> do echo $x; done
1
[...]
```

```
$ nor this
```
"""


def test_what_a_page_asks_for(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert steps(page) == [
        File("train.py", "print(1)\n"),
        Command(9, "vfs init", ("made a store",)),
        Command(12, "for x in 1 2\ndo echo $x; done", ("1", "[...]")),
    ]


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("2 files, 1.5 KiB in 0.1 s", "2 files, 900 B in 12.0 s", True),
        ("2 files, 1.5 KiB in 0.1 s", "3 files, 1.5 KiB in 0.1 s", False),
        ("2026-11-24T01:11:34+00:00 Ada", "2027-01-01T00:00:00+00:00 Ada", True),
        ("erased on 2026-11-24: why", "erased on 2027-01-01: why", True),
        ("a\n[...]\nz", "a\nb\nc\nz", True),
        ("a\n[...]\nz", "a\nb\nc", False),
        ("[...]", "", True),
        ("a", "a\nb", False),
        ("", "Traceback", False),
        ("data  1", "data      1", True),
    ],
)
def test_what_is_the_same(shown: str, said: str, same: bool) -> None:
    assert Comparison().same(shown.splitlines(), said.splitlines()) is same


def test_ids_stand_for_one_another_all_along_the_page() -> None:
    first, second, other = "1234567890ab", "fedcba098765", "000000000abc"
    comparison = Comparison()
    assert comparison.same([f"made {first}"], [f"made {second}"])
    assert comparison.same([f"commit {first}{'0' * 52}"], [f"commit {second}{'1' * 52}"])
    assert not comparison.same([first], [other])
    assert not comparison.same([other], [second])
    assert comparison.same(["run 20261124-011149-ee07b1"], ["run 20270101-000000-000000"])
