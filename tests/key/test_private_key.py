import itertools
import logging
import subprocess
import sys
import traceback
from functools import cache
from io import StringIO

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import bad_keys, keys
from vault_asc.errors import PrivateKeyError
from vault_asc.key.private_key import PrivateKey, parse_private_key

MUTATED = ("PKCS#8", "as Apple writes it", "SEC 1", "base64 of the PEM", "literal backslash-n")


def refusal(data: bytes) -> PrivateKeyError:
    with pytest.raises(PrivateKeyError) as caught:
        parse_private_key(data)
    return caught.value


@cache
def secret_pieces(data: bytes) -> set[str]:
    # All runs of 8 characters of the key: as text, and as the PEM, base64, hex and decimal of its private number.
    texts = ["".join(data.decode("latin-1").split())]
    for key in (keys.ec_key(), keys.other_ec_key()):
        body = keys.encoded(key).split(b"-----")[2].decode()
        number = keys.scalar(key)
        texts += ["".join(body.split()), number.hex(), str(int.from_bytes(number, "big")), repr(number)]
    pieces = {text[i : i + 8] for text in texts for i in range(len(text) - 7)}
    # The labels and fixed words that a message may name are no secret.
    allowed = (
        "Proc-Type:4",
        "-----BEGINENCRYPTEDPRIVATEKEY-----",
        "$ASC_PRIVATE_KEY",
        "${ASC_PRIVATE_KEY}",
        "{{asc_private_key}}",
    )
    return {piece for piece in pieces if not any(piece in text for text in allowed)}


def exposed(exc: BaseException) -> str:
    # Everything an ordinary program shows of an exception: text, repr, arguments and the whole chain behind it.
    out = StringIO()
    traceback.print_exception(exc, file=out)
    seen: BaseException | None = exc
    while seen is not None:
        out.write(f"{seen} {seen!r} {seen.args!r} {vars(seen)!r}")
        seen = seen.__cause__ or seen.__context__
    return out.getvalue()


def assert_verifies(key: PrivateKey, message: bytes) -> None:
    signature = key.sign(message)
    assert len(signature) == 64
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public = serialization.load_pem_public_key(key.public_key_pem().encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public == keys.ec_key().public_key()
    public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("name", keys.GOOD)
def test_every_good_form_becomes_the_same_key_and_signs(name: str) -> None:
    key = parse_private_key(keys.GOOD[name]())
    assert key.pem.reveal().encode() == keys.p8_pem()
    assert key == keys.private_key()
    assert_verifies(key, name.encode())


def test_good_forms_differ_from_each_other() -> None:
    forms = [make() for make in keys.GOOD.values()]
    assert len(set(forms)) == len(forms)


def test_apple_form_has_the_length_and_prefix_of_apples_files() -> None:
    der = keys.pem_der(keys.apple_pem())
    assert len(der) == 150
    assert keys.apple_pem().splitlines()[1].startswith(b"MIGTAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBHkwdwIBAQQg")
    assert [len(line) for line in keys.apple_pem().splitlines()[1:-1]] == [64, 64, 64, 8]


def test_canonical_form_is_stable() -> None:
    once = parse_private_key(keys.apple_pem())
    text = once.pem.reveal()
    assert parse_private_key(text.encode()) == once
    assert text.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert text.endswith("\n-----END PRIVATE KEY-----\n")
    assert "\r" not in text


def test_fingerprint_is_the_sha256_of_the_public_key() -> None:
    key = keys.private_key()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(keys.pem_der(key.public_key_pem().encode()))
    assert key.spki_sha256 == digest.finalize().hex()
    assert parse_private_key(keys.encoded(keys.other_ec_key())).spki_sha256 != key.spki_sha256


def test_signatures_are_64_bytes_even_when_r_or_s_is_short() -> None:
    # About one in 128 has a leading zero byte; 600 signatures without one have a chance below 1 in 100.
    signatures = [keys.private_key().sign(b"%d" % i) for i in range(600)]
    assert {len(signature) for signature in signatures} == {64}


@pytest.mark.parametrize("number", [1, keys.ORDER - 1])
def test_the_ends_of_the_range_are_keys(number: int) -> None:
    data = keys.pem(keys.p8_der(keys.sec1_der(number.to_bytes(32, "big"))))
    assert len(parse_private_key(data).sign(b"x")) == 64


@pytest.mark.parametrize("name", bad_keys.BAD)
def test_every_bad_form_is_refused_with_a_hint_and_without_the_key(name: str) -> None:
    data = bad_keys.BAD[name]()
    error = refusal(data)
    assert error.hint
    assert "\n" not in error.message + error.hint
    assert not error.message.endswith(".")
    shown = exposed(error)
    found = [piece for piece in secret_pieces(data) if piece in error.message + error.hint]
    assert not found, found
    leaked = [piece for piece in secret_pieces(b"") if piece in shown]
    assert not leaked


def test_messages_of_bad_forms_are_pairwise_distinct() -> None:
    messages = {name: refusal(make()).message for name, make in bad_keys.BAD.items()}
    same = [pair for pair in itertools.combinations(messages, 2) if messages[pair[0]] == messages[pair[1]]]
    assert not same


@pytest.mark.parametrize("name", bad_keys.ALSO_BAD)
def test_further_bad_forms_have_the_message_of_their_cause(name: str) -> None:
    cause, make = bad_keys.ALSO_BAD[name]
    error = refusal(make())
    assert error.message == refusal(bad_keys.BAD[cause]()).message
    assert not [piece for piece in secret_pieces(b"") if piece in exposed(error)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("P-384", "P-384 (secp384r1)"),
        ("P-521", "P-521 (secp521r1)"),
        ("secp256k1", "secp256k1"),
        ("RSA", "RSA"),
        ("Ed25519", "Ed25519"),
        ("encrypted", "encrypted"),
        ("Proc-Type", "Proc-Type"),
        ("public", "public key"),
        ("certificate", "certificate"),
        ("UTF-16", "UTF-16"),
        ("NUL", "NUL"),
        ("two keys", "2 private keys"),
        ("too large", "64 KiB"),
        ("explicit parameters", "spells out its curve parameters"),
        ("foreign public half", "belongs to another key"),
        ("scalar out of range", "out of range"),
        ("trailing bytes", "further bytes"),
        ("bare base64 of the DER", "without its BEGIN and END lines"),
    ],
)
def test_messages_name_the_cause(name: str, words: str) -> None:
    assert words in refusal(bad_keys.BAD[name]()).message


def test_size_limit_is_64_kib_sharp() -> None:
    pem = keys.p8_pem()
    assert parse_private_key(pem + b"\n" * (65536 - len(pem))) == keys.private_key()
    assert "64 KiB" in refusal(pem + b"\n" * (65537 - len(pem))).message


def test_key_shows_itself_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    key = keys.private_key()
    with caplog.at_level(logging.INFO):
        logging.getLogger(__name__).info("%s %r", key, key)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(key)
    shown = caplog.text + f"{key} {key!r} {key.pem}" + exposed(caught.value)
    assert "[secret]" in shown
    assert not [piece for piece in secret_pieces(b"") if piece in shown]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    data = bytearray(keys.GOOD[draw(st.sampled_from(MUTATED))]())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(("replace", "insert", "delete", "cut", "repeat"))):
            case "replace":
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.sampled_from((b"\n", b"\r", b" ", b"=", b"\0", b"A", b"\\", b"-", b'"', b"\xff")))
            case "delete":
                del data[at : at + draw(st.integers(1, 4))]
            case "cut":
                del data[max(at, 1) :]
            case _:
                data += data[at:]
        data = data or bytearray(b"\n")
    return bytes(data)


@st.composite
def der_mutations(draw: st.DrawFn) -> bytes:
    # Damage inside the base64, which mutations of the text rarely reach past its checks.
    label, der = draw(
        st.sampled_from(
            [
                ("PRIVATE KEY", keys.pem_der(keys.apple_pem())),
                ("PRIVATE KEY", keys.pem_der(keys.p8_pem())),
                ("EC PRIVATE KEY", keys.pem_der(keys.sec1_pem())),
            ]
        )
    )
    data = bytearray(der)
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return keys.pem(bytes(data), label)


def same_key_or_refused(data: bytes) -> None:
    try:
        key = parse_private_key(data)
    except PrivateKeyError as exc:
        leaked = [piece for piece in secret_pieces(b"") if piece in f"{exc}{exc.hint}"]
        assert not leaked  # either outcome is right
    else:
        assert key == keys.private_key()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations())
def test_mutated_text_is_the_same_key_or_refused(data: bytes) -> None:
    same_key_or_refused(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(der_mutations())
def test_mutated_der_is_the_same_key_or_refused(data: bytes) -> None:
    same_key_or_refused(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"0")
@example(b"0\x82")
@example(b"\xff\xfe")
@example(b"-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----")
@example(b"LS0tLS1CRUdJTi")
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    refusal(data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(("PRIVATE KEY", "EC PRIVATE KEY")), st.binary(max_size=200))
def test_arbitrary_der_is_refused(label: str, der: bytes) -> None:
    refusal(keys.pem(der, label))
    refusal(keys.pem(keys.tlv(keys.SEQUENCE, der), label))
    refusal(keys.pem(keys.p8_der(keys.tlv(keys.SEQUENCE, der)), label))


def test_worst_text_is_read_quickly() -> None:
    # Quadratic matching over 64 KiB would take minutes; the child is killed long before.
    code = (
        "from vault_asc.key.private_key import parse_private_key\n"
        "from vault_asc.errors import PrivateKeyError\n"
        "for part in (b'-----BEGIN ', b'-----BEGIN A', b'\\\\', b'$(', b'{{', b'-----BEGIN PRIVATE KEY-----', b'=', b'A'):\n"
        "    try: parse_private_key(part * (65536 // len(part)))\n"
        "    except PrivateKeyError: pass\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=10)
