# registrar: decides which staged key counts: promotes, rolls back, retires, disables and enables.
#
# Who:    somebody else than the key admin, who compares the fingerprint with the one that was told on another way.
# Grants: write of records; read of records, notes and version numbers; in custody transit, which is the oldest version
#         that signs; in custody engine, which version signs and whether any does. No private part, neither read nor written.
# Why so: the record pins key ID and fingerprint, and every mint compares them. As long as key admin and registrar
#         are two, neither can bring a foreign key into use. The metadata of records are not writable here, so nobody
#         can lower the number of kept versions.
# Not so: a registrar can stop a key, by disabling it or by writing what is no record, and can cut the history that a
#         rollback reads: Vault keeps a limited number of versions, 10 by default, and further writes prune the oldest.
#         Check-and-set is what vault-asc does, Vault does not ask for it. Raise the number (vault write
#         ${mount}/config max_versions=100) and watch the audit log. In Transit a registrar can retire versions of every
#         key of the mount, as names there have no folders: see key-admin. In the engine likewise: without --key it can
#         promote what another team has staged, and stop any key of the mount. What it retires there is gone for good, and
#         so is a waiting version after a rollback.
# Adding: beside minter or break-glass of a key, this policy has to be that of the same key (--key): see key-admin.

path "${mount}/data/${prefix}/keys/${keys}" {
  capabilities = ["create", "read", "update"]
}

path "${mount}/metadata/${prefix}/keys/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/keys/${keys}" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/staged/${keys}" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/staged/${keys}" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/private/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/private/${keys}" {
  capabilities = ["read"]
}

# custody transit: public keys and version numbers, to compare before a promotion.
path "${transit_mount}/keys/${transit_keys}" {
  capabilities = ["read"]
}

# custody transit: retire versions and bring them back. No other setting: one of them makes a key exportable. Nothing is
# "required", because Vault adds that up over all policies of a token that have the same path.
path "${transit_mount}/keys/${transit_keys}/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "min_encryption_version" = []
  }
}

# custody engine: public facts of versions, to compare before a promotion.
path "${engine_mount}/keys/${keys}" {
  capabilities = ["read"]
}

# custody engine: what is staged becomes current, for whoever reads tokens without a record.
path "${engine_mount}/keys/${keys}/promote" {
  capabilities = ["update"]
}

# custody engine: back to the version before.
path "${engine_mount}/keys/${keys}/rollback" {
  capabilities = ["update"]
}

# custody engine: the version before is forgotten.
path "${engine_mount}/keys/${keys}/retire" {
  capabilities = ["update"]
}

# custody engine: the key signs again, for all its roles.
path "${engine_mount}/keys/${keys}/enable" {
  capabilities = ["update"]
}

# custody engine: the key signs no more, for whatever role.
path "${engine_mount}/keys/${keys}/disable" {
  capabilities = ["update"]
}

# custody engine: which roles give tokens of a key. Of every role also with --key, as for key-admin.
path "${engine_mount}/roles/+" {
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
