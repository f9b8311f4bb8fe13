from enum import Enum, Flag, auto, unique


@unique
class State(Enum):
    DRAFT = "draft"
    REVIEW = "review"
    PUBLISHED = "published"

    def to(self, other):
        if other not in ALLOWED[self]:
            raise ValueError(f"{self.value} -> {other.value}")
        return other


ALLOWED = {State.DRAFT: {State.REVIEW}, State.REVIEW: {State.DRAFT, State.PUBLISHED}, State.PUBLISHED: set()}


class Permission(Flag):
    READ = auto()
    WRITE = auto()
    EXECUTE = auto()


def main():
    state, path = State.DRAFT, [State.DRAFT]
    for target in (State.REVIEW, State.PUBLISHED):
        state = state.to(target)
        path.append(state)
    try:
        state.to(State.DRAFT)
    except ValueError as error:
        refused = str(error)
    granted = Permission.READ | Permission.EXECUTE
    return {
        "path": path,
        "refused": refused,
        "permissions": granted.value,
        "can_write": Permission.WRITE in granted,
        "names": [member.name for member in State],
        "by_value": State("review").name,
    }
