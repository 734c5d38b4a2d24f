"""Small models as llama.cpp reads them, written and run without our own code: what the GGUF tests compare with."""

import ctypes

import gguf
import numpy as np

HEAD = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
FEED = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "gate_up_proj": "ffn_up"}
NORMS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "qkv_proj": "attn_qkv",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def file_name(weight, sandwich):
    """Of a weight of transformers; `sandwich`: Gemma 2 and 3 have norms behind attention and feed-forward, too."""
    place, _, kind = weight.rpartition(".")
    if place in WHOLE:
        return f"{WHOLE[place]}.{kind}"
    _, _, block, *_, last = place.split(".")
    if sandwich and last == "post_attention_layernorm":
        return f"blk.{block}.post_attention_norm.{kind}"
    return f"blk.{block}.{ {**HEAD, **FEED, **NORMS}[last] }.{kind}"


def interleaved(rows, heads):
    """Rows (i, i + half) of each head as (2i, 2i + 1), one by one."""
    out = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            out[head * size + 2 * i] = rows[head * size + i]
            out[head * size + 2 * i + 1] = rows[head * size + size // 2 + i]
    return out


def halved(rows, heads):
    """The inverse of `interleaved`."""
    out = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for i in range(size // 2):
            out[head * size + i] = rows[head * size + 2 * i]
            out[head * size + size // 2 + i] = rows[head * size + 2 * i + 1]
    return out


def heads_of(name, config, architecture):
    """Of a weight whose rows llama.cpp has in another order; 0 for others."""
    if architecture != "llama":
        return 0
    return {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2], 0)


def without_vocabulary(writer):
    writer.add_tokenizer_model("no_vocab")


def as_float32(_, rows):
    return rows, None


def write_base(model, architecture, file, *, fields=without_vocabulary, stored=as_float32):
    """A GGUF of a model of transformers, in float32 and without a vocabulary: llama.cpp is given token ids.

    `fields` adds fields, and weights, to the writer; `stored` makes of a name and float32 rows what is written, and
    GGML's type where that is no array of numbers.
    """
    config = model.config
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    ropes = getattr(config, "rope_parameters", None) or {}
    ropes = ropes.get("full_attention", ropes)
    writer.add_rope_freq_base(ropes.get("rope_theta", 10000.0))
    if architecture in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_vocab_size(config.vocab_size)
    fields(writer)
    sandwich = architecture in ("gemma2", "gemma3")
    for key, weight in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = file_name(key, sandwich)
        rows = weight.float().numpy()
        if heads := heads_of(name, config, architecture):
            rows = interleaved(rows, heads)
        if architecture.startswith("gemma") and "norm" in name:
            rows = rows + 1  # transformers adds it when it normalizes
        data, kind = stored(name, np.ascontiguousarray(rows))
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(llama_cpp, base, ids, lora=None):
    """[len(ids), V] float32, of llama.cpp through the bindings of llama-cpp-python."""
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(base).encode(), llama_cpp.llama_model_default_params())
    assert model
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = 64
    options.n_threads = options.n_threads_batch = 1
    options.type_k = options.type_v = 0  # float32: what is compared is the adapter
    options.flash_attn_type = 0
    context = llama_cpp.llama_init_from_model(model, options)
    if lora is not None:
        adapter = llama_cpp.llama_adapter_lora_init(model, str(lora).encode())
        assert adapter, "llama.cpp does not load the adapter"
        adapters = (type(adapter) * 1)(adapter)
        llama_cpp.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0))
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    assert llama_cpp.llama_decode(context, batch) == 0
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    found = np.stack(
        [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (size,)).copy() for i in range(len(ids))]
    )
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found
