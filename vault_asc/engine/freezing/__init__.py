"""The engine as one executable: how it is built (`building`), what it says of itself (`facts`), how it starts (`start`).

The catalog's checksum then covers interpreter, libraries and code, and a Vault node needs no Python.
"""
