import asyncio


async def main(count, pause=0):
    seen = []
    for n in range(count):
        await asyncio.sleep(pause)
        seen.append(n)
    return seen
