#!/usr/bin/env python3
"""Ask PyTorch and transformers for steps of their optimizers: the numbers of tests/unit/test_optim.c.

    python3 tests/peers/optimizers.py > testdata/golden/transformers/optimizers.tsv

Three tensors of 5 x 7, 6 and 2 x 3 x 4 elements, flattened one behind the other; weight decay, where a case has one,
acts on the first and the last, as Hugging Face's Trainer leaves out biases and norms. Element i of the
weights is ((37 i + 11) mod 64 - 32) / 32, of the gradient of step t (from 1)
((29 i + 17 t + 5) mod 128 - 64) (1 + t mod 3) / 256, all exact in float; the learning rate is 0.01 / t.
One line a step that is kept, fields separated by tabs: optimizer, settings as KEY=VALUE separated
by blanks (may be empty), t, then all weights after step t.
"""
import torch
import transformers

SHAPES, DECAYED = [(5, 7), (6,), (2, 3, 4)], (True, False, True)
KEPT = (1, 2, 3, 8)

# Our name, our settings, the class, its arguments.
CASES = [
    ("adamw", {}, torch.optim.AdamW, {}),
    ("adamw", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}, torch.optim.AdamW, {"betas": (0.8, 0.95), "eps": 1e-3}),
    ("rmsprop", {}, torch.optim.RMSprop, {}),
    ("rmsprop", {"alpha": 0.9, "rms_epsilon": 1e-4}, torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-4}),
    ("sgd", {}, torch.optim.SGD, {}),
    ("sgd", {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    ("adafactor", {}, transformers.optimization.Adafactor, {"scale_parameter": False, "relative_step": False}),
]


def spread(values):
    """A flat list as tensors of SHAPES."""
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    return [part.reshape(shape) for part, shape in zip(torch.tensor(values).split(sizes), SHAPES)]


def run(name, ours, make, kwargs, decay):
    n = sum(torch.Size(shape).numel() for shape in SHAPES)
    weights = [torch.nn.Parameter(w) for w in spread([((37 * i + 11) % 64 - 32) / 32 for i in range(n)])]
    groups = [{"params": [w for w, d in zip(weights, DECAYED) if d == which], "weight_decay": decay if which else 0.0}
              for which in (True, False)]
    optimizer = make(groups, lr=0.01, **kwargs)
    settings = " ".join(f"{key}={value}" for key, value in (ours | ({"weight_decay": decay} if decay else {})).items())
    for t in range(1, max(KEPT) + 1):
        gradient = [((29 * i + 17 * t + 5) % 128 - 64) * (1 + t % 3) / 256 for i in range(n)]
        for weight, part in zip(weights, spread(gradient)):
            weight.grad = part
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / t
        optimizer.step()
        if t in KEPT:
            flat = torch.cat([w.detach().flatten() for w in weights]).tolist()
            print(name, settings, t, *(f"{w:.9g}" for w in flat), sep="\t")


def main():
    torch.set_num_threads(1)
    for name, ours, make, kwargs in CASES:
        for decay in (0.0, 0.1):
            run(name, ours, make, kwargs, decay)


if __name__ == "__main__":
    main()
