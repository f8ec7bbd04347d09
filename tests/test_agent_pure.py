"""The Agent's configuration without helper; what it shares with the other one is tested there."""

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_agent import AWKWARD, FULL, PLAIN, plain, rendered
from vault_asc.agent import render_pure
from vault_asc.config import AgentSettings, Config, StoreSettings, VaultSettings
from vault_asc.errors import ConfigError
from vault_asc.tokens import TokenRequest

TOKEN_FILE = Path("/run/vault-asc/sales.jwt")


def pure_config(*, scope: tuple[str, ...] = (), **settings: Any) -> Config:
    target = PLAIN.targets[0]._replace(token_file=TOKEN_FILE, request=TokenRequest(1140, scope))
    return PLAIN._replace(targets=(target,))._replace(**settings)


def rendered_pure(config: Config) -> dict[str, Any]:
    read: dict[str, Any] = plain(hcl2.loads(render_pure(config)))
    return read


def written_scope(contents: str) -> str:
    """The string literal that the template writes after the other claims."""
    found = re.search(r'toJSON \$key\.audience\)\n +(".*") -}}\n', contents)
    assert found
    return found[1]


def test_the_pure_configuration_shares_server_login_and_interval_with_the_other() -> None:
    (target,) = (FULL.targets[0]._replace(token_file=TOKEN_FILE),)
    full = FULL._replace(targets=(target,))
    read, other = rendered_pure(full), rendered(full)
    for stanza in ("vault", "auto_auth", "template_config"):
        assert read[stanza] == other[stanza]
    assert set(read) == {"vault", "auto_auth", "template_config", "template"}


def test_a_pure_configuration_needs_nothing_on_the_host() -> None:
    text = render_pure(pure_config())
    for part in ("exec {", "listener", "api_proxy", "cache", "sink", "plugin", "vault-asc push", "agent.sock"):
        assert part not in text
    assert "private/" not in text
    assert "`vault-asc agent config --pure`" in text


def test_one_template_per_target_makes_its_token() -> None:
    first = PLAIN.targets[0]._replace(token_file=TOKEN_FILE)
    second = first._replace(name="emea", key="other", token_file=Path("/srv/emea"), request=TokenRequest(600))
    config = pure_config(targets=(first, second), store=StoreSettings("kv", "asc/team-b", "team-transit"))
    emea, sales = rendered_pure(config)["template"]
    assert (emea["destination"], sales["destination"]) == ("/srv/emea", str(TOKEN_FILE))
    for template, key, lifetime in ((emea, "other", 600), (sales, "prod", 1140)):
        assert {name: value for name, value in template.items() if name not in {"contents", "destination"}} == {
            "perms": "0600",
            "backup": False,
            "error_on_missing_key": True,
            "error_fatal": False,
        }
        contents = template["contents"]
        assert f'{{{{- with secret "kv/data/asc/team-b/keys/{key}" -}}}}' in contents
        assert f"(add $iat {lifetime})" in contents
        assert 'secret (printf "team-transit/sign/%s" $key.transit_key)' in contents
        assert "divide 30 | multiply 30 | subtract 60" in contents
        assert "@" not in contents


def test_what_two_targets_have_alike_are_two_templates_all_the_same() -> None:
    """An Agent knows a template by its text."""
    first = PLAIN.targets[0]._replace(token_file=TOKEN_FILE)
    second = first._replace(name="again", token_file=Path("/run/again"))
    contents = [t["contents"] for t in rendered_pure(pure_config(targets=(first, second)))["template"]]
    assert len(set(contents)) == 2


def test_a_pure_configuration_does_not_depend_on_the_order_of_targets() -> None:
    first = PLAIN.targets[0]._replace(token_file=TOKEN_FILE)
    second = first._replace(name="again", token_file=Path("/run/again"))
    assert render_pure(pure_config(targets=(first, second))) == render_pure(pure_config(targets=(second, first)))


def test_without_scope_nothing_is_added_to_the_claims() -> None:
    assert written_scope(rendered_pure(pure_config())["template"][0]["contents"]) == '""'


AWKWARD_SCOPE = """GET /v1/apps?a=${HOME}%{if}{{.}}`"b\\'EOT"""
QUERY = sorted({chr(number) for number in range(33, 127)} - set("#/"))  # what a scope may have after its question mark


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from(QUERY), min_size=1, max_size=30), max_size=3))
def test_any_scope_arrives_as_it_is(queries: list[str]) -> None:
    scope = (AWKWARD_SCOPE, *(f"GET /v1/apps?{query}" for query in queries))
    contents = rendered_pure(pure_config(scope=scope))["template"][0]["contents"]
    literal = written_scope(contents)
    assert not set("${}%") & set(literal)
    # A string of the template language, without escapes that JSON has not.
    claims = json.loads(f'{{"aud":""{json.loads(literal)}}}')
    assert claims == {"aud": "", "scope": list(scope)}
    assert contents.count("\n") == render_pure(pure_config()).partition("<<EOT\n")[2].partition("EOT\n")[0].count("\n")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (pure_config(targets=()), "has no targets"),
        (PLAIN, 'none for "sales"'),
        (pure_config(vault=VaultSettings("unix:///run/other.sock")), "cannot log in through"),
        (pure_config(agent=AgentSettings(tick=187)), "after its alarm"),
    ],
)
def test_what_cannot_work_without_helper_is_refused(config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        render_pure(config)
    assert caught.value.hint


def test_all_targets_without_a_token_file_are_named() -> None:
    targets = [PLAIN.targets[0]._replace(name=name, token_file=file) for name, file in (("a", None), ("b", TOKEN_FILE))]
    targets.append(targets[0]._replace(name="c"))
    with pytest.raises(ConfigError) as caught:
        render_pure(pure_config(targets=tuple(targets)))
    assert 'none for "a", "c"' in caught.value.message
    assert '"b"' not in caught.value.message


@pytest.mark.parametrize("value", AWKWARD)
def test_awkward_values_are_refused_without_helper_too(value: str) -> None:
    path = Path(value)
    target = PLAIN.targets[0]._replace(token_file=path)
    for config in (
        pure_config(targets=(target,)),
        pure_config(agent=AgentSettings(role_id_file=path)),
        pure_config(vault=VaultSettings(ca_file=path)),
        pure_config(vault=VaultSettings(namespace=value)),
    ):
        with pytest.raises(ConfigError, match="cannot be written"):
            render_pure(config)
