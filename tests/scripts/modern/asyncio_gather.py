import asyncio


async def work(value, finished):
    await asyncio.sleep(value / 300)
    finished.append(value)
    return value


async def run_all():
    finished = []
    results = await asyncio.gather(*(work(value, finished) for value in (30, 10, 20)))
    return {"results": results, "finished": finished}


def main():
    return asyncio.run(run_all())
