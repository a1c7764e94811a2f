"""Imports what commands need and lists the harness's tasks, for processes that are then forked."""

import gc

import lm_eval.__main__  # noqa: F401
import pytablewriter  # noqa: F401
import torch.utils.collect_env
from listed_once import list_once
from lm_eval.tasks import TaskManager
from transformers import LlamaForCausalLM  # noqa: F401

import btrans_eval.cli
import btrans_eval.model_adapters.hf.lm  # noqa: F401

torch.utils.collect_env.get_pretty_env_info = lambda: "left out"  # seconds a run, and never read
list_once()
TaskManager()
gc.freeze()  # no fork needs to look through what it has inherited
