"""Your domain: the tables, their entities, and the copies of each. A fork edits this folder.

The example domain is deployed until you replace this declaration: see docs/how-to/fork.md. Stacks,
functions, demo and tests read `TABLES`, and nothing else of this folder but `stories.py`.
"""

from lambdas.example_domain import TABLES as TABLES
