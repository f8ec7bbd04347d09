# minter: mints tokens from one key.
#
# Who:    a job, a host's Agent or a person that needs tokens of this key; one AppRole role or entity for each.
# Grants: read of the key's public record; in custody kv, read of its private part, at any version; in custody transit,
#         signatures by it, at any version, in the one form that its tokens have; in custody engine, read of the tokens of
#         its role.
# Why so: a mint reads the record and then uses exactly the version that it names. With the private key in KV, a minter
#         could copy it: give this to what you would give the .p8 to. In Transit nothing leads to the key itself: not
#         what Transit knows of it, not the private part that may be kept in KV as escrow. In the engine there is nothing
#         else to read or to sign: it builds the token, by the role, and can only be asked for less. No metadata, no list: a
#         minter knows the name of its key. No wildcard: the next key is another decision.
# Not so: no policy of Vault looks into what is signed. A minter of a key in Transit can sign any claims that Apple takes,
#         of any scope and lifetime and for any later time, while it has this policy, and with a version that is only
#         staged. What it has had signed stays good when the policy is taken away. The engine looks into it, and signs by no
#         staged version, but by the one before the current one until that is retired.

path "${mount}/data/${prefix}/keys/${key}" {
  capabilities = ["read"]
}

# custody kv: the key itself.
path "${mount}/data/${prefix}/private/${key}" {
  capabilities = ["read"]
}

# custody transit: an ES256 signature of one input, by a version that is said. Without "required" the defaults would
# hold: another encoding, the latest version. What is not allowed is denied: a list of inputs, a hash made elsewhere. The
# path has no wildcard, because below it are the other hashes (sign/KEY/sha2-512), which the body has no say in.
path "${transit_mount}/sign/${transit_key}" {
  capabilities        = ["update"]
  required_parameters = ["input", "marshaling_algorithm", "hash_algorithm", "key_version"]
  allowed_parameters = {
    "input"                = []
    "marshaling_algorithm" = ["jws"]
    "hash_algorithm"       = ["sha2-256"]
    "key_version"          = []
  }
}

# custody engine: tokens of the key's role. Read alone: a write to the same path asks for the same.
path "${engine_mount}/token/${role}" {
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
