import asyncio


async def main():
    await asyncio.Event().wait()
