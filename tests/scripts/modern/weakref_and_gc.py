import gc
import weakref


class Node:
    def __init__(self):
        self.other = None


def main():
    finalized = []
    a, b = Node(), Node()
    a.other, b.other = b, a
    reference = weakref.ref(a)
    weakref.finalize(a, finalized.append, "bye")
    cache = weakref.WeakValueDictionary(a=a)
    alive = reference() is not None
    del a, b
    gc.collect()
    return {"alive": alive, "dead": reference() is None, "finalized": finalized, "cache": len(cache)}
