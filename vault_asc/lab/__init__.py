"""The laboratory: a real OpenBao server and stand-ins for Nexla and Apple, for the demo and the tests.

Everything listens on 127.0.0.1 only. The stand-ins share no code with the minting and pushing that they judge.
"""
