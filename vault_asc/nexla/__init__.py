"""Nexla: where tokens go.

client            the API: log in, read, write, probe;  session: one login for all targets of a service key
discovery         which field takes the token;  auth_template: what a template shows
credential_body   the complete body of the write;  credential_view: what a person may see before it
verdict           what a probe's answer proves;  errors: what its other answers mean
allowance         how many calls a service key's user may make
publisher         all of it for one target
"""
