def main():
    return {"rows": {(n for n in range(2)): 1}}
