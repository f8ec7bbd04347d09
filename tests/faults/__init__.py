"""The fault matrix: each row by its name, against the real server, simulators that go wrong, real files and signals."""
