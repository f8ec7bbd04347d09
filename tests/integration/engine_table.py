"""What each shipped policy lets its holder do in the engine, as a table, and the request that tries each row.

As `policy_table`: Y is answered as root would be, a dot with 403. The table is for a deployment whose keys are in custody
engine; where they are elsewhere, all of it is denied but what is open to every token. Besides the two policies that only
the engine has there are three columns more: `admin/1` and `registrar/1` are key-admin and registrar narrowed to the key
`prod`, `roles/1` is role-admin narrowed to the role `sales`. Minter and break-glass are for the key `prod`, token-reader is for
the role `sales`, which gives tokens of that key too, and the agent has a target of each.
"""

from typing import Any, Final

from tests import keys
from tests.integration.policy_table import EXPECTED as KV_EXPECTED
from tests.integration.policy_table import Operation, change, without_private_parts

TABLE: Final = """
operation                               nobody key-admin registrar role-admin minter token-reader publisher auditor agent team teamless break-glass admin/1 registrar/1 roles/1
read engine key                           .        Y         Y         Y        .         .           .        Y      .    .      .          Y         Y         Y         Y
read key of other name                    .        Y         Y         Y        .         .           .        Y      .    .      .          .         .         .         Y
read key that is not there                .        Y         Y         Y        .         .           .        Y      .    .      .          .         .         .         Y
list keys in engine                       .        Y         .         Y        .         .           .        Y      .    .      .          .         Y         .         Y
list keys in engine, without slash        .        Y         .         Y        .         .           .        Y      .    .      .          .         Y         .         Y
list below key                            .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
create key in engine                      .        Y         .         .        .         .           .        .      .    .      .          .         .         .         .
create key in engine, without one         .        Y         .         .        .         .           .        .      .    .      .          .         .         .         .
replace key by a write                    .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
replace other key by a write              .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
write the same key again                  .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
correct IDs of key                        .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
patch key                                 .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
stage version                             .        Y         .         .        .         .           .        .      .    .      .          .         Y         .         .
stage version, current key                .        Y         .         .        .         .           .        .      .    .      .          .         Y         .         .
stage version, without key                .        Y         .         .        .         .           .        .      .    .      .          .         Y         .         .
stage version of other key                .        Y         .         .        .         .           .        .      .    .      .          .         .         .         .
stage version of key that is not there    .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read what is staged                       .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
promote staged version                    .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
promote staged version, not that one      .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
promote staged version of other key       .        .         Y         .        .         .           .        .      .    .      .          .         .         .         .
promote, by a read                        .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
roll key back                             .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
roll other key back                       .        .         Y         .        .         .           .        .      .    .      .          .         .         .         .
retire version before                     .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
retire version before of other key        .        .         Y         .        .         .           .        .      .    .      .          .         .         .         .
disable key                               .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
disable other key                         .        .         Y         .        .         .           .        .      .    .      .          .         .         .         .
enable key                                .        .         Y         .        .         .           .        .      .    .      .          .         .         Y         .
enable other key                          .        .         Y         .        .         .           .        .      .    .      .          .         .         .         .
delete key that roles use                 .        .         .         .        .         .           .        .      .    .      .          Y         .         .         .
delete other key that a role uses         .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
delete key that no role uses              .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read private key as a path                .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read private key as a version             .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read private key as a field               .        Y         Y         Y        .         .           .        Y      .    .      .          Y         Y         Y         Y
read config of key                        .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
export key                                .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
export signing key of engine              .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
back engine key up                        .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
sign with engine key                      .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read role                                 .        Y         Y         Y        .         .           .        Y      .    .      .          Y         Y         Y         .
read role of other name                   .        Y         Y         Y        .         .           .        Y      .    .      .          .         Y         Y         Y
list roles                                .        .         .         Y        .         .           .        Y      .    .      .          .         .         .         Y
list roles, without slash                 .        .         .         Y        .         .           .        Y      .    .      .          .         .         .         Y
create role                               .        .         .         Y        .         .           .        .      .    .      .          .         .         .         .
create role of other key                  .        .         .         Y        .         .           .        .      .    .      .          .         .         .         .
create role of no key                     .        .         .         Y        .         .           .        .      .    .      .          .         .         .         .
widen scope of role                       .        .         .         Y        .         .           .        .      .    .      .          .         .         .         Y
widen lifetime of role                    .        .         .         Y        .         .           .        .      .    .      .          .         .         .         Y
widen lifetime of role beyond Apple's     .        .         .         Y        .         .           .        .      .    .      .          .         .         .         Y
point role to other key                   .        .         .         Y        .         .           .        .      .    .      .          .         .         .         Y
write role of the key's name              .        .         .         Y        .         .           .        .      .    .      .          .         .         .         .
patch role                                .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
delete role                               .        .         .         Y        .         .           .        .      .    .      .          Y         .         .         .
delete role of other name                 .        .         .         Y        .         .           .        .      .    .      .          .         .         .         Y
read token                                .        .         .         .        Y         .           .        .      Y    .      .          .         .         .         .
read token of other role                  .        .         .         .        .         Y           .        .      Y    .      .          .         .         .         .
read token of foreign role                .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read token of role that is not there      .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read token, shorter                       .        .         .         .        .         Y           .        .      Y    .      .          .         .         .         .
read token, longer                        .        .         .         .        .         Y           .        .      Y    .      .          .         .         .         .
read token, narrower                      .        .         .         .        .         Y           .        .      Y    .      .          .         .         .         .
read token, wider                         .        .         .         .        .         Y           .        .      Y    .      .          .         .         .         .
read token of version before              .        .         .         .        Y         .           .        .      Y    .      .          .         .         .         .
read token of staged version              .        .         .         .        Y         .           .        .      Y    .      .          .         .         .         .
read token, with slash                    .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
write token                               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
write token of other role                 .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
write token by PUT                        .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
patch token                               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
list tokens                               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
list tokens of role                       .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
delete token                              .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read settings of engine                   .        .         .         Y        .         .           .        Y      .    .      .          .         .         .         Y
write settings of engine                  .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
write lease share                         .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
delete settings of engine                 .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read info of engine                       .        .         .         .        .         .           .        Y      .    .      .          .         .         .         .
write info of engine                      .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
read help of key                          Y        Y         Y         Y        Y         Y           Y        Y      Y    Y      Y          Y         Y         Y         Y
read help of token                        Y        Y         Y         Y        Y         Y           Y        Y      Y    Y      Y          Y         Y         Y         Y
read type of engine mount                 .        Y         Y         Y        Y         Y           .        Y      Y    .      .          Y         Y         Y         Y
read tuning of engine mount               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
tune engine mount                         .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
show private keys in audit log            .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
unmount engine                            .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
move engine mount                         .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
register plugin of engine                 .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
deregister plugin of engine               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
reload plugin of engine                   .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
look leases up                            .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
list leases                               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
revoke lease                              .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
revoke leases of engine                   .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
revoke leases of engine by force          .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
renew lease                               .        .         .         .        .         .           .        .      .    .      .          .         .         .         .
"""

ROLES: Final = tuple(TABLE.strip().splitlines()[0].split()[1:])
EXPECTED: Final = {
    name: tuple(cells.split()) for name, _, cells in (line.partition("  ") for line in TABLE.strip().splitlines()[1:])
}

OPEN: Final = ("read help of key", "read help of token")
"""What Vault answers to every token, in whatever deployment."""

KEYS: Final = ("prod", "other")
SCOPE: Final = ("GET /v1/apps", "GET /v1/users")
ROLES_THERE: Final[dict[str, dict[str, Any]]] = {
    "prod": {"key": "prod"},
    "sales": {"key": "prod", "scope": SCOPE[:1], "lifetime": 600},
    "foreign": {"key": "other"},
}

NO_SUCH_PATH: Final = frozenset({404, 405})
BAD_REQUEST: Final = frozenset({400})
NOT_THERE: Final = frozenset({404})
"""What the server says to root, too: the request was let through, and there was nothing to do."""


def _kv_cells(name: str) -> tuple[str, ...]:
    """The row of `policy_table` as it is for the columns of this table, in a deployment whose keys are in the engine.

    There are no private parts in KV any more, so nobody writes any. Who is for roles has nothing in KV.
    """
    cells = without_private_parts(name)
    if name.startswith(("write private part", "create private part")):
        cells |= dict.fromkeys(cells, ".")
    cells |= dict.fromkeys(("role-admin", "token-reader", "roles/1"), cells["teamless"])
    return tuple(cells[role] for role in ROLES)


KV_ROWS: Final = {name: _kv_cells(name) for name in KV_EXPECTED}
"""Expected of the operations of `policy_table`, for the columns of this table."""

_KEY: Final = "{engine}/keys/prod"
_OTHER: Final = "{engine}/keys/other"
_SALES: Final = "{engine}/roles/sales"
_TOKEN: Final = "{engine}/token/sales"


def key_body(number: int, **more: object) -> dict[str, object]:
    """The body that writes one of the scene's keys."""
    return {
        "private_key": f"{{pem{number}}}",
        "key_id": f"{{kid{number}}}",
        "issuer_id": keys.ISSUER_ID,
        **more,
    }


def _unknown(method: str, path: str, body: object = None) -> Operation:
    return Operation(method, path, body, allowed=NO_SUCH_PATH)


def _refused(method: str, path: str, body: object = None) -> Operation:
    return Operation(method, path, body, allowed=BAD_REQUEST)


OPERATIONS: Final = {
    "read engine key": Operation("GET", _KEY),
    "read key of other name": Operation("GET", _OTHER),
    "read key that is not there": Operation("GET", "{engine}/keys/none", allowed=NOT_THERE),
    "list keys in engine": Operation("LIST", "{engine}/keys/"),
    "list keys in engine, without slash": Operation("LIST", "{engine}/keys"),
    "list below key": _unknown("LIST", f"{_KEY}/"),
    "create key in engine": change("POST", "{engine}/keys/new", key_body(4)),
    "create key in engine, without one": _refused("POST", "{engine}/keys/new", {"key_id": "{kid4}"}),
    "replace key by a write": change("POST", _KEY, key_body(4)),
    "replace other key by a write": change("POST", _OTHER, key_body(4)),
    "write the same key again": change("POST", _KEY, key_body(2)),
    "correct IDs of key": change("POST", _KEY, {"key_id": "{kid4}"}),
    "patch key": _unknown("PATCH", _KEY, key_body(4)),
    "stage version": change("POST", f"{_KEY}/stage", key_body(4)),
    "stage version, current key": _refused("POST", f"{_KEY}/stage", key_body(2)),
    "stage version, without key": _refused("POST", f"{_KEY}/stage", {"key_id": "{kid4}"}),
    "stage version of other key": change("POST", f"{_OTHER}/stage", key_body(4)),
    "stage version of key that is not there": Operation(
        "POST", "{engine}/keys/none/stage", key_body(4), allowed=NOT_THERE
    ),
    "read what is staged": _unknown("GET", f"{_KEY}/stage"),
    "promote staged version": change("POST", f"{_KEY}/promote", {}),
    "promote staged version, not that one": _refused("POST", f"{_KEY}/promote", {"version": 9}),
    "promote staged version of other key": change("POST", f"{_OTHER}/promote", {}),
    "promote, by a read": _unknown("GET", f"{_KEY}/promote"),
    "roll key back": change("POST", f"{_KEY}/rollback", {}),
    "roll other key back": change("POST", f"{_OTHER}/rollback", {}),
    "retire version before": change("POST", f"{_KEY}/retire", {}),
    "retire version before of other key": change("POST", f"{_OTHER}/retire", {}),
    "disable key": change("POST", f"{_KEY}/disable", {}),
    "disable other key": change("POST", f"{_OTHER}/disable", {}),
    "enable key": change("POST", f"{_KEY}/enable", {}),
    "enable other key": change("POST", f"{_OTHER}/enable", {}),
    "delete key that roles use": _refused("DELETE", _KEY),
    "delete other key that a role uses": _refused("DELETE", _OTHER),
    "delete key that no role uses": change("DELETE", "{engine}/keys/spare"),
    "read private key as a path": _unknown("GET", f"{_KEY}/private_key"),
    "read private key as a version": _unknown("GET", f"{_KEY}/versions/1"),
    "read private key as a field": Operation("GET", f"{_KEY}?private_key=true&version=1&field=private_key"),
    "read config of key": _unknown("GET", f"{_KEY}/config"),
    "export key": _unknown("GET", f"{_KEY}/export"),
    "export signing key of engine": _unknown("GET", "{engine}/export/signing-key/prod"),
    "back engine key up": _unknown("GET", "{engine}/backup/prod"),
    "sign with engine key": _unknown("POST", "{engine}/sign/prod", {"input": "eA=="}),
    "read role": Operation("GET", "{engine}/roles/prod"),
    "read role of other name": Operation("GET", _SALES),
    "list roles": Operation("LIST", "{engine}/roles/"),
    "list roles, without slash": Operation("LIST", "{engine}/roles"),
    "create role": change("POST", "{engine}/roles/new", {"key": "prod"}),
    "create role of other key": change("POST", "{engine}/roles/new", {"key": "other"}),
    "create role of no key": _refused("POST", "{engine}/roles/new", {"key": "none"}),
    "widen scope of role": change("POST", _SALES, {"scope": []}),
    "widen lifetime of role": change("POST", _SALES, {"lifetime": 1200}),
    "widen lifetime of role beyond Apple's": _refused("POST", _SALES, {"lifetime": 1201}),
    "point role to other key": change("POST", _SALES, {"key": "other"}),
    "write role of the key's name": change("POST", "{engine}/roles/prod", {"scope": [*SCOPE]}),
    "patch role": _unknown("PATCH", _SALES, {"scope": []}),
    "delete role": change("DELETE", "{engine}/roles/prod"),
    "delete role of other name": change("DELETE", _SALES),
    "read token": Operation("GET", "{engine}/token/prod"),
    "read token of other role": Operation("GET", _TOKEN),
    "read token of foreign role": Operation("GET", "{engine}/token/foreign"),
    "read token of role that is not there": Operation("GET", "{engine}/token/none", allowed=NOT_THERE),
    "read token, shorter": Operation("GET", f"{_TOKEN}?lifetime=2m"),
    "read token, longer": _refused("GET", f"{_TOKEN}?lifetime=19m"),
    "read token, narrower": Operation("GET", f"{_TOKEN}?scope=GET%20/v1/apps"),
    "read token, wider": _refused("GET", f"{_TOKEN}?scope=GET%20/v1/users"),
    "read token of version before": Operation("GET", "{engine}/token/prod?key_version=1"),
    "read token of staged version": Operation("GET", "{engine}/token/prod?key_version=3", allowed=NOT_THERE),
    "read token, with slash": _unknown("GET", f"{_TOKEN}/"),
    "write token": Operation("POST", "{engine}/token/prod", {}),
    "write token of other role": Operation("POST", _TOKEN, {"lifetime": "2m"}),
    "write token by PUT": Operation("PUT", _TOKEN, {}),
    "patch token": _unknown("PATCH", _TOKEN, {}),
    "list tokens": _unknown("LIST", "{engine}/token/"),
    "list tokens of role": _unknown("LIST", f"{_TOKEN}/"),
    "delete token": _unknown("DELETE", _TOKEN),
    "read settings of engine": Operation("GET", "{engine}/config"),
    "write settings of engine": change("POST", "{engine}/config", {"lifetime": 1200}),
    "write lease share": change("POST", "{engine}/config", {"lease_share": 0.9}),
    "delete settings of engine": change("DELETE", "{engine}/config"),
    "read info of engine": Operation("GET", "{engine}/info"),
    "write info of engine": _unknown("POST", "{engine}/info", {}),
    "read help of key": Operation("GET", f"{_KEY}?help=1"),
    "read help of token": Operation("GET", f"{_TOKEN}?help=1"),
    "read type of engine mount": Operation("GET", "sys/internal/ui/mounts/{engine}"),
    "read tuning of engine mount": Operation("GET", "sys/mounts/{engine}/tune"),
    "tune engine mount": Operation("POST", "sys/mounts/{engine}/tune", {"description": "x"}),
    "show private keys in audit log": Operation(
        "POST", "sys/mounts/{engine}/tune", {"audit_non_hmac_request_keys": ["private_key"]}
    ),
    "unmount engine": Operation("DELETE", "sys/mounts/{engine}"),
    "move engine mount": Operation("POST", "sys/remount", {"from": "{engine}", "to": "elsewhere"}),
    "register plugin of engine": Operation(
        "POST", "sys/plugins/catalog/secret/{plugin}", {"sha256": "00", "command": "x"}
    ),
    "deregister plugin of engine": Operation("DELETE", "sys/plugins/catalog/secret/{plugin}"),
    "reload plugin of engine": Operation("POST", "sys/plugins/reload/backend", {"plugin": "{plugin}"}),
    "look leases up": Operation(
        "POST", "sys/leases/lookup", {"lease_id": "{engine}/token/sales/x"}, allowed=BAD_REQUEST
    ),
    "list leases": Operation("LIST", "sys/leases/lookup/{engine}/token/sales/"),
    "revoke lease": Operation("POST", "sys/leases/revoke", {"lease_id": "{engine}/token/sales/x"}),
    "revoke leases of engine": Operation("POST", "sys/leases/revoke-prefix/{engine}/token", {}),
    "revoke leases of engine by force": Operation("POST", "sys/leases/revoke-force/{engine}/token", {}),
    "renew lease": Operation("POST", "sys/leases/renew", {"lease_id": "{engine}/token/sales/x"}, allowed=BAD_REQUEST),
}
