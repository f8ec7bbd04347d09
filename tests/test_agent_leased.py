"""Token files by a role of the engine, in both of the Agent's configurations."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_agent import AWKWARD, CALL, FULL, PLAIN, rendered
from tests.test_agent_pure import AWKWARD_SCOPE, QUERY, pure_config, rendered_pure
from tests.test_config import RENDERED
from vault_asc.agent import render, render_pure
from vault_asc.config import Config, Rendered, StoreSettings, parse
from vault_asc.errors import ConfigError
from vault_asc.tokens import TokenRequest

REPORTS = Rendered("reports", None, "reports", TokenRequest(), Path("/run/r"))
ALONE = parse(tomllib.loads(f"version = 1\n{RENDERED}"), Path("/etc/vault-asc/vault-asc.toml"), {})
BOTH: list[Callable[[Config], dict[str, Any]]] = [rendered, rendered_pure]


def texts(config: Config) -> list[str]:
    return [render(config, CALL), render_pure(config)]


def read_path(template: dict[str, Any]) -> str:
    """What a template reads."""
    found = re.fullmatch(r'{{ with secret "([^"]*)" }}{{ \.Data\.token }}{{ end }}', template["contents"])
    assert found
    return found[1]


@pytest.mark.parametrize("read", BOTH)
def test_the_template_of_a_role(read: Callable[[Config], dict[str, Any]]) -> None:
    assert read(ALONE)["template"] == [
        {
            "contents": '{{ with secret "asc/token/reports" }}{{ .Data.token }}{{ end }}',
            "destination": "/run/r",
            "perms": "0600",
            "backup": False,
            "error_on_missing_key": True,
            "error_fatal": False,
        }
    ]


@pytest.mark.parametrize("read", BOTH)
def test_with_nothing_to_push_there_is_no_tick_and_no_socket(read: Callable[[Config], dict[str, Any]]) -> None:
    assert set(read(ALONE)) == {"vault", "auto_auth", "template_config", "template"}


def test_with_nothing_to_push_no_helper_is_needed() -> None:
    far = ALONE._replace(path=None, agent=ALONE.agent._replace(dir=Path("/" + "a" * 200), tick=300))
    text = render(far, CALL)
    for part in ("exec {", "listener", "api_proxy", "push --all", "agent.sock"):
        assert part not in text


def test_leased_templates_stand_beside_the_tick() -> None:
    again = REPORTS._replace(name="again", token_file=Path("/run/again"))
    read = rendered(PLAIN._replace(rendered=(REPORTS, again)))
    assert set(read) == set(rendered(PLAIN))
    *ticking, first, second = read["template"]
    assert ticking == rendered(PLAIN)["template"]
    assert [first["destination"], second["destination"]] == ["/run/again", "/run/r"]
    assert render(PLAIN._replace(rendered=(REPORTS, again)), CALL) == render(
        PLAIN._replace(rendered=(again, REPORTS)), CALL
    )


def test_a_role_that_is_pushed_is_no_template_beside_the_tick_and_one_without() -> None:
    target = PLAIN.targets[0]._replace(key=None, role="sales", token_file=Path("/run/s"))
    config = PLAIN._replace(targets=(target,))
    (tick,) = rendered(config)["template"]
    assert "exec" in tick
    (template,) = rendered_pure(config)["template"]
    assert (read_path(template), template["destination"]) == ("asc/token/sales", "/run/s")


def test_without_helper_keys_and_roles_stand_side_by_side() -> None:
    by_key = Rendered("all", "prod", None, TokenRequest(600), Path("/run/all"))
    made, leased = rendered_pure(pure_config(targets=(), rendered=(REPORTS, by_key)))["template"]
    assert "(add $iat 600)" in made["contents"]
    assert "secret/data/asc/keys/prod" in made["contents"]
    assert read_path(leased) == "asc/token/reports"


def test_the_mount_of_the_engine_is_the_configured_one() -> None:
    store = StoreSettings(engine_mount="team-a/asc")
    for read in BOTH:
        assert read_path(read(ALONE._replace(store=store))["template"][0]) == "team-a/asc/token/reports"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.sampled_from(QUERY), min_size=1, max_size=30), max_size=3), st.none() | st.integers(65, 1200)
)
def test_what_narrows_is_the_query_of_a_read_and_arrives_as_it_is(queries: list[str], lifetime: int | None) -> None:
    scope = tuple(dict.fromkeys((AWKWARD_SCOPE, *(f"GET /v1/apps?{query}" for query in queries))))
    narrow = REPORTS._replace(request=TokenRequest(lifetime, scope))
    path = urlsplit(read_path(rendered(ALONE._replace(rendered=(narrow,)))["template"][0]))
    assert path.path == "asc/token/reports"
    asked = {} if lifetime is None else {"lifetime": [str(lifetime)]}
    assert parse_qs(path.query, strict_parsing=True) == {**asked, "scope": list(scope)}
    assert not set('${}`\\" ') & set(path.query)


def test_two_targets_may_share_what_a_role_gives_but_not_narrow_it_differently() -> None:
    """An Agent knows what it reads by the path alone, so both files would get one token: measured, and in its source."""
    same = REPORTS._replace(name="again", token_file=Path("/run/again"))
    assert all(texts(ALONE._replace(rendered=(REPORTS, same))))
    narrow = same._replace(request=TokenRequest(None, ("GET /v1/apps",)))
    for print_it in (lambda config: render(config, CALL), render_pure):
        with pytest.raises(ConfigError, match=r'targets "(again|reports)" and "(again|reports)"') as caught:
            print_it(ALONE._replace(rendered=(REPORTS, narrow)))
        assert 'narrow role "reports" differently' in caught.value.message
        assert "a role of its own" in str(caught.value.hint)
    other = narrow._replace(role="other")
    assert all(texts(ALONE._replace(rendered=(REPORTS, other))))


def test_what_is_pushed_may_narrow_a_role_as_it_likes() -> None:
    target = PLAIN.targets[0]._replace(key=None, role="reports", request=TokenRequest(600))
    assert render(PLAIN._replace(targets=(target,), rendered=(REPORTS,)), CALL)


def test_the_token_of_a_key_is_not_rendered_beside_the_helper() -> None:
    by_key = Rendered("all", "prod", None, TokenRequest(), Path("/run/all"))
    for config in (ALONE._replace(rendered=(by_key, REPORTS)), FULL._replace(rendered=(by_key,))):
        with pytest.raises(ConfigError) as caught:
            render(config, CALL)
        assert '"all"' in caught.value.message
        for way in ("a role of the engine", "credential_id", "--pure"):
            assert way in str(caught.value.hint)


def test_a_lease_needs_no_tick() -> None:
    slow = ALONE._replace(agent=ALONE.agent._replace(tick=300))
    assert all(texts(slow))
    with pytest.raises(ConfigError, match="after its alarm"):
        render_pure(slow._replace(rendered=(Rendered("all", "prod", None, TokenRequest(), Path("/run/all")),)))


@pytest.mark.parametrize("value", AWKWARD)
def test_awkward_token_files_are_refused(value: str) -> None:
    for print_it in (lambda config: render(config, CALL), render_pure):
        with pytest.raises(ConfigError, match="cannot be written"):
            print_it(ALONE._replace(rendered=(REPORTS._replace(token_file=Path(value)),)))


def test_the_text_says_why() -> None:
    for text in texts(ALONE):
        assert "half its usable life" in text
