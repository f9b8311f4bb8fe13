def main():
    return {"rows": [{1: "a", "1": "b"}]}
