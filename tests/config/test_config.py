"""Config, presets, checks and inheritance: all without TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib
import math
from pathlib import Path

import pytest

import tfssl
from tfssl.config import (
    IDENTITY,
    RESUMABLE,
    SPECS,
    Config,
    difference,
    modes,
    resolve,
    tables,
)
from tfssl.config.complete import missing_paths
from tfssl.config.flag import AUTO_SWITCH
from tfssl.config.flagfile import from_flagfile, to_flagfile
from tfssl.config.inherit import (
    Parsed,
    contradictions,
    foreign_start,
    inherit,
    stored_config,
)
from tfssl.config.methods import METHODS
from tfssl.config.rules import validate
from tfssl.errors import ConfigError

PACKAGE = Path(tfssl.__file__).parent


def config(**flags) -> Config:
    return dataclasses.replace(Config(run_dir="runs/x"), **flags)


# --- fields -----------------------------------------------------------------------


def test_every_field_is_complete():
    for spec in SPECS.values():
        assert spec.help and not spec.help.endswith(".")
        if spec.default is not None:
            assert spec.kind.parse(spec.kind.text(spec.default)) == spec.default
        assert spec.scope in ("encoder", "run", "free")


def test_identity_and_resumable_split_the_flags():
    assert set(SPECS) == IDENTITY | RESUMABLE
    assert not IDENTITY & RESUMABLE
    assert {"method", "encoder", "dataset", "seed", "batch_size"} <= IDENTITY
    assert {"mode", "run_dir", "progress", "log_every", "knn_every"} <= RESUMABLE
    assert {"keep_checkpoints", "strategy", "virtual_devices"} <= RESUMABLE


LEFT_EMPTY = (
    "data_dir",
    "index_dir",
    "eval_split",
    "data_service",
    "lr_milestones",
    "teacher",
)
LEFT_EMPTY += ("embeddings", "embed_split", "query", "labelled")


# --- resolve ----------------------------------------------------------------------


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("image_size", [32, 224])
def test_resolve_fills_every_flag_the_method_has(method, image_size):
    full = resolve(config(method=method, image_size=image_size))
    for name, spec in SPECS.items():
        if name in ("run_dir", "init_from", "source") or name.startswith(LEFT_EMPTY):
            continue
        owners = [m for m, row in METHODS.items() if name in row.specs()]
        has_it = not owners or method in owners
        if (name, method) == ("ema_momentum", "simclr"):
            has_it = False  # nothing follows, but for a memory
        if spec.kind is not AUTO_SWITCH and spec.default in (None, ""):
            assert (getattr(full, name) not in (None, "")) == has_it, name
    assert resolve(full) == full
    encoder = "resnet50" if image_size == 224 else "resnet18_cifar"
    assert validate(dataclasses.replace(full, encoder=encoder)) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # SPEC of each paper, written out again by hand.
        (
            {"method": "byol", "epochs": 1000},
            {"learning_rate": 0.2, "weight_decay": 1.5e-6, "ema_momentum": 0.996},
        ),
        (
            {"method": "byol", "epochs": 300},
            {"learning_rate": 0.3, "weight_decay": 1e-6, "ema_momentum": 0.99},
        ),
        ({"method": "byol", "epochs": 41}, {"ema_momentum": 0.99}),
        (
            {"method": "byol", "epochs": 40},
            {"learning_rate": 0.45, "ema_momentum": 0.97, "warmup_epochs": 10},
        ),
        ({"method": "byol", "epochs": 5000}, {"ema_momentum": 0.996}),
        (
            {"method": "simclr", "epochs": 100},
            {"optimizer": "lars", "learning_rate": 0.3, "temperature": 0.1},
        ),
        (
            {"method": "moco", "epochs": 200},
            {
                "optimizer": "sgd",
                "learning_rate": 0.03,
                "queue_size": 65536,
                "warmup_epochs": 0,
                "augment": "moco_v2",
                "temperature": 0.2,
            },
        ),
        (
            {"method": "simclr", "image_size": 32},
            {"augment": "simclr_cifar", "temperature": 0.5, "learning_rate": 1.0},
        ),
        (
            {"method": "moco", "image_size": 32},
            {"queue_size": 4096, "projector_layers": 1, "ema_momentum": 0.99},
        ),
        ({"optimizer": "adamw"}, {"learning_rate": 5e-4}),
        ({"epochs": 8}, {"warmup_epochs": 2.0}),
        ({"learning_rate": 0.7, "augment": "byol"}, {"learning_rate": 0.7}),
        ({"augment": "byol"}, {"augment": "byol"}),
    ],
)
def test_defaults_of_the_methods(flags, expected):
    full = resolve(config(**{"image_size": 224, **flags}))
    assert {name: getattr(full, name) for name in expected} == expected


def test_recipe_names_are_those_of_the_augment_folder():
    recipes = importlib.import_module("tfssl.augment.recipes").RECIPES
    assert all(name in recipes for name in tables.TWO_VIEW_RECIPES)


# --- validate ---------------------------------------------------------------------


BAD = [
    ({"run_dir": ""}, "--run_dir"),
    ({"run_dir": "gs://"}, "gs://BUCKET/runs/first"),
    ({"profile_steps": 3, "micro_batches": 2}, "--micro_batches=1"),
    ({"mode": ""}, "--mode"),
    ({"mode": "pretain"}, "try --mode=pretrain"),
    ({"mode": "pretrain,detekt"}, "one of convert, detect, distill"),
    ({"mode": "knn,pretrain"}, "--mode=pretrain,knn"),
    ({"method": "bylo"}, "try --method=byol"),
    ({"encoder": "resnet51"}, "--encoder=resnet51"),
    ({"encoder_family": "torch"}, "--encoder_family=torch"),
    ({"encoder": "resnet50"}, "--encoder=resnet50_cifar"),
    ({"encoder": "resnet18_cifar", "image_size": 224}, "try --encoder=resnet18"),
    ({"image_size": 0}, ">= 8"),
    ({"dataset": "cifar10"}, "folder:DIR"),
    ({"dataset": ""}, "folder:DIR"),
    ({"dataset": "shapes:many"}, "--dataset=shapes:5000"),
    ({"dataset": "shapes:0"}, "--dataset=shapes:5000"),
    ({"dataset": "tfrecord:"}, "tfrecord:GLOB"),
    ({"tfrecord_image_key": ""}, "--tfrecord_image_key=image/encoded"),
    ({"dataset": "list:"}, "list:FILE"),
    ({"label_fraction": 0.0}, "above 0 and at most 1"),
    ({"label_fraction": 1.5}, "above 0 and at most 1"),
    ({"label_fraction": ""}, "above 0 and at most 1"),
    ({"max_image_pixels": -1}, "--max_image_pixels=0"),
    ({"dataset": "shapes:100"}, "--dataset=shapes:256"),
    ({"train_split": ""}, "--train_split"),
    ({"method": "moco", "queue_size": 1000}, "try --queue_size=1024"),
    ({"method": "moco", "queue_size": 256, "symmetric": True}, "--queue_size=512"),
    ({"method": "moco", "dictionary": "bench"}, "try --dictionary=batch"),
    ({"method": "simclr", "dictionary": "bank"}, "--dictionary only with moco"),
    (
        {"method": "moco", "dictionary": "batch", "queue_size": 256},
        "leaving --queue_size away",
    ),
    (
        {"method": "moco", "dictionary": "batch", "ema_momentum": 0.9},
        "leaving --ema_momentum away",
    ),
    ({"method": "moco", "dictionary": "bank", "symmetric": True}, "--nosymmetric"),
    ({"method": "moco", "projector_layers": 3}, "--projector_layers=2"),
    ({"method": "byol", "queue_size": 4096}, "--queue_size only with simclr or moco"),
    ({"method": "moco", "queue_size": 0}, "--queue_size=4096"),
    ({"method": "simclr", "queue_size": 768}, "a multiple of twice --batch_size"),
    ({"method": "byol", "temperature": 0.1}, "--temperature only with simclr or moco"),
    ({"method": "byol", "projector_layers": 2}, "--projector_layers only"),
    ({"method": "simclr", "predictor_hidden": 9}, "--predictor_hidden only with byol"),
    ({"method": "simclr", "ema_momentum": 0.9}, "try --queue_size=65536"),
    ({"method": "simclr", "symmetric": True}, "--symmetric only with moco"),
    ({"method": "moco", "ema_schedule": "cosine"}, "--ema_schedule only with byol"),
    ({"method": "moco", "predictor": "none"}, "--predictor only with byol"),
    ({"method": "simclr", "target_init": "random"}, "--target_init only with byol"),
    ({"method": "moco", "batch_norm_interleaved": True}, "--batch_norm_groups=8"),
    (
        {"method": "byol", "batch_norm_interleaved": True},
        "--batch_norm_interleaved only with moco",
    ),
    ({"method": "moco", "projector_hidden": 0}, "--projector_hidden only with"),
    ({"temperature": 0.0}, "> 0"),
    ({"learning_rate": float("nan")}, "finite"),
    ({"learning_rate": float("inf")}, "finite"),
    ({"momentum": 1.5}, "<= 1"),
    ({"optimizer": "adam"}, "try --optimizer=adamw"),
    ({"warmup_epochs": 10.0, "epochs": 10}, "--warmup_epochs=2.5"),
    ({"lr_schedule": "epoch_cosine"}, "--warmup_epochs=0"),
    (
        {"lr_schedule": "epoch_cosine", "train_steps": 9, "method": "moco"},
        "--train_steps=0",
    ),
    ({"lr_milestones": (30.0, 60.0)}, "--lr_milestones only with step"),
    ({"lr_decay": 0.5}, "--lr_decay only with step or exponential"),
    ({"lr_decay_steps": 9, "lr_schedule": "step"}, "only with exponential"),
    ({"lr_staircase": True, "lr_schedule": "constant"}, "only with exponential"),
    ({"lr_milestones": (60.0, 30.0), "lr_schedule": "step"}, "--lr_milestones=60,80"),
    ({"lr_milestones": (0.0, 60.0), "lr_schedule": "step"}, "rising epochs"),
    ({"lr_milestones": (60.0, math.nan), "lr_schedule": "step"}, "rising epochs"),
    ({"lr_milestones": (60.0, 100.0), "lr_schedule": "step"}, "rising epochs"),
    ({"batch_size": 1}, ">= 2"),
    ({"strategy": "mirored"}, "try --strategy=mirrored"),
    ({"virtual_devices": 2}, "--strategy=mirrored"),
    (
        {"virtual_devices": 3, "strategy": "mirrored", "linear_batch_size": 255},
        "--batch_size=258",
    ),
    (
        {
            "mode": "pretrain,finetune",
            "virtual_devices": 2,
            "strategy": "mirrored",
            "finetune_batch_size": 255,
        },
        "--finetune_batch_size=256",
    ),
    ({"finetune_layer": 1, "method": "byol"}, "only simclr keeps"),
    ({"finetune_layer": 4, "projector_layers": 3}, "0 to 3"),
    ({"data_service": "host:5050"}, "grpc://localhost:5050"),
    ({"data_service": "grpc://h:1", "dataset": "tfds:cifar10"}, "read by Python"),
    ({"micro_batches": 0}, ">= 1"),
    ({"micro_batches": 3}, "--batch_size=258"),
    (
        {"micro_batches": 64, "batch_norm_groups": 8, "method": "moco"},
        "a multiple of 512",
    ),
    ({"batch_norm_groups": 3}, "try --batch_norm_groups=2"),
    (
        {"batch_norm_groups": 1, "virtual_devices": 2, "strategy": "mirrored"},
        "--batch_norm_groups=2",
    ),
    ({"normalization": "layer"}, "one of batch, group_ws, none"),
    ({"normalization": "none", "batch_norm_groups": 8}, "--batch_norm_groups=0"),
    ({"encoder": "keras.applications:"}, "MODULE:FUNCTION"),
    ({"encoder": "a b:c"}, "try keras.applications:MobileNetV3Small"),
    ({"encoder": "no_such_package.x:f"}, "no module no_such_package"),
    ({"encoder": "keras.applications:X", "normalization": "none"}, "one of our"),
    ({"encoder": "keras.applications:X", "batch_norm_groups": 8}, "one of our"),
    ({"encoder": "keras.applications:X", "zero_init_last_gamma": True}, "one of our"),
    ({"encoder": "keras.applications:X", "micro_batches": 2}, "--micro_batches=1"),
    ({"linear_learning_rates": ()}, "--linear_learning_rates"),
    ({"linear_learning_rates": (-1.0,)}, "numbers > 0"),
    ({"data_dir": "a\nb"}, "printable"),
    ({"run_dir": "a\nb"}, "printable"),
    ({"seed": -1}, ">= 0"),
    ({"seed": 2**63}, "<= 2147483647"),
    ({"epochs": 2**62}, "--epochs=2147483647"),
    ({"knn_k": 2**31}, "<= 2147483647"),
    ({"finetune_epochs": (30, 10**30)}, "--finetune_epochs=2147483647"),
    ({"label_seeds": 1001}, "<= 1000"),
    ({"seed": 2**31 - 2, "label_seeds": 3}, "--seed=2147483645 or less"),
    ({"seed": 2**31 - 1, "dense_seeds": 2}, "--seed=2147483646 or less"),
    ({"transfer_shots": (1.0, math.nan)}, "whole numbers of images"),
    ({"transfer_shots": (math.inf,)}, "whole numbers of images"),
    ({"mode": "convert"}, "without --source"),
    ({"mode": "convert", "source": "bol:x"}, "--source=byol:PATH"),
    ({"mode": "convert", "source": "simclr:gs://x"}, "on this machine"),
    ({"mode": "knn,convert", "source": "byol:x"}, "convert first"),
    ({"mode": "convert,pretrain", "source": "byol:x"}, "of its own"),
    ({"mode": "convert", "source": "byol:x", "init_from": "y"}, "--init_from"),
    (
        {"mode": "convert", "source": "byol:x", "normalization": "group_ws"},
        "networks with BatchNorm",
    ),
    (
        {
            "mode": "export",
            "format": "torchvision",
            "encoder": "keras.applications:X",
            "encoder_family": "moco",
        },
        "one of our ResNets",
    ),
    ({"mode": "export", "format": "tensorflowjs"}, "--format"),
    ({"mode": "export", "export_dtype": "int8"}, "--format=litert"),
    (
        {"mode": "export", "format": "keras", "export_versions": True},
        "--format=saved_model",
    ),
    (
        {
            "mode": "export",
            "format": "torchvision",
            "encoder": "resnet18",
            "image_size": 224,
            "encoder_family": "moco",
            "normalization": "none",
        },
        "those with BatchNorm",
    ),
    ({"mode": "export", "format": "torchvision"}, "family simclr pads"),
    (
        {"mode": "export", "format": "torchvision", "encoder_family": "moco"},
        "32-pixel stem",
    ),
    (
        {
            "mode": "export",
            "format": "torchvision",
            "encoder": "resnet200x2_cifar",
            "encoder_family": "moco",
        },
        "32-pixel stem; its width is 1 and its depth at most 152",
    ),
]


@pytest.mark.parametrize(("flags", "words"), BAD)
def test_one_defect_is_one_problem(flags, words):
    problems = validate(config(**flags))
    assert len(problems) == 1, problems
    assert words in problems[0]
    assert problems[0].startswith("got ")
    assert "; expected " in problems[0] and "; try " in problems[0]
    assert any(f"--{flag}" in problems[0] for flag in flags)


def test_all_problems_at_once():
    bad = config(
        method="moco", queue_size=1000, temperature=-1.0, epochs=0, mode="x", run_dir=""
    )
    text = "\n".join(validate(bad))
    for flag in ("queue_size", "temperature", "epochs", "mode", "run_dir"):
        assert f"--{flag}" in text


@pytest.mark.parametrize(
    "flags",
    [
        {"method": "moco", "batch_norm_groups": 8, "symmetric": True},
        {"strategy": "mirrored", "virtual_devices": 2, "batch_norm_groups": 8},
        {"micro_batches": 32, "batch_norm_groups": 8},
        {"precision": "mixed_float16"},
        {"normalization": "group_ws"},
        {"encoder": "keras.applications:MobileNetV3Small", "image_size": 224},
        {"encoder": "keras.applications:X", "method": "byol", "micro_batches": 2},
        {"dataset": "folder:some/where"},
        {"dataset": "tfds:cifar10"},
        {"dataset": "shapes:256"},
        {"encoder": "resnet50x2_sk", "image_size": 224},
        {"epochs": 5, "warmup_epochs": 7.0, "train_steps": 100},
        {"mode": "pretrain, knn ,linear"},
        {"method": "moco", "lr_schedule": "epoch_cosine"},
        {"lr_schedule": "step", "lr_milestones": (0.5, 99.5), "lr_decay": 0.3},
        {"lr_schedule": "step", "lr_milestones": (500.0,), "train_steps": 9},
        {"lr_schedule": "exponential", "lr_decay_steps": 9, "lr_staircase": True},
        {"method": "moco", "dictionary": "batch", "symmetric": True},
        {"method": "simclr", "queue_size": 65536, "ema_momentum": 0.99},
        {"method": "moco", "dictionary": "bank", "queue_size": 1000},
    ],
)
def test_good_ones_pass(flags):
    assert validate(config(**flags)) == []


def test_missing_paths(tmp_path):
    (tmp_path / "model.index").touch()
    there = config(dataset=f"folder:{tmp_path}", init_from=str(tmp_path / "model"))
    assert missing_paths(there) == []
    assert missing_paths(config(dataset="folder:gs://bucket/images")) == []
    gone = config(dataset=f"folder:{tmp_path}/no", init_from=f"{tmp_path}/no")
    assert len(missing_paths(gone)) == 2
    names = tmp_path / "names.txt"
    for dataset in (f"list:{names}", f"list:{tmp_path}/{{split}}.txt"):
        assert len(missing_paths(config(dataset=dataset))) == 1
    assert len(missing_paths(config(label_fraction=str(names)))) == 1
    names.touch()
    for dataset in (f"list:{names}", f"list:{tmp_path}/{{split}}.txt"):
        assert missing_paths(config(dataset=dataset, label_fraction=str(names))) == []
    two = config(dataset=f"folder:{tmp_path},{tmp_path}/no")
    assert len(missing_paths(two)) == 1 and "/no is not" in missing_paths(two)[0]
    relative = config(dataset="folder:" + tmp_path.name, data_dir=str(tmp_path.parent))
    assert missing_paths(relative) == []
    no_images_needed = config(dataset="folder:no/such", mode="export,report")
    assert missing_paths(no_images_needed) == []


# --- flagfiles --------------------------------------------------------------------


@pytest.mark.parametrize("method", list(METHODS))
def test_flagfile_round_trip(method):
    odd = config(
        method=method,
        progress=False,
        learning_rate=1 / 3,
        data_dir="a folder/with = and #",
        mode="pretrain,knn",
        dataset="shapes:77",
        eval_split="test",
    )
    for one in (odd, resolve(odd), Config()):
        assert from_flagfile(to_flagfile(one)) == one


def test_flagfile_names_every_line_it_cannot_read():
    with pytest.raises(ConfigError) as caught:
        from_flagfile("# a\n--batchsize=3\n--epochs=x\n--progress=maybe\n\n--seed=4\n")
    first, second, third = caught.value.problems
    assert "--batch_size" in first
    assert "--epochs=x" in second and "whole number" in second
    assert "--progress=maybe" in third and "true or false" in third


def test_difference_in_the_order_of_the_flags():
    a, b = config(seed=1, epochs=2, progress=False), config(seed=3, epochs=4)
    assert difference(a, b) == [
        ("seed", 1, 3),
        ("progress", False, True),
        ("epochs", 2, 4),
    ]
    assert [name for name, _, _ in difference(a, b, IDENTITY)] == ["seed", "epochs"]
    assert difference(a, a) == []


def test_modes():
    assert modes(config(mode="pretrain, knn,,")) == ["pretrain", "knn"]
    assert modes(config(mode="")) == []


# --- stored runs ------------------------------------------------------------------

STORED = resolve(
    config(method="moco", batch_norm_groups=8, run_dir="old", mode="pretrain", seed=5)
)


def parsed(**flags) -> Parsed:
    return Parsed(config(**flags), frozenset(flags))


def test_evaluation_takes_over_what_is_not_given():
    got = inherit(parsed(mode="knn", run_dir="new", knn_k=20), STORED)
    assert (got.mode, got.run_dir, got.init_from, got.knn_k) == ("knn", "new", "", 20)
    changed = {name for name, _, _ in difference(got, STORED)}
    assert changed == {"mode", "run_dir", "knn_k"}


def test_evaluation_does_not_start_from_what_the_run_started_from():
    stored = dataclasses.replace(STORED, init_from="imagenet")
    assert inherit(parsed(mode="knn", run_dir="old"), stored).init_from == ""


def test_an_empty_value_is_one_where_no_method_decides():
    """It takes back what the run was given, and is not passed over."""
    stored = dataclasses.replace(STORED, data_dir="old", eval_split="val")
    empty = {"run_dir": "new", "data_dir": "", "eval_split": "", "augment": ""}
    got = inherit(parsed(mode="knn", init_from="old", **empty), stored)
    assert (got.data_dir, got.eval_split, got.augment) == ("", "", STORED.augment)
    with pytest.raises(ConfigError, match="--eval_split= for the run in new"):
        inherit(parsed(mode="knn", **empty), stored)


def test_evaluation_refuses_every_contradiction():
    with pytest.raises(ConfigError) as caught:
        inherit(parsed(mode="knn", method="byol", temperature=0.3, seed=5), STORED)
    first, second = caught.value.problems
    assert "--method=byol" in first and "--method=moco" in first
    assert "--temperature=0.3" in second and "--temperature=0.1" in second


def test_evaluation_elsewhere_may_take_other_data_but_no_other_encoder():
    elsewhere = {"mode": "linear", "init_from": "old", "run_dir": "new"}
    got = inherit(parsed(**elsewhere, dataset="tfds:x", image_size=64), STORED)
    assert (got.dataset, got.image_size, got.method) == ("tfds:x", 64, "moco")
    with pytest.raises(ConfigError, match="--encoder=resnet50"):
        inherit(parsed(**elsewhere, encoder="resnet50"), STORED)
    with pytest.raises(ConfigError, match="--init_from=.* with another --run_dir"):
        inherit(parsed(mode="linear", dataset="tfds:x"), STORED)


def test_a_run_goes_on_only_as_it_was_started():
    same = dataclasses.replace(STORED, progress=False, run_dir="moved", knn_every=2.0)
    assert contradictions(same, STORED) == []
    other = dataclasses.replace(STORED, seed=6, batch_size=128, log_every=1)
    (problem,) = contradictions(other, STORED)
    assert "--seed=6 --batch_size=128" in problem
    assert "--seed=5 --batch_size=256" in problem
    assert "log_every" not in problem
    unresolved = config(method="moco", batch_norm_groups=8, seed=5)
    assert contradictions(unresolved, STORED) == []


def test_a_start_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    stored = dataclasses.replace(STORED, init_from="a")
    for text in ("a", "a/", "./a", str(tmp_path / "a"), "b/../a"):
        (tmp_path / "b").mkdir(exist_ok=True)
        assert contradictions(dataclasses.replace(stored, init_from=text), stored) == []
    (problem,) = contradictions(dataclasses.replace(stored, init_from="b"), stored)
    assert "--init_from=b in" in problem


def test_stored_config_from_a_run_or_a_checkpoint_in_it(tmp_path):
    assert stored_config(str(tmp_path)) is None
    (tmp_path / "flags.cfg").write_text(to_flagfile(STORED))
    (tmp_path / "checkpoints").mkdir()
    for path in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "7"):
        assert stored_config(str(path)) == STORED


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"linear_features": "cached", "run_dir": "gs://b/r"}, "--init_from=gs://b/r"),
        ({"linear_features": "kept"}, "--linear_features"),
    ],
)
def test_what_cached_features_need(flags, words):
    problems = validate(config(mode="linear", **flags))
    assert any(words in text for text in problems), problems
    assert not validate(config(mode="linear", linear_features="cached"))


@pytest.mark.parametrize("flag", ["encoder", "encoder_family", "normalization"])
def test_weights_of_another_network_are_no_start(tmp_path, flag):
    (tmp_path / "flags.cfg").write_text(to_flagfile(resolve(config(method="moco"))))
    other = {"encoder": "resnet34_cifar", "encoder_family": "byol"}
    start = config(method="moco", init_from=str(tmp_path))
    assert foreign_start(start) == []
    value = other.get(flag, "none")
    (problem,) = foreign_start(dataclasses.replace(start, **{flag: value}))
    assert problem.startswith(f"got --{flag}={value} with --init_from")


@pytest.mark.parametrize(
    ("flags", "twice"),
    [
        ({"transfer_runs": ("a", "b")}, False),
        ({"transfer_runs": ("a", "b", "a/")}, True),
        ({"transfer_runs": ("a", "./x/../a")}, True),
        ({"transfer_runs": ("gs://b/a", "gs://b/a")}, True),
        ({"transfer_runs": ("x/",)}, True),  # the run itself
        ({"transfer_runs": ("x",), "init_from": "a"}, False),
        ({"transfer_runs": ("b", "a"), "init_from": "a"}, True),
    ],
)
def test_an_encoder_is_not_ranked_against_itself(tmp_path, monkeypatch, flags, twice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    common = {"mode": "transfer", "transfer": ("cifar10",), "run_dir": "x"}
    problems = validate(resolve(Config(**common, **flags)))
    assert len(problems) == twice and all("each once" in text for text in problems)


# --- embed, search, select --------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"mode": "search"}, "without --query"),
        ({"mode": "search", "search": "outliers", "query": "a.png"}, "neighbours"),
        ({"mode": "select"}, "--select=100"),
        ({"mode": "embed", "embed_also": ("projection",)}, "--embed_also=projections"),
        (
            {"mode": "pretrain,embed", "embed_also": ("probabilities",)},
            "--embed_also=probabilities of what --mode=pretrain trains",
        ),
        (
            {"mode": "finetune,embed", "embed_also": ("projections",)},
            "--embed_also=projections of what --mode=finetune trains",
        ),
        (
            # The points of a curve are no run to go on with.
            {
                "mode": "pretrain,finetune,embed",
                "embed_also": ("probabilities",),
                "label_seeds": 2,
            },
            "--embed_also=probabilities of what --mode=pretrain trains",
        ),
        (
            {
                "mode": "pretrain,distill,embed",
                "embed_also": ("probabilities",),
                "distill_target": "features",
            },
            "--embed_also=probabilities of what --mode=distill trains",
        ),
        (
            {"mode": "detect,embed", "embed_also": ("projections",)},
            "--embed_also=projections of what --mode=detect trains",
        ),
        (
            {"mode": "embed", "encoder": "resnet18_cifar", "embed_pca": 513},
            "--embed_pca=512 or less",
        ),
        ({"mode": "embed", "run_dir": "gs://b/run"}, "--init_from=gs://b/run"),
        ({"mode": "search", "search_threshold": -1.0}, "search_threshold"),
    ],
)
def test_embedding_searching_and_selecting_say_what_they_need(flags, words):
    problems = validate(config(**flags))
    assert any(words in text for text in problems), problems


@pytest.mark.parametrize("kind", ["", "list:"])
def test_the_choice_before_is_not_written_over_by_the_next(tmp_path, kind):
    (tmp_path / "run").mkdir()
    flags = {"run_dir": f"{tmp_path}/run/", "select": 5}
    flags["labelled"] = f"{kind}{tmp_path}/run/../run/select/chosen.txt"
    for asked in ("select", "embed,select"):
        (problem,) = validate(config(mode=asked, **flags))
        assert "a copy of it" in problem
    assert validate(config(mode="finetune,embed,select", **flags)) == []
    kept = flags | {"labelled": f"{tmp_path}/run/select/first.txt"}
    assert validate(config(mode="select", **kept)) == []
