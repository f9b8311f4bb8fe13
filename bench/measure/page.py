"""Results as tables, as JSON, and as pages of docs/measured. What stands outside of a page's marks is written by people."""

import json
import re

from . import draw
from .compared import BARE, CLIENTS, FLOOR, FLOOR_READY, FULL, RECIPE, SCRIPTS, SECCOMP
from .machine import REPOSITORY

KEPT = REPOSITORY / "docs" / "measured"


def table(head, rows):
    """A Markdown table; all columns but the first hold numbers."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def milliseconds(microseconds):
    """With three digits that count."""
    value = microseconds / 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def circumstances(results):
    """Machine, versions, command and date, as one paragraph."""
    machine = results["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Linux {machine['kernel']}, CPython {machine['python']}, Rust {machine['rust']}, Mayfly at {machine['commit']}; "
        f"`{results['command']}` on {results['date']}, load average before {machine['load_average_before']}. The load "
        "generator and all services share these cores."
    )


def ratios(cells):
    """How many times faster, and at how many times the rate."""
    rows = []
    for name in SCRIPTS:
        row = [cells["scripts"][name]]
        for clients in CLIENTS:
            cell = cells["cells"][name][clients]
            row.append(f"**{cell[FULL][f'times_faster_than_{RECIPE}']:.1f}×**")
            row.append(f"{cell[FULL][f'times_the_rate_of_{RECIPE}']:.1f}×")
            row.append(f"{cell[FULL][f'times_faster_than_{BARE}']:.1f}×")
        rows.append(row)
    head = ["script"]
    for clients in CLIENTS:
        who = f"{clients} client" + ("s" if clients > 1 else "")
        head += [f"{who}: faster than the recipe", "its rate", "faster than bare python3"]
    return table(head, rows)


def times(cells):
    """p50, p99 and requests a second."""
    rows = []
    for name in SCRIPTS:
        for clients in CLIENTS:
            row = [cells["scripts"][name] if clients == CLIENTS[0] else "", clients]
            for system in (FULL, SECCOMP, RECIPE, BARE):
                cell = cells["cells"][name][clients][system]
                row += [f"{milliseconds(cell['p50_us'])} / {milliseconds(cell['p99_us'])}", f"{cell['per_second']:,.0f}"]
            rows.append(row)
    head = ["script", "clients"]
    for system in (FULL, SECCOMP, RECIPE, BARE):
        head += [f"{system}: p50 / p99, ms", "per s"]
    return table(head, rows)


def cost(cells):
    """Processor time and page faults of one request, everything counted, against the floor."""
    rows = []
    for name in SCRIPTS:
        cell, floor = cells["cells"][name][8], cells["floor"][name]
        rows.append(
            [
                cells["scripts"][name],
                f"**{cell[FULL]['cpu_us'] / floor[FLOOR]['cpu_us']:.2f}×**",
                *(milliseconds(cell[system]["cpu_us"]) for system in (FULL, SECCOMP, RECIPE, BARE)),
                milliseconds(floor[FLOOR]["cpu_us"]),
                f"{milliseconds(floor[FLOOR_READY]['answered_p50_us'])}",
                *(f"{cell[system]['faults']:,.0f}" for system in (FULL, SECCOMP, RECIPE, BARE)),
                f"{floor[FLOOR]['faults']:,.0f}",
            ]
        )
    head = ["script", "CPU: Mayfly full against the floor"]
    head += [f"{system}, ms" for system in (FULL, SECCOMP, RECIPE, BARE, FLOOR)]
    head += ["floor's answer from a ready child, ms"]
    head += [f"{system}, faults" for system in (FULL, SECCOMP, RECIPE, BARE, FLOOR)]
    return table(head, rows)


def memory(cells):
    """Proportional memory of whole services."""
    rows = []
    for system in (FULL, SECCOMP, RECIPE):
        sizes = cells["memory"][system]
        shown = [f"{sizes[key] / 2**20:,.0f}" if sizes[key] else "not readable" for key in ("at_rest", "peak")]
        rows.append([system, *shown])
    largest = cells["memory"][BARE]
    rows.append([f"{BARE}, one process (RSS)", "", f"{max(largest.values()) / 2**20:,.0f}"])
    return table(["service", "Pss at rest, MiB", "Pss at most, 8 clients with pandas, MiB"], rows)


def targets(lines):
    """What was promised, and what was found."""
    rows = [[line["what"], line["target"], line["found"], line["verdict"]] for line in lines]
    return table(["promise", "target", "found", "verdict"], rows)


def carried(results):
    """What one machine carries, and how many it takes for more: the arithmetic, from the rates measured."""
    rows = []
    cores = results["machine"]["cores"]
    for name in SCRIPTS:
        rate = results["cells"][name][64][FULL]["per_second"]
        needed = [-(-load // (rate / cores * 0.7)) for load in (1000, 100_000)]
        rows.append([results["scripts"][name], f"{rate:,.0f}", f"{rate / cores:,.0f}", *(f"{n:,.0f}" for n in needed)])
    head = ["script", f"per s on {cores} cores", "per s and core", "cores for 1,000/s", "cores for 100,000/s"]
    return table(head, rows)


def of_results(results):
    """The generated part of the page for bench/run."""
    parts = [circumstances(results)]
    if results.get("targets"):
        parts += ["### Promises", targets(results["targets"])]
    parts += ["### Ratios", ratios(results), "![p50 with one client](p50.svg)"]
    parts += ["![requests a second with eight clients](rate.svg)"]
    parts += ["### Cost of one request, 8 clients", cost(results)]
    parts += ["### Times", times(results), "### Memory", memory(results)]
    parts += ["### What one machine carries", "At 70 % of the rate measured with 64 clients:", carried(results)]
    return "\n\n".join(parts)


def plots(results):
    """Two pictures: what one client waits, and what eight get done."""
    systems = [FULL, SECCOMP, RECIPE, BARE]
    cells = results["cells"]

    def groups(clients, key, factor):
        return [(name, [cells[name][clients][system][key] * factor for system in systems]) for name in SCRIPTS]

    p50 = draw.bars("Time to an answer, one client, p50 (less is better)", "ms", groups(1, "p50_us", 1e-3), systems)
    rate = draw.bars("Requests a second, eight clients (more is better)", "/s", groups(8, "per_second", 1), systems)
    return {"p50.svg": p50, "rate.svg": rate}


def save(results, name, pictures, directory):
    """Writes JSON and pictures into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    for file, picture in pictures.items():
        (directory / file).write_text(picture)


def put_into_page(name, text):
    """Replaces the part of docs/measured/NAME.md between its marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    file = KEPT / f"{name}.md"
    page = file.read_text()
    fresh = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)
    file.write_text(fresh)


def of_growth(results, in_words, titles):
    """The generated part of the page for bench/growth."""
    parts = [circumstances(results)]
    for name, points in results["curves"].items():
        parts.append(f"**{titles[name]}.** {in_words(name, points)[0].upper()}{in_words(name, points)[1:]}")
        parts.append(f"![{titles[name]}](growth-{name.replace('_', '-')}.svg)")
        head = ["x", "p50, ms", "p99, ms", "per s", "CPU, ms", "faults"]
        rows = [
            [
                f"{point['x']:,.0f}" + (f" ({point['modules']})" if "modules" in point else ""),
                *(milliseconds(1000 * point[key]) for key in ("p50_ms", "p99_ms")),
                f"{point['per_second']:,.0f}",
                milliseconds(1000 * point["cpu_ms"]),
                f"{point['faults']:,.0f}",
            ]
            for point in points
        ]
        parts.append(table(head, rows))
    return "\n\n".join(parts)
