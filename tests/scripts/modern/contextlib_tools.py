import io
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout, suppress


@contextmanager
def step(name, order):
    order.append(f"enter {name}")
    try:
        yield name
    finally:
        order.append(f"exit {name}")


def main():
    order, buffer = [], io.StringIO()
    with ExitStack() as stack:
        stack.callback(order.append, "callback")
        for name in "ab":
            stack.enter_context(step(name, order))
        order.append("work")
    with redirect_stdout(buffer):
        print("hidden")
    print("seen")
    suppressed = True
    with suppress(FileNotFoundError), nullcontext():
        open("no/such/file")
        suppressed = False
    return {"order": order, "captured": buffer.getvalue(), "suppressed": suppressed}
