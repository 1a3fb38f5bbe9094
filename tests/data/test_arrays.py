"""Images that are given as arrays."""

import numpy as np
import pytest
from helpers.data import write_data

from vaecli import Images, UsageError
from vaecli.data import is_of_arrays, read


def images(value=7, **others):
    return Images(train=np.full((4, 3, 2), value, np.uint8), test=np.zeros((2, 3, 2), np.uint8), **others)


def test_arrays_are_known_by_the_checksums_of_their_files(tmp_path):
    written = read(str(write_data(tmp_path / "written")))
    plain = Images(train=written.train, test=written.test)
    for role in ("train-images", "t10k-images"):
        assert plain.raw.sha256[role] == written.sha256[role]
    assert plain.raw.pixels == written.pixels
    labelled = Images(train=written.train, test=written.test, test_labels=np.arange(70) % 10)
    assert labelled.raw.sha256.keys() == {"train-images", "t10k-images", "t10k-labels"}
    assert labelled.data_dir == plain.data_dir
    labelled.save(tmp_path / "saved")
    assert read(str(tmp_path / "saved")).sha256 == labelled.raw.sha256
    with pytest.raises(UsageError, match=r"saved: the images cannot be written there \(File exists\)"):
        plain.save(tmp_path / "saved")


def test_place_of_arrays_is_no_folder():
    assert is_of_arrays(images().data_dir)
    assert images().data_dir == images().data_dir != images(8).data_dir
    with pytest.raises(UsageError, match=rf"{images().data_dir}: these images were arrays of a Python program, which"):
        read(images().data_dir)


@pytest.mark.parametrize(
    ("name", "run_name"), [("My faces", "My-faces"), ("mnist", "mnist-data"), ("MNIST", "MNIST-data"), ("..", None)]
)
def test_runs_are_called_by_the_name_or_the_checksum(name, run_name):
    by_checksum = images().data_dir.replace(":", "-")
    assert images(name=name).run_name == (run_name or by_checksum)
    assert images().run_name == by_checksum


def test_arrays_are_copied():
    train = np.zeros((4, 3, 2), np.uint8)
    taken = Images(train=train, test=train[:2, ::-1])
    train[:] = 9
    assert not taken.train.any()
    with pytest.raises(ValueError, match="read-only"):
        taken.test[0] = 1


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (np.zeros((3, 8, 8, 1), np.uint8), r"train has the shape \(3, 8, 8, 1\), where .*train\.squeeze\(3\) drops"),
        (np.zeros((3, 1, 8, 8), np.uint8), r"train\.squeeze\(1\)"),
        (np.zeros((3, 8, 8, 3), np.uint8), r"one channel only, for instance train\.mean\(3\)"),
        (np.zeros((3, 64), np.uint8), r"train\.reshape\(-1, 8, 8\) makes square images"),
        (np.zeros((3, 65), np.uint8), r"where \(images, rows, columns\) is needed$"),
        (np.zeros((3, 0, 8), np.uint8), r"is empty, its shape is \(3, 0, 8\)"),
        (np.zeros((3, 8, 8)), r"holds float64, .* \(255 \* train\)\.round\(\)\.astype\('uint8'\)"),
        (np.ones((3, 8, 8), bool), r"holds bool, .* \(255 \* train\)\.astype\('uint8'\)"),
        (np.full((3, 8, 8), 200), r"holds int64, .*; train\.astype\('uint8'\)"),
        (np.full((3, 8, 8), -0.5), r"its values are -0\.5 to -0\.5"),
        (np.full((3, 8, 8), np.nan), r"its values are nan to nan"),
        ([[1], [1, 2]], r"train is not an array \(ValueError: setting an array element with a sequence"),
        ("images.npy", "must be an array of numbers, got str"),
        (None, "must be an array of numbers, got NoneType"),
        (np.zeros((3, 8, 8), complex), "must be an array of numbers, got complex128"),
    ],
)
def test_other_arrays_are_refused(train, message):
    with pytest.raises(UsageError, match=f"^Images: .*{message}") as raised:
        Images(train=train, test=np.zeros((2, 8, 8), np.uint8))
    assert "\n" not in str(raised.value)


def test_arrays_must_fit_each_other():
    train = np.zeros((4, 3, 2), np.uint8)
    with pytest.raises(UsageError, match="Images: training images are 3x2 but test images 2x3; sizes must agree"):
        Images(train=train, test=train.transpose(0, 2, 1))
    for labels, message in (
        ([1, 2], "train_labels are 2, but there are 4 images"),
        ([0, 1, 2, 256], "train_labels must lie between 0 and 255, got 0 to 256"),
        ([0.0, 1.0, 2.0, 3.0], r"train_labels must be whole numbers in one dimension, got float64 of \(4,\)"),
    ):
        with pytest.raises(UsageError, match=message):
            Images(train=train, test=train, train_labels=labels)
    with pytest.raises(UsageError, match="name must be text, got 3"):
        images(name=3)
