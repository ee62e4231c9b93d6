#!/usr/bin/env python3
"""Compares Lethe with transformers and PEFT on folders that Lethe wrote.

    python3 tests/interop/check_transformers.py tokenizers|models LETHE WORK

LETHE is the program. WORK is what tests/interop/folders.c makes: WORK/NAME/model beside WORK/NAME/{plain,patterns,rslora}, the adapters.

models: for every model, logits of `lethe forward` against transformers'; for every adapter, PEFT's on the unmerged base, those of `lethe forward ADAPTER`,
and those that transformers computes from what `lethe merge` wrote, each against each. Needs torch, transformers and peft.
tokenizers: ids of `lethe tokenize` against AutoTokenizer's, both on merged folders with a tokenizer. Needs transformers.

Prints versions and one line a comparison. Exit 0: all agree, 1: some do not, 77: a library is missing (the last line names it).
"""

import importlib
import json
import os
import pathlib
import random
import subprocess
import sys

# F32 rounding: implementations that sum in other orders come out at 6e-6 on models of this size.
TOLERANCE = 2e-5
# An adapter that is not applied at all must not pass for one that is.
EFFECT = 1000 * TOLERANCE
ADAPTERS = ("plain", "patterns", "rslora")
# One row alone in its position, one beyond the sliding window of the model that has one.
ROW_LENGTHS = (1, 11, 47)
TEXTS = (
    "The goat carried 12 stones to the river.",
    " leading and trailing spaces  ",
    "Two\n\nlines\tand a tab",
    "Zürich, naïve, 東京, 🙂 and \u0301 alone",
    "<s>special</s> text <pad>",
    "1234567890 + 3.14 = #### 42",
    "",
)


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def add(self, good, text):
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {text}")

    def close(self, text, a, b):
        import numpy

        worst = float(numpy.abs(a - b).max()) if a.shape == b.shape else float("inf")
        # NaN is no agreement either.
        self.add(worst <= TOLERANCE, f"{text}: largest difference {worst:.2e}, allowed {TOLERANCE:.0e}")

    def apart(self, text, a, b):
        import numpy

        worst = float(numpy.abs(a - b).max())
        self.add(worst >= EFFECT, f"{text}: largest difference {worst:.2e}, at least {EFFECT:.0e} wanted")


def need(*names):
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(f"{name} cannot be imported by {sys.executable}: {error}")
            sys.exit(77)
        print(f"{name} {module.__version__}")


def lethe(program, *arguments, text=None):
    run = subprocess.run([program, *map(str, arguments)], input=text, capture_output=True, text=True, encoding="utf-8")
    if run.returncode != 0:
        sys.exit(f"FAIL lethe {' '.join(map(str, arguments))}: exit code {run.returncode}\n{run.stderr}")
    return run.stdout


def merge(program, work, name):
    out = work / f"merged-{name}"
    lethe(program, "merge", work / "model", work / name, "--out", out, "--quiet")
    return out


def our_logits(program, work, rows, checkpoint, *options):
    from safetensors.numpy import load_file

    (work / "ids.json").write_text(json.dumps(rows))
    out = work / "logits.safetensors"
    lethe(program, "forward", checkpoint, "--ids", work / "ids.json", "--out", out, "--dtype", "f32", "--device", "cpu", "--quiet", *options)
    return load_file(out)["logits"]


def their_logits(model, rows):
    import numpy
    import torch

    with torch.no_grad():
        return numpy.concatenate([model(input_ids=torch.tensor([row])).logits[0].float().numpy() for row in rows])


def load(folder, tally):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    wrong = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(key)}
    if wrong:
        tally.add(False, f"{folder}: tensors do not fit: {wrong}")
    return model.float().eval()


def check_adapter(tally, program, work, rows, name, base):
    from peft import PeftModel

    what = f"{work.name} {name}"
    on_top = our_logits(program, work, rows, work / name, "--base", work / "model")
    theirs = their_logits(PeftModel.from_pretrained(load(work / "model", tally), work / name).eval(), rows)
    folder = merge(program, work, name)
    merged = their_logits(load(folder, tally), rows)
    tally.apart(f"{what}: PEFT against the base", theirs, base)
    tally.close(f"{what}: lethe forward ADAPTER against PEFT", on_top, theirs)
    tally.close(f"{what}: lethe merge in transformers against PEFT", merged, theirs)
    tally.close(f"{what}: lethe merge in transformers against lethe forward ADAPTER", merged, on_top)
    tally.close(f"{what}: lethe merge in transformers against lethe forward on it", merged, our_logits(program, work, rows, folder))


def check_models(tally, program, folders):
    need("torch", "transformers", "peft", "safetensors")
    import torch

    torch.set_num_threads(1)
    for work in folders:
        vocab = json.loads((work / "model" / "config.json").read_text())["vocab_size"]
        numbers = random.Random(5)
        rows = [[numbers.randrange(vocab) for _ in range(n)] for n in ROW_LENGTHS]
        base = their_logits(load(work / "model", tally), rows)
        tally.close(f"{work.name}: lethe forward against transformers", our_logits(program, work, rows, work / "model"), base)
        for name in ADAPTERS:
            check_adapter(tally, program, work, rows, name, base)


def check_tokenizers(tally, program, folders):
    need("transformers", "tokenizers")
    from transformers import AutoTokenizer

    for work in folders:
        if not (work / "model" / "tokenizer.json").exists():
            continue
        folder = merge(program, work, ADAPTERS[0])
        theirs = AutoTokenizer.from_pretrained(folder)
        for option, special in ((), False), (("--special",), True):
            # Lines end at LF alone; escapes keep those of a text out of the way.
            text = "".join(json.dumps({"text": t}) + "\n" for t in TEXTS)
            ours = [json.loads(line)["ids"] for line in lethe(program, "tokenize", folder, *option, text=text).splitlines()]
            for t, got in zip(TEXTS, ours, strict=True):
                want = theirs.encode(t, add_special_tokens=special)
                kind = "with special tokens" if special else "plain"
                tally.add(got == want, f"{work.name} tokenizer, {kind}, {len(want)} ids of {t!r}" + ("" if got == want else f": {got} against {want}"))


def main():
    checks = {"models": check_models, "tokenizers": check_tokenizers}
    if len(sys.argv) != 4 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    # Nothing here is looked up anywhere.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
    folders = sorted(p.parent for p in pathlib.Path(sys.argv[3]).glob("*/model"))
    if not folders:
        sys.exit(f"{sys.argv[3]}: no NAME/model in it")
    tally = Tally()
    print(f"Python {sys.version.split()[0]}")
    checks[sys.argv[1]](tally, sys.argv[2], folders)
    print(f"{sys.argv[1]}: {tally.passed} comparisons agree, {tally.failed} do not")
    sys.exit(tally.failed > 0 or tally.passed == 0)


main()
