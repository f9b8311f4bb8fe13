def sieve(limit):
    is_prime = bytearray([1]) * (limit + 1)
    is_prime[0:2] = b"\x00\x00"
    for n in range(2, int(limit**0.5) + 1):
        if is_prime[n]:
            is_prime[n * n :: n] = bytes(len(is_prime[n * n :: n]))
    return [n for n, flag in enumerate(is_prime) if flag]


def main():
    primes = sieve(1000)
    twins = sum(1 for a, b in zip(primes, primes[1:]) if b - a == 2)
    return {"count": len(primes), "last": primes[-1], "twins": twins}
