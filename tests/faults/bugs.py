"""Bugs that nobody should be able to make unnoticed: each with the change that seeds it, and the tests that go red."""

from typing import Final, NamedTuple


class Edit(NamedTuple):
    """A piece of the source that occurs once, and what takes its place."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """One bug.

    Attributes:
        edits: what seeds it.
        tests: file and `-k` expression of those that have to fail.
        why: in what they say then, so that nothing else counts as caught.
    """

    edits: tuple[Edit, ...]
    tests: tuple[str, str]
    why: str


_NEXLA: Final = "tests/faults/test_nexla.py"
_VAULT: Final = "tests/faults/test_vault.py"

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
        (_NEXLA, "f19"),
        "a secret is in",
    ),
    "a file is written in place": Bug(
        (
            Edit("files.py", 'temporary = f".{path.name}.{os.urandom(4).hex()}.tmp"', "temporary = path.name"),
            Edit("files.py", "os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW", "os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW"),
        ),
        (
            "tests/test_files.py",
            "test_a_killed_writer_tears_nothing or test_a_reader_that_has_the_old_file_open_keeps_it",
        ),
        "AssertionError|assert b'",
    ),
    "a redirect is followed": Bug(
        (
            Edit("http/wire.py", "if 300 <= answer.status < 400:", "if False:"),
            Edit("http/session.py", "allow_redirects=False,", "allow_redirects=True,"),
        ),
        (_NEXLA, "f23 and nexla and 307"),
        r"assert \d+ == 0|connections",
    ),
    "a timer of 15 minutes": Bug(
        (Edit("rotation.py", "REFRESH_AT: Final = 0.5", "REFRESH_AT: Final = 900 / 1080"),),
        (_VAULT, "f12"),
        "mandatory",
    ),
    "certificates are not verified": Bug(
        (
            Edit(
                "http/wire.py",
                "    context.load_verify_locations(cafile=ca_file)\n",
                "    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n",
            ),
        ),
        ("tests/test_http.py", "test_a_certificate_that_is_not_trusted_is_refused"),
        "DID NOT RAISE|InsecureRequestWarning",
    ),
    "the lock of the service is not taken": Bug(
        (Edit("files.py", "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),),
        ("tests/faults/test_signals.py", "f30"),
        r"assert \d+ == 75",
    ),
    "a failure is repeated at once": Bug(
        (Edit("rotation.py", 'return step * (0.75 + 0.25 * spread(f"{name}#{failures}"))', "return 0.0"),),
        (_VAULT, "f05"),
        r"assert 3 < ",
    ),
    "an older token replaces a newer one": Bug(
        (Edit("nexla/publisher.py", "        self._check_age(target, began)\n", ""),),
        ("tests/nexla/test_publisher.py", "test_a_token_that_was_held_up_is_not_written_over_a_newer_one"),
        "DID NOT RAISE",
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
        (_VAULT, "f12"),
        "BadSignatureError|bad_signature|failed",
    ),
    "the breaker never opens": Bug(
        (Edit("service/breaker.py", "self._failed >= FAILURES", "self._failed >= 10**9"),),
        (_NEXLA, "f08"),
        "without breaker",
    ),
    "a wrong clock is not noticed": Bug(
        (Edit("service/skew.py", "REFUSE: Final = 60.0", "REFUSE: Final = 60_000.0"),),
        ("tests/faults/test_clocks.py", "f31 and wrong"),
        "AssertionError|assert ",
    ),
    "foreign words are shown as they are": Bug(
        (
            Edit(
                "secret.py",
                'c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in mask(text)',
                "c for c in mask(text)",
            ),
        ),
        (_NEXLA, "f16 and 409"),
        "AssertionError|is not in",
    ),
}
