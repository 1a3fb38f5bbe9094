"""The completion scripts, in the shells themselves where they are installed."""

import re
import shlex
import shutil
import subprocess

import pytest
from helpers.shells import typed

from vaecli.cli import shells
from vaecli.cli.main import COMMANDS
from vaecli.cli.reference import references
from vaecli.config import Config

SHELLS = list(shells.SCRIPTS)


def installed(shell):
    return pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed"))


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The script of each shell, as a file."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell, script in shells.SCRIPTS.items():
        (folder / shell).write_text(script(COMMANDS))
    return folder


@pytest.fixture
def here(tmp_path):
    """A folder with runs, configs and other files."""
    for folder in ("runs/mnist/logvar/seed0", "configs/sweeps", "my runs/a"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("configs/local_one.toml", "configs/sweeps/deep_one.toml", "own conf.toml", "picture.png"):
        (tmp_path / file).touch()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_command_and_flag_and_calls_no_program_of_ours(scripts, shell):
    text = (scripts / shell).read_text()
    flags = {word for command in COMMANDS.values() for row in references(command, Config()) for word in row.words}
    for word in [
        *COMMANDS,
        *(flag.lstrip("-") for flag in flags),
        "logvar",
        "pytorch_example",
        "headline",
        "statistics",
    ]:
        assert re.search(rf"\b{re.escape(word)}\b", text), word
    assert not re.search(r"\$\(vae|`vae|python -", text.replace("(vae completion", ""))


@pytest.mark.parametrize("shell", [installed(shell) for shell in SHELLS])
def test_a_shell_reads_its_script(scripts, shell):
    argv = [shell, *(["-f"] if shell == "tcsh" else ["-n"]), str(scripts / shell)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


ESSENTIAL = {
    "vae tr\t--par\tlogs\t": "train --param logstd",
    "vae sweep --seeds 3 --param logvar logs\t --epo\t3": "sweep --seeds 3 --param logvar logstd --epochs 3",
    "vae train --config pyt\t": "train --config pytorch_example",
    "vae train --config=loc\t": "train --config=local_one",
    "vae evaluate --samples 5 ru\tmn\t": "evaluate --samples 5 runs/mnist",
    "vae heads --plot pic\t": "heads --plot picture.png",
    "vae docs stat\t": "docs statistics",
}
FURTHER = {
    "vae sweep --param logvar logstd --chao\t": "sweep --param logvar logstd --chaos-floor",
    "vae train --config=pyt\t": "train --config=pytorch_example",
    "vae sweep --config dee\t": "sweep --config deep_one",
    "vae train --config configs/lo\t": "train --config configs/local_one.toml",
    "vae evaluate ru\tmn\tlo\tse\t": "evaluate runs/mnist/logvar/seed0",
    "vae completion fi\t": "completion fish",
    "vae help sw\t": "help sweep",
    "vae compare runs ru\t": "compare runs runs",
    "vae compare my\t": "compare 'my runs'",
    "vae train --opt\tlio\t": "train --optimizer lion",
    "vae match logs\t softplus_s\t": "match logstd softplus_std",
    "vae train --no-val\t": "train --no-validation",
    "vae train --json --para\tnat\t": "train --json --param natural",
    "vae train --data-dir ru\t": "train --data-dir runs",
    "vae list ru\t": "list runs",
    "vae train --vary bou\t lr --js\t": "train --vary bound lr --json",
    "vae --ver\t": "--version",
}
# tcsh splits what a program gives it at blanks, and words with commas between are one to it.
NOT_IN_TCSH = {
    "vae train --config own\t": "train --config 'own conf.toml'",
    "vae probe ru\t --heads logvar,logs\t": "probe runs --heads logvar,logstd",
}


def check(shell, script, cases, folder):
    """Types lines, and compares what the command gets; some shells join flag and value, or end a folder in a slash."""
    for line, words, expected in zip(cases, typed(shell, script, cases, folder), cases.values(), strict=True):
        got = [part.removesuffix("/").removesuffix(",") for word in words for part in word.split("=")]
        assert got == [part for word in shlex.split(expected) for part in word.split("=")], line


@pytest.mark.parametrize("shell", [installed(shell) for shell in SHELLS])
def test_what_is_typed_is_completed(scripts, here, shell):
    check(shell, scripts / shell, ESSENTIAL, here)


@pytest.mark.long
@pytest.mark.parametrize("shell", [installed(shell) for shell in SHELLS])
def test_more_of_what_is_typed(scripts, here, shell):
    check(shell, scripts / shell, FURTHER | (NOT_IN_TCSH if shell != "tcsh" else {}), here)


REPLIES = [
    # The words before the cursor as bash splits them, and the replies of which some or all must be there.
    (["vae", ""], {"train", "sweep", "help", "--version"}, False),
    (["vae", "tr"], {"train"}, True),
    (["vae", "train", "--head-"], {"--head-lr", "--head-eps", "--head-clip", "--head-precision"}, False),
    (["vae", "train", "--param", "abs"], {"abs_std"}, True),
    (["vae", "train", "--param", "=", "abs"], {"abs_std"}, True),
    (["vae", "train", "--param", "="], {"logvar", "natural"}, False),
    (["vae", "train", "--param", "logvar", ""], set(), True),
    (["vae", "sweep", "--param", "logvar", ""], {"logvar", "natural"}, False),
    (["vae", "sweep", "--validation", ""], {"true", "false"}, True),
    (["vae", "train", "--validation", ""], set(), True),
    (["vae", "train", "--epochs", ""], set(), True),
    (["vae", "train", "--seed", "-1", "--objective", ""], {"elbo", "iwae"}, True),
    (["vae", "train", "--config", ""], {"mnist", "local_one", "configs", "own conf.toml", "runs"}, False),
    (["vae", "train", "--config", "he"], set(), True),
    (["vae", "sweep", "--config", "he"], {"headline"}, True),
    (["vae", "probe", "r", "--heads", "logvar,sq"], {"logvar,square_std", "logvar,squareplus_std"}, True),
    (["vae", "docs", "r"], {"runs"}, True),
    (["vae", "completion", ""], {"bash", "zsh", "fish", "tcsh"}, True),
    (["vae", "match", "logvar", "na"], {"natural"}, True),
    (["vae", "nonsense", ""], set(), True),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_replies_of_bash(scripts, here):
    lines = [f"source {scripts / 'bash'}"]
    for words, _, _ in REPLIES:
        line = shlex.quote(" ".join(words).replace(" = ", "=").replace(" =", "="))
        lines.append(f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1} COMP_LINE={line}")
        lines.append("COMP_POINT=${#COMP_LINE}; _vae; printf '%s,\\n' \"${COMPREPLY[@]/#/|}\"; echo .")
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, cwd=here)
    assert not done.stderr
    answers = done.stdout.split("\n.\n")
    for (words, expected, exact), answer in zip(REPLIES, answers, strict=False):
        replies = set(re.findall(r"^\|(.*),$", answer, re.MULTILINE))
        assert replies == expected if exact else replies >= expected, words
