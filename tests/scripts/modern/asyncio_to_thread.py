import asyncio
import threading


def blocking(n):
    return sum(range(n)), threading.get_ident()


async def main():
    results = await asyncio.gather(asyncio.to_thread(blocking, 1000), asyncio.to_thread(blocking, 2000))
    return {
        "sums": [total for total, _ in results],
        "other_thread": all(ident != threading.get_ident() for _, ident in results),
    }
