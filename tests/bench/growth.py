#!/usr/bin/env python3
"""A model of cost fitted to what bin/bench/growth measured, its ratios, and a drawing.

    growth.py GROWTH.tsv [PICTURE.svg]

The time of a pair, forward and back, is taken to be a sum

    maps / r1 + attention / r2 + elements / r3 + parameters x p + layers x s

of operations in linear maps and in attention, of numbers that the other parts walk over, and, however short the pair, of
weights and gradients that are walked over and of what a layer costs. The rates are those of the least squares of relative
errors, none below zero. The drawing is gnuplot's.
"""
import csv
import subprocess
import sys

TERMS = ("maps", "attention", "elements", "parameters", "layers")


def solve(matrix, right):
    """x of matrix x = right, by elimination with pivots."""
    n = len(right)
    rows = [list(row) + [b] for row, b in zip(matrix, right)]
    for i in range(n):
        best = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for k in range(n):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def fit(rows):
    """Seconds of one of each term; a term whose share would be below zero is left out."""
    used = list(TERMS)
    while True:
        scaled = [[row[t] / row["seconds"] for t in used] for row in rows]
        size = [max(abs(s[i]) for s in scaled) for i in range(len(used))]
        scaled = [[v / m for v, m in zip(s, size)] for s in scaled]
        n = len(used)
        matrix = [[sum(s[i] * s[k] for s in scaled) for k in range(n)] for i in range(n)]
        x = solve(matrix, [sum(s[i] for s in scaled) for i in range(n)])
        if min(x) >= 0:
            return {**dict.fromkeys(TERMS, 0.0), **{t: v / m for t, v, m in zip(used, x, size)}}
        del used[x.index(min(x))]


def predict(model, row):
    return sum(model[t] * row[t] for t in TERMS)


def ratios(rows, most):
    """What the series of one measurement say beside that of training."""
    pairs = {(row["series"], row["x"]): row["seconds"] for row in rows if row["series"] != "adamw"}
    update = {row["parameters"]: row["seconds"] for row in rows if row["series"] == "adamw"}
    trained = {row["series"]: row["parameters"] for row in rows}

    def step(series, x):  # a pair of a step of 8
        return pairs[series, x] + update[trained[series]] / 8

    if most > 1:
        print(f"{pairs['threads', 1.0] / pairs['threads', most]:9.2f} times the pairs on {most:.0f} threads as on 1")
    print(f"{step('threads', most) / pairs['reference', 128.0]:9.2f} times the pairs of training in the reference's pass")
    print(f"{step('threads', most) / step('adapter', 128.0):9.2f} times the pairs with an adapter of rank 16 of all linear maps")


def draw(rows, model, picture):
    panels = (("prompt", "tokens of the prompt, answers of 64"), ("answer", "tokens of an answer, prompt of 128"),
              ("parameters", "parameters, prompt and answers of 128"), ("short", "tokens of a short pair"))
    script = [f"set terminal svg size 900,640 background 'white'\nset output '{picture}'\nset multiplot layout 2,2\nset key top left\nset grid",
              "set ylabel 'seconds a pair'"]
    for name, label in panels:
        log = ("set logscale xy\nset yrange [*:*]\nset format x '10^{%L}'" if name == "parameters" else
               "unset logscale\nset yrange [0:*]\nset format x '%g'")
        data = "\n".join(f"{row['x']} {row['seconds']} {predict(model, row)}" for row in rows if row["series"] == name)
        script.append(f"$data << EOD\n{data}\nEOD\n{log}\nset xlabel '{label}'\n"
                      "plot $data using 1:2 with points pointtype 7 title 'measured', $data using 1:3 with lines title 'model'")
    subprocess.run(["gnuplot"], input="\n".join(script) + "\nunset multiplot\n", text=True, check=True)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        rows = [{k: v if k == "series" else float(v) for k, v in row.items()} for row in csv.DictReader(file, delimiter="\t")]
    most = max(row["threads"] for row in rows)
    fitted = [row for row in rows if row["kind"] == 0 and row["threads"] == most and row["series"] != "adamw"]
    model = fit(fitted)
    print("series            x  seconds    model     off")
    for row in fitted:
        off = predict(model, row) / row["seconds"] - 1
        print(f"{row['series']:10} {row['x']:9.3g} {row['seconds']:8.4f} {predict(model, row):8.4f} {100 * off:+6.1f}%")
    offs = sorted(abs(predict(model, row) / row["seconds"] - 1) for row in fitted)
    each = {**model, "layers": 3 * model["layers"]}  # forward and back
    print(f"seconds a pair = {' + '.join(f'{each[t]:.3g} {t}' for t in TERMS if model[t])}")
    print(f"off by {100 * offs[len(offs) // 2]:.1f}% in the median, by {100 * offs[-1]:.1f}% at most")
    for term, unit in (("maps", "GFLOP/s in linear maps"), ("attention", "GFLOP/s in attention"),
                       ("elements", "10^9 rows x width a second in all else")):
        if model[term]:
            print(f"{1e-9 / model[term]:9.1f} {unit}")
    print(f"{1e9 * model['parameters']:9.3f} ns a parameter in a pair, forward and back")
    print(f"{1e6 * each['layers']:9.1f} microseconds a layer, forward and back")
    adamw = [row for row in rows if row["series"] == "adamw"]
    for row in adamw:
        print(f"{1e9 * row['seconds'] / row['parameters']:9.3f} ns a parameter in AdamW, {row['parameters']:.3g} parameters")
    ratios(rows, most)
    if len(sys.argv) == 3:
        draw(rows, model, sys.argv[2])


main()
