"""Every command on success, and what can go wrong with it, by hand of a real server: one scene each.

`test_errors` looks at what the user reads, `test_secrets` at what must not be there.
"""

from tests import keys
from tests.cli import custody_scenes, engine_scenes
from tests.cli.conftest import OLD_ID, Done, check_failure
from tests.cli.stage import (
    ISSUER,
    Scene,
    Stage,
    after,
    answer_lost,
    answering,
    bad_config,
    busy,
    damaged,
    damaged_hand_over,
    down,
    files,
    handed_over,
    handed_over_but_lost,
    handed_over_twice,
    handed_over_without_rights,
    hostile,
    known,
    kv_v1,
    legacy,
    minted_and_down,
    minted_before,
    mounted,
    nexla_echoes,
    nothing,
    planned_deletion,
    push_failed,
    pushed_before,
    pushed_while_down,
    pushed_without_rights,
    revoked,
    service_key_of_two_lines,
    service_key_wrong,
    somebody_is_faster,
    swapped,
    token,
    told_json,
    two_legacy,
    unknown_to_apple,
    versions,
    without_rights,
)

GOOD: dict[str, Scene] = (
    {
        "start": Scene(0, (), nothing, "vault-asc init"),
        "version": Scene(0, ("--version",), nothing, "vault-asc "),
        "help": Scene(0, ("mint", "--help"), nothing, "Usage: vault-asc mint"),
        "init": Scene(0, ("init", "new.toml"), nothing, "wrote new.toml"),
        "config check": Scene(0, ("config", "check"), Stage.pushed, "good"),
        "import": Scene(0, ("key", "import", "NEW", "prod", *ISSUER), nothing, "imported"),
        "import again": Scene(0, ("key", "import", "OLD", "prod", *ISSUER), says="nothing was changed"),
        "import from stdin": Scene(
            0, ("key", "import", "-", "x", "--key-id", OLD_ID, *ISSUER), nothing, "imported", stdin=keys.p8_pem()
        ),
        "import from Vault": Scene(
            0,
            ("key", "import", "--from-vault", "MOUNT/old/apple", "prod", *ISSUER),
            legacy,
            "imported",
            warns='"MOUNT/old/apple" still holds the private key',
        ),
        "import wrapped": Scene(0, ("key", "import", "--wrapped", "token", "new"), handed_over, "was wrapped at 20"),
        "stage wrapped": Scene(
            0, ("key", "stage", "prod", "--wrapped", "token"), handed_over, "staged private version 2"
        ),
        "rotate wrapped": Scene(0, ("key", "rotate", "prod", "--wrapped", "token"), handed_over, "rotated"),
        "list": Scene(0, ("key", "list"), says="prod"),
        "list json": Scene(0, ("key", "list", "--json"), says="prod"),
        "show": Scene(0, ("key", "show", "prod"), after(("key", "stage", "prod", "NEW")), "make it current"),
        "show json": Scene(0, ("key", "show", "prod", "--json"), says="spki_sha256"),
        "check": Scene(0, ("key", "check", "prod"), says="is good"),
        "stage": Scene(0, ("key", "stage", "prod", "NEW"), known, "staged private version 2"),
        "promote": Scene(0, ("key", "promote", "prod"), after(("key", "stage", "prod", "NEW")), "promoted"),
        "rotate": Scene(0, ("key", "rotate", "prod", "NEW"), known, "rotated"),
        "rollback": Scene(0, ("key", "rollback", "prod"), after(("key", "rotate", "prod", "NEW")), "back"),
        "disable": Scene(0, ("key", "disable", "prod"), says="disabled"),
        "enable": Scene(0, ("key", "enable", "prod"), after(("key", "disable", "prod")), "enabled"),
        "destroy": Scene(0, ("key", "destroy", "prod", "--yes"), after(("key", "disable", "prod")), "destroyed"),
        "mint": Scene(0, ("mint", "prod"), says="eyJ"),
        "mint json": Scene(0, ("mint", "prod", "--format", "json"), says="eyJ"),
        "mint header": Scene(0, ("mint", "prod", "--format", "header"), says="Authorization: Bearer eyJ"),
        "mint out": Scene(0, ("mint", "prod", "--out", "token")),
        "mint kept": Scene(0, ("mint", "prod", "--out", "token", "--min-remaining", "5m"), minted_before),
        "mint kept while Vault is down": Scene(
            0,
            ("mint", "prod", "--out", "token", "--min-remaining", "5m"),
            minted_and_down,
            warns="the token in token is still good and stays",
        ),
        "policy list": Scene(0, ("policy", "list"), nothing, "minter"),
        "policy show": Scene(0, ("policy", "show", "minter", "--key", "prod"), nothing, "capabilities"),
        "policy write": Scene(0, ("policy", "write", "minter", "--key", "prod"), nothing, "asc-minter-prod"),
        "agent config": Scene(0, ("agent", "config"), Stage.pushed, "auto_auth"),
        "inspect": Scene(0, ("nexla", "inspect", "5001"), Stage.pushed, "token goes to"),
        "push": Scene(0, ("push", "sales"), Stage.pushed, "sales: live"),
        "push dry": Scene(0, ("push", "sales", "--dry-run"), Stage.pushed, "due"),
        "push not due": Scene(0, ("push", "sales", "--if-due"), pushed_before, "not due"),
        "status": Scene(0, ("status",), pushed_before, "live"),
        "status json": Scene(0, ("status", "--json"), pushed_before, "live"),
    }
    | custody_scenes.GOOD
    | engine_scenes.GOOD
)

BAD: dict[str, Scene] = (
    {
        # the command line and the configuration
        "unknown command": Scene(2, ("mnt", "prod"), nothing, 'no such command "mnt"', 'did you mean "mint"?'),
        "unknown subcommand": Scene(2, ("key", "lst"), nothing, 'no such command "lst"', 'did you mean "list"?'),
        "no subcommand": Scene(2, ("key",), nothing, "missing command", "vault-asc key --help"),
        "unknown option": Scene(
            2, ("mint", "prod", "--lifetme", "1m"), nothing, '"--lifetme"', 'did you mean "--lifetime"?'
        ),
        "too many words": Scene(
            2, ("key", "show", "a", "b"), nothing, "unexpected extra argument", "vault-asc key show --help"
        ),
        "option without a value": Scene(
            2, ("mint", "prod", "--out"), nothing, '"--out" requires an argument', "--help"
        ),
        "bad configuration": Scene(2, ("mint", "prod"), bad_config, 'unknown key "valt"', 'did you mean "vault"?'),
        "no target": Scene(7, ("push", "sals"), Stage.pushed, 'no target "sals"', "targets there: sales, other"),
        "target of two lines": Scene(
            7, ("push", "a\nb"), Stage.pushed, 'no target "a\\nb" in', "targets there: sales, other"
        ),
        "push of nothing": Scene(2, ("push",), Stage.pushed, "push needs targets", "--all"),
        "push of both": Scene(2, ("push", "sales", "--all"), Stage.pushed, "not both", "--all"),
        # keys
        "no key file": Scene(
            2, ("key", "import", "nowhere", "x", *ISSUER), nothing, "does not exist", "check the path"
        ),
        "damaged key file": Scene(
            3,
            ("key", "import", "AuthKey_DAMAGED001.p8", "x", *ISSUER),
            files(DAMAGED001=keys.p8_pem().replace(b"M", b"", 1)),
            "private key",
            ".p8 file",
        ),
        "half a key file": Scene(
            3, ("key", "import", "AuthKey_HALFOFKEY1.p8", "x", *ISSUER), files(HALFOFKEY1=keys.p8_pem()[:150]), "", "p8"
        ),
        "key as key ID": Scene(
            3,
            ("key", "import", "NEW", "x", *ISSUER, "--key-id", keys.p8_pem().decode().splitlines()[1]),
            nothing,
            "key ID of 64 characters",
            "",
        ),
        "name is taken": Scene(
            9, ("key", "import", "NEW", "prod", *ISSUER), says='key "prod" exists', hints="key rotate"
        ),
        "several keys in Vault": Scene(
            2, ("key", "import", "--from-vault", "MOUNT/old/apple", "x"), two_legacy, "(a, b)", "--field"
        ),
        "wrapping token used up": Scene(
            3,
            ("key", "import", "--wrapped", "token", "x"),
            handed_over_twice,
            "is used up, expired",
            "revoke it at Apple",
        ),
        "wrapped elsewhere": Scene(
            3,
            ("key", "import", "--wrapped", "token", "x", "--creation-path", "MOUNT/data/apple"),
            handed_over,
            'was made at "sys/wrapping/wrap", not at "MOUNT/data/apple"',
            "ask the sender",
        ),
        "wrapped for a name that is taken": Scene(
            9, ("key", "import", "--wrapped", "token", "prod"), handed_over, "was not used", "key rotate prod --wrapped"
        ),
        "wrapped for a name that is not there": Scene(
            7, ("key", "stage", "x", "--wrapped", "token"), handed_over, 'no key "x"', "key list"
        ),
        "wrapped and no right to write": Scene(
            6,
            ("key", "rotate", "prod", "--wrapped", "token"),
            handed_over_without_rights,
            'lacks "update" on "MOUNT/data/asc/keys/prod"; the wrapping token was not used',
            "asc-registrar",
        ),
        "wrapped key is damaged": Scene(
            3,
            ("key", "rotate", "prod", "--wrapped", "token", "--field", "p8"),
            damaged_hand_over,
            'the wrapping token in "token" is used up now',
            "ask the sender to wrap the key again",
        ),
        "wrapped key without such a field": Scene(
            2,
            ("key", "import", "x", "--wrapped", "token", "--field", "pem"),
            handed_over,
            'no field "pem"; the wrapping token in "token" is used up now',
            "its fields: issuer_id, key_id, p8",
        ),
        "answer to the unwrap lost": Scene(
            5,
            ("key", "import", "x", "--wrapped", "token"),
            handed_over_but_lost,
            "it is not known whether the wrapping token is used up",
            "repeat the command",
        ),
        "wrapping token of two words": Scene(
            2,
            ("key", "import", "x", "--wrapped", "-"),
            nothing,
            "standard input holds no",
            "wrapping_token",
            stdin=b"a b",
        ),
        "other fingerprint": Scene(
            3,
            ("key", "promote", "prod", "--fingerprint", "SHA256:" + "00" * 32),
            after(("key", "stage", "prod", "NEW")),
            "another fingerprint",
            "ask whoever staged it",
        ),
        "disabled": Scene(
            3, ("mint", "prod"), after(("key", "disable", "prod")), "was disabled by root", "key enable prod"
        ),
        "destroy enabled": Scene(3, ("key", "destroy", "prod", "--yes"), says="is enabled", hints="key disable prod"),
        "destroy not typed": Scene(2, ("key", "destroy", "prod"), says="nothing was destroyed", hints="--yes"),
        "too long": Scene(3, ("mint", "prod", "--lifetime", "1h"), says="a lifetime of 3600 s", hints="1200s"),
        "no such key": Scene(7, ("mint", "prd"), says='no key "prd" in MOUNT/asc', hints="vault-asc key list"),
        # the Vault token
        "no token": Scene(2, ("mint", "prod"), token(""), "no Vault token", "vault login"),
        "token is no token": Scene(2, ("mint", "prod"), token("a b\nc"), "holds no Vault token", "--token-file"),
        "wrong token": Scene(
            6, ("mint", "prod"), token("s.wrongwrongwrongwrongwrong"), "is invalid, expired", "log in again"
        ),
        "revoked token": Scene(6, ("key", "list"), revoked, "is invalid, expired or revoked", "log in again"),
        "no rights": Scene(
            6, ("mint", "prod"), without_rights, 'lacks "read" on "MOUNT/data/asc/keys/prod"', "asc-minter-prod"
        ),
        "no rights to import": Scene(
            7, ("key", "import", "NEW", "x", *ISSUER), without_rights, "no mount at", "asc-key-admin"
        ),
        "no token file": Scene(
            2, ("mint", "prod", "--token-file", "nowhere"), says='"nowhere" cannot be read: no such file', hints="ls -l"
        ),
        # Vault
        "sealed": Scene(5, ("mint", "prod"), answering(503, "Vault is sealed"), "is sealed", "vault operator unseal"),
        "overloaded": Scene(
            5, ("mint", "prod"), answering(429, "slow down"), "cannot answer now: slow down", "try again"
        ),
        "fails": Scene(4, ("mint", "prod"), answering(500, "disk on fire"), "disk on fire", "try again"),
        "refuses": Scene(4, ("mint", "prod"), answering(400, "no\nway"), "refused the request to", "log"),
        "proxy": Scene(5, ("key", "disable", "prod"), answering(502, "bad gateway"), "cannot answer now", "try again"),
        "down": Scene(5, ("mint", "prod"), down, "connection refused", "VAULT_ADDR"),
        "down at import": Scene(5, ("key", "import", "NEW", "x", *ISSUER), down, "connection refused", "VAULT_ADDR"),
        "no socket": Scene(
            5,
            ("mint", "prod", "--address", "unix:///nowhere/agent.sock"),
            says="socket does not exist",
            hints="the Agent runs",
        ),
        "answer to a write lost": Scene(
            5,
            ("key", "rotate", "prod", "NEW"),
            answer_lost("/private/"),
            "no answer to the write",
            "repeat the command",
        ),
        "KV version 1": Scene(4, ("mint", "prod"), kv_v1, "is KV version 1", "vault kv enable-versioning"),
        "KV version 1 at import": Scene(
            4, ("key", "import", "NEW", "x", *ISSUER), kv_v1, "nothing was written", "store.mount"
        ),
        "no KV": Scene(4, ("key", "list"), mounted("sys"), 'engine of type "system"', "name a KV version 2 mount"),
        "no mount": Scene(7, ("mint", "prod"), mounted("nowhere"), 'no mount at "nowhere"', "vault secrets enable"),
        "no mount but a path": Scene(7, ("key", "list"), mounted("MOUNT/x"), "is no mount but a path", "store.mount"),
        "record deleted": Scene(7, ("mint", "prod"), versions("delete", "keys"), "was deleted at", "vault kv undelete"),
        "record destroyed": Scene(
            7, ("mint", "prod"), versions("destroy", "keys"), "was destroyed", "key import FILE prod"
        ),
        "record removed": Scene(7, ("key", "show", "prod"), versions("pruned", "keys"), 'no key "prod"', "key list"),
        "private part deleted": Scene(
            7, ("mint", "prod"), versions("delete", "private"), "was deleted at", "vault kv undelete"
        ),
        "private part destroyed": Scene(
            7, ("mint", "prod"), versions("destroy", "private"), "was destroyed", "key rotate prod FILE"
        ),
        "private part pruned": Scene(
            7, ("mint", "prod"), versions("pruned", "private"), "pruned by max_versions", "rotate"
        ),
        "private part swapped": Scene(4, ("mint", "prod"), swapped, "does not belong to the record", "key rotate prod"),
        "newer record": Scene(4, ("mint", "prod"), damaged(format=2), "has format 2", "upgrade vault-asc"),
        "damaged record": Scene(
            4, ("mint", "prod"), damaged(custody="pocket"), "is no record of vault-asc", "kv rollback"
        ),
        "conflict": Scene(
            9, ("key", "disable", "prod"), somebody_is_faster, "was changed by mallory at", "key show prod"
        ),
        "versions would vanish": Scene(
            4,
            ("key", "import", "NEW", "x", *ISSUER),
            planned_deletion,
            "delete_version_after",
            "vault write MOUNT/config",
        ),
        # what is no Vault at all
        "HTML": Scene(5, ("mint", "prod"), hostile("html"), "not JSON", "not a web page or a proxy"),
        "HTML at import": Scene(
            5, ("key", "import", "NEW", "x", *ISSUER), hostile("html"), "not JSON", "not a web page"
        ),
        "huge": Scene(5, ("key", "list"), hostile("huge"), "larger than 1 MiB", "not a web page"),
        "huge error": Scene(5, ("key", "list"), hostile("huge-503"), "larger than 1 MiB", "not a web page"),
        "redirect": Scene(
            5, ("mint", "prod"), hostile("redirect/307/https%3A%2F%2Fevil.example%2F"), "redirect", "not followed"
        ),
        "no JSON": Scene(5, ("mint", "prod"), told_json("{nope"), "not JSON", "not a web page"),
        "deep JSON": Scene(5, ("mint", "prod"), told_json("[" * 5000), "JSON", "not a web page"),
        "other JSON": Scene(4, ("mint", "prod"), told_json("[1]"), "is not what Vault sends", "OpenBao"),
        "empty JSON": Scene(4, ("key", "list"), told_json('{"data": {}}'), "is not what Vault sends", "OpenBao"),
        "odd JSON": Scene(
            4, ("key", "list"), told_json('{"data": {"keys": [5]}}'), "is not what Vault sends", "OpenBao"
        ),
        "JSON without version": Scene(
            4,
            ("mint", "prod"),
            told_json('{"data": {"data": {}, "metadata": {}}}'),
            "is not what Vault sends",
            "OpenBao",
        ),
        "no HTTP": Scene(5, ("mint", "prod"), hostile("garbage"), "not HTTP", "not a web page"),
        "cut short": Scene(5, ("mint", "prod"), hostile("trunc"), "cut short", "not a web page"),
        "reset": Scene(5, ("mint", "prod"), hostile("rst"), "connection reset", "VAULT_ADDR"),
        "compressed": Scene(5, ("mint", "prod"), hostile("gzip"), "compressed", "not a web page"),
        "compressed bomb": Scene(5, ("mint", "prod"), hostile("gzipbomb"), "compressed", "not a web page"),
        "many headers": Scene(5, ("mint", "prod"), hostile("headers"), "not HTTP", "not a web page"),
        # Nexla
        "Nexla refuses the service key": Scene(
            8,
            ("nexla", "inspect", "5001"),
            service_key_wrong,
            "nexla answered 401 to the login",
            "the service key is wrong",
        ),
        "service key of two lines": Scene(
            8, ("nexla", "inspect", "5001"), service_key_of_two_lines, "characters that HTTP", "the bare key"
        ),
        "Nexla repeats what it was sent": Scene(
            8,
            ("nexla", "inspect", "5001"),
            nexla_echoes,
            'nexla answered 400 to the login: "bad credential [secret]"',
            "Vault",
        ),
        "no credential": Scene(
            8, ("nexla", "inspect", "5003"), Stage.pushed, "nexla answered 404", "check credential_id"
        ),
        "busy": Scene(75, ("push", "sales"), busy, "another vault-asc holds the lock", "wait until it is done"),
    }
    | custody_scenes.BAD
    | engine_scenes.BAD
)

PASSES: dict[str, Scene] = {
    "push without rights": Scene(8, ("push", "sales"), pushed_without_rights, "not written", shows=True),
    "push while Vault is down": Scene(8, ("push", "sales"), pushed_while_down, "not written", shows=True),
    "push with a wrong service key": Scene(8, ("push", "sales"), service_key_wrong, "not written", shows=True),
    "push and Nexla repeats": Scene(8, ("push", "sales"), nexla_echoes, "not written", shows=True),
    "push and Apple says no": Scene(8, ("push", "sales"), unknown_to_apple, "written but apple says no", shows=True),
    "some targets fail": Scene(10, ("push", "--all"), Stage.pushed, "other: not written", shows=True),
    "the Agent's push fails": Scene(
        0, ("push", "--all", "--tick-dir", "ticks"), Stage.pushed, "other: not written", shows=True
    ),
    "status of what failed": Scene(10, ("status", "--check"), push_failed, "not written", shows=True),
}
"""Commands about many targets tell one line for each, and `error:` only when there was no attempt."""

SCENES: dict[str, Scene] = GOOD | BAD | PASSES


def check(name: str, stage: Stage, done: Done) -> None:
    """That a scene ended as it says: what was done, one error with the way out, or a line for every target."""
    scene = SCENES[name]
    assert done.code == scene.code, done.err
    if name in GOOD:
        assert stage.filled(scene.says) in done.out
        warnings = done.said("warning")
        assert len(done.err.splitlines()) == len(warnings)
        assert [stage.filled(scene.warns) in text for text in warnings] == ([True] if scene.warns else [])
    elif name in BAD:
        check_failure(done, out=scene.shows)
        assert stage.filled(scene.says) in done.error
        assert stage.filled(scene.hints) in done.hint
        assert done.hint
    else:
        assert scene.says in done.out + done.err
        assert "Traceback" not in done.err
        assert not done.said("error")
