"""What each shipped policy lets its holder do in Transit, as a table, and the request that tries each row.

As `policy_table`: Y is answered as root would be, a dot with 403. The table is for a deployment whose keys are in custody
transit; where they are in custody kv, all of it is denied. Three columns more: `both` is minter for both custodies,
`admin/1` and `registrar/1` are key-admin and registrar narrowed to the key `prod` of team-a.
"""

from typing import Final

from tests.integration.policy_table import EXPECTED as KV_EXPECTED
from tests.integration.policy_table import ROLES as KV_ROLES
from tests.integration.policy_table import Operation, change, without_private_parts

TABLE: Final = """
operation                             nobody key-admin registrar minter publisher auditor agent team teamless break-glass both admin/1 registrar/1
sign jws                                 .       .         .       Y        .        .      Y     .      .         .       Y      .        .
sign jws, other version                  .       .         .       Y        .        .      Y     .      .         .       Y      .        .
sign jws, version 0                      .       .         .       Y        .        .      Y     .      .         .       Y      .        .
sign jws, no version                     .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, no hash                        .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, sha2-512                       .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, sha2-512 by its old name       .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, sha2-512 in the path           .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, sha2-256 in the path           .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, prehashed                      .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, not prehashed, but said        .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, batch                          .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws, context                        .       .         .       .        .        .      .     .      .         .       .      .        .
sign asn1                                .       .         .       .        .        .      .     .      .         .       .      .        .
sign, no encoding                        .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws with other key                  .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws with key of team-b              .       .         .       .        .        .      .     .      .         .       .      .        .
sign jws with key of team-ab             .       .         .       .        .        .      .     .      .         .       .      .        .
sign certificate request                 .       .         .       .        .        .      .     .      .         .       .      .        .
verify                                   .       .         .       .        .        .      .     .      .         .       .      .        .
hmac                                     .       .         .       .        .        .      .     .      .         .       .      .        .
encrypt                                  .       .         .       .        .        .      .     .      .         .       .      .        .
encrypt with new key                     .       .         .       .        .        .      .     .      .         .       .      .        .
decrypt                                  .       .         .       .        .        .      .     .      .         .       .      .        .
rewrap                                   .       .         .       .        .        .      .     .      .         .       .      .        .
data key                                 .       .         .       .        .        .      .     .      .         .       .      .        .
random bytes                             .       .         .       .        .        .      .     .      .         .       .      .        .
hash                                     .       .         .       .        .        .      .     .      .         .       .      .        .
read key                                 .       Y         Y       .        .        Y      .     .      .         Y       .      Y        Y
read other key                           .       Y         Y       .        .        Y      .     .      .         .       .      .        .
read key of team-b                       .       Y         Y       .        .        Y      .     .      .         .       .      .        .
list keys                                .       .         .       .        .        Y      .     .      .         .       .      .        .
list keys, without slash                 .       .         .       .        .        Y      .     .      .         .       .      .        .
create key                               .       .         .       .        .        .      .     .      .         .       .      .        .
create exportable key                    .       .         .       .        .        .      .     .      .         .       .      .        .
rotate key                               .       .         .       .        .        .      .     .      .         .       .      .        .
trim key                                 .       .         .       .        .        .      .     .      .         .       .      .        .
delete key                               .       .         .       .        .        .      .     .      .         Y       .      .        .
delete other key                         .       .         .       .        .        .      .     .      .         .       .      .        .
soft-delete key                          .       .         .       .        .        .      .     .      .         .       .      .        .
bring soft-deleted key back              .       .         .       .        .        .      .     .      .         .       .      .        .
set certificate                          .       .         .       .        .        .      .     .      .         .       .      .        .
read settings                            .       .         .       .        .        .      .     .      .         .       .      .        .
set exportable                           .       .         .       .        .        .      .     .      .         .       .      .        .
set allow_plaintext_backup               .       .         .       .        .        .      .     .      .         .       .      .        .
set auto_rotate_period                   .       .         .       .        .        .      .     .      .         .       .      .        .
set min_decryption_version               .       .         .       .        .        .      .     .      .         .       .      .        .
set deletion_allowed                     .       .         .       .        .        .      .     .      .         Y       .      .        .
set deletion_allowed of other key        .       .         .       .        .        .      .     .      .         .       .      .        .
set deletion_allowed, exportable         .       .         .       .        .        .      .     .      .         .       .      .        .
set min_encryption_version               .       .         Y       .        .        .      .     .      .         .       .      .        Y
set min_encryption_version, other key    .       .         Y       .        .        .      .     .      .         .       .      .        .
set min_encryption_version, team-b       .       .         Y       .        .        .      .     .      .         .       .      .        .
set min_encryption_version, exportable   .       .         .       .        .        .      .     .      .         .       .      .        .
set nothing                              .       .         Y       .        .        .      .     .      .         Y       .      .        Y
import key                               .       Y         .       .        .        .      .     .      .         .       .      .        .
import key, name of team-b               .       Y         .       .        .        .      .     .      .         .       .      .        .
import key, name that is taken           .       Y         .       .        .        .      .     .      .         .       .      Y        .
import key, exportable                   .       .         .       .        .        .      .     .      .         .       .      .        .
import key, not exportable, but said     .       .         .       .        .        .      .     .      .         .       .      .        .
import key, allow_plaintext_backup       .       .         .       .        .        .      .     .      .         .       .      .        .
import key, allow_rotation               .       .         .       .        .        .      .     .      .         .       .      .        .
import key, derived                      .       .         .       .        .        .      .     .      .         .       .      .        .
import key, public_key                   .       .         .       .        .        .      .     .      .         .       .      .        .
import key, other type                   .       .         .       .        .        .      .     .      .         .       .      .        .
import key, other hash                   .       .         .       .        .        .      .     .      .         .       .      .        .
import version                           .       Y         .       .        .        .      .     .      .         .       .      Y        .
import version of other key              .       Y         .       .        .        .      .     .      .         .       .      .        .
import version of key of team-b          .       Y         .       .        .        .      .     .      .         .       .      .        .
import version, that of another          .       .         .       .        .        .      .     .      .         .       .      .        .
read wrapping key                        .       Y         .       .        .        .      .     .      .         .       .      Y        .
export encryption key                    .       .         .       .        .        .      .     .      .         .       .      .        .
export signing key                       .       .         .       .        .        .      .     .      .         .       .      .        .
export signing key, version 1            .       .         .       .        .        .      .     .      .         .       .      .        .
export hmac key                          .       .         .       .        .        .      .     .      .         .       .      .        .
export public key                        .       .         .       .        .        .      .     .      .         .       .      .        .
export wrapped                           .       .         .       .        .        .      .     .      .         .       .      .        .
back key up                              .       .         .       .        .        .      .     .      .         .       .      .        .
restore key                              .       .         .       .        .        .      .     .      .         .       .      .        .
restore key over another                 .       .         .       .        .        .      .     .      .         .       .      .        .
read cache settings                      .       .         .       .        .        .      .     .      .         .       .      .        .
write cache settings                     .       .         .       .        .        .      .     .      .         .       .      .        .
read settings of keys                    .       .         .       .        .        .      .     .      .         .       .      .        .
write settings of keys                   .       .         .       .        .        .      .     .      .         .       .      .        .
read type of Transit mount               .       Y         Y       Y        .        Y      Y     .      .         Y       Y      Y        Y
tune Transit mount                       .       .         .       .        .        .      .     .      .         .       .      .        .
unmount Transit                          .       .         .       .        .        .      .     .      .         .       .      .        .
"""

ROLES: Final = tuple(TABLE.strip().splitlines()[0].split()[1:])
EXPECTED: Final = {
    name: tuple(cells.split()) for name, _, cells in (line.partition("  ") for line in TABLE.strip().splitlines()[1:])
}

KEYS: Final = ("asc.team-a.prod", "asc.team-a.other", "asc.team-b.prod", "asc.team-ab.prod")
NEW_KEYS: Final = ("asc.team-a.new", "asc.team-b.new")
"""What an operation may make."""

BAD_REQUEST: Final = frozenset({400})
SERVER_ERROR: Final = frozenset({500})
"""What the server says to root, too: the request was let through, and then did not make sense."""


def _kv_cells(name: str) -> tuple[str, ...]:
    """The row of `policy_table` as it is for the columns of this table, in a deployment whose keys are in Transit.

    The private parts are escrow now, which nobody reads but a minter for both custodies.
    """
    in_kv = dict(zip(KV_ROLES, KV_EXPECTED[name], strict=True))
    cells = without_private_parts(name) | {"both": in_kv["minter"]}
    return tuple(cells[role] for role in ROLES)


KV_ROWS: Final = {name: _kv_cells(name) for name in KV_EXPECTED}
"""Expected of the operations of `policy_table`, for the columns of this table."""

SIGN: Final = {
    "input": "aGVhZGVyLnBheWxvYWQ=",
    "marshaling_algorithm": "jws",
    "hash_algorithm": "sha2-256",
    "key_version": 1,
}
IMPORT: Final = {"ciphertext": "{ciphertext}", "hash_function": "SHA256", "type": "ecdsa-p256"}
VERSION: Final = {"ciphertext": "{ciphertext}", "hash_function": "SHA256"}
_KEY: Final = "{transit}/keys/asc.team-a.prod"
_OTHER: Final = "{transit}/keys/asc.team-a.other"
_NEW: Final = "{transit}/keys/asc.team-a.new"


def without(body: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in body.items() if name not in names}


def sign(body: dict[str, object], key: str = "asc.team-a.prod") -> Operation:
    return Operation("POST", f"{{transit}}/sign/{key}", body)


def use(
    verb: str, body: dict[str, object], allowed: frozenset[int] = frozenset({200}), *, key: str = "/asc.team-a.prod"
) -> Operation:
    return Operation("POST", f"{{transit}}/{verb}{key}", body, allowed=allowed)


OPERATIONS: Final = {
    "sign jws": sign(SIGN),
    "sign jws, other version": sign({**SIGN, "key_version": 2}),
    "sign jws, version 0": sign({**SIGN, "key_version": 0}),
    "sign jws, no version": sign(without(SIGN, "key_version")),
    "sign jws, no hash": sign(without(SIGN, "hash_algorithm")),
    "sign jws, sha2-512": sign({**SIGN, "hash_algorithm": "sha2-512"}),
    "sign jws, sha2-512 by its old name": sign({**SIGN, "algorithm": "sha2-512"}),
    "sign jws, sha2-512 in the path": sign(SIGN, "asc.team-a.prod/sha2-512"),
    "sign jws, sha2-256 in the path": sign(without(SIGN, "hash_algorithm"), "asc.team-a.prod/sha2-256"),
    "sign jws, prehashed": use(
        "sign", {**SIGN, "prehashed": True, "input": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}
    ),
    "sign jws, not prehashed, but said": sign({**SIGN, "prehashed": False}),
    "sign jws, batch": sign({**SIGN, "batch_input": [{"input": "aGVhZGVyLnBheWxvYWQ="}]}),
    "sign jws, context": sign({**SIGN, "context": "eA=="}),
    "sign asn1": sign({**SIGN, "marshaling_algorithm": "asn1"}),
    "sign, no encoding": sign(without(SIGN, "marshaling_algorithm")),
    "sign jws with other key": sign(SIGN, "asc.team-a.other"),
    "sign jws with key of team-b": sign(SIGN, "asc.team-b.prod"),
    "sign jws with key of team-ab": sign(SIGN, "asc.team-ab.prod"),
    "sign certificate request": Operation("POST", f"{_KEY}/csr", {}),
    "verify": use("verify", {"input": "eA==", "signature": "vault:v1:eA=="}, frozenset({200, 400})),
    "hmac": use("hmac", {"input": "eA=="}),
    "encrypt": use("encrypt", {"plaintext": "eA=="}, BAD_REQUEST),
    "encrypt with new key": change("POST", "{transit}/encrypt/asc.team-a.new", {"plaintext": "eA=="}),
    "decrypt": use("decrypt", {"ciphertext": "vault:v1:eA=="}, BAD_REQUEST),
    "rewrap": use("rewrap", {"ciphertext": "vault:v1:eA=="}, BAD_REQUEST),
    "data key": use("datakey/plaintext", {}, BAD_REQUEST),
    "random bytes": use("random/8", {}, key=""),
    "hash": use("hash/sha2-256", {"input": "eA=="}, key=""),
    "read key": Operation("GET", _KEY),
    "read other key": Operation("GET", _OTHER),
    "read key of team-b": Operation("GET", "{transit}/keys/asc.team-b.prod"),
    "list keys": Operation("LIST", "{transit}/keys/"),
    "list keys, without slash": Operation("LIST", "{transit}/keys"),
    "create key": change("POST", _NEW, {"type": "ecdsa-p256"}),
    "create exportable key": change("POST", _NEW, {"type": "ecdsa-p256", "exportable": True}),
    "rotate key": Operation("POST", f"{_KEY}/rotate", {}, allowed=SERVER_ERROR),
    # 400 because nobody has said that the key may go, or that versions are retired.
    "trim key": Operation("POST", f"{_KEY}/trim", {"min_available_version": 1}, allowed=BAD_REQUEST),
    "delete key": Operation("DELETE", _KEY, allowed=BAD_REQUEST),
    "delete other key": Operation("DELETE", _OTHER, allowed=BAD_REQUEST),
    "soft-delete key": change("DELETE", f"{_KEY}/soft-delete"),
    "bring soft-deleted key back": change("POST", f"{_KEY}/soft-delete-restore", {}),
    "set certificate": Operation("POST", f"{_KEY}/set-certificate", {}, allowed=BAD_REQUEST),
    "read settings": Operation("GET", f"{_KEY}/config", allowed=frozenset({405})),
    "set exportable": change("POST", f"{_KEY}/config", {"exportable": True}),
    "set allow_plaintext_backup": change("POST", f"{_KEY}/config", {"allow_plaintext_backup": True}),
    "set auto_rotate_period": change("POST", f"{_KEY}/config", {"auto_rotate_period": "1h"}),
    "set min_decryption_version": change("POST", f"{_KEY}/config", {"min_decryption_version": 2}),
    "set deletion_allowed": change("POST", f"{_KEY}/config", {"deletion_allowed": True}),
    "set deletion_allowed of other key": change("POST", f"{_OTHER}/config", {"deletion_allowed": True}),
    "set deletion_allowed, exportable": change(
        "POST", f"{_KEY}/config", {"deletion_allowed": True, "exportable": True}
    ),
    "set min_encryption_version": change("POST", f"{_KEY}/config", {"min_encryption_version": 2}),
    "set min_encryption_version, other key": change("POST", f"{_OTHER}/config", {"min_encryption_version": 2}),
    "set min_encryption_version, team-b": change(
        "POST", "{transit}/keys/asc.team-b.prod/config", {"min_encryption_version": 2}
    ),
    "set min_encryption_version, exportable": change(
        "POST", f"{_KEY}/config", {"min_encryption_version": 2, "exportable": False}
    ),
    "set nothing": Operation("POST", f"{_KEY}/config", {}),
    "import key": change("POST", f"{_NEW}/import", IMPORT),
    "import key, name of team-b": change("POST", "{transit}/keys/asc.team-b.new/import", IMPORT),
    "import key, name that is taken": Operation("POST", f"{_KEY}/import", IMPORT, allowed=SERVER_ERROR),
    "import key, exportable": change("POST", f"{_NEW}/import", {**IMPORT, "exportable": True}),
    "import key, not exportable, but said": change("POST", f"{_NEW}/import", {**IMPORT, "exportable": False}),
    "import key, allow_plaintext_backup": change("POST", f"{_NEW}/import", {**IMPORT, "allow_plaintext_backup": True}),
    "import key, allow_rotation": change("POST", f"{_NEW}/import", {**IMPORT, "allow_rotation": True}),
    "import key, derived": change("POST", f"{_NEW}/import", {**IMPORT, "derived": True}),
    "import key, public_key": change("POST", f"{_NEW}/import", {**IMPORT, "public_key": "x"}),
    "import key, other type": Operation(
        "POST", f"{_NEW}/import", {**IMPORT, "type": "rsa-2048"}, allowed=BAD_REQUEST | SERVER_ERROR
    ),
    "import key, other hash": Operation(
        "POST", f"{_NEW}/import", {**IMPORT, "hash_function": "SHA1"}, allowed=BAD_REQUEST | SERVER_ERROR
    ),
    "import version": change("POST", f"{_KEY}/import_version", VERSION),
    "import version of other key": change("POST", f"{_OTHER}/import_version", VERSION),
    "import version of key of team-b": change("POST", "{transit}/keys/asc.team-b.prod/import_version", VERSION),
    "import version, that of another": Operation(
        "POST", f"{_KEY}/import_version", {**VERSION, "version": 1}, allowed=BAD_REQUEST | SERVER_ERROR
    ),
    "read wrapping key": Operation("GET", "{transit}/wrapping_key"),
    "export encryption key": Operation("GET", "{transit}/export/encryption-key/asc.team-a.prod", allowed=BAD_REQUEST),
    "export signing key": Operation("GET", "{transit}/export/signing-key/asc.team-a.prod", allowed=BAD_REQUEST),
    "export signing key, version 1": Operation(
        "GET", "{transit}/export/signing-key/asc.team-a.prod/1", allowed=BAD_REQUEST
    ),
    "export hmac key": Operation("GET", "{transit}/export/hmac-key/asc.team-a.prod", allowed=BAD_REQUEST),
    "export public key": Operation("GET", "{transit}/export/public-key/asc.team-a.prod"),
    "export wrapped": Operation("GET", "{transit}/byok-export/asc.team-a.other/asc.team-a.prod", allowed=BAD_REQUEST),
    "back key up": Operation("GET", "{transit}/backup/asc.team-a.prod", allowed=SERVER_ERROR),
    "restore key": Operation("POST", "{transit}/restore", {"backup": "x"}, allowed=SERVER_ERROR),
    "restore key over another": Operation(
        "POST", "{transit}/restore/asc.team-a.prod", {"backup": "x", "force": True}, allowed=SERVER_ERROR
    ),
    "read cache settings": Operation("GET", "{transit}/cache-config"),
    "write cache settings": Operation("POST", "{transit}/cache-config", {"size": 100}),
    "read settings of keys": Operation("GET", "{transit}/config/keys"),
    "write settings of keys": Operation("POST", "{transit}/config/keys", {"disable_upsert": False}),
    "read type of Transit mount": Operation("GET", "sys/internal/ui/mounts/{transit}"),
    "tune Transit mount": Operation("POST", "sys/mounts/{transit}/tune", {"description": "x"}),
    "unmount Transit": Operation("DELETE", "sys/mounts/{transit}"),
}
