"""App Store Connect API keys: the `.p8` and whom it belongs to. Pure but for `file`, which reads one.

private_key   the key itself: checked once, then only used for signing
pem, der      strict readers of what people hand in;  wrong_keys: what they hand in instead
identity      key ID, issuer ID, key type, audience; light, loads no crypto library
file          reading a key file without being fooled by it
"""
