"""The long-running service: all targets of a configuration kept fresh by one process, for ever.

loop          who is refreshed when, by which worker; the only owner of all below
plan          what a configuration means;  roster: its targets and service keys;  reloading: a new plan
work          the queue: due targets of one service key, in order of urgency
breaker       whether a host is asked;  hosts: all of them;  pace: how often;  budget: how many failed calls are repeated
skew          what the servers' clocks say about ours;  clocks: ours, and its jumps
capacity      whether the plan can be met at all;  shard: which part of it is this process's
attempt       one attempt as a worker makes it: `push` for one target;  crew: the workers
traffic       what an attempt saw of the servers
view          what is to be seen from outside;  events, telling: what is told, one line each
alarms        who is told before a token dies

When a target is due is in `rotation`, what an attempt does in `refreshing`, both shared with `push`.
"""
