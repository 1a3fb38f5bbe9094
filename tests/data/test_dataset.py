import dataclasses
import gzip
import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.data import write_data, write_idx
from scipy import stats

import vaecli.data.dataset
from vaecli.config import Config, ConfigError, UsageError
from vaecli.data import MNIST_IMAGES, load
from vaecli.data.binarise import binarise

MNIST = Path(vaecli.data.dataset.__file__).parent / "mnist"


@pytest.fixture(scope="module")
def mnist():
    return load(Config())


def test_embedded_mnist(mnist):
    assert mnist.train.shape == (MNIST_IMAGES, 784) == (60000, 784)
    assert mnist.test.shape == (10000, 784)
    assert mnist.train.dtype == np.uint8
    assert mnist.validation is None
    assert (mnist.height, mnist.width) == (28, 28)
    # Known facts of the data set: mean and standard deviation of the training pixels.
    assert mnist.train.mean() / 255 == pytest.approx(0.1306604762738429, rel=1e-9)
    assert mnist.train.std() / 255 == pytest.approx(0.3081078, rel=1e-6)
    raw = gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert hashlib.sha256(raw).hexdigest() == mnist.sha256["t10k-images"]
    known = re.findall(r"\| (\S+)-idx[13]-ubyte \| .* \| ([0-9a-f]{64}) \|", (MNIST / "README.md").read_text())
    assert dict(known) == dict(mnist.sha256)
    assert raw[16:] == mnist.test.tobytes()


def test_validation_is_the_end_of_the_training_file(mnist):
    split = load(Config(validation=True))
    np.testing.assert_array_equal(split.train, mnist.train[:50000])
    np.testing.assert_array_equal(split.validation, mnist.train[50000:])
    np.testing.assert_array_equal(split.test, mnist.test)
    cut = load(Config(binarisation="fixed", validation=True))
    np.testing.assert_array_equal(cut.validation, binarise(mnist.train, "fixed", "train")[50000:])


def test_binarisation(small_data):
    def binarised(name, seed=0):
        return load(Config(binarisation=name, seed=seed, data_dir=str(small_data), batch_size=50))

    grey, threshold, fixed, dynamic = map(binarised, ("grey", "threshold", "fixed", "dynamic"))
    np.testing.assert_array_equal(threshold.test / 255, grey.test / 255 > 0.5)
    np.testing.assert_array_equal(fixed.train, binarise(grey.train, "fixed", "train"))
    np.testing.assert_array_equal(fixed.train, binarised("fixed", seed=1).train)
    assert set(np.unique(fixed.test)) == {0, 255}
    np.testing.assert_array_equal(dynamic.train, grey.train)
    np.testing.assert_array_equal(dynamic.test, fixed.test)
    np.testing.assert_array_equal(dynamic.probe.reshape(200, -1), fixed.train[:200])


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255])
def test_fixed_draws_have_the_probability_of_the_pixel(value):
    draws = binarise(np.full((200, 1000), value, np.uint8), "fixed", "train") == 255
    assert stats.binomtest(int(draws.sum()), draws.size, value / 255).pvalue > 1e-3


def test_splits_are_drawn_apart():
    grey = np.full(1000, 128, np.uint8)
    assert (binarise(grey, "fixed", "train") != binarise(grey, "fixed", "test")).any()


def test_damaged_package_data_is_refused(tmp_path, monkeypatch):
    shutil.copytree(MNIST, tmp_path / "mnist")
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(labels.read_bytes()))
    raw[100] ^= 1
    labels.write_bytes(gzip.compress(bytes(raw)))
    monkeypatch.setattr(vaecli.data.dataset, "_EMBEDDED", tmp_path / "mnist")
    with pytest.raises(UsageError, match="install it again"):
        load(Config())


def test_checksums_beside_data(tmp_path):
    """As `sha256sum * > SHA256SUMS` writes them; a list that leaves a file out says nothing about it."""
    folder = write_data(tmp_path / "data")
    config = Config(data_dir=str(folder), batch_size=50)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines))
    load(config)
    (folder / "SHA256SUMS").write_text("".join(lines[1:]))
    with pytest.raises(UsageError, match=r"SHA256SUMS: has no line for t10k-images-idx3-ubyte;"):
        load(config)
    # Nothing uses labels, so the list need not name them; upper case, ./ and a mark at the beginning do no harm.
    images = [line.upper()[:64] + "  ./" + line[66:] for line in lines if "images" in line]
    (folder / "SHA256SUMS").write_text("\ufeff" + "".join(images), encoding="utf-8")
    load(config)
    (folder / "SHA256SUMS").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"SHA256SUMS: cannot be read"):
        load(config)
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((70, 6, 5)))
    (folder / "SHA256SUMS").write_text("".join(lines))
    with pytest.raises(UsageError, match=r"t10k-images-idx3-ubyte: its SHA-256 is not that in SHA256SUMS; fetch it"):
        load(config)


def test_a_folder_of_the_same_form(small_data):
    data = load(Config(data_dir=str(small_data), batch_size=50))
    assert data.train.shape == (230, 30)
    assert data.probe.shape == (4, 50, 30)
    assert (data.height, data.width) == (6, 5)


def test_emnist_names(tmp_path):
    write_data(tmp_path, prefix="emnist-letters-")
    for path in tmp_path.glob("*t10k*"):
        path.rename(tmp_path / path.name.replace("t10k", "test"))
    data = load(Config(data_dir=str(tmp_path), batch_size=10))
    assert len(data.test) == 70
    (_, note) = data.description
    assert note.startswith(f"vae: {tmp_path}: EMNIST's files hold each image transposed")
    assert note.endswith("--data-transpose turns them")
    turned = load(Config(data_dir=str(tmp_path), batch_size=10, data_transpose=True))
    assert len(turned.description) == 1
    write_data(tmp_path, prefix="emnist-digits-")
    with pytest.raises(UsageError, match="several data sets"):
        load(Config(data_dir=str(tmp_path), batch_size=10))


def test_images_are_transposed_on_request(small_data):
    """Each split, before it is binarised; the files are the same ones."""
    for binarisation in ("grey", "threshold"):
        config = Config(data_dir=str(small_data), batch_size=50, binarisation=binarisation)
        stored, turned = load(config), load(dataclasses.replace(config, data_transpose=True))
        assert (turned.height, turned.width) == (5, 6)
        for split in ("train", "test"):
            images = getattr(stored, split).reshape(-1, 6, 5)
            np.testing.assert_array_equal(getattr(turned, split).reshape(-1, 5, 6), images.transpose(0, 2, 1))
        np.testing.assert_array_equal(turned.probe.reshape(200, -1), turned.train[:200])
        assert turned.sha256 == stored.sha256
    assert "230 training images, 5x6, " in turned.description[0]


def test_files_that_do_not_fit_each_other(tmp_path):
    folder = write_data(tmp_path)
    config = Config(data_dir=str(folder), batch_size=10)
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((70, 7, 5)))
    with pytest.raises(UsageError, match=r"6x5 but test images 7x5"):
        load(config)
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((71, 6, 5)))
    with pytest.raises(UsageError, match="71 t10k images but 70 labels"):
        load(config)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(UsageError, match="has no file t10k-images-idx3-ubyte"):
        load(config)
    with pytest.raises(UsageError, match="cannot be read as a data folder"):
        load(Config(data_dir=str(folder / "missing")))


def test_sizes_that_the_data_cannot_serve(small_data):
    with pytest.raises(ConfigError, match="more than the 230"):
        load(Config(data_dir=str(small_data), batch_size=231))
    with pytest.raises(UsageError, match="validation"):
        load(Config(data_dir=str(small_data), batch_size=10, validation=True))
