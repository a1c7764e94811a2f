"""Tiny random causal language models of every family that transformers knows; no download."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

VOCABULARY = 96
WIDTH, HEADS = 32, 4
MOST_LAYERS = 4
LARGEST = 10**8

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks")
_SIZES: dict[str, Any] = {
    **dict.fromkeys(_LAYERS, 2),
    **dict.fromkeys(("vocab_size", "decoder_vocab_size", "unpadded_vocab_size"), VOCABULARY),
    **dict.fromkeys(("vocab_size_per_layer_input",), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_dim"), WIDTH),
    **dict.fromkeys(("embedding_size", "input_embedding_size", "word_embed_proj_dim"), WIDTH),
    **dict.fromkeys(("lru_width", "attention_hidden_size", "output_embedding_size"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 48),
    **dict.fromkeys(("ffn_hidden_size", "dim_ff", "dff", "d_inner", "feed_forward_size"), 48),
    **dict.fromkeys(("intermediate_size_mlp", "dense_intermediate_size", "n_inner"), 48),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_intermediate_size"), 16),
    **dict.fromkeys(
        ("moe_shared_expert_intermediate_size", "shared_experts_intermediate_size"), 16
    ),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), HEADS),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), HEADS),
    **dict.fromkeys(("attention_heads", "swa_num_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "swa_head_dim", "dim_head", "d_head", "attention_head_size"), 8),
    **dict.fromkeys(("kv_channels", "global_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("max_source_positions", "max_target_positions", "context_length"), 512),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    **dict.fromkeys(("moe_num_experts",), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("sliding_window", "window_size", "attention_window_size"), 64),
    **dict.fromkeys(("sliding_window_size", "local_attention", "attention_chunk_size"), 64),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim"), 8),
    "v_head_dim": 8,
    "qk_head_dim": 16,
    "index_n_heads": 4,
    "index_topk": 64,  # of few more than there are tokens, a tie would be broken by rounding
    "rotary_dim": 8,
    **dict.fromkeys(("linear_num_key_heads", "linear_num_heads"), 2),
    "linear_num_value_heads": 4,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size", "block_size"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("n_groups",), 2),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank", "router_hidden_size"), 8),
    "hidden_size_per_layer_input": 8,
    **dict.fromkeys(("laurel_rank", "hc_lowrank", "gated_norm_rank", "loop_gate_rank"), 4),
    "num_centroids": 8,
    "adapter_rank": 4,
    "zero_expert_num": 2,
}
_NO_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
"""Of no meaning in random text but within the vocabulary."""

_UNLESS_NONE = {"head_dim"}
"""Some attention reads these though their default is none."""

_HYBRID = {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2}
_GEMMA4 = {"layer_types": ["sliding_attention", "full_attention"], "num_hidden_layers": 2}
_MULTIMODAL_ROTATION = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
}
_INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
}

# what the table above does not suit; ... leaves the default
_OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 50, "hidden_size_global": 32, "cross_attn_k": 1},
    **{
        name: {"num_hidden_layers": 2, "num_attention_heads": HEADS, "hidden_size": WIDTH}
        for name in ("clip_vision_model", "siglip_vision_model")
    },
    **dict.fromkeys(
        (
            "qwen2_vl_text",
            "qwen2_5_vl_text",
            "paddleocr_vl_text",
            "qwen2_5_omni_text",
            "glm4v_text",
            "glm46v_text",
            "glm_ocr_text",
            "glmga_text",
        ),
        _MULTIMODAL_ROTATION,
    ),
    "mistral4": {"num_key_value_heads": HEADS},
    "cohere_compass_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": None,
        },
    },
    "dbrx": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots3_note_audio": {"adapter_in_dim": WIDTH},
    "dots3_note_text": {
        **{f"swa_{name}": 8 for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")},
        **dict.fromkeys(("swa_num_attention_heads", "swa_num_key_value_heads"), HEADS),
        **dict.fromkeys(("swa_head_dim", "swa_q_lora_rank", "swa_kv_lora_rank"), 16),
        "layer_types": ["indexed_attention", "sliding_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "num_hidden_layers": 2,
    },
    "dory": {
        "num_hidden_layers": 4,
        "n_input_layers": 1,
        "n_recurrent_layers": 2,
        "n_output_layers": 1,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4_text": _GEMMA4,
    "gemma4_unified_text": _GEMMA4,
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "nemotron": {"num_key_value_heads": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "qwen4_exp_text": _INDEXER,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "local"],
        "axial_pos_embds": False,
    },
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "chunk_size": ...},
    "xmod": {"default_language": "en_XX"},
    "zamba": {**_HYBRID, "attention_hidden_size": ...},
    "zamba2": {**_HYBRID, "attention_hidden_size": ..., "kv_channels": ..., "chunk_size": 8},
    "zaya": {"num_experts_per_tok": 1},
}


def names() -> list[str]:
    """Every model type that has a causal language model."""
    return list(transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def names_with_images() -> list[str]:
    """Every other model type that answers in text about images and is no encoder-decoder."""
    auto = transformers.models.auto.modeling_auto
    others = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return [name for name in others if name not in names()]


def config(family: str) -> Any:
    """A tiny configuration of this family: every kind of layer that its default has, once."""
    kind = CONFIG_MAPPING[family]
    found = kind(**_smaller(kind().to_dict(), _OWN.get(family, {})))
    for each in (found, found.get_text_config()):
        # grouped products of experts are there in no float64
        each._experts_implementation = "batched_mm"
        if hasattr(each, "is_decoder"):  # else old ones see what comes after a token
            each.is_decoder = True
    return found


def _smaller(given: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: _SIZES[name]
        for name in given
        if name in _SIZES and (given[name] is not None or name in _UNLESS_NONE)
    }
    found |= {name: value for name, value in _NO_TOKENS.items() if name in given}
    if given.get("kv_lora_rank"):  # heads are made of one latent vector
        found["num_key_value_heads"] = HEADS
    for name in _LAYERS:
        if isinstance(given.get(name), int):
            found |= _fewer_layers(given, name)
    for name, value in given.items():
        if isinstance(value, dict) and name.endswith("_config") and "model_type" in value:
            found[name] = _smaller(value, _OWN.get(value["model_type"], {}))
    found |= own
    return {name: value for name, value in found.items() if value is not ...}


def _fewer_layers(given: dict[str, Any], name: str) -> dict[str, Any]:
    """The first layer of each kind, and lists over layers cut to these."""
    count = given[name]
    lists = {key: value for key, value in given.items()
             if isinstance(value, (list, tuple)) and len(value) == count > 4}  # fmt: skip
    kinds = list(zip(*lists.values(), strict=True)) or [()] * count
    first = [place for place, kind in enumerate(kinds) if kinds.index(kind) == place]
    kept = sorted({*first[:MOST_LAYERS], *range(min(2, count))})[:MOST_LAYERS]
    return {name: len(kept), **{key: [value[i] for i in kept] for key, value in lists.items()}}


_FLOAT32 = {"inkling2_loop_text", "inkling2_text", "xglm"}
"""Have constants that do not fit float64."""


def build(family: str) -> nn.Module:
    """A random model of this family in evaluation mode; the same weights every time.

    In float64, so that a difference is none of rounding, where the family allows it.
    """
    torch.manual_seed(7)
    made = config(family)
    dtype = torch.float32 if family in _FLOAT32 else torch.float64
    auto = transformers.AutoModelForCausalLM
    if family not in names():
        auto = transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        size = sum(each.numel() for each in auto.from_config(made).parameters())
    if size > LARGEST:
        raise ValueError(f"not small: {size:.1e} parameters with the sizes known here")
    model = auto.from_config(made)
    model = model.to(dtype).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:  # a random model with the usual small weights repeats itself
            nn.init.normal_(parameter, std=0.3)
        elif "norm" in name.lower() or ".ln" in name:  # not all one, and biases not all zero
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
    return model
