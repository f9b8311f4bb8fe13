async def fetch():
    return 1


async def main():
    return {"value": fetch()}
