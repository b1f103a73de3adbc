"""What the READMEs show is run: Python as it stands, commands are parsed."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from keras_rl2x import cli
from keras_rl2x import compose
from keras_rl2x import envs
from keras_rl2x import run_folder

ROOT = pathlib.Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "tutorials" / "README.md"]


def _name(readme):
    return str(readme.relative_to(ROOT))


_FENCE = re.compile(
    r"^```[ \t]*(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


def _blocks(markdown, *languages):
    """Pairs of a line number and a text, for each fenced block."""
    return [
        (markdown.count("\n", 0, match.start("text")), match["text"])
        for match in _FENCE.finditer(markdown)
        if match["language"] in languages
    ]


def _program(markdown):
    """The Python blocks as one program, each on the lines where it stood."""
    lines = []
    for line, text in _blocks(markdown, "python"):
        lines += [""] * (line - len(lines)) + text.splitlines()
    return "\n".join(lines) + "\n"


def _commands(markdown):
    """Lists of arguments, one for each `keras-rl2x ...` in shell blocks."""
    commands = []
    for _, text in _blocks(markdown, "bash", "console", "sh", "shell"):
        lines = text.replace("\\\n", " ").splitlines()
        # Where there are prompts, the other lines are output.
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            for words in _parts(line):
                if words and pathlib.Path(words[0]).name == "keras-rl2x":
                    commands.append(words[1:])
    return commands


def _parts(line):
    """A shell line as lists of words, cut at `&&`, `;` and `|`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts = [[]]
    for word in lexer:
        if word in ("&&", "||", ";", "|"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _run(markdown, folder):
    """Runs the Python blocks, in one namespace, in a process of their own."""
    file = folder / "readme.py"
    file.write_text(_program(markdown))
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def _parse(markdown):
    for arguments in _commands(markdown):
        try:
            cli._parser().parse_args(arguments)
        except SystemExit as refused:
            # `--help` and `--version` leave too, without an error.
            assert not refused.code, arguments


@pytest.mark.parametrize("readme", READMES, ids=_name)
def test_python_blocks_run(readme, tmp_path):
    _run(readme.read_text(), tmp_path)


@pytest.mark.parametrize("readme", READMES, ids=_name)
def test_commands_parse(readme):
    _parse(readme.read_text())


def _training(markdown):
    """The arguments of each command that trains."""
    parsed = map(cli._parser().parse_args, _commands(markdown))
    return [one for one in parsed if one.command is cli._train]


@pytest.mark.parametrize(
    "arguments",
    _training(READMES[0].read_text()),
    ids=lambda arguments: f"{arguments.algorithm}-{arguments.env}",
)
def test_what_is_trained_can_be_composed(arguments):
    if arguments.env.startswith("LunarLander"):
        pytest.importorskip("Box2D")
    changes = dict(map(cli.parse_setting, arguments.set))
    if arguments.env_steps is not None:
        changes["env_steps"] = arguments.env_steps
    if arguments.num_envs is not None:
        changes["env.num_envs"] = arguments.num_envs
    settings = run_folder.make_settings(
        arguments.algorithm, arguments.env, arguments.seed, changes
    )
    with envs.make(arguments.env, **settings["env"]) as environments:
        assert compose.compose(environments, settings).epochs > 1


EXAMPLE = """
# Two blocks of one program

```python
if True:
    answer = 6

```
Text, and `code`, and another language:
```text
this is no program
```
```python
answer *= 7
open("answer.txt", "w").write(str(answer))
```
```bash
# A comment.
cd x; pip install . && .venv/bin/keras-rl2x train dqn CartPole-v1 \\
    --set agent.double=false  # Another.
```
```console
$ keras-rl2x list
dqn: any environment; it's the output, quotes and all
```
"""


def test_blocks_are_one_program(tmp_path):
    _run(EXAMPLE, tmp_path)
    assert (tmp_path / "answer.txt").read_text() == "42"


def test_a_block_that_raises_fails_and_says_where(tmp_path):
    broken = EXAMPLE.replace("answer *= 7", "answer *= question")
    line = broken.splitlines().index("answer *= question") + 1
    with pytest.raises(AssertionError, match=f"line {line}[^$]*NameError"):
        _run(broken, tmp_path)


def test_no_blocks(tmp_path):
    _run("# Nothing\n", tmp_path)
    assert _commands("# Nothing\n") == []


def test_commands_are_found():
    assert _commands(EXAMPLE) == [
        ["train", "dqn", "CartPole-v1", "--set", "agent.double=false"],
        ["list"],
    ]


def test_a_command_that_does_not_parse_fails():
    with pytest.raises(AssertionError, match="--sit"):
        _parse(EXAMPLE.replace("--set", "--sit"))
