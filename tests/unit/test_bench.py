"""What the benches say of their figures: ratios, verdicts, plots."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("results")


def filled(results: Any, unit: str, ours: list[float], theirs: list[float]) -> Any:
    taken = results.Results()
    for own, other in zip(ours, theirs, strict=True):
        taken.add(results.OURS, "import", own, unit)
        taken.add("borg", "import", other, unit)
    return taken


def test_ratios_are_those_of_each_round(results: Any) -> None:
    # The middle round was slow for both: medians alone would say 2 / 4.
    taken = filled(results, results.SECONDS, [1, 9, 2], [4, 9, 4])
    verdict = taken.verdict(results.Aim("import", "borg", 0.4))
    assert (verdict.least, verdict.median, verdict.greatest) == (0.25, 0.5, 1)
    assert not verdict.met
    assert not verdict.unanimous


def test_of_rates_more_is_better(results: Any) -> None:
    taken = filled(results, results.PER_SECOND, [200], [100])
    assert taken.ratios("borg", "import") == [0.5]


def test_an_aim_without_a_peer_is_about_the_figure(results: Any) -> None:
    taken = filled(results, results.SECONDS, [0.3, 0.4, 0.6], [1, 1, 1])
    verdict = taken.verdict(results.Aim("import", None, 0.5))
    assert verdict.median == 0.4
    assert verdict.met
    assert not verdict.unanimous


def test_what_was_not_measured_has_no_verdict(results: Any) -> None:
    taken = filled(results, results.SECONDS, [1], [2])
    assert taken.verdict(results.Aim("import", "restic", 1)) is None
    assert taken.verdict(results.Aim("find", "borg", 1)) is None


def test_a_plot_is_xml_with_a_dot_for_each_ratio(results: Any) -> None:
    svg = importlib.import_module("svg")
    drawn = svg.ratios("a < b", [("import", {"borg": 0.3, "restic": 20}), ("find", {"borg": 1.0})])
    dots = ET.fromstring(drawn).findall(".//{*}circle/{*}title")
    told = [dot.text for dot in dots if ":" in (dot.text or "")]
    assert told == ["import, borg: 0.3", "import, restic: 20", "find, borg: 1"]
