"""Dashboard and alert rules: that they say something, and of metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.service.looked_at import looked_at
from tests.service.simulated import HOST, Simulation
from vault_asc.rotation import ALARM
from vault_asc.service.listening import hanging
from vault_asc.service.listening.observer import HANGS
from vault_asc.service.skew import REFUSE, WARN, Sample

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
ALERTS = (FOLDER / "alerts.yaml").read_text(encoding="utf-8")
TESTS = (FOLDER / "alerts.test.yaml").read_text(encoding="utf-8")
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
PAGE = FOLDER.with_name("monitoring.md").read_text(encoding="utf-8")
NAMES = re.findall(r"alert: (\w+)", ALERTS)
PROMTOOL = shutil.which("promtool")
METRIC = r"\b(?:vault_asc|process)_[a-z_]+"

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Names of all metrics of a service at work, each with its labels."""
    sim = Simulation(2)
    with looked_at(sim) as looked:
        sim.run(30, looked.service)
        looked.service.traffic.skews.note(HOST, Sample(1.0, sim.time.elapsed))
        text = looked.get("/metrics").text
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def promtool(*words: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def expressions() -> list[str]:
    """Of the dashboard, with its variables filled in."""
    targets: list[dict[str, Any]] = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$instance", ".*") for target in targets]


@pytest.mark.parametrize(
    "text", [ALERTS, TESTS, "\n".join(expressions()), PAGE], ids=["rules", "tests", "dashboard", "page"]
)
def test_only_metrics_are_named_that_there_are(text: str, served: dict[str, set[str]]) -> None:
    named = set(re.findall(METRIC, text))
    assert len(named) > 5
    assert named <= served.keys()


def test_every_metric_is_in_the_page_with_its_labels(served: dict[str, set[str]]) -> None:
    for name, labels in served.items():
        if name.startswith("vault_asc_"):
            rows = re.findall(rf"^\| `{name}(?:\{{(.*?)\}})?` \|", PAGE, re.MULTILINE)
            assert rows, f"{name} is missing in monitoring.md"
            assert {label for label in rows[0].split(", ") if label} == labels, name


def test_the_dashboard_shows_every_metric_of_ours(served: dict[str, set[str]]) -> None:
    shown = set(re.findall(METRIC, json.dumps(DASHBOARD)))
    left_out = {"vault_asc_config_good", "vault_asc_target_usable_life_seconds"}
    assert {name for name in served if name.startswith("vault_asc_")} - shown == left_out


def test_the_rules_go_by_the_numbers_of_the_program() -> None:
    assert f"vault_asc_host_clock_skew_seconds) > {WARN:.0f}" in ALERTS
    assert f"vault_asc_host_clock_skew_seconds) > {REFUSE:.0f}" in ALERTS
    assert f"vault_asc_loop_age_seconds > {HANGS:.0f}" in ALERTS
    assert f"vault_asc_oldest_attempt_seconds > {hanging.HANGS:.0f}" in ALERTS
    assert pytest.approx(300) == 1080 * ALARM


def test_each_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", TESTS)
    assert {name for name, empty in cases if not empty} == set(NAMES)
    assert {name for name, empty in cases if empty} == set(NAMES)


@needs_promtool
def test_the_rules_do_what_their_tests_say() -> None:
    done = promtool("check", "rules", "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(NAMES)} rules found" in done.stdout
    done = promtool("test", "rules", "alerts.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seeded", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
def test_a_rule_that_does_something_else_is_found(name: str, seeded: str, tmp_path: Path) -> None:
    changed, count = re.subn(rf"(alert: {name}\n(?:\s+#.*\n)*\s+expr: ).*", rf"\g<1>{seeded}", ALERTS)
    assert count == 1
    (tmp_path / "alerts.yaml").write_text(changed)
    (tmp_path / "alerts.test.yaml").write_text(TESTS)
    assert promtool("check", "rules", "alerts.yaml", cwd=tmp_path).returncode == 0
    assert promtool("test", "rules", "alerts.test.yaml", cwd=tmp_path).returncode == 1


@needs_promtool
def test_the_dashboards_questions_can_be_asked(tmp_path: Path) -> None:
    rules = [{"record": f"x:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "dashboard.yaml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    done = promtool("check", "rules", "dashboard.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_metrics_are_as_prometheus_wants_them() -> None:
    sim = Simulation(2)
    with looked_at(sim) as looked:
        sim.run(30, looked.service)
        text = looked.get("/metrics").text
    assert PROMTOOL is not None
    words = [PROMTOOL, "check", "metrics"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("process_")]
    assert complaints == []


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    taken = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in panels for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])]  # fmt: skip
    assert len(taken) == len(set(taken)), "none covers another"
