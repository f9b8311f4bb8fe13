import asyncio

cancelled = 0


async def slow():
    global cancelled
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        cancelled += 1
        raise


async def quick():
    return "done"


async def main():
    answer = {}
    try:
        await asyncio.wait_for(slow(), timeout=0.02)
    except asyncio.TimeoutError:
        answer["wait_for"] = "timed out"
    try:
        async with asyncio.timeout(0.02):
            await slow()
    except TimeoutError:
        answer["timeout"] = "timed out"
    answer["quick"] = await asyncio.wait_for(quick(), timeout=1)
    return {**answer, "cancelled": cancelled}
