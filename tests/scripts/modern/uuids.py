import uuid


def main():
    one, two = uuid.uuid4(), uuid.uuid4()
    return {
        "v5": uuid.uuid5(uuid.NAMESPACE_DNS, "python.org"),
        "v3": uuid.uuid3(uuid.NAMESPACE_DNS, "python.org"),
        "version": one.version,
        "differ": one != two,
        "parsed": uuid.UUID("{12345678123456781234567812345678}"),
        "int": uuid.UUID(int=1).int,
        "length": len(str(one)),
    }
