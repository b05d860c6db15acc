"""What every place that counts attempts keeps to."""

from dynamodb_streams_cdc.guards.attempts import Attempts
from tests.factories import NOON


class AttemptsContract:
    """For a class with a fixture `attempts`."""

    def test_attempts_that_did_not_end_are_counted(self, attempts: Attempts) -> None:
        assert [attempts.begin("search/1", NOON) for _ in range(4)] == [0, 1, 2, 3]
        assert attempts.begin("search/2", NOON) == 0

    def test_what_ended_is_forgotten(self, attempts: Attempts) -> None:
        attempts.begin("search/1", NOON)
        attempts.begin("search/2", NOON)
        attempts.end("search/1", NOON)
        assert attempts.begin("search/1", NOON) == 0
        assert attempts.begin("search/2", NOON) == 1

    def test_a_count_is_read_without_an_attempt(self, attempts: Attempts) -> None:
        assert attempts.read("search/1", NOON) == 0
        attempts.begin("search/1", NOON)
        attempts.begin("search/1", NOON)
        assert [attempts.read("search/1", NOON) for _ in range(2)] == [2, 2]
        assert attempts.begin("search/1", NOON) == 2

    def test_what_never_began_can_end(self, attempts: Attempts) -> None:
        attempts.end("search/1", NOON)
        assert attempts.begin("search/1", NOON) == 0
