"""What says who a row is survives TransferQueue, in which verl keeps rows between its workers."""

from __future__ import annotations

import pytest

pytest.importorskip("verl", reason="verl is not installed (make test-verl has it)")

import ray
import torch
import transfer_queue
from hydra import compose, initialize_config_module
from verl.utils import tensordict_utils as tu
from verl.utils.transferqueue_utils import KVBatchMeta, tqbridge

from btrans_eval.training.verl.settings import members_of, whole_numbers


@pytest.fixture
def queue(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer").transfer_queue
    config.enable, config.backend.SimpleStorage.num_data_storage_units = True, 1
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
    transfer_queue.init(config)
    yield
    transfer_queue.close()
    ray.shutdown()


def test_rows_come_back_as_who_they_are(queue):
    keys = []
    for prompt, session in [(0, 1), (1, 0), (0, 0), (1, 2), (1, 1), (0, 2)]:
        fields = {
            "session_id": session, "btrans_first": torch.tensor(9 + 3 * prompt), "global_steps": 4,
            "input_ids": torch.arange(4 + prompt + session),
        }  # fmt: skip
        keys.append(f"uid{prompt}_{session}_0")
        transfer_queue.kv_batch_put(
            keys=keys[-1:], fields=tu.list_of_dict_to_tensordict([fields]), tags=[{}],
            partition_id="train",
        )  # fmt: skip
    meta = KVBatchMeta(keys=keys[::-1], tags=[{}] * 6, partition_id="train", fields=None)
    seen = []

    @tqbridge()
    def worker(rows):
        seen.extend(members_of(rows, rows.keys(), "fresh"))
        some = tu.index_select_tensor_dict(rows, [4, 0])  # as in a small batch
        seen.extend(members_of(some, some.keys(), "fresh"))
        seen.extend(whole_numbers(rows["global_steps"]))
        assert rows["input_ids"].offsets().diff().tolist() == [6, 6, 7, 4, 5, 5]

    worker(meta)
    assert seen == [11, 13, 14, 9, 12, 10] + [12, 11] + [4] * 6
