def main():
    age = 31
    return "age: " + age
