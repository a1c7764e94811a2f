import sys

import gguf
import pytest
from lm_eval.models.huggingface import HFLM

from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.model_adapters.hf.gguf_files import parsed_once


@pytest.fixture
def file(tmp_path):
    place = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(place, "llama")
    writer.add_block_count(3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(place)


def test_a_file_is_parsed_once_and_its_names_are_made_once(file):
    with parsed_once():
        assert gguf.GGUFReader(file) is gguf.GGUFReader(file)
        arch = gguf.MODEL_ARCH.LLAMA
        assert gguf.get_tensor_name_map(arch, 3) is gguf.get_tensor_name_map(arch, 3)
        assert gguf.get_tensor_name_map(arch, 2) is not gguf.get_tensor_name_map(arch, 3)
        assert gguf.GGUFReader(file).fields["llama.block_count"].contents() == 3


def test_what_gguf_has_is_its_own_again_behind_it_whatever_happens(file):
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    with pytest.raises(OSError), parsed_once():
        gguf.GGUFReader(file + ".missing")
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before
    assert gguf.GGUFReader(file) is not gguf.GGUFReader(file)


def test_the_model_is_loaded_so(file, monkeypatch):
    def load(self, pretrained, gguf_file, **others):
        raise LookupError(gguf.GGUFReader(gguf_file) is gguf.GGUFReader(gguf_file))

    monkeypatch.setattr(HFLM, "__init__", load)
    with pytest.raises(LookupError, match="True"):
        BTransHF(pretrained="folder", gguf_file=file, sigma=0.01)


def test_without_the_package_nothing_is_said_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with parsed_once():
        pass
