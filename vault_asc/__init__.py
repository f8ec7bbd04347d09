"""vault-asc: App Store Connect API keys in Vault, short-lived tokens out of it."""

__version__ = "0.1.0"
