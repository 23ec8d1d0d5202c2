"""Serves a tiny random model by llama.cpp's server. Runs in the virtual environment of `xllamacpp` and `gguf`."""

import argparse
import signal
from pathlib import Path

import gguf
import numpy
import xllamacpp

WIDTH, LAYERS, HEADS, WORDS, CONTEXT = 256, 4, 4, 2048, 8192
MODEL = f"llama-{WIDTH}-{LAYERS}-{WORDS}.gguf"
SPECIAL = ["<unk>", "<s>", "</s>"]
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "


def vocabulary():
    """The tokens, their scores and their types, as SentencePiece has them: special ones, all bytes, and words."""
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    words = [f"\u2581w{n}" for n in range(WORDS - len(tokens))]
    scores = [0.0] * len(tokens) + [-float(n) for n in range(len(words))]
    return tokens + words, scores, kinds + [gguf.TokenType.NORMAL] * len(words)


def build(path):
    """Writes a Llama of random weights. The same weights each time."""
    rng = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(4 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(WORDS)
    tokens, scores, kinds = vocabulary()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)

    def random(name, *shape):
        writer.add_tensor(name, rng.normal(0, shape[-1] ** -0.5, shape).astype(numpy.float32))

    def ones(name):
        writer.add_tensor(name, numpy.ones(WIDTH, numpy.float32))

    random("token_embd.weight", WORDS, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm.weight")
        ones(f"{block}.ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            random(f"{block}.{name}.weight", WIDTH, WIDTH)
        random(f"{block}.ffn_gate.weight", 4 * WIDTH, WIDTH)
        random(f"{block}.ffn_up.weight", 4 * WIDTH, WIDTH)
        random(f"{block}.ffn_down.weight", WIDTH, 4 * WIDTH)
    ones("output_norm.weight")
    random("output.weight", WORDS, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    """Serves until a signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="the folder where the model is, or is made")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parallel", type=int, required=True, help="slots")
    arguments = parser.parse_args()
    model = arguments.models / MODEL
    if not model.exists():
        partial = model.with_suffix(".partial")
        build(partial)
        partial.rename(model)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.parallel
    params.n_ctx = CONTEXT
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
