"""Scenes of custody engine: its commands, moves there and away, and what others do to keys, roles and the mount."""

from typing import Any

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID
from tests.cli.custody_stage import MOVE, POLICY, held_by, in_transit
from tests.cli.stage import ISSUER, Scene, Setup, Stage, after, known

ENGINE = ("--custody", "engine")
IMPORT = ("key", "import", "NEW", "prod", *ISSUER, *ENGINE)
SHOW = ("key", "show", "prod")
CHECK = ("key", "check", "prod")
MINT = ("mint", "prod")
STAGE = ("key", "stage", "prod", "NEW")
PROMOTE = ("key", "promote", "prod")
ROTATE = ("key", "rotate", "prod", "NEW")
ROLLBACK = ("key", "rollback", "prod")
RETIRE = ("key", "retire", "prod")
DISABLE = ("key", "disable", "prod")
DESTROY = ("key", "destroy", "prod", "--yes")
LEFTOVER = (*DESTROY, "--leftover")
STAGE_THIRD = ("key", "stage", "prod", "AuthKey_THIRDKEY01.p8", "--no-apple-check")


def mounted(stage: Stage) -> None:
    """The engine, and no key."""
    assert stage.engine_mount


def in_engine(stage: Stage, *options: str) -> None:
    """A key in the engine, that App Store Connect knows."""
    mounted(stage)
    assert stage.apple.url
    stage.user.imports("prod", OLD_ID, *ENGINE, *options)


def both_mounted(stage: Stage) -> None:
    """A key in KV, and the engine beside it."""
    mounted(stage)
    stage.user.sets(transit_mount=stage.transit_mount)
    known(stage)


def beside_transit(stage: Stage) -> None:
    in_engine(stage)
    stage.user.sets(transit_mount=stage.transit_mount)


def granted(stage: Stage) -> None:
    """A key in KV, whose minters may mint in both custodies."""
    both_mounted(stage)
    stage.user.does(*POLICY, "--custody", "kv", *ENGINE)


def by_hand(method: str, path: str, begin: Setup = in_engine, **data: Any) -> Setup:
    """Somebody does that to the engine, past our commands."""

    def setup(stage: Stage) -> None:
        begin(stage)
        stage.root(method, f"{stage.engine_mount}/{path}", data or None)

    return setup


def foreign(stage: Stage) -> None:
    """Somebody else's key has the name."""
    mounted(stage)
    pem = stage.user.new_pem("FOREIGN001").decode()
    stage.root(
        "POST",
        f"{stage.engine_mount}/keys/prod",
        {"private_key": pem, "key_id": "FOREIGN001", "issuer_id": keys.ISSUER_ID},
    )


def transit_then_engine(stage: Stage) -> None:
    """Moved, and the copy in Transit still there."""
    mounted(stage)
    in_transit(stage)
    stage.user.does(*MOVE, *ENGINE, "--granted", "--file", f"AuthKey_{OLD_ID}.p8")


def of_another_store(stage: Stage) -> None:
    """A key that another store has made, disabled."""
    mounted(stage)
    pem = stage.user.new_pem("FOREIGN001").decode()
    data = {"private_key": pem, "key_id": "FOREIGN001", "issuer_id": keys.ISSUER_ID}
    stage.root("POST", f"{stage.engine_mount}/keys/prod", data | {"owner": "other/asc", "enabled": False})


def both_stores(stage: Stage) -> None:
    of_another_store(stage)
    known(stage)


def copied(stage: Stage) -> None:
    """A key in KV, and another in the engine by hand under its name."""
    both_mounted(stage)
    foreign(stage)


def role_taken(stage: Stage) -> None:
    """The role `sales` gives tokens of another key."""
    mounted(stage)
    stage.user.imports("other", OLD_ID, *ENGINE, "--role", "sales")


def role_repointed(stage: Stage) -> None:
    in_engine(stage)
    stage.user.imports("other", NEW_ID, *ENGINE)
    stage.root("POST", f"{stage.engine_mount}/roles/prod", {"key": "other"})


def used_by_another(stage: Stage) -> None:
    """A disabled key, and a second role that uses it."""
    in_engine(stage)
    stage.root("POST", f"{stage.engine_mount}/roles/sales", {"key": "prod"})
    stage.user.does(*DISABLE)


def left_over(stage: Stage) -> None:
    """Key and role in the engine, and no record."""
    in_engine(stage)
    stage.root("DELETE", f"{stage.user.mount}/metadata/asc/keys/prod")


moved = after((*MOVE, *ENGINE), begin=granted)
moved_away = after((*MOVE, "--custody", "kv", "--granted", "--file", f"AuthKey_{OLD_ID}.p8"), begin=in_engine)
rotated = after(ROTATE, begin=in_engine)
retired = after(ROTATE, RETIRE, begin=in_engine)
ahead = by_hand("POST", "keys/prod/promote", begin=after(STAGE, begin=in_engine))
"""A promotion that was interrupted: the engine has done it, the record was not written."""

GOOD: dict[str, Scene] = {
    "import into the engine": Scene(0, IMPORT, mounted, "vault read ENGINE/token/prod"),
    "import into the engine by another role": Scene(
        0, (*IMPORT, "--role", "sales"), mounted, "vault read ENGINE/token/sales"
    ),
    "import into the engine again": Scene(
        0, ("key", "import", "OLD", "prod", *ISSUER, *ENGINE), in_engine, "is this key already"
    ),
    "list in the engine": Scene(0, ("key", "list"), in_engine, "prod  enabled  engine   2X9R4HXF34  team  1 "),
    "show in the engine": Scene(0, SHOW, in_engine, "engine version 1  current"),
    "show staged in the engine": Scene(0, SHOW, after(STAGE, begin=in_engine), "vault-asc key promote prod"),
    "show in the engine after a rotation": Scene(
        0, SHOW, rotated, "can still sign: vault-asc key retire prod ends that"
    ),
    "show in the engine after a rollback": Scene(
        0, SHOW, after(ROTATE, ROLLBACK, begin=in_engine), "make it current: vault-asc key promote prod"
    ),
    "show in the engine after an interruption": Scene(
        0, SHOW, ahead, "version 2 is current: repeat what was interrupted"
    ),
    "show of what is disabled in the engine alone": Scene(
        0, SHOW, by_hand("POST", "keys/prod/disable"), "the key is disabled: repeat the command"
    ),
    "show of what is gone in the engine": Scene(
        0,
        SHOW,
        by_hand("DELETE", "keys/prod", begin=by_hand("DELETE", "roles/prod")),
        "engine version 1  current, but gone: nothing",
    ),
    "show moved to the engine": Scene(
        0, SHOW, moved, "engine; moved from kv, not finished: vault-asc key move prod --finish"
    ),
    "show json in the engine": Scene(0, (*SHOW, "--json"), in_engine, '"role": "prod"'),
    "check in the engine": Scene(0, CHECK, in_engine, '"prod" is good: engine version 1'),
    "mint in the engine": Scene(0, MINT, in_engine, "eyJ"),
    "mint in the engine as minter": Scene(0, MINT, held_by("minter", begin=in_engine, custodies=("engine",)), "eyJ"),
    "mint by a role": Scene(0, ("mint", "--role", "prod"), in_engine, "eyJ"),
    "stage in the engine": Scene(0, STAGE, in_engine, "staged engine version 2"),
    "promote in the engine": Scene(0, PROMOTE, after(STAGE, begin=in_engine), "promoted"),
    "promote what the engine has promoted": Scene(0, PROMOTE, ahead, "promoted"),
    "rotate in the engine": Scene(
        0,
        ROTATE,
        in_engine,
        "old key 2X9R4HXF34: the engine gives its tokens to whoever asks for the version, until: vault-asc key retire prod\n"
        "  none of its tokens can be alive 20 minutes after that",
    ),
    "rotate while the engine has a copy of the key before": Scene(
        0,
        ROTATE,
        moved_away,
        'sign in the engine by role "prod" can mint with what lies there, until: vault-asc key move prod --finish --remove-copy',
    ),
    "rotate in the engine while Transit has a copy of the key before": Scene(
        0,
        ROTATE,
        transit_then_engine,
        'in Transit with key "asc.prod" can mint',
    ),
    "rotate dry in the engine": Scene(0, (*ROTATE, "--dry-run"), in_engine, "would rotate"),
    "rollback in the engine": Scene(0, ROLLBACK, rotated, 'rolled "prod" back'),
    "rollback of what the engine has promoted": Scene(0, (*ROLLBACK, "--to", "1"), ahead, 'rolled "prod" back'),
    "retire in the engine": Scene(0, RETIRE, rotated, 'retired "prod"'),
    "retire in the engine again": Scene(0, RETIRE, retired, "are retired already"),
    "disable in the engine": Scene(0, DISABLE, in_engine, 'disabled "prod"'),
    "disable again in the engine": Scene(0, DISABLE, after(DISABLE, begin=in_engine), "is disabled already"),
    "enable what is disabled in the engine alone": Scene(
        0, ("key", "enable", "prod"), by_hand("POST", "keys/prod/disable"), 'enabled "prod"'
    ),
    "destroy in the engine": Scene(0, DESTROY, after(DISABLE, begin=in_engine), "destroyed"),
    "destroy without what is left in the engine": Scene(
        0, DESTROY, left_over, "nothing of", warns='key "prod" in the engine, which no record points to, was left'
    ),
    "destroy what is left in the engine": Scene(
        0, LEFTOVER, by_hand("POST", "keys/prod/disable", begin=left_over), "destroyed what no record"
    ),
    "destroy what is left in the engine, and see what it is": Scene(
        0, LEFTOVER, by_hand("POST", "keys/prod/disable", begin=left_over), "key ID 2X9R4HXF34; SHA256:"
    ),
    "destroy what is left when the record points to all": Scene(0, LEFTOVER, in_engine, "nothing of"),
    "destroy what is left of another store in the engine": Scene(
        0,
        LEFTOVER,
        of_another_store,
        "nothing of",
        warns='key "prod" in the engine, of the store "other/asc", was left',
    ),
    "show a copy in the engine that the record does not point to": Scene(
        0, SHOW, copied, "ENGINE/keys/prod/disable, then vault-asc key destroy prod --leftover"
    ),
    "show a key of another store in the engine": Scene(
        0,
        SHOW,
        both_stores,
        'also in the engine  key "prod" in the engine, of the store "other/asc",',
    ),
    "rollback that drops what is staged in the engine": Scene(
        0,
        ROLLBACK,
        lambda stage: (rotated(stage), stage.user.key_file("THIRDKEY01"), stage.user.does(*STAGE_THIRD)),
        'rolled "prod" back',
        warns="engine version 3 (key ID THIRDKEY01), staged at ",
    ),
    "move to the engine": Scene(0, (*MOVE, *ENGINE), granted, 'moved "prod" to custody engine'),
    "move to the engine with a file": Scene(0, (*MOVE, *ENGINE, "--file", "OLD"), granted, 'moved "prod"'),
    "move to the engine by another role": Scene(
        0, (*MOVE, *ENGINE, "--role", "sales", "--granted"), both_mounted, 'moved "prod"'
    ),
    "finish of a move to the engine": Scene(
        0,
        (*MOVE, "--finish", "--remove-copy"),
        after((*POLICY, *ENGINE, "--force"), begin=moved),
        "removed what lay there",
    ),
    "move out of the engine": Scene(
        0,
        (*MOVE, "--custody", "transit", "--granted", "--file", "OLD"),
        beside_transit,
        'moved "prod" to custody transit',
    ),
    "finish of a move out of the engine, and remove": Scene(
        0, (*MOVE, "--finish", "--remove-copy", "--granted"), moved_away, "removed what lay there"
    ),
}

BAD: dict[str, Scene] = {
    "role in KV": Scene(
        2, ("key", "import", "NEW", "prod", *ISSUER, "--role", "sales"), mounted, "only keys in custody engine", "away"
    ),
    "role that is no name": Scene(2, (*IMPORT, "--role", "Sales"), mounted, 'role name "Sales" is not', "lower-case"),
    "no engine": Scene(
        7,
        IMPORT,
        lambda stage: stage.user.sets(engine_mount="nowhere"),
        'no mount at "nowhere"',
        "secrets enable -path=nowhere",
    ),
    "engine is KV": Scene(
        4, IMPORT, lambda stage: stage.user.sets(engine_mount=stage.user.mount), 'of type "kv"', "store.engine_mount"
    ),
    "key of somebody else in the engine": Scene(
        9, IMPORT, foreign, "already with another key", "key destroy prod --leftover"
    ),
    "role of another key": Scene(9, (*IMPORT, "--role", "sales"), role_taken, 'tokens of key "other"', "--role"),
    "import again by another role": Scene(
        9,
        ("key", "import", "OLD", "prod", *ISSUER, *ENGINE, "--role", "sales"),
        in_engine,
        'read by role "prod" already',
        "roles/sales key=prod",
    ),
    "no rights to import into the engine": Scene(
        6,
        ("key", "import", "NEW", "x", *ISSUER, *ENGINE),
        held_by("key-admin", "registrar", begin=in_engine, custodies=("engine",)),
        'lacks "create" on "ENGINE/roles/x"',
        "policy write role-admin",
    ),
    "mint of what is disabled in the engine": Scene(
        3, MINT, by_hand("POST", "keys/prod/disable"), 'key "prod" is disabled', "enable"
    ),
    "mint without the role": Scene(
        7, MINT, by_hand("DELETE", "roles/prod"), 'there is no role "prod"', "vault write ENGINE/roles/prod"
    ),
    "mint by a role of another key": Scene(4, MINT, role_repointed, "so no token was minted", "the audit log"),
    "mint of more than the role gives": Scene(
        3, (*MINT, "--lifetime", "20m"), in_engine, "is more than role", "ask for at most"
    ),
    "mint in the engine with the policy for KV": Scene(
        6,
        MINT,
        held_by("minter", begin=in_engine),
        'lacks "read" on "ENGINE/token/prod"',
        "policy write minter --key prod",
    ),
    "rollback of what is retired in the engine": Scene(7, ROLLBACK, retired, "engine version 1 of", "key show prod"),
    "retire after an interruption": Scene(
        4, RETIRE, ahead, "is not the current one, nothing was retired", "current is"
    ),
    "stage after an interruption": Scene(
        9,
        ("key", "stage", "prod", "plain.p8", "--key-id", "THIRDKEY01"),
        lambda stage: (ahead(stage), stage.user.key_file("THIRDKEY01", name="plain.p8")),
        "was interrupted, or is not over",
        "key rollback prod --to 1",
    ),
    "promote nothing in the engine": Scene(7, PROMOTE, in_engine, "nothing is staged", "key stage prod"),
    "destroy what another role uses": Scene(
        3, DESTROY, used_by_another, "is used by other roles (sales); nothing", "vault delete ENGINE/roles/sales"
    ),
    "destroy what is left in the engine and gives tokens": Scene(
        3, LEFTOVER, left_over, "gives tokens, and no record points to it", "vault write -f ENGINE/keys/prod/disable"
    ),
    "import of a name that another store has in the engine": Scene(
        9, IMPORT, of_another_store, 'is a key of the store "other/asc"; nothing', "store.engine_mount"
    ),
    "finish of a move that nobody could mint after": Scene(
        3,
        (*MOVE, "--finish"),
        after((*MOVE, *ENGINE, "--role", "sales", "--granted"), begin=both_mounted),
        'no policy grants "read" on "ENGINE/token/sales", which minters need now; nothing',
        "policy write minter --key prod --role sales --custody engine --force",
    ),
    "move out of the engine without a file": Scene(
        7,
        (*MOVE, "--custody", "kv", "--granted"),
        in_engine,
        "no private part of the current",
        "--custody kv --file FILE",
    ),
    "move to the engine without grants": Scene(
        3, (*MOVE, *ENGINE), both_mounted, 'need "read" on "ENGINE/token/prod"', "--custody kv --custody engine"
    ),
    "move to a third custody": Scene(
        9, (*MOVE, "--custody", "transit", "--granted"), moved, "which is not finished", "key move prod --finish"
    ),
    "move to the engine without a role admin": Scene(
        6,
        (*MOVE, *ENGINE),
        held_by("key-admin", "registrar", "auditor", "minter", begin=granted, custodies=("kv", "engine")),
        'lacks "',
        "vault-asc policy write",
    ),
    "finish while a role of the key can be read": Scene(
        3,
        (*MOVE, "--finish", "--granted"),
        lambda stage: (
            moved_away(stage),
            stage.root(
                "PUT",
                "sys/policies/acl/by-hand",
                {"policy": f'path "{stage.engine_mount}/token/*" {{ capabilities = ["update"] }}'},
            ),
        ),
        '"read" on "ENGINE/token/prod" is still granted by by-hand',
        "--trust POLICY",
    ),
}
