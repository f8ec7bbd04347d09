# key-admin: brings keys in and stages their successors, and cannot read one back.
#
# Who:    the people or the pipeline that get .p8 files from App Store Connect.
# Grants: write of private parts and of the notes about staged ones; read of records, notes and version numbers.
# Why so: create and update without read makes the private part write-only. The number of the version that a
#         check-and-set write builds on comes from the metadata, which hold no values. The record is not writable
#         here: what a key admin writes is staged, and counts only once a registrar has promoted it, so that nobody can
#         swap a key alone. `key import` and `key rotate` do both steps and need both policies.
# Not so: a key admin cannot swap a key, but can stop it. Vault keeps a limited number of versions, 10 by default, and
#         whoever may write can prune: that many further writes push the current private version out, and from then on
#         every mint from that key fails. No policy of Vault forbids that. Make it harder and easier to see: raise the
#         number (vault write ${mount}/config max_versions=100), which is not writable here, and watch the audit log.

path "${mount}/data/${prefix}/private/+" {
  capabilities = ["create", "update"]
}

path "${mount}/metadata/${prefix}/private/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/private/+" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/staged/+" {
  capabilities = ["create", "read", "update"]
}

path "${mount}/metadata/${prefix}/staged/+" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/keys/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/keys/" {
  capabilities = ["list"]
}

path "${mount}/metadata/${prefix}/keys/+" {
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
