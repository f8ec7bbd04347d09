"""Scenes of custody transit, of moves between custodies, of retiring, and of what App Store Connect says to a new key."""

from tests.cli.custody_stage import (
    MOVE,
    TRANSIT,
    dotted,
    elsewhere,
    enterprise,
    faster_in_transit,
    foreign,
    free,
    gone_in_transit,
    granted,
    granted_in_kv,
    handed_over_and_no_apple,
    held_by,
    in_both,
    in_transit,
    minted_in_transit,
    mount_missing,
    moved,
    moved_to_kv,
    no_agreement,
    no_apple,
    plain_file,
    policy_in_json,
    ready_to_finish,
    refused_once,
    refused_thrice,
    retired_too_far,
    role_forbidden,
    strict,
    swapped_in_transit,
    throttled,
    transit_at,
    unknown_key,
    without_escrow,
)
from tests.cli.stage import ISSUER, Scene, after, handed_over, known, without_rights

IMPORT = ("key", "import", "NEW", "prod", *ISSUER)
IMPORT_OLD = ("key", "import", "OLD", "prod", *ISSUER)
SHOW = ("key", "show", "prod")
CHECK = ("key", "check", "prod")
MINT = ("mint", "prod")
STAGE = ("key", "stage", "prod", "NEW")
ROTATE = ("key", "rotate", "prod", "NEW")
DRY = (*ROTATE, "--dry-run")
ROLLBACK = ("key", "rollback", "prod")
RETIRE = ("key", "retire", "prod")
FINISH = (*MOVE, "--finish")
REMOVE = (*FINISH, "--remove-copy")
KV = ("--custody", "kv")

rotated = after(ROTATE, begin=in_transit)
retired = after(ROTATE, RETIRE, begin=in_transit)

IN_TRANSIT: dict[str, Scene] = {
    "import into Transit": Scene(0, (*IMPORT, *TRANSIT), free, "Transit version  1"),
    "import into Transit by configuration": Scene(0, IMPORT, strict, "Transit version  1"),
    "import into Transit again": Scene(0, (*IMPORT_OLD, *TRANSIT), in_transit, "is this key already"),
    "import without escrow": Scene(
        0, (*IMPORT, *TRANSIT, "--no-escrow"), free, "Transit version  1", warns="only the .p8 file leads out"
    ),
    "list in Transit": Scene(0, ("key", "list"), in_transit, "prod  enabled  transit  2X9R4HXF34  team  1 "),
    "show in Transit": Scene(0, SHOW, after(STAGE, begin=in_transit), "make it current: vault-asc key promote prod"),
    "show in Transit after a rotation": Scene(0, SHOW, rotated, "can still sign: vault-asc key retire prod ends that"),
    "show in Transit after a retirement": Scene(0, SHOW, retired, "Transit version 1  retired\n"),
    "show in Transit after a rollback": Scene(
        0, SHOW, after(ROTATE, ROLLBACK, begin=in_transit), "make it current: vault-asc key promote prod"
    ),
    "show of what is retired too far": Scene(0, SHOW, retired_too_far, "vault-asc key retire prod lets it sign"),
    "show of what is gone": Scene(0, SHOW, gone_in_transit, "Transit version 1  current, but gone: nothing"),
    "show without escrow": Scene(0, SHOW, without_escrow, "escrow in KV     none\n"),
    "show moved": Scene(0, SHOW, moved, "transit; moved from kv, not finished: vault-asc key move prod --finish"),
    "show json in Transit": Scene(0, (*SHOW, "--json"), in_transit, '"public_key": "M'),
    "show in Transit as minter": Scene(
        0, SHOW, held_by("minter"), "asc.prod", warns="versions and staged keys are not shown"
    ),
    "check in Transit": Scene(0, CHECK, in_transit, '"prod" is good: Transit version 1'),
    "check without escrow": Scene(0, CHECK, without_escrow, '"prod" is good: Transit version 1'),
    "check in Transit as minter": Scene(0, CHECK, held_by("minter", custodies=("transit",)), '"prod" is good'),
    "mint in Transit": Scene(0, MINT, in_transit, "eyJ"),
    "mint without escrow": Scene(0, MINT, without_escrow, "eyJ"),
    "mint in Transit as minter": Scene(0, MINT, held_by("minter", custodies=("transit",)), "eyJ"),
    "stage in Transit": Scene(0, STAGE, in_transit, "staged Transit version 2"),
    "promote in Transit": Scene(0, ("key", "promote", "prod"), after(STAGE, begin=in_transit), "promoted"),
    "rotate in Transit": Scene(0, ROTATE, in_transit, "then let its version sign no more: vault-asc key retire prod"),
    "rotate without escrow": Scene(0, ROTATE, without_escrow, "rotated"),
    "rollback in Transit": Scene(0, ROLLBACK, rotated, 'rolled "prod" back'),
    "rollback of what is retired": Scene(0, ROLLBACK, retired, 'rolled "prod" back'),
    "retire": Scene(0, RETIRE, rotated, 'retired "prod": only its current and newer versions can sign'),
    "retire again": Scene(0, RETIRE, retired, 'older versions of "prod" are retired already'),
    "retire brings the current one back": Scene(0, RETIRE, retired_too_far, 'retired "prod"'),
    "destroy in Transit": Scene(
        0, ("key", "destroy", "prod", "--yes"), after(("key", "disable", "prod"), begin=in_transit), "destroyed"
    ),
    "trace in Transit": Scene(
        0,
        ("audit", "trace", "token", "--audit-log", "LOG", "--device", "lab"),
        minted_in_transit,
        "TRANSIT/sign/asc.prod",
    ),
    "check of a policy": Scene(
        0,
        ("policy", "check", "minter", "--key", "prod", *TRANSIT),
        held_by("minter", custodies=("transit",)),
        "and no more",
    ),
}

MOVES: dict[str, Scene] = {
    "move to Transit": Scene(0, (*MOVE, *TRANSIT), granted, 'moved "prod" to custody transit'),
    "move with a file": Scene(0, (*MOVE, *TRANSIT, "--file", "OLD"), granted, 'moved "prod" to custody transit'),
    "move without looking": Scene(0, (*MOVE, *TRANSIT, "--granted"), in_both, 'moved "prod" to custody transit'),
    "move again": Scene(0, (*MOVE, *TRANSIT), moved, "is in custody transit already, nothing was changed"),
    "finish": Scene(0, FINISH, ready_to_finish, 'finished the move of "prod"'),
    "finish but for whom is trusted": Scene(
        0, (*FINISH, "--trust", "by-hand"), policy_in_json, "no policy but by-hand grants the old place"
    ),
    "move while something is staged": Scene(
        0,
        (*MOVE, *TRANSIT),
        after(("key", "stage", "prod", "NEW", "--no-apple-check"), begin=granted),
        'moved "prod"',
        warns="private version 2 is not staged any more",
    ),
    "finish again": Scene(0, FINISH, after(FINISH, begin=ready_to_finish), "nothing was changed"),
    "finish and remove": Scene(0, REMOVE, ready_to_finish, "removed what lay there"),
    "finish, then remove": Scene(0, REMOVE, after(FINISH, begin=ready_to_finish), "removed what lay there"),
    "finish of nothing": Scene(0, FINISH, known, "nothing was changed"),
    "move back": Scene(0, (*MOVE, *KV, "--granted"), in_transit, "moved", warns="whoever may mint can copy the key"),
    "move back with a file": Scene(
        0, (*MOVE, *KV, "--granted", "--file", "OLD"), without_escrow, "moved", warns="whoever may mint can copy"
    ),
    "finish of a move back": Scene(0, (*FINISH, "--granted"), moved_to_kv, 'finished the move of "prod"'),
    "finish of a move back, and remove": Scene(0, (*REMOVE, "--granted"), moved_to_kv, "removed what lay there"),
}

AT_APPLE: dict[str, Scene] = {
    "rotate dry": Scene(0, DRY, known, 'would rotate "prod", nothing was written'),
    "rotate dry in Transit": Scene(0, DRY, in_transit, "key in Transit  asc.prod"),
    "rotate dry to the current key": Scene(0, ("key", "rotate", "prod", "OLD", "--dry-run"), known, "would be changed"),
    "rotate dry without asking": Scene(0, (*DRY, "--no-apple-check"), no_apple, "would rotate"),
    "rotate without asking": Scene(0, (*ROTATE, "--no-apple-check"), no_apple, "rotated"),
    "stage without asking": Scene(0, (*STAGE, "--no-apple-check"), unknown_key, "staged"),
    "rotate after a false 401": Scene(0, ROTATE, refused_once, 'apple accepts tokens of key "7KDM1QZT0B"'),
    "rotate to a key of another role": Scene(0, ROTATE, role_forbidden, "rotated", warns="its role does not allow"),
    "rotate without an agreement": Scene(0, ROTATE, no_agreement, "rotated", warns="the Account Holder has to accept"),
    "rotate a key of the Enterprise Program": Scene(0, ROTATE, enterprise, "rotated", warns="was not tried at apple"),
}

GOOD = IN_TRANSIT | MOVES | AT_APPLE

_MOVE_NEEDS = "needs either --custody"  # and what fits to it
_MOVE_HINT = "later: vault-asc key move prod --finish"
_GRANT = "vault-asc policy write minter --key prod --custody kv --custody transit"

NOT_IN_TRANSIT: dict[str, Scene] = {
    "no escrow in KV": Scene(2, (*IMPORT, *KV, "--no-escrow"), free, "nothing would be kept", "leave --no-escrow away"),
    "no escrow by configuration": Scene(2, (*IMPORT, "--no-escrow"), free, "nothing would be kept", "--no-escrow"),
    "unknown custody": Scene(
        2, (*IMPORT, "--custody", "hsm"), free, '"hsm" is not one of "kv", "transit", "engine"', "--help"
    ),
    "no Transit mount": Scene(
        7, (*IMPORT, *TRANSIT), transit_at("nowhere"), 'no mount at "nowhere"', "secrets enable -path=nowhere transit"
    ),
    "Transit mount is KV": Scene(4, (*IMPORT, *TRANSIT), transit_at("MOUNT"), 'of type "kv"', "store.transit_mount"),
    "Transit mount is a path": Scene(
        7, (*IMPORT, *TRANSIT), transit_at("TRANSIT/x"), "a path below the mount", "store.transit_mount"
    ),
    "prefix with a dot": Scene(2, (*IMPORT, *TRANSIT), dotted, 'the prefix "a.b" has a dot', "a prefix without dots"),
    "key of somebody else in Transit": Scene(
        4, (*IMPORT, *TRANSIT), foreign(), "was generated by Transit, not imported", "find out who made it"
    ),
    "exportable key of somebody else": Scene(
        4, (*IMPORT, *TRANSIT), foreign(exportable=True), "can be exported", "find out who made it"
    ),
    "name is taken in the other custody": Scene(
        9,
        (*IMPORT_OLD, *TRANSIT),
        in_both,
        "already, in custody kv; nothing was changed",
        "key move prod --custody transit",
    ),
    "name is taken in Transit": Scene(9, (*IMPORT, *TRANSIT), in_transit, 'key "prod" exists', "key rotate prod FILE"),
    "no rights to import into Transit": Scene(
        6,
        ("key", "import", "NEW", "x", *ISSUER, *TRANSIT),
        held_by("key-admin", "registrar"),
        'lacks "read" on "TRANSIT/keys/asc.x"',
        "policy write key-admin --custody kv --custody transit",
    ),
    "mint of a key that is gone": Scene(7, MINT, gone_in_transit, "Transit version 1 of", "key rotate prod FILE"),
    "mint of a key that was swapped": Scene(4, MINT, swapped_in_transit, "so no token was minted", "the audit log"),
    "mint of what is retired": Scene(7, MINT, retired_too_far, "is retired", "vault-asc key retire prod"),
    "mint in Transit with the policy for KV": Scene(
        6,
        MINT,
        held_by("minter"),
        'lacks "update" on "TRANSIT/sign/asc.prod"',
        "policy write minter --key prod --custody transit",
    ),
    "check in Transit with the policy for KV": Scene(
        6, CHECK, held_by("minter"), 'on "TRANSIT/sign/asc.prod"', "policy write minter --key prod --custody transit"
    ),
    "mint of a disabled key in Transit": Scene(
        3, MINT, after(("key", "disable", "prod"), begin=in_transit), "was disabled by root", "key enable prod"
    ),
    "retire in KV": Scene(
        3, RETIRE, known, "in custody kv, where older versions cannot be retired", "revoke the old key"
    ),
    "retire without rights": Scene(
        6, RETIRE, held_by("registrar"), 'on "TRANSIT/keys/asc.prod"', "policy write registrar --custody transit"
    ),
    "retire of no key": Scene(7, ("key", "retire", "prd"), in_transit, 'no key "prd"', "vault-asc key list"),
    "rollback before a move": Scene(
        7, ROLLBACK, moved, "does not show an earlier key in custody transit", "key show prod"
    ),
    "promote nothing in Transit": Scene(
        7, ("key", "promote", "prod"), in_transit, "nothing is staged", "key stage prod"
    ),
    "conflict in Transit": Scene(9, ROTATE, faster_in_transit, "was changed by mallory at", "key show prod"),
    "stage the current key in Transit": Scene(
        3, ("key", "stage", "prod", "OLD"), in_transit, "is the current key", "stage the new .p8 file"
    ),
    "check of a policy too weak": Scene(
        6,
        ("policy", "check", "minter", "--key", "prod", *TRANSIT),
        held_by("minter"),
        "the token",
        "give it these policies and no other",
        shows=True,
    ),
}

NOT_MOVED: dict[str, Scene] = {
    "move to nowhere": Scene(2, MOVE, in_both, _MOVE_NEEDS, _MOVE_HINT),
    "trust without finish": Scene(2, (*MOVE, *TRANSIT, "--trust", "x"), known, _MOVE_NEEDS, _MOVE_HINT),
    "move and finish": Scene(2, (*FINISH, *TRANSIT), in_both, _MOVE_NEEDS, _MOVE_HINT),
    "finish with a file": Scene(2, (*FINISH, "--file", "OLD"), in_both, _MOVE_NEEDS, _MOVE_HINT),
    "finish without looking": Scene(2, (*FINISH, "--file", "NEW"), in_both, _MOVE_NEEDS, _MOVE_HINT),
    "remove without finishing": Scene(2, (*MOVE, *TRANSIT, "--remove-copy"), in_both, _MOVE_NEEDS, _MOVE_HINT),
    "move to an unknown custody": Scene(2, (*MOVE, "--custody", "hsm"), in_both, '"hsm" is not one of', "--help"),
    "move of no key": Scene(7, ("key", "move", "prd", *TRANSIT), in_both, 'no key "prd"', "vault-asc key list"),
    "finish of no key": Scene(7, ("key", "move", "prd", "--finish"), in_both, 'no key "prd"', "vault-asc key list"),
    "move without grants": Scene(3, (*MOVE, *TRANSIT), in_both, 'need "update" on "TRANSIT/sign/asc.prod"', _GRANT),
    "move while a policy grants KV only": Scene(
        3, (*MOVE, *TRANSIT), granted_in_kv, "grant the one and not the other: asc-minter-prod", _GRANT
    ),
    "move back without grants": Scene(
        3, (*MOVE, *KV), in_transit, 'need "read" on "MOUNT/data/asc/private/prod"', "--custody transit --custody kv"
    ),
    "move with another key": Scene(
        3, (*MOVE, *TRANSIT, "--file", "NEW"), granted, "is not the current key", "give the .p8 of key ID 2X9R4HXF34"
    ),
    "move with no file": Scene(2, (*MOVE, *TRANSIT, "--file", "nowhere"), granted, "does not exist", "check the path"),
    "move back without escrow": Scene(
        7,
        (*MOVE, *KV, "--granted"),
        without_escrow,
        "no private part of the current version",
        "--custody kv --file FILE",
    ),
    "move without a Transit mount": Scene(
        7,
        (*MOVE, *TRANSIT, "--granted"),
        mount_missing,
        'no mount at "nowhere"',
        "secrets enable -path=nowhere transit",
    ),
    "move without rights": Scene(6, (*MOVE, *TRANSIT), without_rights, 'on "MOUNT/data/asc/keys/prod"', "asc-auditor"),
    "move without the right to see policies": Scene(
        6,
        (*MOVE, *TRANSIT),
        held_by("key-admin", "registrar", begin=granted),
        'on "sys/policies/acl"',
        "policy write auditor",
    ),
    "move without the right to read": Scene(
        6,
        (*MOVE, *TRANSIT),
        held_by("key-admin", "registrar", "auditor", begin=granted, custodies=("transit",)),
        'lacks "read" on "MOUNT/data/asc/private/prod"',
        "asc-minter-prod",
    ),
    "finish too early": Scene(
        3, FINISH, moved, 'on "MOUNT/data/asc/private/prod" is still granted by asc-minter-prod', "--force"
    ),
    "finish while a policy written by hand grants it": Scene(
        3, FINISH, policy_in_json, "is still granted by by-hand", "--trust POLICY"
    ),
    "finish of a move back too early": Scene(
        3,
        FINISH,
        after(("policy", "write", "minter", "--key", "prod", *TRANSIT), begin=moved_to_kv),
        '"update" on "TRANSIT/sign/asc.prod" is still granted by asc-minter-prod',
        "--custody kv",
    ),
    "finish without rights": Scene(
        6, FINISH, held_by("registrar", begin=ready_to_finish), 'on "sys/policies/acl"', "asc-auditor"
    ),
    "remove without rights": Scene(
        6,
        REMOVE,
        held_by("registrar", "auditor", begin=ready_to_finish),
        'lacks "delete" on "MOUNT/metadata/asc/staged/prod"; nothing was changed',
        "asc-break-glass-prod",
    ),
}

NOT_AT_APPLE: dict[str, Scene] = {
    "Apple refuses": Scene(3, ROTATE, unknown_key, "does not accept tokens of key", "look in App Store Connect"),
    "Apple refuses three times": Scene(3, STAGE, refused_thrice, "3 times; nothing was written", "a revoked key"),
    "Apple is out of reach": Scene(8, ROTATE, no_apple, "refused", "--no-apple-check"),
    "Apple throttles": Scene(8, STAGE, throttled, "too many requests", "try again in an hour"),
    "Apple is something else": Scene(8, ROTATE, elsewhere, "is not one of apple's", "api_url in [appstoreconnect]"),
    "Apple refuses a dry run": Scene(3, DRY, unknown_key, "does not accept tokens", "look in App Store Connect"),
    "Apple is out of reach before the unwrap": Scene(
        8,
        ("key", "rotate", "prod", "--wrapped", "token"),
        handed_over_and_no_apple,
        "app store connect could not be asked: connection refused",
        "--no-apple-check",
    ),
    "dry run with a wrapping token": Scene(
        2,
        ("key", "rotate", "prod", "--wrapped", "token", "--dry-run"),
        handed_over,
        "would use the wrapping token up",
        "away",
    ),
    "dry run without rights": Scene(
        6,
        DRY,
        held_by("key-admin", begin=known),
        'lacks "update" on "MOUNT/data/asc/keys/prod"; nothing was written',
        "policy write registrar",
    ),
    "dry run of no key": Scene(7, ("key", "rotate", "prd", "NEW", "--dry-run"), known, 'no key "prd"', "key list"),
    "dry run of a key ID that is taken": Scene(
        3,
        ("key", "rotate", "prod", "plain.p8", "--key-id", "2X9R4HXF34", "--dry-run"),
        plain_file,
        'is that of the current key of "prod", but the key differs',
        "--key-id",
    ),
}

BAD = NOT_IN_TRANSIT | NOT_MOVED | NOT_AT_APPLE
