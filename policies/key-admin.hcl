# key-admin: brings keys in and stages their successors, and cannot read one back.
#
# Who:    the people or the pipeline that get .p8 files from App Store Connect.
# Grants: write of the notes about staged versions; read of records, notes and version numbers; in custody kv and
#         transit, write of private parts; in custody transit, import of keys and of further versions, and read of what
#         Transit says of a key; in custody engine, making a key, staging versions, and read of what it says of them.
# Why so: create and update without read makes the private part write-only. The number of the version that a
#         check-and-set write builds on comes from the metadata, which hold no values. The record is not writable
#         here: what a key admin writes is staged, and counts only once a registrar has promoted it, so that nobody can
#         swap a key alone. `key import` and `key rotate` do both steps and need both policies. Private parts are
#         written in custody transit too, as escrow. Imports take a wrapped key and nothing beside it, so that none can
#         be made exportable, and there is no path to the settings of a key, to export or to backup. The engine has no way
#         to read a private key back for anybody. There a write to a key that exists replaces it at once, so "create" stands
#         alone: Vault takes it for names that are free. A further version is staged, and a role that gives tokens of a new
#         key is for a role admin to make, so `key import` into the engine needs that policy too.
# Not so: a key admin cannot swap a key, but can stop it. Vault keeps a limited number of versions, 10 by default, and
#         whoever may write can prune: that many further writes push the current private version out, and from then on
#         every mint from that key fails. No policy of Vault forbids that. Make it harder and easier to see: raise the
#         number (vault write ${mount}/config max_versions=100), which is not writable here, and watch the audit log.
#         Names in Transit have no folders, and a "+" stands for a whole segment, never for a part of one. So without
#         --key this spans all keys of the Transit mount, of every prefix: it can add versions to another team's key,
#         which no mint uses before that team's registrar promotes them, and take a name before its team does. Teams
#         with key admins of their own get a Transit mount of their own (store.transit_mount). Names in the engine have no
#         folders either, nor a prefix: without --key this can take free names there, and stage a version of any key of the
#         mount, which drops the one that was waiting. One mount of the engine for each store (store.engine_mount).
#         Beside role-admin, and without a registrar, it can give readers of a role a foreign key: it makes one under a free
#         name and points the role to it. No record tells of that, so `vault-asc mint NAME` refuses the token; `vault read`,
#         an Agent's template and `vault-asc mint --role` do not look. Never give both to one outside an import.
# Adding: of two paths that fit, Vault takes the more exact one alone. A token that also has minter or break-glass of a
#         key needs this policy with --key of that key: then the paths are equal, and what they grant adds up.

# custody kv, transit: the private part, in transit as escrow.
path "${mount}/data/${prefix}/private/${keys}" {
  capabilities = ["create", "update"]
}

path "${mount}/metadata/${prefix}/private/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/private/${keys}" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/staged/${keys}" {
  capabilities = ["create", "read", "update"]
}

path "${mount}/metadata/${prefix}/staged/${keys}" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/keys/${keys}" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/keys/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/keys/${keys}" {
  capabilities = ["read"]
}

# custody transit: the public key that a private key is wrapped with.
path "${transit_mount}/wrapping_key" {
  capabilities = ["read"]
}

# custody transit: a first version. Only these three: "exportable", "allow_plaintext_backup", "allow_rotation" and what
# else there may be cannot be sent, with no value. Vault asks for "update", also for what it creates here.
path "${transit_mount}/keys/${transit_keys}/import" {
  capabilities = ["update"]
  allowed_parameters = {
    "ciphertext"    = []
    "hash_function" = ["SHA256"]
    "type"          = ["ecdsa-p256"]
  }
}

# custody transit: a further version. Without "version" and "public_key", which change one that is there.
path "${transit_mount}/keys/${transit_keys}/import_version" {
  capabilities = ["update"]
  allowed_parameters = {
    "ciphertext"    = []
    "hash_function" = ["SHA256"]
  }
}

# custody transit: public keys and version numbers, to compare after an import.
path "${transit_mount}/keys/${transit_keys}" {
  capabilities = ["read"]
}

# custody engine: a new key, and public facts. Never "update" beside "create": it would replace a key that is in use.
path "${engine_mount}/keys/${keys}" {
  capabilities = ["create", "read"]
}

# custody engine: a further version, which nothing signs by before a registrar promotes it.
path "${engine_mount}/keys/${keys}/stage" {
  capabilities = ["update"]
}

# custody engine: names, to see which are free.
path "${engine_mount}/keys/" {
  capabilities = ["list"]
}

# custody engine: whose a role is. Of every role also with --key: a more exact path would hide what role-admin grants.
path "${engine_mount}/roles/+" {
  capabilities = ["read"]
}

# How many versions the mount keeps, and for how long: a write that would prune or outlive the current key is refused.
path "${mount}/config" {
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
