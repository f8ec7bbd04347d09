import random
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vault_asc.errors import ConfigError
from vault_asc.names import check_address, check_name, check_path, is_unix

# Written again here, on purpose in another way, so that a change in one of the two shows.
LOWER = "abcdefghijklmnopqrstuvwxyz"
FIRST = set(LOWER + "0123456789")
REST = FIRST | {"-"}
SEGMENT_FIRST = set(LOWER + LOWER.upper() + "0123456789_")
SEGMENT_REST = SEGMENT_FIRST | set(".-")

SEEDS = [
    "../",
    "..",
    "team-a/../team-b",
    "%2e%2e",
    "%2e%2e%2f",
    "prod?version=1",
    "prod#x",
    "prod\r\nX: y",
    "prod\n",
    "prod\x00",
    "prod/",
    "/prod",
    "prod//x",
    "",
    " ",
    "prod ",
    "-prod",
    "Prod",
    "prоd",  # noqa: RUF001  # a Cyrillic o
    "prod１",  # noqa: RUF001  # a full-width digit
    "ﬀ",
    "prod.x",
    "prod_x",
    "a" * 64,
    "team-a\\prod",
    "prod:1",
    "${x}",
    "{{x}}",
    "\u202eprod",
]


def in_grammar(name: str) -> bool:
    return 0 < len(name) <= 63 and name[0] in FIRST and set(name) <= REST


def in_path_grammar(path: str) -> bool:
    return all(
        0 < len(segment) <= 63 and segment[0] in SEGMENT_FIRST and set(segment) <= SEGMENT_REST and ".." not in segment
        for segment in path.split("/")
    )


def taken(check: Callable[[str, str], str], value: str) -> bool:
    try:
        kept = check(value, "it")
    except ConfigError as error:
        refusal = error
    else:
        assert kept == value
        return True
    assert refusal.message.startswith("it ")
    assert refusal.message.isprintable()
    assert refusal.hint
    return False


@pytest.mark.parametrize("name", SEEDS)
def test_names_that_would_be_paths_are_refused(name: str) -> None:
    assert not in_grammar(name)
    assert not taken(check_name, name)


@pytest.mark.parametrize("name", ["a", "0", "prod", "team-a-2", "a" * 63, "a--", "9-"])
def test_names(name: str) -> None:
    assert taken(check_name, name)


# Characters that matter are drawn often, so that many are near misses.
NEAR = "abz09-./%?#\r\n\x00\\ _AоK\u212a\u0131"  # noqa: RUF001  # look-alikes
near = st.text(st.sampled_from(NEAR), max_size=70)
names = st.one_of(near, st.text(max_size=70), st.from_regex(r"[a-z0-9][a-z0-9-]{0,64}\n?", fullmatch=True))


@settings(max_examples=400, deadline=None)
@given(names)
@example("prod\n")
@example("\u212a")
def test_a_name_is_refused_or_in_the_grammar(name: str) -> None:
    assert taken(check_name, name) is in_grammar(name)


def test_ten_thousand_names_one_character_away_from_a_good_one() -> None:
    chance = random.Random(20)
    good = 0
    for _ in range(10_000):
        letters = chance.choices("abz09-", k=chance.randint(1, 63))
        letters[chance.randrange(len(letters))] = chance.choice(NEAR)
        name = "".join(letters)
        good += taken(check_name, name)
        assert taken(check_name, name) is in_grammar(name), name
    assert 1000 < good < 9000


@settings(max_examples=400, deadline=None)
@given(st.one_of(near, st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,80}\n?", fullmatch=True)))
def test_a_path_is_refused_or_plain_segments(path: str) -> None:
    assert taken(check_path, path) is in_path_grammar(path)


@pytest.mark.parametrize("path", ["secret", "asc/team-a", "asc/nexla/default", "_x/y.z", "Team_A"])
def test_paths(path: str) -> None:
    assert taken(check_path, path)


@pytest.mark.parametrize("path", [*SEEDS[:14], "a/./b", "a/.b", "a/b..c", "a//b", "asc/" + "x" * 64])
def test_paths_that_are_not_plain(path: str) -> None:
    assert not taken(check_path, path)


def test_a_pasted_secret_is_not_repeated() -> None:
    for check in (check_name, check_path):
        with pytest.raises(ConfigError) as caught:
            check("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByq\n-----END PRIVATE KEY-----", "key")
        assert "MIGH" not in caught.value.message
        with pytest.raises(ConfigError) as caught:
            check("hvs.CAESIJ3VxyzPabc!", "key")
        assert "CAES" not in caught.value.message
        with pytest.raises(ConfigError) as caught:
            check("!" * 100_000, "key")
        assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://vault.example:8200", None),
        ("https://vault.example", None),
        ("https://vault.example/", "https://vault.example"),
        ("https://vault.example/prefix/", "https://vault.example/prefix"),
        ("https://10.1.2.3:8200", None),
        ("https://[2001:db8::1]:8200", None),
        ("HTTPS://vault.example", None),
        ("http://127.0.0.1:8200", None),
        ("http://127.8.9.10", None),
        ("http://localhost:8200", None),
        ("http://[::1]:8200", None),
        ("unix:///run/vault-asc/agent.sock", None),
    ],
)
def test_addresses(address: str, kept: str | None) -> None:
    assert check_address(address, "vault.address") == (kept or address)
    assert is_unix(address) is address.startswith("unix")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://vault.example:8200", "plain http"),
        ("http://169.254.169.254", "plain http"),
        ("http://169.254.169.254/latest/meta-data", "plain http"),
        ("http://0.0.0.0:8200", "plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("http://localhost.evil.example", "plain http"),
        ("http://2130706433", "plain http"),
        ("http://127.1", "plain http"),
        ("http://0x7f.1", "plain http"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://vault.example", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("vault.example:8200", "scheme"),
        ("//vault.example", "scheme"),
        ("https://", "host"),
        ("https:///v1", "host"),
        ("", "scheme"),
        ("https://vault.example?", "plain URL"),
        ("https://vault.example#", "plain URL"),
        ("https://vault.example?token=x", "plain URL"),
        ("https://vault.example#x", "plain URL"),
        ("https://good.example\\.evil.example", "plain URL"),
        ("https://vault.example/a b", "plain URL"),
        ("https://vault.example\n", "plain URL"),
        ("https://vault.\texample", "plain URL"),
        ("\x00https://vault.example", "plain URL"),
        ("https://vаult.example", "plain URL"),  # noqa: RUF001  # a Cyrillic a
        ("https://vault.example:port", "URL"),
        ("https://vault.example:99999", "URL"),
        ("https://[vault.example", "URL"),
        ("unix://run/agent.sock", "absolute"),
        ("unix://", "absolute"),
        ("unix:///run/a\nb", "absolute"),
    ],
)
def test_addresses_that_are_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address(address, "vault.address")
    assert caught.value.message.startswith("vault.address ")
    assert why in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@vault.example",
        "https://hunter2@vault.example",
        "https://@vault.example/hunter2",
        "https://user:hunter2@vault.example:no-port",
        "https://user:hun[ter2@vault.example",
        "https://user:hunter2@[vault.example",
        "https://evil.example#@good.example/hunter2",
        "https://evil.example\\@good.example/hunter2",
        "http://user:hunter2@vault.example",
        "https://vault.example?password=hunter2",
        "https://vault.example#hunter2",
        "user:hunter2@vault.example",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address(address, "nexla.default.api_url")
    said = f"{caught.value.message} {caught.value.hint}"
    assert not re.search(r"hun|ter2", said)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.builds("https://{}".format, st.text(max_size=30)),
        st.builds("http://{}".format, st.text(st.sampled_from("127.0localhost[]:@/\\#?% "), max_size=30)),
    )
)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        kept = check_address(text, "it")
    except ConfigError as error:
        kept = error.message
    else:
        assert is_unix(kept) or (kept.lower().startswith(("https://", "http://")) and not set(kept) & set("@?#\\ "))
    assert kept.isprintable()
