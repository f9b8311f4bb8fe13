main = {"result": 42}
