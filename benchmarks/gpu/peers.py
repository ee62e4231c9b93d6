"""The same work by PyTorch, and by transformers where it is: copy, products, attention, decoding of a random 1B model. For benchmarks/gpu/run.sh only."""
import argparse
import json
import statistics
import torch


def seconds(call, samples=10):
    """Median of the device's own clock; the first two calls set things up."""
    call(), call()
    taken = []
    for _ in range(samples):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(end) / 1e3)
    return statistics.median(taken)


def ops():
    bf16 = dict(device="cuda", dtype=torch.bfloat16)
    rows = {}
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    rows["copy_bytes_s"] = 2 * source.numel() * 4 / seconds(lambda: target.copy_(source))
    del source, target
    for m, n, k in [(8192, 8192, 8192), (8192, 12288, 4096), (8192, 22016, 4096), (8192, 4096, 11008), (1, 22016, 4096), (16, 22016, 4096), (64, 22016, 4096)]:
        x, w = torch.randn(m, k, **bf16), torch.randn(n, k, **bf16)
        rows[f"gemm {m}x{n}x{k} flops_s"] = 2 * m * n * k / seconds(lambda: torch.nn.functional.linear(x, w))
    for length in (2048,):
        q, k, v = (torch.randn(8192 // length, 32, length, 128, **bf16) for _ in range(3))
        taken = seconds(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        rows[f"attn causal {length} flops_s"] = 2 * 8192 * (length + 1) * 4096 / taken
    logits = torch.randn(1024, 32000, device="cuda")
    rows["log_softmax 1024x32000 s"] = seconds(lambda: torch.log_softmax(logits, -1))
    for shape in ((4096, 4096), (11008, 4096)):
        a = torch.randn(*shape, device="cuda", dtype=torch.float64)
        rows[f"gram eigvalsh {shape[0]}x{shape[1]} f64 s"] = seconds(lambda: torch.linalg.eigvalsh(a.T @ a), samples=3)
    return rows


def decode():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    rows = {}
    for batch in (1, 16, 64):
        ids = torch.randint(0, 32000, (batch, 64), device="cuda")
        run = lambda new: model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new)
        with torch.no_grad():
            taken = seconds(lambda: run(65), samples=3) - seconds(lambda: run(1), samples=3)
        rows[f"transformers 1b decode batch {batch} tokens_s"] = 64 * batch / taken
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", required=True)
    path = parser.parse_args().json
    rows = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, **ops()}
    try:
        rows.update(decode())
    except ImportError:
        rows["transformers"] = "not installed"
    with open(path, "w") as file:
        json.dump(rows, file, indent=1)
    for key, value in rows.items():
        print(f"{key:44s} {value if isinstance(value, str) else format(value, '.4g')}")


if __name__ == "__main__":
    main()
