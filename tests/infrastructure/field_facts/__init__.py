"""What real AWS does that no emulator shows: one fact, one file, with its source.

Facts of the tools are in tests/tools/field_facts (4 bootstrap, 5 approval) and in
tests/tools/test_account_destroy.py (10 destroy). Fact 11, that a new mapping reads from the start
of the stream and gives up what is too old, is the engine's: tests/docs/test_questions.py.
"""
