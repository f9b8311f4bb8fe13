import asyncio


async def endless(state):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        state["cancelled"] = True
        raise


async def failing():
    await asyncio.sleep(0.005)
    raise LookupError("no such user")


async def main():
    state = {"cancelled": False}
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless(state))
            group.create_task(failing())
    except* LookupError as caught:
        errors = [f"{type(e).__name__}: {e}" for e in caught.exceptions]
    return {"errors": errors, **state}
