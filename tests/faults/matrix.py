"""The rows of the fault matrix, and docs/faults.md, which is written from them and from the names of the tests.

python -m tests.faults.matrix        writes the page; `test_matrix.py` fails when it is out of date
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "faults.md"
GAP: Final = "…"
"""Stands for any text in a message."""


class Row(NamedTuple):
    """One fault.

    Attributes:
        fault: what goes wrong.
        expected: what is to become of it.
        says: what a person sees, each asserted by the row's tests; `GAP` stands for what changes.
        also: tests elsewhere that look at the same fault more closely, as `file::test`.
    """

    fault: str
    expected: str
    says: tuple[str, ...]
    also: tuple[str, ...] = ()


_CLUSTER: Final = "tests/integration/test_engine_cluster.py"
_CONCURRENT: Final = "tests/integration/test_concurrent.py"
_AGENT: Final = "tests/integration/test_agent.py"
_HTTP: Final = "tests/test_http.py"
_NEXLA: Final = "tests/nexla/test_faults.py"
_LOOP: Final = "tests/service/test_loop.py"
_REFRESHED: Final = "refreshed…live…TESTKEY001"  # the event of an attempt that Apple has proved

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "F1": Row(
            "Vault is sealed",
            "the old token stays; refreshed within seconds of the unsealing",
            ("Vault at … is sealed (hint: unseal it: vault operator unseal; nothing was lost)",),
            ("tests/integration/test_outages.py::test_an_outage_of_vault_ends_before_the_token_does",),
        ),
        "F2": Row(
            "the leader steps down",
            "no token comes near its end; at most single attempts fail, and are repeated within seconds",
            (_REFRESHED,),
            (f"{_CLUSTER}::test_the_leader_steps_down",),
        ),
        "F3": Row(
            "the leader is killed",
            "as F2, with the address of a node (or load balancer) that lives",
            (_REFRESHED,),
            (f"{_CLUSTER}::test_the_leader_is_killed_and_comes_back",),
        ),
        "F4": Row(
            "the quorum is lost",
            "tokens go on as long as a node answers reads, as a standby of OpenBao does; changes of keys fail by the deadline,"
            " are told, and can be repeated; all is well when a second node is back (no answer at all: F8; a redirect to the"
            " dead leader: F23)",
            (
                _REFRESHED,
                'error: no answer to the write to "secret/data/asc/keys/prod": …',
                "hint: repeat the command: it looks first and completes what is missing",
            ),
        ),
        "F5": Row(
            "Vault limits the rate (429 without Retry-After)",
            "own backoff; the old token stays",
            ("Vault at … cannot answer now: …rate limit quota exceeded",),
        ),
        "F6": Row(
            "a 5xx of Vault that does not pass",
            "at most 3 tries in an attempt; other targets are not concerned",
            ('Vault failed at "secret/data/asc/private/other": …could not find version data',),
        ),
        "F7": Row(
            "the audit device is full",
            "attempts fail although Vault's health is 200; they are told, the old token stays, and the next one succeeds",
            ('Vault failed at "…": internal error',),
        ),
        "F8": Row(
            "a black hole in place of Nexla",
            "given up after 3 s; the breaker opens; targets of other hosts go on",
            ("no answer from nexla to the login: no connection within 3 s", "breaker…127.0.0.1:…open"),
            (f"{_LOOP}::test_dead_endpoints_hold_few_workers_once_they_are_known",),
        ),
        "F9": Row(
            "the Vault token is revoked while the service runs",
            "told, no loop; goes on with the next token: of the Agent, of the file (SIGHUP), of its own login at once",
            ('permission denied on "…": the Vault token is invalid, expired or revoked',),
            ("tests/integration/test_vault.py::test_invalid_token_is_named_as_such_by_every_call",),
        ),
        "F10": Row(
            "the policy loses its rights while the service runs",
            "path, capability and shipped policy are named; not faster than once a minute",
            ('permission denied: the token lacks "read" on "secret/data/asc/keys/prod" (hint: …asc-agent…)',),
            ("tests/integration/test_vault.py::test_denied_call_names_path_and_capability_and_gives_the_advice",),
        ),
        "F11": Row(
            "the key's version in KV is deleted, destroyed, or was pruned",
            "three different messages; the old token stays; not faster than once a minute",
            (
                'private version 1 of key "prod" was deleted at … (hint: bring it back with: vault kv undelete…',
                'private version 1 of key "second" was destroyed (hint: rotate to a new key',
                'private version 1 of key "third" is missing (never written, or pruned by max_versions) (hint: rotate',
            ),
        ),
        "F12": Row(
            "the key is rotated while tokens are minted",
            "each token verifies with the key that its kid names; the next refresh uses the new key",
            ("refreshed…live…TESTKEY002",),
            (f"{_CONCURRENT}::test_readers_never_fail_and_never_see_a_mismatch_during_changes",),
        ),
        "F13": Row(
            "two people rotate at once",
            "one wins; the other one learns who and when, exit code 9",
            ('error: the record of "prod" was changed by … at …; your change was not made',),
            (f"{_CONCURRENT}::test_of_those_who_rotate_at_once_one_wins_and_the_others_learn_who_and_when",),
        ),
        "F14": Row(
            "Nexla answers 401 in a session",
            "one login, one more try; nothing to be seen; a second 401 is final for this attempt",
            (_REFRESHED, "nexla answered 401 to the update of credential …"),
            ("tests/nexla/test_session.py::test_a_lost_session_costs_one_login",),
        ),
        "F15": Row(
            "Nexla answers 403 or 404",
            "next try after 15 min, or when the alarm comes; nothing is deleted; the others go on, exit code 10",
            ('nexla answered … to the update of credential "…" … (hint: …',),
            ("tests/test_rotation.py::test_a_few_permanent_looking_errors_let_no_token_die",),
        ),
        "F16": Row(
            "Nexla answers 405, 409 or 422",
            "not repeated in the attempt; its words are shown on one line, escaped (422: as F15; 405 and 409 come from proxies"
            " and deployments too, so they are tried again with the usual backoff)",
            (r'nexla answered … to the update of credential "…": "no\nluck\x1b[2J"',),
            (f"{_NEXLA}::test_an_error_says_what_to_do",),
        ),
        "F17": Row(
            "Nexla answers 429 with Retry-After `2`, a date, `99999999`, `abc`",
            "waits so long; what is longer than the attempt is left to the schedule; garbage: own backoff",
            (_REFRESHED, "nexla answered 429 to the update of credential …"),
            (f"{_HTTP}::test_retry_after", f"{_NEXLA}::test_retry_after_is_obeyed"),
        ),
        "F18": Row(
            "Nexla answers 500, 502, 503, 504",
            "at most 3 tries in an attempt (none for 500), the next attempt within seconds succeeds",
            ("nexla answered … to the update of credential …", _REFRESHED),
            (f"{_NEXLA}::test_a_passing_fault_is_not_noticed",),
        ),
        "F19": Row(
            "the answer to a write is lost after it was carried out",
            "the same PUT again; nothing is made twice; Nexla holds the token that the state tells of",
            (_REFRESHED,),
            (f"{_NEXLA}::test_a_lost_answer_to_a_write_is_said_to_be_one",),
        ),
        "F20": Row(
            "silence, a slow body, slow headers",
            "ends with the deadline of the call (15 s) and 1 s more at most",
            ("no answer from nexla to the login: no answer within 15 s",),
            (
                "tests/integration/test_push.py::test_a_pass_ends_in_time_however_slowly_nexla_answers",
                f"{_HTTP}::test_a_slow_answer_ends_at_the_deadline",
            ),
        ),
        "F21": Row(
            "answers cut short, empty, HTML, garbage, too deep, NaN, doubled keys, huge integers",
            "a named error in one line, no traceback, tried again",
            (
                "no answer from nexla to the login: …; nothing was changed (hint: …",
                "the answer to the login is not one of nexla's: no JSON",
            ),
            (f"{_HTTP}::test_json_that_is_refused",),
        ),
        "F22": Row(
            "an endless answer, a gzip bomb",
            "cut at 1 MiB, less than 20 MB of memory more",
            ("no answer from nexla to the login: answer …; nothing was changed (hint: …",),
            (f"{_HTTP}::test_a_huge_answer_is_cut",),
        ),
        "F23": Row(
            "a redirect to another host, by Vault or Nexla; a stranger in the place of Nexla, with a certificate of its own",
            "refused, and the other host hears nothing",
            (
                'redirect to host "127.0.0.2" refused',
                "redirects are not followed, they would carry the token elsewhere",
                "no answer from nexla to the login: certificate not trusted: …",
            ),
            (
                f"{_HTTP}::test_a_certificate_that_is_not_trusted_is_refused",
                f"{_HTTP}::test_a_redirect_is_refused_and_its_target_never_asked",
                f"{_NEXLA}::test_no_redirect_is_followed",
            ),
        ),
        "F24": Row(
            "the disk is full",
            "the token reaches Nexla, whether the disk is that of the token file or that of the states; the old files stay as"
            " they are, nothing is left beside them; told",
            (
                'cannot write "…sales.jwt": No space left on device; what was there is untouched',
                'cannot write "…sales.json": No space left on device; what was there is untouched',
            ),
            (
                "tests/test_files.py::test_a_disk_that_takes_nothing_leaves_the_old_file",
                "tests/integration/test_push.py::test_full_disks_do_not_keep_the_token_from_nexla",
            ),
        ),
        "F25": Row(
            "the file system has become read-only",
            "as F24; the lock files of before are used, and where there are none it goes on without",
            (
                'cannot write "…sales.jwt": Read-only file system; what was there is untouched',
                'cannot write "…sales.json": Read-only file system; what was there is untouched',
            ),
            ("tests/test_files.py::test_a_disk_that_takes_nothing_leaves_the_old_file",),
        ),
        "F26": Row(
            "SIGKILL at any moment",
            "a reader sees a whole token, old or new; the next start takes the target up and sweeps what was left",
            ("the attempt that began … ago has not ended: it runs, or it was killed",),
            (
                "tests/test_files.py::test_a_killed_writer_tears_nothing",
                "tests/test_state.py::test_what_a_push_writes_at_this_moment_is_not_swept",
            ),
        ),
        "F27": Row(
            "SIGTERM at any moment",
            "what is in flight ends, within 10 s; exit code 0; the state can be read",
            ('stopped…in_flight": 0',),
            (
                "tests/service/test_running.py::test_a_stop_lets_the_push_in_flight_end",
                f"{_LOOP}::test_a_stop_does_not_wait_for_a_hole",
            ),
        ),
        "F28": Row(
            "the Agent's exec runs out of time",
            "as F26, but that what was left is swept by a write two minutes later, and no process is left behind",
            ("did not exit within time limit",),
            (f"{_AGENT}::test_what_goes_wrong_in_a_push_is_told_and_repaired_by_a_later_tick",),
        ),
        "F29": Row(
            "a push under the Agent fails",
            "a later tick repeats it though the rendered file is the same",
            ("not written (1 failures)",),
            (f"{_AGENT}::test_what_goes_wrong_in_a_push_is_told_and_repaired_by_a_later_tick",),
        ),
        "F30": Row(
            "the service is started twice",
            "the second one exits 75; nothing is pushed twice",
            ('error: another "vault-asc run" keeps the targets of "…" fresh',),
            (
                "tests/test_push.py::test_two_processes_push_once",
                "tests/integration/test_push.py::test_two_at_once_push_once",
            ),
        ),
        "F31": Row(
            "our clock is 15 minutes wrong, or is set by an hour while the service runs",
            "nothing is minted by a wrong clock, the token from before stays; no hot loop; all is well when it is set right",
            (
                "this clock is … s … that of …: nothing is minted, and the token that was written last stays",
                "clock jumped",
            ),
            (f"{_LOOP}::test_a_jump_of_the_clock_is_told_and_makes_no_storm",),
        ),
        "F32": Row(
            "the machine was suspended for half an hour",
            "earliest expiry first, at the usual rate; a token that was minted before replaces no newer one (the real"
            " program is stopped for a moment and finds the wall clock 45 s ahead; half an hour of 300 targets is simulated)",
            (
                "clock jumped",
                'the token for credential "…" is … s old before it could be written; nothing was changed',
            ),
            (f"{_LOOP}::test_after_a_suspension_the_earliest_come_first_and_at_the_usual_rate",),
        ),
        "F33": Row(
            "5,000 targets, 1 % of the endpoints dead",
            "4,950 healthy ones are refreshed, the last of them within twice the time without dead ones (the real program has"
            " 100 targets of which 1 is dead; the 5,000, and the time that they take, are simulated)",
            ("failed…no answer from nexla to the login: no connection within 3 s",),
            (f"{_LOOP}::test_one_percent_of_dead_endpoints_slow_the_healthy_by_less_than_two",),
        ),
        "F34": Row(
            "a state file is damaged, or from a newer release",
            "damaged: the target is due, and its state is written anew; newer: left as it is, the others go on",
            (
                _REFRESHED,
                "has format 99, this vault-asc writes format 1; it is left as it is (hint: use the newer vault-asc",
            ),
            ("tests/test_state.py::test_random_and_torn_bytes_never_crash",),
        ),
        "F35": Row(
            "the engine's process is killed, Vault reloads it, is sealed and unsealed",
            "the next attempt gets its token from a new process; no key is on the disk",
            ("refreshed…live…TESTKEY009",),
            (f"{_CLUSTER}::test_a_plugin_is_killed", f"{_CLUSTER}::test_the_plugin_is_replaced_by_a_newer_version"),
        ),
        "F36": Row(
            "upgrade from the release before",
            "old state, configuration, policies, Agent configuration and KV layout are accepted as they are; tokens go on over"
            " a rotation and a rollback",
            (_REFRESHED,),
            ("tests/test_state.py::test_fields_of_another_release_of_this_format_are_ignored",),
        ),
    }
)


def matches(said: str, text: str) -> bool:
    """Whether a message of a row is in a text; within one line, because each is one line."""
    return re.search(".*".join(re.escape(part) for part in said.split(GAP)), text) is not None


def names_of_tests(row: str) -> list[str]:
    """The tests of a row, as `file::test`, by their names."""
    name = rf"^def (test_f{int(row[1:]):02d}_\w+)\("
    found = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        found += [f"{file.name}::{test}" for test in re.findall(name, file.read_text(encoding="utf-8"), re.MULTILINE)]
    return found


def page() -> str:
    """docs/faults.md."""
    return _HEAD + "".join(_lines(name, row) for name, row in ROWS.items())


_HEAD: Final = """\
# What may go wrong

Written by `python -m tests.faults.matrix`; do not edit. Each row is a test in `tests/faults/` against a real server,
simulators of Nexla and Apple that go wrong, real files and signals; what is simulated beyond that the row says. It asserts
what is expected and what a person reads then: a line of the service, a command's output or error, or the Agent's log (`…`
stands for what changes; a line of the service is JSON here, whose escaped quotes are shown as quotes). `make faults` runs
them all, and bugs that are seeded to see that a row catches each (`tests/faults/bugs.py`); `make soak` ten minutes of real
time and 200 kills.
"""


def _lines(name: str, row: Row) -> str:
    said = "".join(f"    {line}\n" for line in row.says)
    where = "".join(f"- `{test}`\n" for test in [f"tests/faults/{one}" for one in names_of_tests(name)] + [*row.also])
    return f"\n## {name}: {row.fault}\n\n{row.expected[0].upper()}{row.expected[1:]}.\n\n{said}\n{where}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
