def main():
    return {"rows": [{None: 1, "null": 2}]}
