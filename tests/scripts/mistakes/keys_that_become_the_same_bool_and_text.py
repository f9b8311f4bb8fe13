def main():
    return {"rows": [{"true": 1, True: 2}]}
