"""TFRecord files: any record at any time, damage named, writing resumed."""

import gzip
import json
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfssl.data import open_source, tfrecord_write
from tfssl.data.tfrecord_index import open_shards
from tfssl.data.tfrecord_write import Settings, begin, damaged, end, write_shard
from tfssl.errors import DataError

LABEL = "image/class/label"


def example(**features):
    def one(value):
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {key.replace("__", "/"): one(value) for key, value in features.items()}
    proto = tf.train.Example(features=tf.train.Features(feature=features))
    return proto.SerializeToString()


def foreign(path, files, numbers, first=0):
    """A file as another program writes it: record i is picture(i), label i % 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in numbers:
            data = files.encoded(files.picture(i, 8 + i % 4, 9), "PNG")
            row = {"image__encoded": data, "image__class__label": i % 3 + first}
            writer.write(example(**row))
    return str(path)


def opened(pattern, split="all", **options):
    return open_source(f"tfrecord:{pattern}", split, image_size=8, memory=0, **options)


def read(source):
    rows = tf.data.Dataset.range(source.num_examples).map(source.example)
    return list(rows.as_numpy_iterator())


def test_any_record_at_any_time(tmp_path, files):
    for shard in range(3):
        numbers = range(shard * 10, shard * 10 + 10)
        foreign(tmp_path / f"train-{shard}", files, numbers, first=1)
    foreign(tmp_path / "val-0", files, range(50, 54), first=1)
    options = {"tfrecord_first_label": 1, "index_dir": str(tmp_path / "index")}
    train, test = (
        opened(f"{tmp_path}/{{split}}-*", s, **options) for s in ("train", "test")
    )
    assert (train.num_examples, test.num_examples, test.num_classes) == (30, 4, 3)
    backwards = tf.data.Dataset.range(29, -1, -1).map(train.example)
    for i, row in zip(range(29, -1, -1), backwards.as_numpy_iterator(), strict=True):
        expected = files.picture(i, 8 + i % 4, 9)
        np.testing.assert_array_equal(row["image"], expected)
        assert row["label"] == train.labels[i] == i % 3
        assert row["id"] == train.ids[i]
    assert len({*train.ids, *test.ids}) == 34
    part = opened(f"{tmp_path}/{{split}}-*", "train[7:12]", **options)
    assert (part.ids == train.ids[7:12]).all()
    assert read(part)[4]["id"] == train.ids[11]


def test_a_tenth_of_the_records_is_held_out(tmp_path, files):
    foreign(tmp_path / "x", files, range(200))
    train, test, both = (
        opened(f"{tmp_path}/x", split) for split in ("train", "test", "all")
    )
    assert not set(train.ids) & set(test.ids) and 8 <= test.num_examples <= 40
    assert sorted([*train.ids, *test.ids]) == list(both.ids)
    assert len(set(test.ids % 10)) > 1  # not every tenth: files may alternate classes


def test_tables_are_kept_and_made_again_when_a_file_changes(
    tmp_path, files, monkeypatch
):
    path = foreign(tmp_path / "x", files, range(5))
    index = str(tmp_path / "index")
    first = open_shards([path], LABEL, index_dir=index)
    from tfssl.data import tfrecord_index

    scanned = []
    real = tfrecord_index._scan
    monkeypatch.setattr(
        tfrecord_index, "_scan", lambda *a: scanned.append(a) or real(*a)
    )
    again = open_shards([path], LABEL, index_dir=index)
    assert not scanned and (again[0].offsets == first[0].offsets).all()
    foreign(tmp_path / "x", files, range(6))
    [changed] = open_shards([path], LABEL, index_dir=index)
    assert len(scanned) == 1 and len(changed.offsets) == 6
    # As long as before, and changed within the same second.
    second = 10**9
    for part in (1, 2):
        os.utime(path, ns=(second, second + part))
        open_shards([path], LABEL, index_dir=index)
    assert len(scanned) == 3
    [bare] = open_shards([path], "", index_dir=index)
    assert set(bare.labels) == {-1}


def test_damage_is_named_and_costs_only_what_is_damaged(tmp_path, files, caplog):
    path = foreign(tmp_path / "x", files, range(300))
    [shard] = open_shards([path], LABEL, index_dir=None)
    data = bytearray((tmp_path / "x").read_bytes())
    data[shard.offsets[270] + 40] ^= 1  # in the data of one record
    (tmp_path / "x").write_bytes(data)
    source = opened(path)
    assert source.num_examples == 300
    good = tf.data.Dataset.range(300).map(source.example).ignore_errors()
    assert sum(1 for _ in good) == 299
    assert f"{path} record 270" in source.failed(270)
    assert "corrupt" in source.failed(270)
    # A damaged length ends the file.
    data[shard.offsets[280] : shard.offsets[280] + 8] = struct.pack("<Q", 2**40)
    (tmp_path / "x").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert opened(path).num_examples == 280
    assert f"damaged after 280 records: {len(data) - shard.offsets[280]} bytes" in (
        caplog.text
    )


def test_errors_say_what_to_do(tmp_path, files):
    path = foreign(tmp_path / "x", files, range(5))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress((tmp_path / "x").read_bytes()))
    with pytest.raises(DataError, match="gunzip"):
        opened(packed)
    (tmp_path / "text").write_text("no records here, none at all")
    with pytest.raises(DataError, match="a TFRecord of tf.train.Example"):
        opened(tmp_path / "text")
    with pytest.raises(DataError, match="image/class/label, image/encoded.*_image_key"):
        opened(path, tfrecord_image_key="jpeg")
    with pytest.raises(DataError, match="tfrecord_label_key"):
        opened(path, tfrecord_label_key="image/encoded")
    with pytest.raises(DataError, match="files .*nothing"):
        opened(tmp_path / "nothing*")
    with pytest.raises(DataError, match="split=trian"):
        opened(path, "trian")
    assert opened(path, tfrecord_label_key="").num_classes is None


@pytest.fixture
def job(tmp_path, files):
    files.tree(tmp_path / "x", ["ant", "bee"], 15, "train", size=(40, 30))
    files.tree(tmp_path / "x", ["ant"], 1, "val")  # so that train is all of train
    (tmp_path / "x" / "train" / "ant" / "bad.jpg").write_bytes(b"no picture")
    source = open_source(f"folder:{tmp_path}/x", "train", image_size=8, memory=0)
    return source, Settings(f"folder:{tmp_path}/x", "train", 4), str(tmp_path / "out")


def written(job):
    source, settings, out = job
    begin(source, settings, out)
    for number in range(settings.shards):
        write_shard(source, settings, out, number)
    return end(source, settings, out)


def test_what_is_written_is_what_is_read(job, monkeypatch):
    source, settings, out = job
    manifest = written(job)
    assert manifest["records"] == 30 and "bad.jpg" in manifest["skipped"][0]
    from tfssl.data import tfrecord_index

    monkeypatch.setattr(tfrecord_index, "_scan", None)  # the tables are there
    back = opened(f"{out}/{{split}}-*", "train")
    assert back.class_names == ("ant", "bee") and back.num_examples == 30
    kept = [row for row in source_rows(source) if row]
    for a, b in zip(kept, read(back), strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])
        assert a["label"] == b["label"]
    assert damaged(settings, out) == []


def source_rows(source):
    found = []
    for index in range(source.num_examples):
        try:
            found.append(source.example(tf.constant(index, tf.int64)))
        except tf.errors.OpError:
            found.append(None)
    return found


def test_resized_to_a_shorter_side(job):
    source, settings, out = job
    settings = Settings(settings.dataset, "train", 2, shorter_side=15)
    written((source, settings, out))
    shapes = {row["image"].shape for row in read(opened(f"{out}/{{split}}-*", "train"))}
    assert shapes == {(20, 15, 3)}


def test_a_killed_job_goes_on_and_writes_the_same(job, tmp_path, monkeypatch):
    source, settings, out = job
    written((source, settings, str(tmp_path / "whole")))
    calls = []

    class Killed(BaseException):
        pass

    real = tfrecord_write._record

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 20:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tfrecord_write, "_record", dies)
        written(job)
    with pytest.raises(DataError, match="command again"):
        end(source, settings, out)
    done = [n for n in range(4) if tfrecord_write.finished(settings.file(out, n))]
    assert done == [0, 1]
    before = [tf.io.gfile.stat(settings.file(out, n)).mtime_nsec for n in done]
    written(job)
    after = [tf.io.gfile.stat(settings.file(out, n)).mtime_nsec for n in done]
    assert before == after
    for number in range(4):
        parts = [settings.file(where, number) for where in (out, tmp_path / "whole")]
        a, b = (Path(part).read_bytes() for part in parts)
        assert a == b


def test_another_job_in_the_directory_is_refused_and_damage_found(job):
    source, settings, out = job
    written(job)
    other = Settings(settings.dataset, "train", 4, shorter_side=15)
    with pytest.raises(DataError, match="other shorter_side"):
        begin(source, other, out)
    path = settings.file(out, 1)
    data = bytearray(Path(path).read_bytes())
    data[200] ^= 1
    Path(path).write_bytes(data)
    assert damaged(settings, out) == [path]
    manifest = json.loads(Path(out, "manifest.json").read_text())
    assert manifest["class_names"] == ["ant", "bee"]
