"""What is told of a checkpoint without loading it is what the loaded model says."""

from __future__ import annotations

import pytest
import tiny_checkpoint
import torch
import transformers
from models import FAMILIES

from btrans_eval.errors import UserError
from btrans_eval.population import fingerprint
from btrans_eval.population.checkpoint import Checkpoint, of_folder
from btrans_eval.population.gains import gain_rms
from btrans_eval.population.norms import find_norms

NAMES = [family.name for family in FAMILIES if not family.lora]


@pytest.mark.parametrize("family", NAMES)
def test_layers_and_fingerprint_are_those_of_the_loaded_model(tmp_path, family):
    path = tiny_checkpoint.save(tmp_path, family)
    checkpoint = Checkpoint(path, {})
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    for norms in ("all", "residual"):
        expected = [(layer.name, layer.width) for layer in find_norms(model, norms)]
        outline = [(each.name, each.width) for each in find_norms(checkpoint.outline(), norms)]
        assert outline == expected
    for dtype in (torch.float32, torch.bfloat16):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        assert checkpoint.fingerprint(dtype) == fingerprint.of_model(model)


def test_one_changed_weight_changes_the_fingerprint(tmp_path):
    path = tiny_checkpoint.save(tmp_path)
    before = Checkpoint(path, {}).fingerprint(torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] += 1e-3
    model.save_pretrained(path)
    assert Checkpoint(path, {}).fingerprint(torch.float32) != before


def test_a_checkpoint_in_several_files_is_read_whole(tmp_path):
    path = tiny_checkpoint.save(tmp_path / "one")
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    many = Checkpoint(str(tmp_path / "many"), {}).fingerprint(torch.float32)
    assert many == fingerprint.of_model(model)


def test_of_two_sets_of_files_those_that_transformers_loads_are_read(tmp_path):
    path = tiny_checkpoint.save(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    (tmp_path / "model.safetensors").rename(tmp_path / "kept")
    model.save_pretrained(path, max_shard_size="20KB")
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(tmp_path / "new")
    (tmp_path / "new" / "model.safetensors").rename(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(path)
    assert torch.equal(loaded.model.norm.weight, model.model.norm.weight)
    assert Checkpoint(path, {}).fingerprint(torch.float32) == fingerprint.of_model(loaded)


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gains_are_those_of_the_loaded_model(tmp_path, family, dtype):
    path = tiny_checkpoint.save(tmp_path, family)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    expected = {layer.name: gain_rms(layer) for layer in find_norms(model)}
    laid_out = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, device_map="meta"
    )
    checkpoint = Checkpoint(path, {})
    assert checkpoint.gains(laid_out, find_norms(checkpoint.outline())) == expected
    assert len(set(expected.values())) > 1


def test_other_models_are_refused(tmp_path):
    with pytest.raises(UserError, match="pretrained: must be a model .* there is no folder /"):
        Checkpoint(str(tmp_path / "missing"), {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="in a folder, but '.*empty' could not be read"):
        Checkpoint(str(tmp_path / "empty"), {})
    transformers.T5Config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="pretrained: must be a decoder-only model"):
        Checkpoint(str(tmp_path), {})


def test_an_adapter_is_known_by_its_files(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    before = of_folder(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    assert of_folder(str(tmp_path)) != before
    with pytest.raises(UserError, match="lora_local_path: must be a folder"):
        of_folder("someone/adapter")
