"""The status page in a real browser, filled by the real listener; and what can be said of its text alone."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.service.browser import MISSING, PROGRAM, Tab, browser
from tests.service.looked_at import Looked, looked_at
from tests.service.simulated import HOST, VAULT, Simulation
from vault_asc.listen import Listen, parse_listen
from vault_asc.outcome import Outcome
from vault_asc.service.breaker import Mode
from vault_asc.service.listening import answers
from vault_asc.service.skew import Sample

HTML = Path(answers.__file__).with_name("page.html").read_text(encoding="utf-8")
NAMES = "[...document.querySelectorAll('#rows tr')].map((row) => row.cells[0].firstChild.textContent)"
READY = "document.querySelector('#rows tr') !== null"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    "</td></table><iframe src=//evil.example></iframe>\u202egnp.exe\x1b[2J"
)

in_a_browser = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


# --- its text ------------------------------------------------------------------------------------------------------


def test_the_page_has_all_that_it_needs_and_makes_no_markup_of_text() -> None:
    assert not re.findall(
        r"https?:|//[a-z]+\.|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")|<img|<iframe|\ssrc=", HTML
    )
    assert not re.findall(r"innerHTML|insertAdjacent|document\.write|eval\(|new Function|\son[a-z]+=|\sstyle=", HTML)
    assert HTML.count("<script>") == HTML.count("<style>") == 1
    assert len(HTML) < 40_000


def test_what_is_written_can_be_read_in_light_and_dark() -> None:
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in HTML.split("@media (prefers", 1)]
    dark = schemes[1] | {}
    assert len(schemes[0]) >= 14
    for scheme in (schemes[0], dark):
        for ink, ground in [*product(("ink", "soft", "good", "low", "bad"), ("card", "ground")), *zip(("good", "low", "bad"), ("good-wash", "low-wash", "bad-wash"), strict=True)]:  # fmt: skip
            assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground, scheme[ink])


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# --- in the browser ------------------------------------------------------------------------------------------------


@dataclass
class Page:
    tab: Tab
    looked: Looked

    def text(self, selector: str) -> str:
        found: str = self.tab.js(f"document.querySelector({selector!r}).innerText")
        return found

    def names(self) -> list[str]:
        found: list[str] = self.tab.js(NAMES)
        return found

    def choose(self, field: str, value: str) -> None:
        self.tab.js(
            f"(() => {{ const e = document.getElementById({field!r}); e.value = {value!r};"
            " e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    def tree(self) -> list[dict[str, Any]]:
        """What a screen reader is told."""
        nodes: list[dict[str, Any]] = self.tab.call("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node["ignored"]]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        tab.open("about:blank")
        yield tab


@pytest.fixture
def sim() -> Simulation:
    return Simulation(6, keys=2)


@pytest.fixture
def page(chromium: Tab, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(answers, "_SHARED", 0.0)  # what was changed is seen at once
    sim.give_life(1000)
    with looked_at(sim) as looked:
        for number in range(min(6, sim.count)):
            looked.set(f"target-{number}", expires_at=int(sim.time.wall()) + 1000 - 100 * number)
        yield shown(chromium, looked)


def shown(tab: Tab, looked: Looked) -> Page:
    tab.size(1280)
    tab.call("Emulation.setEmulatedMedia", features=[])
    tab.call("Page.navigate", url=f"http://{looked.address}/")
    tab.until(READY)
    tab.requests.clear()
    tab.complaints.clear()
    return Page(tab, looked)


def again(page: Page) -> None:
    """Let the page ask once more, without waiting for its time."""
    page.tab.js("(async () => { while (asking) await new Promise((done) => setTimeout(done, 20)); await ask(); })()")


@in_a_browser
def test_every_target_is_shown_the_one_with_least_life_first(page: Page) -> None:
    assert page.names() == [f"target-{number}" for number in (5, 4, 3, 2, 1, 0)]
    row = page.text("#rows tr")
    for word in ("target-5", "8m 20s", "live", "key-1", "in "):
        assert word in row
    widths = page.tab.js("[...document.querySelectorAll('.bar i')].map((fill) => parseFloat(fill.style.width))")
    assert widths == sorted(widths)
    assert widths[0] == pytest.approx(100 * 500 / 1080, abs=1)
    assert page.text("#state-words") == "All tokens are fresh"
    for order, first in {"name": "target-0", "next": "target-", "account": "target-0"}.items():
        page.choose("order", order)
        assert page.names()[0].startswith(first)


@in_a_browser
def test_what_is_wrong_is_said_in_words_and_shapes(page: Page) -> None:
    now = int(page.looked.sim.time.wall())
    failing = {"outcome": Outcome.NOT_WRITTEN, "failures": 4, "detail": "Nexla answered 503"}
    page.looked.set("target-1", expires_at=now - 65, **failing)
    page.looked.set("target-2", expires_at=now + 120, **failing)
    page.looked.set("target-3", outcome=Outcome.REFUSED, failures=1)
    page.looked.service.roster.tracks["target-2"].slow_at = 1.0
    page.looked.service.hosts.breakers[HOST].mode = Mode.OPEN
    page.looked.service.hosts.breakers[HOST].until = page.looked.sim.time.elapsed + 20
    page.looked.service.traffic.skews.note(VAULT, Sample(45.0, page.looked.sim.time.elapsed))
    again(page)
    assert page.names()[:2] == ["target-1", "target-2"]
    assert page.text("#state") == "✖\n1 token is dead, and more"
    assert page.tab.js("document.title") == "✖ 1 token is dead \u2013 vault-asc"
    rows = page.text("#rows")
    for word in (
        "✖ dead 1m 5s",
        "▲ 2m 0s",
        "not written, 4 failures",
        "Nexla answered 503",
        "written but apple says no",
    ):
        assert word in rows
    assert "slow, kept apart" in rows
    assert "✖ breaker open, a probe in 20s" in page.text("#hosts")
    assert "✖ our clock is 45 s ahead" in page.text("#hosts")
    assert re.sub(r"\s+", " ", page.text("#tiles")).startswith("Targets 6 Fresh 4 Little left ▲ 1 Dead ✖ 1 Failing ▲ 3")
    assert "about to die" in page.tab.js("document.getElementById('announce').textContent")
    page.choose("only", "failing")
    assert page.names() == ["target-1", "target-2", "target-3"]
    page.choose("only", "attention")
    page.choose("find", "NEXLA 503")
    assert page.names() == ["target-1", "target-2"]
    assert page.text("#count") == "2 targets of 6"
    page.choose("find", "nobody")
    assert page.text("#none") == "Nothing to show."


@in_a_browser
def test_hostile_words_stay_words(page: Page) -> None:
    track = page.looked.service.roster.tracks["target-0"]
    track.target = track.target._replace(name="<b id=bad>x</b>")
    page.looked.set("target-0", detail=HOSTILE, failures=1, outcome=Outcome.NOT_WRITTEN, key_id="<svg onload=1>")
    hosts = page.looked.service.hosts
    hosts.named = (*hosts.named, '"><img src=x onerror=alert(1)>')
    hosts.breakers[hosts.named[-1]] = hosts.breakers[HOST]
    again(page)
    rows = page.text("#rows")
    assert "<b id=bad>x</b>" in rows
    assert "<img src=x onerror=\"document.title='owned'\">" in rows
    assert r"\u{202e}gnp.exe\u{1b}[2J" in rows
    assert page.tab.js("document.querySelectorAll('img, iframe, svg, #bad, main script').length") == 0
    assert "owned" not in page.tab.js("document.title")
    assert page.tab.complaints == []
    assert {url.rpartition("/")[2] for url in page.tab.requests} <= {"status.json"}
    assert all(url.startswith(f"http://{page.looked.address}/") for url in page.tab.requests)


@in_a_browser
def test_the_policy_holds_even_if_somebody_gets_markup_in(page: Page) -> None:
    page.tab.js("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.owned=1\">')")
    page.tab.js("document.body.append(Object.assign(document.createElement('script'), {text: 'window.owned = 1'}))")
    assert page.tab.js("fetch('http://127.0.0.1:1/').then(() => 'let through', (error) => error.name)") == "TypeError"
    assert page.tab.js("window.owned === undefined")
    assert any("Content Security Policy" in text for text in page.tab.complaints)


@in_a_browser
def test_a_service_that_does_not_answer_is_told_and_so_is_its_return(page: Page) -> None:
    page.looked.sim.time.elapsed += 100
    again(page)
    assert "has not gone round for 1m" in page.text("#notice")
    assert "hangs" in page.text("#state")
    page.looked.service.step()
    again(page)
    assert page.tab.js("document.getElementById('notice').hidden")
    assert not page.tab.js("document.body.classList.contains('stale')")
    with ExitStack() as stack:
        second = stack.enter_context(looked_at(Simulation(1)))
        # Move the page over to a place where nobody listens any more.
        page.tab.call("Page.navigate", url=f"http://{second.address}/")
        page.tab.until(READY)
        listen = parse_listen(second.address, "x")
        stack.close()
        page.tab.until("!document.getElementById('silent').hidden")
    assert "✖ The service does not answer." in page.text("#silent-words")
    assert "What you see is from" in page.text("#silent-since")
    assert page.text("#state-words") == "No answer"
    grey = "[...document.querySelectorAll({!r})].map((e) => getComputedStyle(e.closest('.card, main')).filter)"
    assert set(page.tab.js(grey.format(".card"))) == {"grayscale(1)"}
    assert set(page.tab.js(grey.format(".banner"))) == {"none"}
    assert page.names() == ["target-0"], "what was known stays to be seen"
    with looked_at(Simulation(2), listen=Listen(host="127.0.0.1", port=listen.port)):
        page.tab.until("document.getElementById('silent').hidden")
        assert page.names() == ["target-0", "target-1"]


@in_a_browser
@pytest.mark.parametrize("sim", [Simulation(5000, keys=4)])
def test_five_thousand_targets_are_searched_and_shown_in_parts(page: Page) -> None:
    page.looked.set("target-4321", detail="the one", failures=2, outcome=Outcome.NOT_WRITTEN)
    again(page)
    assert len(page.names()) == 200
    assert page.text("#count") == "5,000 targets, the first 200 are shown"
    page.tab.js("document.getElementById('more-button').click()")
    assert len(page.names()) == 400
    page.choose("find", "the one")
    assert page.names() == ["target-4321"]
    assert page.text("#count") == "1 target of 5,000"
    page.choose("find", "")
    assert len(page.names()) == 200


@in_a_browser
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone(page: Page, width: int, scheme: str) -> None:
    track = page.looked.service.roster.tracks["target-5"]
    track.target = track.target._replace(name="x" * 63)
    page.looked.set("target-5", detail="https://" + "y" * 300, failures=12, outcome=Outcome.REFUSED)
    page.tab.size(width)
    page.tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    again(page)
    assert page.tab.js("document.documentElement.scrollWidth <= window.innerWidth")
    outside = page.tab.js(
        "[...document.querySelectorAll('main *, header *')].filter((e) => !e.closest('thead, .unseen') && e.offsetParent"
        " && e.getBoundingClientRect().right > window.innerWidth + 1).map((e) => e.className || e.tagName)"
    )
    assert outside == []
    ground = page.tab.js("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(244, 245, 248)" if scheme == "light" else "rgb(15, 18, 22)")


@in_a_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_keyboard_and_screen_reader_get_everything(page: Page, width: int) -> None:
    page.tab.size(width)
    page.looked.set("target-5", expires_at=int(page.looked.sim.time.wall()) + 100)
    again(page)
    reached = []
    for _ in range(7):
        page.tab.key("Tab")
        reached.append(page.tab.js("document.activeElement.id"))
    assert [name for name in reached if name in {"find", "only", "order"}] == ["find", "only", "order"]
    nodes = page.tree()
    roles = [node["role"]["value"] for node in nodes]
    for role in ("main", "banner", "table", "status", "search"):
        assert role in roles, role
    assert roles.count("row") == 7
    assert roles.count("columnheader") == 5
    meters = [node for node in nodes if node["role"]["value"] == "meter"]
    assert meters[0]["name"]["value"] == "time left of target-5"
    said = page.tab.js("document.querySelector('.bar').getAttribute('aria-valuetext')")
    assert said == "1m 40s of 18m 0s, in the mandatory window"
    fields = {node["name"]["value"] for node in nodes if node["role"]["value"] in {"searchbox", "combobox"}}
    assert fields == {"Search", "Show", "Order"}
