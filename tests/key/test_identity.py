import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import keys
from tests.keys import ISSUER_ID, KEY_ID, OTHER_KEY_ID
from vault_asc.errors import PrivateKeyError
from vault_asc.key.identity import (
    APP_STORE_CONNECT,
    ENTERPRISE,
    Identity,
    KeyType,
    identity,
    key_id_from_filename,
    resolve_key_id,
    usual_key_id,
)


def refused(
    key_id: str = KEY_ID, issuer_id: str | None = ISSUER_ID, *, individual: bool = False, audience: str = ENTERPRISE
) -> str:
    with pytest.raises(PrivateKeyError) as caught:
        identity(key_id=key_id, issuer_id=issuer_id, individual=individual, audience=audience)
    assert caught.value.hint
    return caught.value.message


def test_team_key() -> None:
    expected = Identity(KEY_ID, ISSUER_ID, KeyType.TEAM, APP_STORE_CONNECT)
    assert identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False) == expected


@pytest.mark.parametrize("issuer_id", [None, "", " \n", '""'])
def test_individual_key_has_no_issuer(issuer_id: str | None) -> None:
    expected = Identity(KEY_ID, None, KeyType.INDIVIDUAL, APP_STORE_CONNECT)
    assert identity(key_id=KEY_ID, issuer_id=issuer_id, individual=True) == expected


def test_enterprise_audience() -> None:
    made = identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False, audience=ENTERPRISE)
    assert made.audience == "apple-developer-enterprise-v1"


@pytest.mark.parametrize("around", ["{}\n", " {}", '"{}"', "'{}'", '\t"{}"\r\n', "\ufeff{}", '" {} "'])
def test_blanks_and_quotes_around_ids_are_dropped(around: str) -> None:
    made = identity(key_id=around.format(KEY_ID), issuer_id=around.format(ISSUER_ID.upper()), individual=False)
    assert (made.key_id, made.issuer_id) == (KEY_ID, ISSUER_ID)


@pytest.mark.parametrize("variant", "0123456789abcdef")
def test_issuer_id_need_not_be_an_rfc_4122_uuid(variant: str) -> None:
    issuer_id = f"57246542-96fe-1a63-{variant}053-0824d011072a"
    assert identity(key_id=KEY_ID, issuer_id=issuer_id, individual=False).issuer_id == issuer_id


def test_causes_have_messages_of_their_own() -> None:
    messages = [
        refused(key_id=""),
        refused(key_id="2X9R 4HXF34"),
        refused(key_id="${ASC_KEY_ID}"),
        refused(key_id="AuthKey_2X9R4HXF34.p8"),
        refused(key_id=ISSUER_ID, issuer_id=KEY_ID),
        refused(key_id=ISSUER_ID, issuer_id=ISSUER_ID),
        refused(issuer_id=None),
        refused(issuer_id=OTHER_KEY_ID),
        refused(issuer_id="57246542-96fe-1a63e053-0824d011072a"),
        refused(issuer_id="$ASC_ISSUER_ID"),
        refused(individual=True),
        refused(audience="appstoreconnect-v2"),
    ]
    assert not [pair for pair in itertools.combinations(messages, 2) if pair[0] == pair[1]]


def test_swapped_ids_are_named_as_such() -> None:
    assert "swapped" in refused(key_id=ISSUER_ID, issuer_id=KEY_ID)
    assert "is an issuer ID" in refused(key_id=ISSUER_ID, issuer_id=None, individual=True)
    assert "is a key ID" in refused(issuer_id=KEY_ID)


@pytest.mark.parametrize(
    "text", ["${ASC_KEY_ID}", "$ASC_KEY_ID", "$(cat id)", "%ASC_KEY_ID%", "{{ key_id }}", "${{ secrets.ID }}"]
)
def test_unexpanded_variables_are_named_as_such(text: str) -> None:
    assert "nothing expanded" in refused(key_id=text)
    assert "nothing expanded" in refused(issuer_id=text)


def test_stray_issuer_of_an_individual_key_is_refused_as_such() -> None:
    assert "individual keys have none" in refused(individual=True)


@pytest.mark.parametrize(
    "key_id", ["A", "A" * 65, "2X9R4HXF3\n4", "2X9R4HXF3\0", "2X9R-4HXF", "ÄÖ9R4HXF34", "\uff12X9R4HXF34", "../../etc"]
)
def test_malformed_key_ids_are_refused(key_id: str) -> None:
    refused(key_id=key_id)


@pytest.mark.parametrize("issuer_id", [ISSUER_ID[:-1], ISSUER_ID + "0", ISSUER_ID.replace("-", ""), f"{{{ISSUER_ID}}}"])
def test_malformed_issuer_ids_are_refused(issuer_id: str) -> None:
    refused(issuer_id=issuer_id)


@pytest.mark.parametrize("audience", ["", "AppStoreConnect-v1", "https://appleid.apple.com"])
def test_unknown_audiences_are_refused(audience: str) -> None:
    assert "audience" in refused(audience=audience)


@pytest.mark.parametrize("data", [keys.p8_pem(), keys.base64_of(keys.p8_pem()), keys.pem_text("A" * 200)], ids=len)
def test_a_key_pasted_for_an_id_is_not_repeated(data: bytes) -> None:
    text = data.decode()
    for message in (refused(key_id=text), refused(issuer_id=text), refused(audience=text)):
        assert not [i for i in range(len(text) - 7) if text[i : i + 8] in message]
    line = text.splitlines()[1] if text.startswith("-") else text[:64]
    assert line not in refused(key_id=line + "=") + refused(issuer_id=line)


@given(st.text(max_size=80), st.none() | st.text(max_size=80), st.booleans(), st.text(max_size=30))
def test_any_text_is_an_identity_or_refused(
    key_id: str, issuer_id: str | None, individual: bool, audience: str
) -> None:
    for aud in (audience, APP_STORE_CONNECT):
        try:
            made = identity(key_id=key_id, issuer_id=issuer_id, individual=individual, audience=aud)
        except PrivateKeyError as exc:
            assert exc.message.isprintable()  # noqa: PT017  # either outcome is right
        else:
            assert made.key_id.isascii()
            assert made.key_id.isalnum()
            assert (made.issuer_id is None) == individual


def test_usual_key_ids() -> None:
    assert usual_key_id("2X9R4HXF34")
    assert not any(usual_key_id(text) for text in ("2x9r4hxf34", "2X9R4HXF3", "2X9R4HXF345", "2X9R4HXF34\n"))


@pytest.mark.parametrize(
    ("name", "key_id"),
    [
        ("AuthKey_2X9R4HXF34.p8", "2X9R4HXF34"),
        ("/run/keys/AuthKey_2X9R4HXF34.p8", "2X9R4HXF34"),
        ("ApiKey_2X9R4HXF34ABCD.p8", "2X9R4HXF34ABCD"),
        ("SubscriptionKey_2X9R4HXF34.p8", None),
        ("AuthKey_.p8", None),
        ("AuthKey_2X9R4HXF34.pem", None),
        ("AuthKey_2X9R4HXF34.p8\n", None),
        ("my AuthKey_2X9R4HXF34.p8", None),
        ("AuthKey_2X9R4HXF34.p8/key", None),
        ("", None),
    ],
)
def test_key_id_from_filename(name: str, key_id: str | None) -> None:
    assert key_id_from_filename(name) == key_id


@pytest.mark.parametrize(
    ("option", "filename"),
    [
        (KEY_ID, None),
        (f' "{KEY_ID}"\n', "key.p8"),
        (None, f"AuthKey_{KEY_ID}.p8"),
        ("", f"AuthKey_{KEY_ID}.p8"),
        (KEY_ID, f"/keys/AuthKey_{KEY_ID}.p8"),
        (KEY_ID, f"SubscriptionKey_{OTHER_KEY_ID}.p8"),
    ],
)
def test_key_id_comes_from_option_or_file_name(option: str | None, filename: str | None) -> None:
    assert resolve_key_id(option, filename) == KEY_ID


@pytest.mark.parametrize(
    ("option", "filename", "words"),
    [
        (KEY_ID, f"AuthKey_{OTHER_KEY_ID}.p8", OTHER_KEY_ID),
        (KEY_ID.lower(), f"AuthKey_{KEY_ID}.p8", "does not match"),
        (None, None, "no key ID"),
        (None, "key.p8", '"key.p8"'),
        (None, f"SubscriptionKey_{KEY_ID}.p8", "In-App Purchase"),
        ("no ID", f"AuthKey_{KEY_ID}.p8", '"no ID"'),
        (ISSUER_ID, None, ISSUER_ID),
        ("${KEY_ID}", f"AuthKey_{KEY_ID}.p8", "nothing expanded"),
    ],
)
def test_key_ids_that_cannot_be_resolved(option: str | None, filename: str | None, words: str) -> None:
    with pytest.raises(PrivateKeyError) as caught:
        resolve_key_id(option, filename)
    assert words in caught.value.message
    assert caught.value.hint


def test_identity_and_keyfile_load_nothing_heavy() -> None:
    heavy = "{'cryptography', 'jwt', 'hvac', 'requests', 'urllib3', 'click', 'ssl'}"
    code = f"import sys, vault_asc.key.identity, vault_asc.key.file; sys.exit(bool({heavy} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
