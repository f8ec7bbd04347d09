# break-glass: removes one key, or versions of it, for good.
#
# Who:    nobody in daily work. Issue it for one key, with a short life, to a second pair of eyes.
# Grants: delete, undelete and destroy of versions, and removal of the whole secret, for record, note and private part;
#         in custody transit, removal of the key with all versions; in custody engine, the same, and of its role.
# Why so: destroying cannot be undone and stops every consumer, so it is in no other policy. The record is readable,
#         because an enabled key is not destroyed; the private part is not.
# Not so: the role that goes with a key of the engine is found by its name, the key's own unless --role says another. If a
#         role of that name is another key's, this policy can remove it all the same. Beside key-admin it can replace a key
#         under the same name, which nobody else can: records still pin the old one, readers of roles do not.

path "${mount}/data/${prefix}/keys/${key}" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/keys/${key}" {
  capabilities = ["read", "delete"]
}

path "${mount}/metadata/${prefix}/private/${key}" {
  capabilities = ["read", "delete"]
}

path "${mount}/metadata/${prefix}/staged/${key}" {
  capabilities = ["read", "delete"]
}

path "${mount}/delete/${prefix}/keys/${key}" {
  capabilities = ["update"]
}

path "${mount}/delete/${prefix}/private/${key}" {
  capabilities = ["update"]
}

path "${mount}/delete/${prefix}/staged/${key}" {
  capabilities = ["update"]
}

path "${mount}/undelete/${prefix}/keys/${key}" {
  capabilities = ["update"]
}

path "${mount}/undelete/${prefix}/private/${key}" {
  capabilities = ["update"]
}

path "${mount}/undelete/${prefix}/staged/${key}" {
  capabilities = ["update"]
}

path "${mount}/destroy/${prefix}/keys/${key}" {
  capabilities = ["update"]
}

path "${mount}/destroy/${prefix}/private/${key}" {
  capabilities = ["update"]
}

path "${mount}/destroy/${prefix}/staged/${key}" {
  capabilities = ["update"]
}

# custody transit: whether it is there, and removal, with all versions.
path "${transit_mount}/keys/${transit_key}" {
  capabilities = ["read", "delete"]
}

# custody transit: a key is only removed after it was said that it may be. No other setting.
path "${transit_mount}/keys/${transit_key}/config" {
  capabilities = ["update"]
  allowed_parameters = {
    "deletion_allowed" = []
  }
}

# custody engine: what it is, and removal, with all versions. Refused while a role uses the key.
path "${engine_mount}/keys/${key}" {
  capabilities = ["read", "delete"]
}

# custody engine: its role, which has to go first.
path "${engine_mount}/roles/${role}" {
  capabilities = ["read", "delete"]
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
