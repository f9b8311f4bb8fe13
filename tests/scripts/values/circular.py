def main():
    loop = {"name": "loop", "items": []}
    loop["items"].append(loop)
    return loop
