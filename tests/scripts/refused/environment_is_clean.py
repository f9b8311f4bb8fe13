import os


def main():
    words = ("MAYFLY", "TOKEN", "SECRET", "PASSWORD", "KEY", "GOOGLE", "AWS", "KUBERNETES")
    return {
        "suspicious": sorted(name for name in os.environ if any(word in name.upper() for word in words)),
        "api_key": os.environ.get("API_KEY"),
    }
