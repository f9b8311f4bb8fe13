import asyncio


async def step(n):
    if n == 2:
        raise ValueError("two is bad")
    return n


async def main():
    results = await asyncio.gather(step(1), step(2), step(3), return_exceptions=True)
    return [
        {"error": f"{type(r).__name__}: {r}"} if isinstance(r, Exception) else {"ok": r} for r in results
    ]
