"""What btrans-vllm and the harness's ``vllm`` use of vLLM, looked up in its sources; none is run.

    python tests/vllm_engine/vllm_names.py FOLDER [FOLDER_OF_A_RELEASE_THAT_IS_KNOWN]

FOLDER is named ``vllm``, as in site-packages or an unpacked wheel. One line for each name that is
missing, each argument that a function no longer takes, and each word that a body no longer has, and
exit code 1 then. With a second folder, also which of the functions read otherwise there, for a
person to read. Needs nothing but Python.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """What is used of a class, a function or another name of a module.

    Attributes:
        place: ``module:name`` or ``module:class.member``, the module without ``vllm.`` before it.
        why: who needs it.
        members: attributes that a class must have, its own or inherited.
        takes: arguments that a function must take, and where its first must be, ``1 name``.
        says: names, attributes or strings that its body must hold.
    """

    place: str
    why: str
    members: str = ""
    takes: str = ""
    says: str = ""


_RUNNER = "v1.worker.gpu_model_runner:GPUModelRunner"
_RUNNER_2 = "v1.worker.gpu.model_runner:GPUModelRunner"
_OFFLINE = "entrypoints.llm:LLM"

USES = (
    # ---------------------------------------------------------------- how it is started
    Use("__init__:LLM", "the harness, and replicas: the engine"),
    Use("__init__:SamplingParams", "what each prompt is asked with"),
    Use("__init__:TokensPrompt", "each prompt"),
    Use("__init__:__version__", "stock: the release, also in results and store keys"),
    Use("platforms.__init__:current_platform", "stock: in store keys"),
    Use("platforms.interface:Platform", "stock", members="device_type"),
    Use(
        "engine.arg_utils:EngineArgs",
        "arguments that are given, refused, or make members take turns",
        members="model revision dtype tokenizer tokenizer_mode tokenizer_revision seed "
        "trust_remote_code tensor_parallel_size pipeline_parallel_size data_parallel_size "
        "prefill_context_parallel_size decode_context_parallel_size max_model_len max_num_seqs "
        "max_num_batched_tokens quantization enable_lora max_lora_rank additional_config "
        "worker_extension_cls worker_cls kv_transfer_config kv_offloading_size logprobs_mode "
        "enable_chunked_prefill speculative_config enable_dbo ubatch_size load_format "
        "kv_sharing_fast_prefill distributed_executor_backend download_dir disable_log_stats "
        "gpu_memory_utilization kv_cache_memory_bytes create_model_config",
    ),
    Use(
        "config.model:ModelConfig",
        "setup, engine, trial, mixing",
        members="dtype quantization max_model_len is_multimodal_model get_vocab_size "
        "using_transformers_backend try_get_generation_config",
    ),
    Use(
        "config.model:LogprobsMode", "setup: the only one that is let through", says="raw_logprobs"
    ),
    Use("config.__init__:get_current_vllm_config_or_none", "mixing: tables are made while built"),
    Use(
        "config.vllm:VllmConfig",
        "mixing",
        members="additional_config scheduler_config model_config",
    ),
    Use(
        "config.vllm:VllmConfig.compute_hash",
        "a graph with noise is not taken for one without",
        says="additional_config",
    ),
    Use(
        "config.scheduler:SchedulerConfig",
        "mixing: room in the buffer; lm: prompts at once",
        members="max_num_batched_tokens max_num_seqs",
    ),
    Use(
        "envs:environment_variables",
        "engine: in store keys; replicas: cleared",
        says="VLLM_BATCH_INVARIANT VLLM_USE_V2_MODEL_RUNNER VLLM_DP_RANK VLLM_DP_RANK_LOCAL "
        "VLLM_DP_SIZE VLLM_DP_MASTER_IP VLLM_DP_MASTER_PORT",
    ),
    # -------------------------------------------------------------------- how it is asked
    Use(_OFFLINE, "lm, replicas", members="llm_engine"),
    Use(f"{_OFFLINE}.generate", "replicas", takes="prompts sampling_params use_tqdm lora_request"),
    Use(f"{_OFFLINE}.enqueue", "replicas: the trial's", takes="prompts sampling_params use_tqdm"),
    Use(f"{_OFFLINE}.wait_for_completion", "replicas: the trial's", takes="use_tqdm"),
    Use(f"{_OFFLINE}.sleep", "replicas: the trial's requests are there together", takes="level"),
    Use(f"{_OFFLINE}.wake_up", "replicas", takes="tags"),
    Use("v1.engine.core:EngineCore.wake_up", "replicas", says="scheduling resume_scheduler"),
    Use("v1.engine.core:EngineCore.sleep", "replicas: level 0 only pauses", says="pause_scheduler"),
    Use(f"{_OFFLINE}.reset_prefix_cache", "replicas: before noise changes"),
    Use("v1.core.block_pool:BlockPool.reset_prefix_cache", "it says whether it was emptied"),
    Use(f"{_OFFLINE}.collective_rpc", "replicas: members are told", takes="method args"),
    Use(
        "v1.engine.llm_engine:LLMEngine",
        "lm, the harness",
        members="vllm_config model_config engine_core",
    ),
    Use("v1.engine.core_client:EngineCoreClient", "replicas: the end", members="shutdown"),
    Use(
        "sampling_params:SamplingParams",
        "what each prompt is asked with",
        members="temperature max_tokens prompt_logprobs logprobs ignore_eos detokenize stop seed "
        "extra_args skip_special_tokens spaces_between_special_tokens n output_kind "
        "skip_reading_prefix_cache",
    ),
    Use(
        "sampling_params:SamplingParams.__post_init__",
        "a prompt whose tokens are scored is read whole",
        says="skip_reading_prefix_cache prompt_logprobs",
    ),
    Use("inputs.__init__:TokensPrompt", "each prompt", members="prompt_token_ids cache_salt"),
    Use(
        "v1.core.kv_cache_utils:generate_block_hash_extra_keys",
        "no member reads another's keys and values",
        says="cache_salt",
    ),
    Use("exceptions:VLLMValidationError", "generation: told as the user's mistake"),
    # ------------------------------------------------------------------ what it answers
    Use(
        "outputs:RequestOutput",
        "probe, the harness",
        members="prompt_token_ids prompt_logprobs outputs",
    ),
    Use(
        "outputs:CompletionOutput",
        "generation, probe",
        members="text token_ids logprobs finish_reason stop_reason",
    ),
    Use("logprobs:Logprob", "probe, the harness", members="logprob"),
    Use("v1.engine.__init__:FINISH_REASON_STRINGS", "generation", says="stop length"),
    # ---------------------------------------------------------------------- its workers
    Use("v1.worker.worker_base:WorkerBase", "our part of a worker", members="model_runner"),
    Use(
        "v1.worker.worker_base:WorkerWrapperBase.init_worker",
        "our part is there before the model is built",
        says="worker_extension_cls resolve_obj_by_qualname",
    ),
    Use("model_executor.custom_op:CustomOp", "worker: noise is added around it", members="forward"),
    Use("model_executor.models.utils:WeightsMapper", "worker: names", members="apply_list"),
    Use(_RUNNER, "worker, mixing", members="get_model input_batch"),
    Use(f"{_RUNNER}._prepare_inputs", "mixing: wrapped", takes="1 scheduler_output"),
    Use(f"{_RUNNER}.execute_model", "it is called by its name", says="_prepare_inputs"),
    Use("v1.worker.gpu_input_batch:InputBatch", "mixing: the order", members="req_ids"),
    Use("v1.worker.cpu_model_runner:CPUModelRunner", "mixing: is that runner", members="get_model"),
    Use(_RUNNER_2, "worker, mixing", members="get_model"),
    Use(
        f"{_RUNNER_2}.prepare_inputs",
        "mixing: wrapped",
        takes="1 scheduler_output",
        says="InputBatch",
    ),
    Use(f"{_RUNNER_2}.execute_model", "it is called by its name", says="prepare_inputs"),
    Use(
        "v1.worker.gpu.input_batch:InputBatch",
        "mixing: the order",
        members="req_ids num_scheduled_tokens",
    ),
    Use(
        "v1.core.sched.output:SchedulerOutput",
        "mixing: whose a token is",
        members="finished_req_ids scheduled_new_reqs num_scheduled_tokens",
    ),
    Use("v1.core.sched.output:NewRequestData", "mixing", members="req_id sampling_params"),
    # ------------------------------------------------- what the harness imports beside these
    Use(
        "lora.request:LoRARequest",
        "the harness: name, number, folder, in this order",
        members="lora_name lora_int_id lora_path",
    ),
    Use(
        "renderers.hf:resolve_chat_template",
        "the harness",
        takes="tokenizer chat_template tools model_config",
    ),
    Use(
        "tokenizers.__init__:get_tokenizer",
        "the harness",
        takes="1 tokenizer_name trust_remote_code revision",
    ),
)


class Sources:
    """The modules of a package, as text.

    Args:
        folder: of the package.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._others: dict[str, str] = {}
        self._read: dict[str, ast.Module | None] = {}

    def altered(self, texts: Mapping[str, str]) -> Sources:
        """The same with other texts of some modules, by their names here."""
        new = Sources(self.folder)
        new._others = {**self._others, **texts}
        new._read = {name: tree for name, tree in self._read.items() if name not in texts}
        return new

    def text(self, module: str) -> str | None:
        """Of a module, ``a.b`` or ``a.__init__``; None where there is none."""
        if module in self._others:
            return self._others[module]
        path = self.folder / (module.replace(".", "/") + ".py")
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def tree(self, module: str) -> ast.Module | None:
        if module not in self._read:
            text = self.text(module)
            self._read[module] = None if text is None else ast.parse(text)
        return self._read[module]

    def find(self, module: str, name: str) -> tuple[str, ast.AST] | None:
        """The module where a name is defined, followed through imports, and what defines it."""
        tree = self.tree(module)
        if tree is None:
            if module.endswith("__init__"):
                return None
            return self.find(f"{module}.__init__", name) if self._is_package(module) else None
        for each in _statements(tree):
            if isinstance(each, ast.ImportFrom):
                for alias in each.names:
                    if name == (alias.asname or alias.name):
                        found = self.find(self._absolute(module, each), alias.name)
                        if found is not None:
                            return found
            elif name in _defined(each):
                return module, each
        for each in ast.walk(tree):  # what a module's __getattr__ knows
            if isinstance(each, ast.FunctionDef) and each.name == "__getattr__":
                if name in _words(each):
                    return module, each
        return None

    def members(self, module: str, kind: ast.AST) -> dict[str, tuple[str, ast.AST]]:
        """Attributes of a class and of those it inherits from, where they are in this package."""
        found: dict[str, tuple[str, ast.AST]] = {}
        if not isinstance(kind, ast.ClassDef):
            return found
        for base in reversed(kind.bases):
            base = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(base, ast.Name):
                there = self.find(module, base.id)
                if there is not None and there[1] is not kind:
                    found |= self.members(*there)
        for each in ast.walk(kind):
            if isinstance(each, ast.Assign | ast.AnnAssign):
                for target in each.targets if isinstance(each, ast.Assign) else [each.target]:
                    if isinstance(target, ast.Attribute) and _is_self(target.value):
                        found.setdefault(target.attr, (module, each))
        for statement in kind.body:
            found |= {name: (module, statement) for name in _defined(statement)}
        return found

    def _is_package(self, module: str) -> bool:
        return self.text(f"{module}.__init__") is not None

    def _absolute(self, module: str, statement: ast.ImportFrom) -> str:
        """The module that is imported from, without ``vllm.`` before it."""
        named = statement.module or ""
        if statement.level:
            above = module.split(".")[: -statement.level]
            return ".".join([*above, named]) if named else ".".join([*above, "__init__"])
        return named.removeprefix("vllm.") if named != "vllm" else "__init__"


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Those of a module, also under a condition; what is imported for types alone comes last."""
    waiting: list[ast.stmt] = list(tree.body)
    for each in waiting:
        yield each
        if isinstance(each, ast.If | ast.Try):
            waiting += [*each.body, *each.orelse]
            waiting += getattr(each, "finalbody", [])
            waiting += [s for handler in getattr(each, "handlers", []) for s in handler.body]


def _defined(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.AnnAssign):
        return {statement.target.id} if isinstance(statement.target, ast.Name) else set()
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return set()


def _words(node: ast.AST) -> set[str]:
    """Names, attributes and strings that stand in it, but for its own name and its docstring."""
    words = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            words.add(each.id)
        elif isinstance(each, ast.Attribute):
            words.add(each.attr)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            words.add(each.value)
    return words


def look(sources: Sources, use: Use) -> tuple[list[str], dict[str, tuple[str, ast.AST]]]:
    """What is missing of a use, and where each of its names stands."""
    module, _, path = use.place.partition(":")
    name, _, member = path.partition(".")
    found = sources.find(module, name)
    if found is not None and member:
        found = sources.members(*found).get(member)
    if found is None:
        return [f"{use.place}: is not there ({use.why})"], {}
    missing, places = [], {path: found}
    there = sources.members(*found)
    for each in use.members.split():
        if each in there:
            places[each] = there[each]
        else:
            missing.append(f"{use.place}: has no {each} ({use.why})")
    takes = use.takes.removeprefix("1 ").split()
    taken = _arguments(found[1])
    missing += [
        f"{use.place}: does not take {each} ({use.why})" for each in takes if each not in taken
    ]
    if use.takes.startswith("1 ") and taken[:1] != takes[:1]:
        missing.append(f"{use.place}: takes {taken[:1]} first, not {takes[0]} ({use.why})")
    words = _words(found[1])
    missing += [
        f"{use.place}: does not say {each} any more ({use.why})"
        for each in use.says.split()
        if each not in words
    ]
    return missing, places


def _arguments(node: ast.AST) -> list[str]:
    """A function's, without ``self``."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [each for each in names if each != "self"]


def missing(sources: Sources) -> list[str]:
    """What is used, and not in these sources; one line each."""
    return [line for use in USES for line in look(sources, use)[0]]


def changed(sources: Sources, known: Sources) -> list[str]:
    """Functions that are used and in both, and read otherwise."""
    lines = []
    for use in USES:
        here, there = look(sources, use)[1], look(known, use)[1]
        for name in here.keys() & there.keys():
            new, old = here[name][1], there[name][1]
            if isinstance(new, ast.FunctionDef) and ast.dump(new) != ast.dump(old):
                module = here[name][0]
                lines.append(f"{module}:{new.lineno} {name} reads otherwise ({use.why})")
    return sorted(set(lines))


def main(folders: list[str]) -> int:
    if not 1 <= len(folders) <= 2:
        print(__doc__)
        return 2
    sources = [Sources(Path(folder)) for folder in folders]
    for each in sources:
        if each.text("__init__") is None:
            print(f"FOLDER: {each.folder} has no __init__.py; name the folder vllm of a wheel")
            return 2
    lacks = missing(sources[0])
    print("\n".join(lacks) or f"all of {len(USES)} uses are there")
    if len(sources) == 2:
        print("\n".join(changed(*sources)))
    return 1 if lacks else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
