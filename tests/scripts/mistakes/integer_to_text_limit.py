def main():
    return str(10**5000)
