# auditor: sees everything that is no secret.
#
# Who:    security, and whoever has to find out who minted a token.
# Grants: records, notes and all metadata; in custody transit, what Transit says of keys; in custody engine, what the engine
#         says of keys and roles, its settings and version; policies; hashes for a search in the audit log; whose a token or entity is.
# Why so: nothing here leads to a private part: the one path of theirs is metadata. The hash of a value that one has
#         (audit-hash) finds it in the log without showing anybody else's. Looking up an accessor does not give its
#         token, and revoking is another role's.

path "${mount}/data/${prefix}/keys/+" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/staged/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/keys/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/keys/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/private/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/private/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/staged/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/staged/+" {
  capabilities = ["read"]
}

# custody transit: names, and public keys and settings: whether a key is exportable is seen here.
path "${transit_mount}/keys/" {
  capabilities = ["list"]
}

# custody transit: of each key; in this form the path covers nothing below it.
path "${transit_mount}/keys/+" {
  capabilities = ["read"]
}

# custody engine: names of keys.
path "${engine_mount}/keys/" {
  capabilities = ["list"]
}

# custody engine: public facts of each version: which signs, which waits, who brought it in.
path "${engine_mount}/keys/+" {
  capabilities = ["read"]
}

# custody engine: names of roles.
path "${engine_mount}/roles/" {
  capabilities = ["list"]
}

# custody engine: of which key, for which calls and how long.
path "${engine_mount}/roles/+" {
  capabilities = ["read"]
}

# custody engine: lifetimes and leases of all roles.
path "${engine_mount}/config" {
  capabilities = ["read"]
}

# custody engine: which version answers.
path "${engine_mount}/info" {
  capabilities = ["read"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/+" {
  capabilities = ["read"]
}

path "sys/audit-hash/+" {
  capabilities = ["update"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}

path "identity/entity/id/+" {
  capabilities = ["read"]
}

# What every shipped policy has, so that its tokens need no default policy: know and renew oneself, ask what is allowed.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}
