def bubble_sort(values):
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        for i in range(end):
            if values[i] > values[i + 1]:
                values[i], values[i + 1] = values[i + 1], values[i]
    return values


def merge_sort(values):
    if len(values) < 2:
        return values
    middle = len(values) // 2
    left, right = merge_sort(values[:middle]), merge_sort(values[middle:])
    merged = []
    while left and right:
        merged.append(left.pop(0) if left[0] <= right[0] else right.pop(0))
    return merged + left + right


def quick_sort(values):
    if not values:
        return []
    pivot, *rest = values
    return quick_sort([v for v in rest if v < pivot]) + [pivot] + quick_sort([v for v in rest if v >= pivot])


def main():
    values = [5, 2, 9, 1, 5, 6, 3]
    expected = sorted(values)
    return {"sorted": expected, "agree": [f(values) == expected for f in (bubble_sort, merge_sort, quick_sort)]}
