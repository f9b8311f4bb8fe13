def main(name="world"):
    return {"msg": f"hello {name}"}
