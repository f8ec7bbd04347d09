"""Bugs that nobody should be able to make unnoticed: each with the change that seeds it, and the row that goes red."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tests.faults import test_clocks, test_consumers, test_elsewhere, test_keys, test_nexla, test_signals, test_vault

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Edit(NamedTuple):
    """A piece of the source that occurs once, and what takes its place."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """One bug.

    Attributes:
        edits: what seeds it.
        row: its test, which has to fail.
        why: in what it says then, so that nothing else counts as caught.
        values: of its parameters.
    """

    edits: tuple[Edit, ...]
    row: Callable[..., None]
    why: str
    values: Mapping[str, Any] = _NOTHING


BUGS: Final[dict[str, Bug]] = {
    "a token leaks into an event": Bug(
        (
            Edit("refreshing.py", "key_id=token.key_id,", "key_id=token.value.reveal(),"),
            Edit(
                "service/events.py",
                "return mask(json.dumps({**head, **whose, **event.facts}, default=str))",
                "return json.dumps({**head, **whose, **event.facts}, default=str)",
            ),
        ),
        test_nexla.test_f19_the_answer_to_a_write_is_lost,
        "a secret is in",
    ),
    "a file is written in place": Bug(
        (
            Edit("files.py", 'temporary = f".{path.name}.{os.urandom(4).hex()}.tmp"', "temporary = path.name"),
            Edit("files.py", "os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW", "os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW"),
        ),
        test_consumers.test_f26_who_reads_a_token_file_reads_it_whole,
        "was written into",
    ),
    "a redirect is followed": Bug(
        (
            Edit("http/wire.py", "if 300 <= answer.status < 400:", "if False:"),
            Edit("http/session.py", "allow_redirects=False,", "allow_redirects=True,"),
        ),
        test_elsewhere.test_f23_a_redirect_by_nexla,
        "the other host was asked",
    ),
    "a timer of 15 minutes": Bug(
        (Edit("rotation.py", "REFRESH_AT: Final = 0.5", "REFRESH_AT: Final = 900 / 1080"),),
        test_nexla.test_f19_the_answer_to_a_write_is_lost,
        "'refreshed.* is not in",
    ),
    "certificates are not verified": Bug(
        (
            Edit(
                "http/wire.py",
                "    context.load_verify_locations(cafile=ca_file)\n",
                "    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n",
            ),
        ),
        test_elsewhere.test_f23_a_stranger_in_the_place_of_nexla,
        "certificate not trusted",
    ),
    "the lock of the service is not taken": Bug(
        (
            Edit(
                "files.py",
                "def _lock(handle: int, path: Path, tries: int) -> None:\n",
                "def _lock(handle: int, path: Path, tries: int) -> None:\n    return\n",
            ),
        ),
        test_signals.test_f30_two_services_at_once,
        r"assert \d+ == 75",
    ),
    "a failure is repeated at once": Bug(
        (Edit("rotation.py", 'return step * (0.75 + 0.25 * spread(f"{name}#{failures}"))', "return 0.0"),),
        test_vault.test_f05_vault_limits_the_rate,
        r"assert 3 < ",
    ),
    "an older token replaces a newer one": Bug(
        (Edit("nexla/publisher.py", "credential_id, body, check)", "credential_id, body)"),),
        test_consumers.test_f32_a_token_from_before_a_suspension_replaces_no_newer_one,
        "old before it could",
    ),
    "the old key ID stays after a rotation": Bug(
        (
            Edit(
                "custody.py",
                "tokens.mint(stored.record.identity, request,",
                "tokens.mint(_FIRST.setdefault(self.name, stored.record.identity), request,",
            ),
            Edit("custody.py", "\n\nclass KeyTokenSource:", "\n\n_FIRST: dict = {}\n\n\nclass KeyTokenSource:"),
        ),
        test_keys.test_f12_the_key_is_rotated,
        "BadSignatureError|bad_signature|failed",
    ),
    "the breaker never opens": Bug(
        (Edit("service/breaker.py", "self._failed >= FAILURES", "self._failed >= 10**9"),),
        test_nexla.test_f08_a_black_hole,
        "without breaker",
    ),
    "a wrong clock is not noticed": Bug(
        (Edit("service/skew.py", "REFUSE: Final = 60.0", "REFUSE: Final = 60_000.0"),),
        test_clocks.test_f31_a_clock_that_is_wrong,
        "nothing is minted",
        {"ahead": 900, "way": "s ahead of"},
    ),
    "foreign words are shown as they are": Bug(
        (
            Edit(
                "secret.py",
                'c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in mask(text)',
                "c for c in mask(text)",
            ),
        ),
        test_nexla.test_f16_refused_with_words_that_are_no_line,
        "is not in",
    ),
}
