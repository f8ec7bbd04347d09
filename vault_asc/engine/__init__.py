"""The secrets engine `vault-plugin-secrets-asc`: it keeps keys inside Vault and answers with leased tokens.

`backend` and `paths` are what it does and know no gRPC; `plugin` and the modules beside it are how Vault talks to it.
"""
