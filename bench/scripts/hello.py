def main():
    return {"msg": "hello"}
