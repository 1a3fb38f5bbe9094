"""What `runs/arrays.py` relies on in Orbax: a folder that appears whole or not at all, and a handler of our own."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest

from vaecli.runs import arrays, checkpoint
from vaecli.runs.arrays import ARRAYS, RECORD, Handler, read_arrays, save_arrays

ARRAYS_BY_NAME = {
    "params/encoder/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "params/mean": np.float32([1e-40, -0.0, np.inf]),
    "step": np.int32(7),
}
RECORD_OF_HOST = {"epoch": 1, "metrics": {"test/elbo": -100.25, "train/kl": None}}


def test_there_and_back(tmp_path):
    folder = tmp_path / "step0000007"
    save_arrays(folder, ARRAYS_BY_NAME, RECORD_OF_HOST)
    read = read_arrays(folder, ("params", "step"))
    assert list(read) == list(ARRAYS_BY_NAME)
    for name, array in ARRAYS_BY_NAME.items():
        assert read[name].dtype == array.dtype
        assert read[name].tobytes() == array.tobytes()
    assert list(read_arrays(folder, ("step",))) == ["step"]
    assert json.loads((folder / RECORD).read_text()) == RECORD_OF_HOST


def test_the_files_are_in_the_folder_itself(tmp_path):
    """Not in a folder for an item, as Orbax's composite handlers make them."""
    save_arrays(tmp_path / "step0000007", ARRAYS_BY_NAME, RECORD_OF_HOST)
    with np.load(tmp_path / "step0000007" / ARRAYS, allow_pickle=False) as file:
        assert file.files == list(ARRAYS_BY_NAME)
    assert [path.name for path in tmp_path.iterdir()] == ["step0000007"]


def test_the_folder_appears_whole(tmp_path, monkeypatch):
    """While it is written it has another name, which `runs/checkpoint.py` knows as that of an unfinished checkpoint."""
    folder, names = tmp_path / "checkpoint" / "step0000007", []
    save = Handler.save

    def look(self, directory, args):
        save(self, directory, args)
        assert not folder.exists()
        names.extend(path.name for path in folder.parent.iterdir())

    monkeypatch.setattr(Handler, "save", look)
    save_arrays(folder, ARRAYS_BY_NAME, RECORD_OF_HOST)
    assert len(names) == 1
    assert checkpoint._NAME.fullmatch(names[0])[1] == "step0000007"
    assert [path.name for path in folder.parent.iterdir()] == ["step0000007"]


def test_a_write_that_fails_raises_its_error_and_leaves_no_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        save_arrays(tmp_path / "step0000007", ARRAYS_BY_NAME, RECORD_OF_HOST)
    assert not (tmp_path / "step0000007").exists()


def test_a_folder_that_is_there_is_not_written_over(tmp_path):
    save_arrays(tmp_path / "step0000007", ARRAYS_BY_NAME, RECORD_OF_HOST)
    with pytest.raises(ValueError, match="already exists"):
        save_arrays(tmp_path / "step0000007", {}, {})
    assert json.loads((tmp_path / "step0000007" / RECORD).read_text()) == RECORD_OF_HOST


def test_the_metadata_name_the_handler(tmp_path):
    """Runs that are older than this version have the same name there, whatever else becomes of the module."""
    save_arrays(tmp_path / "step0000007", ARRAYS_BY_NAME, RECORD_OF_HOST)
    metadata = json.loads((tmp_path / "step0000007" / "_CHECKPOINT_METADATA").read_text())
    assert metadata["item_handlers"] == "vaecli.runs.arrays.Handler"
    assert issubclass(Handler, ocp.CheckpointHandler)
