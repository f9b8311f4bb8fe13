import asyncio
import contextvars
import time
from datetime import datetime, timezone

who = contextvars.ContextVar("who", default="main")


async def task(n):
    who.set(f"task {n}")
    await asyncio.sleep(0.002)
    return who.get()


def main():
    started = time.perf_counter()

    async def both():
        return await asyncio.gather(task(1), task(2))

    seen = asyncio.run(both())
    time.sleep(0.01)
    return {
        "seen": seen,
        "outer": who.get(),
        "slept": time.perf_counter() - started >= 0.01,
        "monotonic": time.monotonic() <= time.monotonic(),
        "ordered": datetime(2024, 1, 1, tzinfo=timezone.utc) < datetime.now(timezone.utc),
    }
