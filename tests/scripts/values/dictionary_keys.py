def main():
    return {3: "int", -7: "negative", 2.5: "float", True: "bool", None: "none", "text": "str", "": "empty"}
