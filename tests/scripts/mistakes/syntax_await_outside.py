import asyncio


def main():
    return await asyncio.sleep(0, "done")
