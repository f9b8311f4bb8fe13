import asyncio


async def fetch_answer():
    await asyncio.sleep(0.005)
    return 42


async def main():
    answer = await fetch_answer()
    return {"answer": answer, "running": asyncio.get_running_loop().is_running()}
