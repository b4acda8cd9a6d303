"""From `Config` to a distillation: the batches of both kinds of images, and its `Job`.

What is optimised, and how, is as in pre-training: `--optimizer`, `--learning_rate`,
`--batch_size` and their like.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl import models
from tfssl.augment import Recipe, crops
from tfssl.augment.recipe_types import ViewRecipe
from tfssl.build import networks, trained
from tfssl.build import optimizer as optimizers
from tfssl.build import teacher as teachers
from tfssl.build.data import TrainingInput, distributed, training_input
from tfssl.build.devices import replica_batch, strategy
from tfssl.build.same_data import identity
from tfssl.build.teacher import Teacher
from tfssl.build.training import fresh_state
from tfssl.build.views import supervised_recipe, transform
from tfssl.config import Config, method_row
from tfssl.config.remote import read_json
from tfssl.core import runtime, seeds
from tfssl.core.variables import raw
from tfssl.data import Source, training
from tfssl.data.centred import Centred
from tfssl.errors import RunDirectoryError, message
from tfssl.methods import Batch, Distill, DistillFeatures, Method
from tfssl.runs import RunDirectory
from tfssl.train import Job, make_photometry

PUBLISHED_TEMPERATURES = {True: 0.1, False: 1.0}
"""Whether the student has the teacher's encoder, to the temperature (2006.10029:
self-distillation, and distillation to a smaller network)."""

TEACHER = "teacher.json"
"""In a distilled run: the teacher's name, and the digest of its weights."""

OUTPUTS = "teacher_outputs.npy"
"""In a distilled run with fixed views: what the teacher says of every image."""


@dataclasses.dataclass(frozen=True)
class Distillation:
    """A distillation to be run.

    Attributes:
      job: The training.
      teacher: Who teaches.
      views: The recipe of its views.
      texts: Files that say who taught, and which classes.
      line: Says at the start who teaches what.
      settings: Of its scores.
      description: Of its scores, but for what they are on.
    """

    job: Job
    teacher: Teacher
    views: Recipe
    texts: dict[str, str]
    line: str
    settings: dict[str, Any]
    description: str


def temperature(config: Config, teacher: Teacher) -> float:
    """Returns `--distill_temperature`, or the published one."""
    if config.distill_target == "features":
        return 0.0
    same = teacher.encoder == config.encoder
    return config.distill_temperature or PUBLISHED_TEMPERATURES[same]


def epochs(config: Config) -> int:
    """Returns the passes over all training images."""
    return config.distill_epochs or config.epochs


def distillation(
    config: Config, images: Source, labelled: Source | None, own: RunDirectory | None
) -> Distillation:
    """Makes the distillation that the flags of a student describe.

    Args:
      config: Resolved; `encoder` is the student's.
      images: All training images, D in the paper.
      labelled: Those whose labels count, where `distill_alpha < 1`.
      own: The student's run directory; None on workers that are not chief.

    Raises:
      TfsslError: The teacher cannot teach, or has changed since the run began; or a
        batch that the replicas cannot share.
    """
    run_on = strategy(config)
    runtime.set_precision(config.precision)
    with run_on.scope():
        teacher = teachers.load(config)
    texts = _texts(config, teacher, images)
    _refuse_another_teacher(own, texts[TEACHER])
    centred = config.distill_views == "center"
    size = config.image_size
    if not centred:
        size = max(size, teacher.image_size)
    views = centre_recipe(config) if centred else supervised_recipe(config)
    shown = images, labelled
    if centred:
        cut = transform(config), config.image_size
        shown = tuple(s and Centred(s, *cut) for s in shown)
    rows = _labelled_rows(config) if labelled is not None else 0
    given = _input(config, run_on, views, size, *shown, rows)
    if centred:
        outputs = _outputs(teacher, images, own, texts[TEACHER])
        with run_on.scope():
            table = tf.Variable(outputs, trainable=False, name="teacher_outputs")

        def targets(batch: Batch) -> tf.Tensor:
            return tf.gather(tf.convert_to_tensor(raw(table)), batch.index)
    else:
        seen = teachers.resized(size, teacher.image_size)

        def targets(batch: Batch) -> tf.Tensor:
            return teacher.says(seen(batch.views[0]))

    degree = temperature(config, teacher)
    shrunk = teachers.resized(size, config.image_size)

    def student() -> Method:
        return _student(config, teacher.width, targets, degree, rows, shrunk)

    lasting = dataclasses.replace(config, epochs=epochs(config))
    total = optimizers.total_steps(lasting, images.num_examples)
    rate = optimizers.learning_rate(lasting, images.num_examples, total)
    with run_on.scope():
        moving = fresh_state(
            student(), rate, lambda rate: optimizers.optimizer(config, rate)
        )
    job = Job(
        strategy=run_on,
        state=moving,
        source=images,
        batches=given.batches,
        views=given.views,
        batch_size=config.batch_size,
        total_steps=total,
        micro_batches=config.micro_batches,
        initialize=functools.partial(
            trained.begin_with, config.init_from, moving.method.encoder
        ),
    )
    words = _described(config, teacher, degree, rows, images, labelled)
    line = (
        f"teacher {teacher.name}, {teacher.width} {config.distill_target}"
        f"{f', temperature {degree:g}' if degree else ''}"
        f"{f', {rows} of {config.batch_size} rows labelled' if rows else ''}"
    )
    return Distillation(job, teacher, views, texts, line, *words)


def _described(
    config: Config,
    teacher: Teacher,
    degree: float,
    rows: int,
    images: Source,
    labelled: Source | None,
) -> tuple[dict[str, Any], str]:
    batch, alpha, passes = config.batch_size, config.distill_alpha, epochs(config)
    settings = {
        "epochs": passes,
        "batch_size": batch,
        "encoder": config.encoder,
        "temperature": degree,
        "alpha": alpha,
        "views": config.distill_views,
    }
    labels = "no labels"
    if labelled is not None:
        settings["label_fraction"] = config.text("label_fraction")
        labels = (
            f"{rows} of {batch} rows of {labelled.num_examples} labelled images with "
            f"weight {1 - alpha:g}"
        )
    views = "crop and flip" if config.distill_views == "crop" else "the centre"
    return settings, (
        f"{config.encoder} distilled from {teacher.name} on {images.num_examples} "
        f"images for {passes} epochs, temperature {degree:g}, {labels}, {views}, "
        f"{config.optimizer}, batch {batch}"
    )


def centre_recipe(config: Config) -> Recipe:
    """Returns the recipe of images that are cut already: all of them, as they are."""
    whole = ViewRecipe("torchvision", (1.0, 1.0), (1.0, 1.0), flip=0.0)
    family = supervised_recipe(config)
    return dataclasses.replace(
        family, name="center", views=(whole,), source="evaluation's crop, no flip"
    )


def _labelled_rows(config: Config) -> int:
    """Labelled images of a step: at least one, and not all."""
    batch = config.batch_size
    return min(max(round(config.distill_labelled_share * batch), 1), batch - 1)


def _student(
    config: Config,
    width: int,
    targets: Callable[[Batch], tf.Tensor],
    degree: float,
    labelled_rows: int,
    shown: Callable[[tf.Tensor], tf.Tensor],
) -> Method:
    encoder = networks.encoder(config, config.seed)
    features = encoder.output_shape[-1]

    def head(name: str) -> keras.Model:
        return models.linear_head(
            features, width, seed=config.seed, name=name, family=config.encoder_family
        )

    if config.distill_target == "features":
        return DistillFeatures(encoder, head("regressor"), targets, shown=shown)
    kept_out = not method_row(config.method).decays_probe and config.optimizer != "sgd"
    return Distill(
        encoder,
        head(networks.PROBE),
        targets,
        temperature=degree,
        alpha=config.distill_alpha,
        labelled=(labelled_rows, config.batch_size),
        head_decay=config.weight_decay if kept_out else 0.0,
        shown=shown,
    )


def _input(
    config: Config,
    run_on: tf.distribute.Strategy,
    views: Recipe,
    size: int,
    images: Source,
    labelled: Source | None,
    labelled_rows: int,
) -> TrainingInput:
    """Batches of one kind of images, or of both, the labelled rows of a part first."""
    seed, batch, parts = config.seed, config.batch_size, config.micro_batches
    if labelled is None:
        return training_input(
            run_on,
            images,
            views,
            seed=seeds.init_seed(seed, "distill"),
            global_batch=batch,
            image_size=size,
            micro_batches=parts,
            on_device=False,
        )
    of_rows = replica_batch(batch, run_on, parts)
    kinds = [
        (labelled, labelled_rows, seeds.init_seed(seed, "distill labelled")),
        (images, batch - labelled_rows, seeds.init_seed(seed, "distill")),
    ]
    local = runtime.feeds_itself(run_on)
    cutter = crops.host_cutter(this_process=local)
    shares = [
        replica_batch(rows, run_on, parts, "rows of distill_labelled_share")
        for _, rows, _ in kinds
    ]

    def rows_of(start_step: int, first_row: int, rows: int) -> tf.data.Dataset:
        worker, workers = first_row // rows, batch // rows
        streams = [
            training(
                data,
                views,
                seed=own_seed,
                start_step=start_step,
                global_batch=own_rows,
                replica_batch=share,
                image_size=size,
                first_row=worker * (own_rows // workers),
                rows=own_rows // workers,
                micro_batches=parts,
                cutter=cutter,
                local=local,
            )
            for (data, own_rows, own_seed), share in zip(kinds, shares, strict=True)
        ]
        return tf.data.Dataset.zip(tuple(streams)).map(joined)

    def joined(known: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
        # Their labels are not to be used, whatever the source says.
        others = {**others, "label": -tf.ones_like(others["label"])}

        def both(name: str) -> tf.Tensor:
            blocks = [
                tf.reshape(x, [parts, x.shape[0] // parts, *x.shape[1:]])
                for x in (known[name], others[name])
            ]
            out = tf.concat(blocks, 1)
            return tf.reshape(out, [of_rows, *out.shape[2:]])

        return {name: both(name) for name in others}

    photometric = make_photometry(
        views, seed=seed, global_batch=batch, replica_batch=of_rows, micro_batches=parts
    )
    return TrainingInput(distributed(run_on, batch, rows_of), photometric)


def _texts(config: Config, teacher: Teacher, images: Source) -> dict[str, str]:
    record = {
        "teacher": teacher.name,
        "weights": teacher.digest(),
        "images": identity(images)["digest"],
    }
    texts = {TEACHER: json.dumps(record, indent=1) + "\n"}
    if config.distill_target == "classes":
        names = teacher.class_names
        if not names and not teachers.other_classes(teacher, images):
            names = tuple(images.class_names)
        texts[trained.CLASSES] = trained.classes_text(names)
    return texts


def _refuse_another_teacher(own: RunDirectory | None, now: str) -> None:
    """A teacher that was trained on since would teach the rest something else."""
    if own is None or not own.checkpoint_store().steps():
        return
    file = own.path / TEACHER
    then = read_json(file) if file.is_file() else {}
    name, weights = (json.loads(now)[key] for key in ("teacher", "weights"))
    if then.get("weights") != weights:
        raise RunDirectoryError(
            message(
                f"teacher={name} with other weights than this distillation began with",
                f"the weights of {then.get('teacher')} at that time",
                f"that checkpoint as the teacher, or removing {own.path}",
            )
        )


def _outputs(
    teacher: Teacher, images: Source, own: RunDirectory | None, text: str
) -> np.ndarray:
    """What the teacher says of every centre: computed once for a run."""
    if own is None:
        return teacher.of_every_image(images)
    file, record = own.path / OUTPUTS, own.path / TEACHER
    if file.is_file() and record.is_file() and record.read_text("utf-8") == text:
        return np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    outputs = teacher.of_every_image(images)
    content = io.BytesIO()
    np.save(content, outputs, allow_pickle=False)
    own.write_atomic(file, content.getvalue())
    own.write_atomic(record, text)
    return outputs
