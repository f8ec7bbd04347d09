"""`vault-asc mint --role`, and tokens of a key that the engine holds, against the real engine."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests import keys
from tests.cli.conftest import OLD_ID, User
from tests.cli.test_mint import verified
from tests.conftest import Root, TokenWith
from tests.engine.mounted import SCOPE
from tests.support import Wire
from vault_asc import policy
from vault_asc.names import Custody

NARROW = ("--scope", SCOPE[0])


@pytest.fixture
def key_file(user: User, root: Root, engine_mount: str) -> Path:
    """The user's store has this engine; its roles: one with a scope, one with all that the key may, two of short life."""
    file = user.key_file()
    with_engine(user, engine_mount)
    body = {"private_key": file.read_text(), "key_id": OLD_ID, "issuer_id": keys.ISSUER_ID}
    root("POST", f"{engine_mount}/keys/prod", body)
    roles: dict[str, dict[str, Any]] = {
        "sales": {"scope": SCOPE},
        "whole": {},
        "brief": {"lifetime": 600},
        "longest": {"lifetime": 1200},
    }
    for name, role in roles.items():
        root("POST", f"{engine_mount}/roles/{name}", {"key": "prod", **role})
    return file


def with_engine(user: User, mount: str) -> None:
    text = user.config_file.read_text(encoding="utf-8")
    user.config_file.write_text(text.replace("[store]\n", f'[store]\nengine_mount = "{mount}"\n'), encoding="utf-8")


def test_a_token_by_a_role_on_stdout(user: User, key_file: Path) -> None:
    done = user.does("mint", "--role", "sales")
    assert re.fullmatch(r"eyJ[\w-]+\.[\w-]+\.[\w-]+\n", done.out)
    assert not done.err
    header, claims = verified(done.out.strip(), key_file)
    assert header == {"alg": "ES256", "kid": OLD_ID, "typ": "JWT"}
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (1140, SCOPE)


@pytest.mark.parametrize(
    ("role", "options", "lifetime", "scope"),
    [
        ("brief", (), 600, None),
        ("longest", (), 1200, None),
        ("longest", ("--lifetime", "19m"), 1140, None),
        ("sales", ("--lifetime", "5m", *NARROW), 300, SCOPE[:1]),
        ("whole", ("--scope", SCOPE[1]), 1140, SCOPE[1:]),
    ],
)
def test_what_is_not_asked_for_is_what_the_role_gives(
    user: User, key_file: Path, role: str, options: tuple[str, ...], lifetime: int, scope: list[str] | None
) -> None:
    answer = user.does("mint", "--role", role, *options, "--format", "json").json
    claims = verified(answer["token"], key_file)[1]
    assert (claims["exp"] - claims["iat"], claims.get("scope")) == (lifetime, scope)
    assert (answer["key_id"], answer["scope"]) == (OLD_ID, scope or [])


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (3, ("sales", "--scope", "GET /v1/builds"), 'the scope holds a call that role "sales" does not give'),
        (3, ("brief", "--lifetime", "19m"), 'a lifetime of 1140 s is more than role "brief" gives'),
        (7, ("other",), 'there is no role "other"'),
    ],
)
def test_what_the_role_does_not_give_is_refused_in_the_engines_words(
    user: User, key_file: Path, code: int, words: tuple[str, ...], said: str
) -> None:
    done = user.fails(code, "mint", "--role", *words)
    assert said in done.error
    assert done.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "mint needs a key or a role"),
        (("prod", "--role", "sales"), "mint takes a key or a role, not both"),
        (("--role", "../x"), 'role name "../x" is not allowed'),
        (("--role", "sales", "--min-remaining", "5m"), "--min-remaining needs a file"),
        (
            ("--role", "sales", "--out", "file", "--min-remaining", "20m"),
            "--min-remaining of 1200 s is more than a new token has (1140 s)",
        ),
        (
            ("--role", "sales", "--lifetime", "5m", "--out", "file", "--min-remaining", "5m"),
            "--min-remaining of 300 s is more than a new token has (240 s)",
        ),
    ],
)
def test_what_cannot_be_asked_of_a_role_is_refused_before_any_request(
    user: User, words: tuple[str, ...], said: str
) -> None:
    user.configure(address="http://127.0.0.1:1")
    done = user.fails(2, "mint", *words)
    assert done.error == said or said in done.error
    assert done.hint


def test_min_remaining_by_a_role_asks_nobody_while_the_scope_is_that_which_is_asked_for(
    user: User, key_file: Path, engine_mount: str
) -> None:
    words = ("mint", "--role", "sales", "--out", "token", "--min-remaining", "5m")
    out = user.home / "token"
    user.does(*words, *NARROW)
    first = out.read_bytes()
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        with_engine(user, engine_mount)
        user.does(*words, *NARROW)
        assert out.read_bytes() == first
        assert not wire.calls
        # The role's scope is known to the engine alone.
        user.does(*words)
        whole = out.read_bytes()
        assert whole != first
        user.does(*words)
        assert out.read_bytes() != whole
        assert wire.calls == [("GET", f"{engine_mount}/token/sales")] * 2


def test_min_remaining_keeps_a_token_that_lives_as_long_as_its_role_says(user: User, key_file: Path) -> None:
    words = ("mint", "--role", "longest", "--out", "token", "--min-remaining", "18m30s")
    user.does(*words)
    first = (user.home / "token").read_bytes()
    user.does(*words)
    assert (user.home / "token").read_bytes() == first


@pytest.mark.parametrize("source", [("--role", "dying"), ("prod",)])
def test_a_role_whose_tokens_live_shorter_than_they_are_to_be_kept_is_told(
    user: User, engine_mount: str, root: Root, source: tuple[str, ...]
) -> None:
    """The file is good, and every call would mint anew."""
    with_engine(user, engine_mount)
    user.imports("prod", OLD_ID, "--custody", Custody.ENGINE.value, "--role", "dying")
    root("POST", f"{engine_mount}/roles/dying", {"lifetime": 120})
    words = ("mint", *source, "--out", "token", "--min-remaining")
    (warning,) = user.does(*words, "10m").said("warning")
    assert re.match(
        r"the new token has (5\d|60) s left, less than the 600 s of --min-remaining: each call mints", warning
    )
    assert (user.home / "token").read_bytes()
    assert not user.does(*words, "10s").err


def test_a_denied_reader_is_told_the_policy_and_it_is_enough(
    user: User, key_file: Path, engine_mount: str, token_with: TokenWith
) -> None:
    user.use(token_with())
    done = user.fails(6, "mint", "--role", "sales")
    assert "token-reader --role sales" in done.hint
    text = policy.render(
        "token-reader",
        mount=user.mount,
        prefix="asc",
        role="sales",
        engine_mount=engine_mount,
        custodies=[Custody.ENGINE],
    )
    user.use(token_with(text))
    user.does("mint", "--role", "sales")
    user.fails(6, "mint", "--role", "whole")


def test_min_remaining_of_a_key_that_the_engine_holds(user: User, engine_mount: str, root: Root) -> None:
    """As for any key; what has the scope of its role is not taken for what was asked for."""
    with_engine(user, engine_mount)
    file = user.imports("prod", OLD_ID, "--custody", Custody.ENGINE.value)
    words = ("mint", "prod", "--out", "token", "--min-remaining", "5m")
    out = user.home / "token"
    user.does(*words)
    first = out.read_bytes()
    verified(first.decode().strip(), file)
    user.does(*words)
    assert out.read_bytes() == first
    root("POST", f"{engine_mount}/roles/prod", {"scope": SCOPE, "lifetime": 600})
    user.does(*words, "--lifetime", "7m")
    claims = verified(out.read_text().strip(), file)[1]
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (420, SCOPE)
    second = out.read_bytes()
    user.does(*words)
    assert out.read_bytes() != second
    claims = verified(out.read_text().strip(), file)[1]
    assert claims["exp"] - claims["iat"] == 600
    assert user.fails(3, *words, "--scope", "GET /v1/builds").error
