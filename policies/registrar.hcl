# registrar: decides which staged key counts: promotes, rolls back, disables and enables.
#
# Who:    somebody else than the key admin, who compares the fingerprint with the one that was told on another way.
# Grants: write of records; read of records, notes and version numbers. No private part, neither read nor written.
# Why so: the record pins key ID and fingerprint, and every mint compares them. As long as key admin and registrar
#         are two, neither can bring a foreign key into use. The metadata of records are not writable here, so nobody
#         can lower the number of kept versions.
# Not so: a registrar can stop a key, by disabling it or by writing what is no record, and can cut the history that a
#         rollback reads: Vault keeps a limited number of versions, 10 by default, and further writes prune the oldest.
#         Check-and-set is what vault-asc does, Vault does not ask for it. Raise the number (vault write
#         ${mount}/config max_versions=100) and watch the audit log.

path "${mount}/data/${prefix}/keys/+" {
  capabilities = ["create", "read", "update"]
}

path "${mount}/metadata/${prefix}/keys/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/keys/+" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/staged/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/staged/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/private/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/private/+" {
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
