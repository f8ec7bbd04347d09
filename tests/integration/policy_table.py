"""What each shipped policy lets its holder do, as a table, and the request that tries each row."""

from dataclasses import dataclass
from typing import Final

from tests.conftest import NO_RIGHTS

# Y: answered with success. A dot: answered with 403. `nobody` has a policy without paths, `teamless` the team policy
# and an entity without a team. Key `prod` of team-a is the one that minter, agent and break-glass are for.
TABLE: Final = """
operation                             nobody key-admin registrar minter publisher auditor agent team teamless break-glass
read record                              .       Y         Y       Y        .        Y      Y     Y      .         Y
read record, version 1                   .       Y         Y       Y        .        Y      Y     Y      .         Y
read record of other key                 .       Y         Y       .        .        Y      .     Y      .         .
read record of team-b                    .       .         .       .        .        .      .     .      .         .
read record of team-ab                   .       .         .       .        .        .      .     .      .         .
read private part                        .       .         .       Y        .        .      Y     Y      .         .
read private part, version 1             .       .         .       Y        .        .      Y     Y      .         .
read private part of other key           .       .         .       .        .        .      .     Y      .         .
read private part of team-b              .       .         .       .        .        .      .     .      .         .
read private part of team-ab             .       .         .       .        .        .      .     .      .         .
read subkeys of private part             .       .         .       .        .        .      .     .      .         .
read note                                .       Y         Y       .        .        Y      .     .      .         .
read note of other key                   .       Y         Y       .        .        Y      .     .      .         .
read note of team-b                      .       .         .       .        .        .      .     .      .         .
write record, cas                        .       .         Y       .        .        .      .     .      .         .
write record, no cas                     .       .         Y       .        .        .      .     .      .         .
create record                            .       .         Y       .        .        .      .     .      .         .
patch record                             .       .         .       .        .        .      .     .      .         .
write record of team-b                   .       .         .       .        .        .      .     .      .         .
write record of team-ab                  .       .         .       .        .        .      .     .      .         .
write private part, cas                  .       Y         .       .        .        .      .     .      .         .
write private part, no cas               .       Y         .       .        .        .      .     .      .         .
create private part                      .       Y         .       .        .        .      .     .      .         .
patch private part                       .       .         .       .        .        .      .     .      .         .
write private part of other key          .       Y         .       .        .        .      .     .      .         .
write private part of team-b             .       .         .       .        .        .      .     .      .         .
write private part of team-ab            .       .         .       .        .        .      .     .      .         .
write note, cas                          .       Y         .       .        .        .      .     .      .         .
create note                              .       Y         .       .        .        .      .     .      .         .
patch note                               .       .         .       .        .        .      .     .      .         .
read metadata of record                  .       Y         Y       .        .        Y      .     .      .         Y
read metadata of private part            .       Y         Y       .        .        Y      .     .      .         Y
read metadata of note                    .       Y         Y       .        .        Y      .     .      .         Y
read metadata of other private part      .       Y         Y       .        .        Y      .     .      .         .
read metadata of team-b                  .       .         .       .        .        .      .     .      .         .
read metadata of team-ab                 .       .         .       .        .        .      .     .      .         .
write metadata of record                 .       .         .       .        .        .      .     .      .         .
write metadata of private part           .       .         .       .        .        .      .     .      .         .
write metadata of note                   .       .         .       .        .        .      .     .      .         .
patch metadata of private part           .       .         .       .        .        .      .     .      .         .
list records                             .       Y         Y       .        .        Y      .     Y      .         .
list records, without slash              .       Y         Y       .        .        Y      .     Y      .         .
list private parts                       .       Y         Y       .        .        Y      .     .      .         .
list notes                               .       .         .       .        .        Y      .     .      .         .
list prefix                              .       .         .       .        .        .      .     .      .         .
list teams                               .       .         .       .        .        .      .     .      .         .
list mount                               .       .         .       .        .        .      .     .      .         .
list records of team-b                   .       .         .       .        .        .      .     .      .         .
delete latest record                     .       .         .       .        .        .      .     .      .         .
delete latest private part               .       .         .       .        .        .      .     .      .         .
delete latest note                       .       .         .       .        .        .      .     .      .         .
delete version of record                 .       .         .       .        .        .      .     .      .         Y
delete version of private part           .       .         .       .        .        .      .     .      .         Y
delete version of note                   .       .         .       .        .        .      .     .      .         Y
undelete version of record               .       .         .       .        .        .      .     .      .         Y
undelete version of private part         .       .         .       .        .        .      .     .      .         Y
undelete version of note                 .       .         .       .        .        .      .     .      .         Y
destroy version of record                .       .         .       .        .        .      .     .      .         Y
destroy version of private part          .       .         .       .        .        .      .     .      .         Y
destroy version of note                  .       .         .       .        .        .      .     .      .         Y
remove record for good                   .       .         .       .        .        .      .     .      .         Y
remove private part for good             .       .         .       .        .        .      .     .      .         Y
remove note for good                     .       .         .       .        .        .      .     .      .         Y
delete version of other key              .       .         .       .        .        .      .     .      .         .
destroy version of other key             .       .         .       .        .        .      .     .      .         .
remove other key for good                .       .         .       .        .        .      .     .      .         .
destroy version of team-b                .       .         .       .        .        .      .     .      .         .
remove key of team-ab for good           .       .         .       .        .        .      .     .      .         .
read settings of mount                   .       Y         .       .        .        .      .     .      .         .
write settings of mount                  .       .         .       .        .        .      .     .      .         .
read type of mount                       .       Y         Y       Y        .        Y      Y     Y      .         Y
read type of mount of service keys       .       .         .       .        Y        .      Y     .      .         .
read service key                         .       .         .       .        Y        .      Y     .      .         .
read other service key                   .       .         .       .        .        .      .     .      .         .
write service key                        .       .         .       .        .        .      .     .      .         .
read metadata of service key             .       .         .       .        .        .      .     .      .         .
look up own token                        .       Y         Y       Y        Y        Y      Y     Y      Y         Y
renew own token                          .       Y         Y       Y        Y        Y      Y     Y      Y         Y
ask own capabilities                     .       Y         Y       Y        Y        Y      Y     Y      Y         Y
revoke own token                         .       .         .       .        .        .      Y     .      .         .
list policies                            .       .         .       .        .        Y      .     .      .         .
read policy                              .       .         .       .        .        Y      .     .      .         .
write policy                             .       .         .       .        .        .      .     .      .         .
delete policy                            .       .         .       .        .        .      .     .      .         .
hash for audit log                       .       .         .       .        .        Y      .     .      .         .
list audit devices                       .       .         .       .        .        .      .     .      .         .
switch audit device on                   .       .         .       .        .        .      .     .      .         .
switch audit device off                  .       .         .       .        .        .      .     .      .         .
look up token by accessor                .       .         .       .        .        Y      .     .      .         .
revoke token by accessor                 .       .         .       .        .        .      .     .      .         .
list accessors                           .       .         .       .        .        .      .     .      .         .
look up any token                        .       .         .       .        .        .      .     .      .         .
create token                             .       .         .       .        .        .      .     .      .         .
read entity                              .       .         .       .        .        Y      .     .      .         .
write entity                             .       .         .       .        .        .      .     .      .         .
read role ID                             .       .         .       .        .        .      .     .      .         .
create secret ID                         .       .         .       .        .        .      .     .      .         .
write AppRole role                       .       .         .       .        .        .      .     .      .         .
list mounts                              .       .         .       .        .        .      .     .      .         .
mount an engine                          .       .         .       .        .        .      .     .      .         .
unmount                                  .       .         .       .        .        .      .     .      .         .
list auth methods                        .       .         .       .        .        .      .     .      .         .
enable auth method                       .       .         .       .        .        .      .     .      .         .
read plugin catalog                      .       .         .       .        .        .      .     .      .         .
register plugin                          .       .         .       .        .        .      .     .      .         .
wrap data                                .       .         .       .        .        .      .     .      .         .
write cubbyhole                          .       .         .       .        .        .      .     .      .         .
read raw storage                         .       .         .       .        .        .      .     .      .         .
seal                                     .       .         .       .        .        .      .     .      .         .
"""

ROLES: Final = tuple(TABLE.strip().splitlines()[0].split()[1:])
EXPECTED: Final = {
    name: tuple(cells.split()) for name, _, cells in (line.partition("  ") for line in TABLE.strip().splitlines()[1:])
}

PREFIX: Final = "asc/team-a"
PREFIXES: Final = (PREFIX, "asc/team-b", "asc/team-ab")
KINDS: Final = ("keys", "private", "staged")


def without_private_parts(name: str) -> dict[str, str]:
    """The cells of a row where minters read no private part, with those of `admin/1` and `registrar/1`.

    What is narrowed to one key does not have what the row says of another one, or of one that is new.
    """
    cells = dict(zip(ROLES, EXPECTED[name], strict=True))
    one_key = not (" other " in name or name.startswith("create "))
    for narrow, wide in (("admin/1", "key-admin"), ("registrar/1", "registrar")):
        cells[narrow] = cells[wide] if one_key else "."
    if name.startswith("read private part"):
        cells |= dict.fromkeys(("minter", "agent", "team"), ".")
    return cells


@dataclass(frozen=True)
class Operation:
    """One request. In `path`, {kv} and {nexla} are mounts, {p} the prefix of team-a; the rest comes from the fixture."""

    method: str
    path: str
    body: object = None
    changes: bool = False
    allowed: frozenset[int] = frozenset({200, 204})


def change(method: str, path: str, body: object = None) -> Operation:
    return Operation(method, path, body, changes=True)


def secret(cas: int | None = None) -> dict[str, object]:
    return {"options": {} if cas is None else {"cas": cas}, "data": {"value": "changed"}}


VERSION_1: Final = {"versions": [1]}
OPERATIONS: Final = {
    "read record": Operation("GET", "{kv}/data/{p}/keys/prod"),
    "read record, version 1": Operation("GET", "{kv}/data/{p}/keys/prod?version=1"),
    "read record of other key": Operation("GET", "{kv}/data/{p}/keys/other"),
    "read record of team-b": Operation("GET", "{kv}/data/asc/team-b/keys/prod"),
    "read record of team-ab": Operation("GET", "{kv}/data/asc/team-ab/keys/prod"),
    "read private part": Operation("GET", "{kv}/data/{p}/private/prod"),
    "read private part, version 1": Operation("GET", "{kv}/data/{p}/private/prod?version=1"),
    "read private part of other key": Operation("GET", "{kv}/data/{p}/private/other"),
    "read private part of team-b": Operation("GET", "{kv}/data/asc/team-b/private/prod"),
    "read private part of team-ab": Operation("GET", "{kv}/data/asc/team-ab/private/prod"),
    "read subkeys of private part": Operation("GET", "{kv}/subkeys/{p}/private/prod"),
    "read note": Operation("GET", "{kv}/data/{p}/staged/prod"),
    "read note of other key": Operation("GET", "{kv}/data/{p}/staged/other"),
    "read note of team-b": Operation("GET", "{kv}/data/asc/team-b/staged/prod"),
    "write record, cas": change("POST", "{kv}/data/{p}/keys/prod", secret(2)),
    "write record, no cas": change("POST", "{kv}/data/{p}/keys/prod", secret()),
    "create record": change("POST", "{kv}/data/{p}/keys/new", secret(0)),
    "patch record": change("PATCH", "{kv}/data/{p}/keys/prod", secret(2)),
    "write record of team-b": change("POST", "{kv}/data/asc/team-b/keys/prod", secret()),
    "write record of team-ab": change("POST", "{kv}/data/asc/team-ab/keys/prod", secret()),
    "write private part, cas": change("POST", "{kv}/data/{p}/private/prod", secret(2)),
    "write private part, no cas": change("POST", "{kv}/data/{p}/private/prod", secret()),
    "create private part": change("POST", "{kv}/data/{p}/private/new", secret(0)),
    "patch private part": change("PATCH", "{kv}/data/{p}/private/prod", secret(2)),
    "write private part of other key": change("POST", "{kv}/data/{p}/private/other", secret(2)),
    "write private part of team-b": change("POST", "{kv}/data/asc/team-b/private/prod", secret()),
    "write private part of team-ab": change("POST", "{kv}/data/asc/team-ab/private/prod", secret()),
    "write note, cas": change("POST", "{kv}/data/{p}/staged/prod", secret(2)),
    "create note": change("POST", "{kv}/data/{p}/staged/new", secret(0)),
    "patch note": change("PATCH", "{kv}/data/{p}/staged/prod", secret(2)),
    "read metadata of record": Operation("GET", "{kv}/metadata/{p}/keys/prod"),
    "read metadata of private part": Operation("GET", "{kv}/metadata/{p}/private/prod"),
    "read metadata of note": Operation("GET", "{kv}/metadata/{p}/staged/prod"),
    "read metadata of other private part": Operation("GET", "{kv}/metadata/{p}/private/other"),
    "read metadata of team-b": Operation("GET", "{kv}/metadata/asc/team-b/private/prod"),
    "read metadata of team-ab": Operation("GET", "{kv}/metadata/asc/team-ab/private/prod"),
    "write metadata of record": change("POST", "{kv}/metadata/{p}/keys/prod", {"max_versions": 1}),
    "write metadata of private part": change("POST", "{kv}/metadata/{p}/private/prod", {"max_versions": 1}),
    "write metadata of note": change("POST", "{kv}/metadata/{p}/staged/prod", {"max_versions": 1}),
    "patch metadata of private part": change("PATCH", "{kv}/metadata/{p}/private/prod", {"max_versions": 1}),
    "list records": Operation("LIST", "{kv}/metadata/{p}/keys/"),
    "list records, without slash": Operation("LIST", "{kv}/metadata/{p}/keys"),
    "list private parts": Operation("LIST", "{kv}/metadata/{p}/private/"),
    "list notes": Operation("LIST", "{kv}/metadata/{p}/staged/"),
    "list prefix": Operation("LIST", "{kv}/metadata/{p}/"),
    "list teams": Operation("LIST", "{kv}/metadata/asc/"),
    "list mount": Operation("LIST", "{kv}/metadata/"),
    "list records of team-b": Operation("LIST", "{kv}/metadata/asc/team-b/keys/"),
    "delete latest record": change("DELETE", "{kv}/data/{p}/keys/prod"),
    "delete latest private part": change("DELETE", "{kv}/data/{p}/private/prod"),
    "delete latest note": change("DELETE", "{kv}/data/{p}/staged/prod"),
    **{
        f"{verb} version of {what}": change("POST", f"{{kv}}/{verb}/{{p}}/{kind}/prod", VERSION_1)
        for verb in ("delete", "undelete", "destroy")
        for what, kind in zip(("record", "private part", "note"), KINDS, strict=True)
    },
    "remove record for good": change("DELETE", "{kv}/metadata/{p}/keys/prod"),
    "remove private part for good": change("DELETE", "{kv}/metadata/{p}/private/prod"),
    "remove note for good": change("DELETE", "{kv}/metadata/{p}/staged/prod"),
    "delete version of other key": change("POST", "{kv}/delete/{p}/private/other", VERSION_1),
    "destroy version of other key": change("POST", "{kv}/destroy/{p}/private/other", VERSION_1),
    "remove other key for good": change("DELETE", "{kv}/metadata/{p}/private/other"),
    "destroy version of team-b": change("POST", "{kv}/destroy/asc/team-b/private/prod", VERSION_1),
    "remove key of team-ab for good": change("DELETE", "{kv}/metadata/asc/team-ab/private/prod"),
    "read settings of mount": Operation("GET", "{kv}/config"),
    "write settings of mount": Operation("POST", "{kv}/config", {"max_versions": 1}),
    "read type of mount": Operation("GET", "sys/internal/ui/mounts/{kv}"),
    "read type of mount of service keys": Operation("GET", "sys/internal/ui/mounts/{nexla}"),
    "read service key": Operation("GET", "{nexla}/data/asc/nexla/default"),
    "read other service key": Operation("GET", "{nexla}/data/asc/nexla/second"),
    "write service key": Operation("POST", "{nexla}/data/asc/nexla/default", secret()),
    "read metadata of service key": Operation("GET", "{nexla}/metadata/asc/nexla/default"),
    "look up own token": Operation("GET", "auth/token/lookup-self"),
    "renew own token": Operation("POST", "auth/token/renew-self", {}),
    "ask own capabilities": Operation("POST", "sys/capabilities-self", {"paths": ["{kv}/data/{p}/private/prod"]}),
    "revoke own token": Operation("POST", "auth/token/revoke-self"),
    "list policies": Operation("LIST", "sys/policies/acl"),
    "read policy": Operation("GET", "sys/policies/acl/{policy}"),
    "write policy": Operation("PUT", "sys/policies/acl/{policy}", {"policy": NO_RIGHTS}),
    "delete policy": Operation("DELETE", "sys/policies/acl/{policy}"),
    # 400 when no such device is known: the request was let through all the same.
    "hash for audit log": Operation(
        "POST", "sys/audit-hash/{device}", {"input": "value"}, allowed=frozenset({200, 400})
    ),
    "list audit devices": Operation("GET", "sys/audit"),
    "switch audit device on": Operation("PUT", "sys/audit/second", {"type": "file"}),
    "switch audit device off": Operation("DELETE", "sys/audit/{device}"),
    "look up token by accessor": Operation("POST", "auth/token/lookup-accessor", {"accessor": "{accessor}"}),
    "revoke token by accessor": Operation("POST", "auth/token/revoke-accessor", {"accessor": "{accessor}"}),
    "list accessors": Operation("LIST", "auth/token/accessors"),
    "look up any token": Operation("POST", "auth/token/lookup", {"token": "unknown"}),
    "create token": Operation("POST", "auth/token/create", {}),
    "read entity": Operation("GET", "identity/entity/id/{entity}"),
    "write entity": Operation("POST", "identity/entity/id/{entity}", {"metadata": {"team": "team-b"}}),
    "read role ID": Operation("GET", "auth/{approle}/role/job/role-id"),
    "create secret ID": Operation("POST", "auth/{approle}/role/job/secret-id", {}),
    "write AppRole role": Operation("POST", "auth/{approle}/role/job", {"token_policies": ["root"]}),
    "list mounts": Operation("GET", "sys/mounts"),
    "mount an engine": Operation("POST", "sys/mounts/more", {"type": "kv"}),
    "unmount": Operation("DELETE", "sys/mounts/{kv}"),
    "list auth methods": Operation("GET", "sys/auth"),
    "enable auth method": Operation("POST", "sys/auth/more", {"type": "approle"}),
    "read plugin catalog": Operation("GET", "sys/plugins/catalog"),
    "register plugin": Operation("POST", "sys/plugins/catalog/secret/asc", {"sha256": "00", "command": "asc"}),
    "wrap data": Operation("POST", "sys/wrapping/wrap", {"value": "x"}),
    "write cubbyhole": Operation("POST", "cubbyhole/x", {"value": "x"}),
    "read raw storage": Operation("GET", "sys/raw/core/keyring"),
    "seal": Operation("PUT", "sys/seal"),
}
