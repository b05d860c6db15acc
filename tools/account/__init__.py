"""Commands for an AWS account: preflight, bootstrap, deploy, e2e, upgrade, destroy.

Each is a target of the Makefile. A command that changes the account asks for its number first, or
takes it from CONFIRM if there is no terminal; all others only read.
"""
