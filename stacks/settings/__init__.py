"""The settings of an environment, in groups: one module and one class of each.

`stacks.environments.Environment` puts the groups together and checks the rules between them; a
construct takes the group that it needs. docs/reference/settings.md is written from these classes: a
setting is a field, its meaning is in the docstring ("Attributes:"), its values are the field's.
"""
