from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace


@dataclass(frozen=True, order=True, slots=True)
class Task:
    priority: int
    name: str = field(compare=False)
    tags: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self):
        if self.priority <= 0:
            raise ValueError("priority must be positive")


def main():
    tasks = [Task(2, "test"), Task(1, "write", ("a",))]
    try:
        tasks[0].name = "other"
    except FrozenInstanceError as error:
        frozen = type(error).__name__
    try:
        Task(0, "never")
    except ValueError as error:
        invalid = str(error)
    return {
        "sorted": [asdict(task) for task in sorted(tasks)],
        "replaced": replace(tasks[0], priority=9),
        "frozen": frozen,
        "invalid": invalid,
        "hashable": len({Task(1, "a"), Task(1, "b")}),
    }
