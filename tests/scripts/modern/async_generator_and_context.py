import asyncio
from contextlib import asynccontextmanager


@asynccontextmanager
async def connection(log):
    log.append("open")
    try:
        yield "connection"
    finally:
        log.append("close")


async def rows(count):
    for n in range(count):
        await asyncio.sleep(0)
        yield n


async def main():
    log = []
    async with connection(log):
        items = [n * 2 async for n in rows(3)]
    return {"items": items, "log": log}
