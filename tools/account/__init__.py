"""The path to an AWS account and back: preflight, bootstrap, deploy, e2e, upgrade, destroy.

Each is a target of the Makefile. Everything that is looked up is read-only; everything that changes
an account asks for its number first, or takes it from CONFIRM where nobody can type.
"""
