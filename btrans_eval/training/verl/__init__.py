"""Members in the workers of verl: who a rollout is, what it is updated under, and votes of groups.

`settings` and `voting` need no verl; `engine`, `agents` and `rewards` are what its configuration
names.
"""
