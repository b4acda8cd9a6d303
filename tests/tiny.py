"""The smallest real run, for tests: one configuration per method, few steps."""

from tfssl.config import Config, resolve

COMMON = {
    "dataset": "shapes:64",
    "image_size": 16,
    "encoder": "resnet10x0.125_cifar",
    "batch_size": 16,
    "train_steps": 6,
    "warmup_epochs": 0.5,
    "learning_rate": 0.05,
    "steps_per_loop": 3,
    "checkpoint_every": 3,
    "log_every": 2,
    "progress": False,
    "tensorboard": False,
    "seed": 5,
}

OF_METHOD = {
    "byol": {"projector_hidden": 32, "projector_dim": 16, "predictor_hidden": 32},
    "simclr": {"projector_dim": 16},
    "moco": {"projector_dim": 16, "queue_size": 64},
}


def tiny(method: str, **overrides) -> Config:
    """A resolved configuration that trains in seconds."""
    return resolve(
        Config(method=method, **{**COMMON, **OF_METHOD[method], **overrides})
    )


def pretrained(run_dir, dataset="shapes:64", **more):
    """A run of two steps, by the library: for what comes after a pre-training."""
    import tfssl

    flags = {name: COMMON[name] for name in ("image_size", "encoder", "batch_size")}
    flags |= {"train_steps": 2, "projector_dim": 8, "progress": False}
    return tfssl.pretrain(
        run_dir=run_dir, dataset=dataset, **flags | {"tensorboard": False} | more
    )
