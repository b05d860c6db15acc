"""What happened in a simulation, for a person to follow."""

from dataclasses import dataclass, field

from dynamodb_streams_cdc.simulation.schedule import START


@dataclass
class Timeline:
    """Lines of time, actor and event; kept only if somebody is going to read them."""

    keep: bool = True
    lines: list[str] = field(default_factory=list)

    def note(self, now: float, actor: str, event: str) -> None:
        """Add a line."""
        if self.keep:
            elapsed = now - START
            hours, rest = divmod(elapsed, 3600)
            minutes, seconds = divmod(rest, 60)
            clock = f"{int(hours):02}:{int(minutes):02}:{seconds:06.3f}"
            self.lines.append(f"{clock}  {actor:<12} {event}")

    def __str__(self) -> str:
        return "\n".join(self.lines)
