"""Data folders as they are distributed and unpacked: which files are read, and what is passed over."""

import gzip
import os
import re
import shutil

import numpy as np
import pytest
from helpers.data import write_data, write_idx

from vaecli.config import UsageError
from vaecli.data import read, same_images
from vaecli.data.folder import data_files

ROLES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


@pytest.fixture
def folder(tmp_path):
    """Four plain files with MNIST's names."""
    write_data(tmp_path / "data")
    for path in (tmp_path / "data").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    return tmp_path / "data"


@pytest.fixture
def wanted(folder, tmp_path):
    """What every one of the folders must give."""
    shutil.copytree(folder, tmp_path / "wanted")
    return read(str(tmp_path / "wanted"))


def check(folder, wanted):
    images = read(str(folder))
    np.testing.assert_array_equal(images.train, wanted.train)
    np.testing.assert_array_equal(images.test, wanted.test)
    assert same_images(images.sha256, wanted.sha256)
    return images


def kaggle(folder):
    """Each file twice: beside a folder of almost its name, and in it."""
    for name in ROLES:
        (folder / "new").mkdir()
        shutil.copy(folder / f"{name}-ubyte", folder / "new" / f"{name}-ubyte")
        (folder / f"{name}-ubyte").rename(folder / f"{name[:-5]}.{name[-4:]}-ubyte")
        (folder / "new").rename(folder / f"{name}-ubyte")


def only_inside(folder):
    for name in ROLES:
        (folder / "new").mkdir()
        (folder / f"{name}-ubyte").rename(folder / "new" / f"{name}-ubyte")
        (folder / "new").rename(folder / f"{name}-ubyte")


def seven_zip(folder):
    """The archives, beside folders that hold nothing."""
    for name in ROLES:
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress((folder / f"{name}-ubyte").read_bytes()))
        (folder / f"{name}-ubyte").unlink()
        (folder / f"{name}-ubyte").mkdir()


def plain_and_gzipped(folder):
    for name in ROLES:
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress((folder / f"{name}-ubyte").read_bytes()))


def apple_double(folder):
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "__MACOSX").mkdir()
    for name in ROLES:
        for place in (folder, folder / "__MACOSX"):
            (place / f"._{name}-ubyte").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")


def left_over_by_others(folder):
    for name in (
        "desktop.ini",
        "SHA256SUMS.asc",
        "train-images-idx3-ubyte.gz.part",
        ".train-images-idx3-ubyte.gz.aB3x",
        "train-images-idx3-ubyte.gz.crdownload",
        "train-images-idx3-ubyte.zip",
        "train-images-idx3-ubyte:Zone.Identifier",
        "t10k-images-idx3-ubyte.gz.dvc",
    ):
        (folder / name).write_bytes(b"?")


def linked(folder):
    (folder / "store").mkdir()
    for name in ROLES:
        (folder / f"{name}-ubyte").rename(folder / "store" / name)
        (folder / f"{name}-ubyte").symlink_to(folder / "store" / name)


def without_labels(folder):
    for path in folder.glob("*labels*"):
        path.unlink()


def damaged_labels(folder):
    for path in folder.glob("*labels*"):
        path.write_bytes(b"not labels")


def of_other_labels(folder):
    """Labels of another set count as little as its image would."""
    shutil.copy(folder / "train-labels-idx1-ubyte", folder / "emnist-train-labels-idx1-ubyte")


def qmnist(folder):
    for name in ROLES:
        (folder / f"{name}-ubyte").rename(folder / f"qmnist-{name.replace('t10k', 'test')}-ubyte")
    write_idx(folder / "qmnist-test50k-images-idx3-ubyte.gz", np.ones((9, 6, 5)))
    for split, count in (("train", 230), ("test", 70)):
        (folder / f"qmnist-{split}-labels-idx1-ubyte").unlink()
        header = b"\0\0\x0c\2" + count.to_bytes(4, "big") + (8).to_bytes(4, "big")
        (folder / f"qmnist-{split}-labels-idx2-int").write_bytes(header + bytes(4 * 8 * count))
        (folder / f"qmnist-{split}-labels.tsv.gz").write_bytes(b"?")
    (folder / "xnist-images-idx3-ubyte.xz").write_bytes(b"?")


def upper_case(folder):
    for name in ROLES:
        (folder / f"{name}-ubyte").rename(folder / f"MNIST_{name.upper()}-UBYTE")


CHANGES = [kaggle, only_inside, seven_zip, plain_and_gzipped, apple_double, left_over_by_others, linked]
CHANGES += [without_labels, damaged_labels, of_other_labels, qmnist, upper_case]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_folders_as_they_are_distributed(folder, wanted, change):
    change(folder)
    assert check(folder, wanted).notes == []


def test_pipes_and_devices_are_not_opened(folder, wanted):
    (folder / "train-images-idx3-ubyte.gz").symlink_to("/dev/zero")
    os.mkfifo(folder / "t10k-images.idx3-ubyte")
    check(folder, wanted)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(UsageError, match=r"t10k-images\.idx3-ubyte: is not a file; put the file itself there"):
        read(str(folder))
    os.mkfifo(folder / "SHA256SUMS")
    (folder / "t10k-images.idx3-ubyte").unlink()
    write_idx(folder / "t10k-images-idx3-ubyte", np.ones((70, 6, 5)))
    with pytest.raises(UsageError, match="SHA256SUMS: is not a file; remove it"):
        read(str(folder))


def test_a_link_that_leads_nowhere_is_called_that(folder):
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte").symlink_to(".git/annex/objects/x")
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte: is a link to .git/annex/objects/x, which does not"):
        read(str(folder))


def test_files_of_one_role_must_hold_the_same(folder, wanted):
    plain_and_gzipped(folder)
    plain = folder / "train-images-idx3-ubyte"
    whole = plain.read_bytes()
    plain.write_bytes(whole[:-1] + b"\7")
    both = rf"{re.escape(str(plain))} and {re.escape(str(plain))}\.gz: hold different images"
    with pytest.raises(UsageError, match=both):
        read(str(folder))
    # One that cannot be read is said, and does no harm where another one can.
    plain.write_bytes(whole[:-1])
    (note,) = check(folder, wanted).notes
    assert note.startswith(f"{plain}: truncated after")
    assert note.endswith("; train-images-idx3-ubyte.gz is read instead")


def test_only_the_archive_of_a_role_is_named_with_what_to_do(folder):
    (folder / "train-images-idx3-ubyte").rename(folder / "train-images-idx3-ubyte.zip")
    (folder / "train-images-idx3-ubyte.zip").write_bytes(b"PK\3\4...")
    with pytest.raises(UsageError, match=r"ubyte\.zip: not an IDX file: it is a ZIP archive; unpack it"):
        read(str(folder))


def test_several_sets_are_named_by_their_files(folder):
    """As EMNIST's archive unpacks."""
    for name in ("balanced", "letters"):
        write_data(folder, prefix=f"emnist-{name}-")
    with pytest.raises(
        UsageError, match=r"several data sets \(emnist-balanced-train.*, emnist-letters-t.*, t.*\); give"
    ):
        data_files(folder)


def test_where_the_files_may_lie_instead(folder, tmp_path):
    folder.rename(tmp_path / "raw")
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "raw").rename(tmp_path / "MNIST" / "raw")
    with pytest.raises(UsageError, match=r"has no file train-images-idx3-ubyte or .*; is \S+/MNIST/raw the one\?"):
        data_files(tmp_path)
    with pytest.raises(UsageError, match=r"cannot be read as a data folder \(File name too long\)"):
        data_files(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match=r"cannot be read as a data folder \(it is a file\)"):
        data_files(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte")
