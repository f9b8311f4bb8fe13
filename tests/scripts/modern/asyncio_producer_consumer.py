import asyncio


class Gauge:
    now = most = 0

    async def __aenter__(self):
        self.now += 1
        self.most = max(self.most, self.now)

    async def __aexit__(self, *exc_info):
        self.now -= 1


async def worker(queue, semaphore, gauge, results):
    while (item := await queue.get()) is not None:
        async with semaphore, gauge:
            await asyncio.sleep(0.002)
            results.append(item * item)


async def main():
    queue, semaphore, gauge, results = asyncio.Queue(maxsize=2), asyncio.Semaphore(2), Gauge(), []
    workers = [asyncio.create_task(worker(queue, semaphore, gauge, results)) for _ in range(3)]
    for item in range(8):
        await queue.put(item)
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)
    return {"squares": sorted(results), "most_at_once": gauge.most}
