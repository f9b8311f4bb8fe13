import heapq
from collections import deque

GRAPH = {
    "A": {"B": 2, "C": 7},
    "B": {"D": 3, "A": 2},
    "C": {"F": 6},
    "D": {"E": 1},
    "E": {"F": 3},
    "F": {},
}


def fewest_hops(start, goal):
    queue, seen = deque([[start]]), {start}
    while queue:
        path = queue.popleft()
        if path[-1] == goal:
            return path
        for neighbour in GRAPH[path[-1]]:
            if neighbour not in seen:
                seen.add(neighbour)
                queue.append(path + [neighbour])


def cheapest(start, goal):
    heap, done = [(0, start, [start])], set()
    while heap:
        cost, node, path = heapq.heappop(heap)
        if node == goal:
            return {"cost": cost, "path": path}
        if node in done:
            continue
        done.add(node)
        for neighbour, price in GRAPH[node].items():
            heapq.heappush(heap, (cost + price, neighbour, path + [neighbour]))


def main():
    return {"hops": fewest_hops("A", "F"), "cheapest": cheapest("A", "F")}
