"""The trainer against transformers' Trainer with PEFT and bitsandbytes.

The same sets, order, schedule and adapter, and the same losses.
"""

import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from edgepers.assets import model_folder
from edgepers.model.language_model import LanguageModel
from edgepers.model.lora import attention_layers
from edgepers.train.batching import batches
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import CLIP_NORM, learning_rate_at, train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door, as always; you put them there on Monday when the rain had stopped."),
    ("Hi", "Hello, Emily, how are you today?"),
    ("Name three rivers that flow through more than one country.", "The Danube, the Rhine and the Nile."),
    ("Why?", "Because."),
]
BATCH = 4
RATES = {"packaged": 2e-3, "llama": 5e-2, "qwen3": 5e-2, "gemma2": 5e-2}  # what moves a random model, too
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def folder_of(kind, tmp_path):
    if kind == "packaged":
        return model_folder()
    config = AutoConfig.for_model(kind, **SHAPE, vocab_size=8192, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "model" / name).write_bytes((model_folder() / name).read_bytes())
    return tmp_path / "model"


class Told(TrainerCallback):
    def __init__(self):
        self.losses = []

    def on_log(self, args, state, control, logs=None, **_):
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


class InOrder(Trainer):
    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def mean_over_sets(outputs, labels, **_):
    """What a micro-batch adds to the mean over a step's sets of each set's mean over its tokens."""
    targets = labels[:, 1:]
    each = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].float().transpose(1, 2), targets, reduction="none")
    return (each.sum(1) / (targets != -100).sum(1)).sum() / BATCH


@pytest.mark.parametrize("kind", RATES)
def test_losses_are_those_of_transformers_trainer(tmp_path, monkeypatch, kind):
    folder = folder_of(kind, tmp_path)
    llm = LanguageModel.load(str(folder))
    start = LanguageModel.start_lora
    first = {}

    def undropped(self, *args):
        model = start(self, *args)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        first.update(
            {n.replace(".default", ""): p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        )
        return model

    monkeypatch.setattr(LanguageModel, "start_lora", undropped)
    mine = []
    train(
        llm,
        PAIRS,
        tmp_path,
        Recipe(steps=6, batch=BATCH, learning_rate=RATES[kind], rank=4, seed=1),
        on_step=lambda step: mine.append(step.loss),
    )

    examples = [llm.example(q, r, 512) for q, r in PAIRS]
    order = [i for chosen in batches(len(PAIRS), BATCH, 6, 1) for i in chosen]
    rows = [
        {
            "input_ids": list(e.ids),
            "attention_mask": [1] * len(e.ids),
            "labels": [-100] * e.prompt_tokens + list(e.ids[e.prompt_tokens :]),
        }
        for e in (examples[i] for i in order)
    ]
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    plain = AutoModelForCausalLM.from_pretrained(folder, quantization_config=nf4, dtype=torch.float32)
    targets = attention_layers(plain)
    model = get_peft_model(
        plain, LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
    )
    set_peft_model_state_dict(model, first)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1.0, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_at(step, 6, RATES[kind]))
    told = Told()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        InOrder(
            model=model,
            args=TrainingArguments(
                output_dir=str(tmp_path / "out"),
                max_steps=6,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                max_grad_norm=CLIP_NORM,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                seed=1,
            ),
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(folder)),
            optimizers=(optimizer, schedule),
            callbacks=[told],
            compute_loss_func=mean_over_sets,
        ).train()
    assert len(told.losses) == len(mine) == 6
    # 2e-7 was seen; 6e-4 for the packaged model, whose weights are dequantized to bfloat16, as they are stored, and not
    # to float32
    assert mine == pytest.approx(told.losses, rel=2e-3 if kind == "packaged" else 1e-5), (mine, told.losses)
    assert mine[-1] < 0.99 * mine[0]
