"""The completion scripts of the shells, generated from the commands and their flags.

A script asks nothing of `vae`: what it completes is in it, or lies in the folders at hand.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.cli import help
from vaecli.cli.command import Command
from vaecli.cli.commands import docs
from vaecli.cli.reference import Reference, references
from vaecli.config import SETTINGS, Config
from vaecli.config.files import config_names
from vaecli.vae.heads.table import HEADS

Commands = Mapping[str, Command]


class Values(NamedTuple):
    """What an option takes, as far as a shell can complete it.

    Attributes:
      words: some of its values.
      paths: which paths it takes: `file`; `folder`; `config`, a TOML file or the bare name of one in ./configs;
        `sweep`, as that, and of one in ./configs/sweeps; empty where it takes none.
      commas: whether it takes several words with commas between.
    """

    words: Sequence[str] = ()
    paths: str = ""
    commas: bool = False


class Option(NamedTuple):
    """A flag or an argument of a command for a shell.

    Attributes:
      command: the name of the command.
      row: what it is.
      values: what it takes.
    """

    command: str
    row: Reference
    values: Values


def _options(commands: Commands) -> Sequence[Option]:
    """Returns the options of all commands, and `--help` among them."""
    asking = [Reference((word,), "", text) for word, text in help.WORDS.items() if word.startswith("--")]
    return [
        Option(name, row, _values(row.metavar, sweep=command.several_values))
        for name, command in commands.items()
        for row in [*references(command, Config()), *asking]
    ]


def _values(metavar: str, *, sweep: bool) -> Values:
    """Returns what is taken by an option with this metavar."""
    what = metavar.strip("[]").removesuffix(" …")
    first, comma, _ = what.partition(",")
    if what == "NAME|FILE":
        return Values(config_names(sweep=sweep, here=False), "sweep" if sweep else "config")
    if what in ("FILE", "DIR|FILE"):
        return Values(paths="file")
    if what in ("DIR", "RUN", "RUNS", "RUN|A B DIR"):
        return Values(paths="folder")
    known: Mapping[str, Sequence[str]] = {
        **dict.fromkeys(("HEAD", "A", "B"), tuple(HEADS)),
        **dict.fromkeys(("SETTING", "FIELD"), tuple(SETTINGS)),
        "TOPIC": tuple(docs.topics()),
        "SHELL": tuple(SCRIPTS),
    }
    words = known.get(first) or [word for word in what.split("|") if word.islower()]
    return Values(words, commas=bool(comma))


def bash(commands: Commands) -> str:
    """Returns the script of bash."""
    options = _options(commands)

    def pattern(chosen: Sequence[Option]) -> str:
        # "COMMAND --flag", and "COMMAND " for its arguments.
        names = [f"{option.command} {word}" for option in chosen for word in option.row.words or [""]]
        return "|".join(f'"{name}"' for name in dict.fromkeys(names))

    by_values: dict[tuple[Any, ...], list[Option]] = {}
    for option in options:
        words, paths, commas = option.values
        if words or paths:
            by_values.setdefault((tuple(words), paths, commas), []).append(option)
    values = [
        f"        {pattern(chosen)})\n"
        f"            known={_quoted(' '.join(words))} paths={paths or 'none'} commas={'yes' if commas else 'no'} ;;"
        for (words, paths, commas), chosen in by_values.items()
    ]
    flags = [f"        {name}) known={_quoted(' '.join(_flags(options, name)))} ;;" for name in commands]
    return _filled(
        _BASH,
        commands=" ".join([*commands, "help"]),
        switches=pattern([option for option in options if option.row.words and not option.row.metavar]),
        several=pattern([option for option in options if option.row.several or not option.row.words]),
        values="\n".join(values),
        flags="\n".join(flags),
    )


def zsh(commands: Commands) -> str:
    """Returns the script of zsh."""
    options = _options(commands)
    cases, more = [], []
    for name in commands:
        own = [option for option in options if option.command == name]
        arguments = [option for option in own if not option.row.words]
        specs = [_zsh_argument(place, option) for place, option in enumerate(arguments, 1)]
        specs += [_zsh_flag(option, word) for option in own for word in option.row.words]
        # An option of `_arguments` that takes several values would take what begins another option as one of them.
        specs += ["'*: :_vae_more'"] * (not arguments)
        cases.append(f"        {name})\n            _arguments -S : \\")
        cases += [f"                {spec} \\" for spec in specs[:-1]]
        cases += [f"                {specs[-1]}", "            ;;"]
    for command, row, values in options:
        if row.several and row.words and (values.words or values.paths):
            action = _zsh_action(row, values).strip()
            listed = f"compadd - {action[1:-1]}" if action.startswith("(") else action
            more.append(f'    "{command} {row.words[0]}") {listed} ;;')
    listed = [_quoted(f"{name}:{command.summary}") for name, command in commands.items()]
    return _filled(
        _ZSH, commands="\n        ".join([*listed, "'help:Help.'"]), cases="\n".join(cases), more="\n".join(more)
    )


def _zsh_argument(place: int, option: Option) -> str:
    """Returns an argument as `_arguments` reads it."""
    what = re.sub(r"[:\\]", r"\\\g<0>", option.row.metavar)
    return _quoted(f"{'*' if option.row.several else place}:{what}:{_zsh_action(option.row, option.values)}")


def _zsh_flag(option: Option, word: str) -> str:
    """Returns a flag as `_arguments` reads it."""
    text, what = (re.sub(r"[][:\\]", r"\\\g<0>", text) for text in (option.row.brief, option.row.metavar))
    values = f":{what}:{_zsh_action(option.row, option.values)}" if option.row.metavar else ""
    return _quoted(f"{word}{'=' if values and not option.row.several else ''}[{text}]{values}")


def _zsh_action(row: Reference, values: Values) -> str:
    """Returns what completes an option in zsh; what begins with a blank is called as it is."""
    words = " ".join(values.words)
    if values.commas and words:
        return f"_values -s , {_quoted(row.metavar)} {words}"
    if values.paths in ("config", "sweep"):
        return f" _vae_configs {values.paths} {words}"
    return {"file": "_files", "folder": "_files -/"}.get(values.paths, f"({words})" if words else " ")


def fish(commands: Commands) -> str:
    """Returns the script of fish."""
    lines = [
        f"complete -c vae -n 'not __vae_command' -a {name} -d {_fish_quoted(text)}"
        for name, text in [*((name, command.summary) for name, command in commands.items()), ("help", "Help.")]
    ]
    lines.append(f"complete -c vae -n '__vae_command help' -a {_fish_quoted(' '.join(commands))}")
    for command, row, (words, paths, commas) in _options(commands):
        listed = " ".join(words)
        if paths == "folder":
            listed = "(__fish_complete_directories)"
        elif paths in ("config", "sweep"):
            listed = f"(__vae_configs {paths}) {listed}"
        elif commas and words:
            listed = f"(__vae_list {listed})"
        for word in row.words:
            values = [] if not row.metavar else ["-r", "-F"] if paths == "file" else ["-x"]
            values += ["-a", _fish_quoted(listed)] * bool(row.metavar and listed)
            name = f"-l {word.lstrip('-')} -d {_fish_quoted(row.brief)}"
            lines.append(" ".join([f"complete -c vae -n '__vae_command {command}'", name, *values]))
        if listed and (row.several or not row.words):
            after = f"__vae_after {command} {' '.join(row.words)}".rstrip()
            lines.append(f"complete -c vae -n '{after}' -a {_fish_quoted(listed)}")
    several = (f"'{command} {word}'" for command, row, _ in _options(commands) if row.several for word in row.words)
    return _filled(_FISH, lines="\n".join(lines), several=" ".join(several))


def tcsh(commands: Commands) -> str:
    """Returns the script of tcsh, which knows the two words before, and may ask for the line that was typed so far."""
    options = _options(commands)
    lines = [f'-e "s/^ *vae *{name} .*/{" ".join(_flags(options, name))}/p"' for name in commands]
    lines.append('-e "s/^ *vae *-.*/--help --version/p"')
    rules = {}
    switches = {word for option in options if not option.row.metavar for word in option.row.words}
    # A flag that several commands have is completed as in the one where it has most values.
    for _, row, values in sorted(options, key=lambda option: -len(option.values.words)):
        listed = _tcsh_list(values)
        for word in set(row.words) - switches:
            rules.setdefault(f"n@{word}@", listed or f"x:{row.metavar}")
            if listed:
                rules.setdefault(f"c@{word}=@", listed)
            if listed and row.several:
                rules.setdefault(f"N@{word}@", listed)
    rules["C@--*@"] = f'`echo "$COMMAND_LINE" | sed -n {" ".join(lines)}`'
    # A flag may be the first of two words before, so it comes last there, and the arguments of a command after it.
    rules = dict(sorted(rules.items(), key=lambda rule: "cCnN".index(rule[0][0])))
    rules["p@1@"] = f"({' '.join([*commands, 'help'])})"
    rules["n@help@"] = f"({' '.join(commands)})"
    for name in commands:
        arguments = [option for option in options if option.command == name and not option.row.words]
        if arguments:
            rules[f"n@{name}@"] = _tcsh_list(arguments[0].values)
        if arguments and (arguments[1:] or arguments[0].row.several):
            rules[f"N@{name}@"] = _tcsh_list(arguments[-1].values)
    return _filled(_TCSH, rules="\n".join(f"    {_quoted(f'{place}{listed}@')} \\" for place, listed in rules.items()))


def _tcsh_list(values: Values) -> str:
    """Returns what tcsh completes an option from; nothing for one that it cannot complete."""
    if values.paths in ("config", "sweep"):
        files = "configs/*.toml configs/sweeps/*.toml"
        bare = f"ls {files} 2>/dev/null | sed -e s,.*/,, -e s,[.]toml,,"
        return f'`sh -c "echo {" ".join(values.words)}; {bare}; ls -d *.toml */*.toml 2>/dev/null"`'
    return {"file": "f", "folder": "d"}.get(values.paths) or (f"({' '.join(values.words)})" if values.words else "")


def _flags(options: Sequence[Option], command: str) -> Sequence[str]:
    return [word for option in options if option.command == command for word in option.row.words]


def _quoted(text: str) -> str:
    """Returns a text as one word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _filled(template: str, **parts: str) -> str:
    """Returns a template with each {{NAME}} replaced."""
    return re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], template)


_BASH = r"""# Completion of vae in bash.
# Save it as ~/.local/share/bash-completion/completions/vae, or: source <(vae completion bash)

_vae() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} typed=$1 words=() token i
    # Bash splits words at = and :, which belong to them here.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        token=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("")
        fi
        ((${#token} > ${#line})) && token=$line
        words[${#words[@]} - 1]+=$token
        line=${line:${#token}}
        typed=$token
    done
    [[ $typed == [=:] ]] && typed=''

    local last=$((${#words[@]} - 1)) command=${words[1]} flag='' number=0 before='' kept word
    local current=${words[last]}
    kept=${current%"$typed"} # What readline leaves in front of a reply.
    COMPREPLY=()
    if ((last < 2)); then
        _vae_reply "{{commands}} --help --version"
        return
    fi
    for word in "${words[@]:2:last-2}"; do
        case $word in
        -[!0-9.]*=*) flag=${word%%=*} number=1 ;;
        -[!0-9.]*) flag=$word number=0 ;;
        *) number=$((number + 1)) ;;
        esac
    done
    if [[ $current == --*=* ]]; then
        flag=${current%%=*} before=$flag= current=${current#*=}
    elif [[ $current == -* ]]; then
        local known=''
        case $command in
{{flags}}
        esac
        _vae_reply "$known"
        return
    else
        case "$command $flag" in
        {{switches}}) flag='' ;;
        {{several}}) ;;
        *) ((number > 0)) && flag='' ;;
        esac
    fi
    local known='' paths=none commas=no
    case "$command $flag" in
        "help ") known='{{commands}}' ;;
{{values}}
    esac
    case $paths in
    file) ;; # What is typed is completed as bash completes any file.
    folder) compopt +o default -o dirnames 2>/dev/null ;;
    config | sweep) _vae_configs ;;
    *)
        if [[ $commas == yes && $current == *,* ]]; then
            before+=${current%,*}, current=${current##*,}
        fi
        [[ $commas == yes ]] && compopt -o nospace 2>/dev/null
        _vae_reply "$known"
        ;;
    esac
}

# Replies with those of some words that begin as the current one does.
_vae_reply() {
    local reply
    compopt +o default 2>/dev/null
    for reply in $1; do
        if [[ $reply == "$current"* ]]; then
            reply=$before$reply
            COMPREPLY+=("${reply#"$kept"}")
        fi
    done
}

# Replies with bare names of configs, and with folders and TOML files.
_vae_configs() {
    local place=configs reply
    for reply in configs/*.toml configs/sweeps/*.toml; do
        [[ -e $reply && ($paths == sweep || $reply != configs/sweeps/*) ]] || continue
        reply=${reply##*/}
        known+=" ${reply%.toml}"
    done
    known=$(printf '%s\n' $known | sort -u)
    _vae_reply "$known"
    local IFS=$'\n'
    COMPREPLY+=($(compgen -d -- "$current") $(compgen -f -X '!*.toml' -- "$current"))
    ((${#COMPREPLY[@]})) || compopt -o default 2>/dev/null
    compopt -o filenames 2>/dev/null
}

complete -o default -F _vae vae
"""

_ZSH = r"""#compdef vae
# Completion of vae in zsh.
# Save it as _vae in a folder of $fpath; or, after compinit: source <(vae completion zsh)

_vae_configs() {
    local kind=$1
    shift
    local -a names=("$@" configs/*.toml(N:t:r))
    [[ $kind == sweep ]] && names+=(configs/sweeps/*.toml(N:t:r))
    _alternative 'names:config:compadd -a names' 'files:file:_files -g "*.toml"'
}

# The further values of a flag that takes several.
_vae_more() {
    local -i last=$((CURRENT - 1))
    while ((last > 1)) && [[ $words[last] != --* ]]; do ((last--)); done
    case "$words[1] $words[last]" in
{{more}}
    esac
}

_vae() {
    local curcontext=$curcontext context state state_descr line
    typeset -A opt_args
    local -a commands=(
        {{commands}}
    )
    _arguments -C -S : \
        '(- *)'{-h,--help}'[Help.]' \
        '(- *)'{-V,--version}'[The version.]' \
        '1:command:->command' \
        '*::argument:->argument' && return
    case $state in
    command) _describe -t commands command commands ;;
    argument)
        case $words[1] in
{{cases}}
        help) _describe -t commands command commands ;;
        esac
        ;;
    esac
}

if [[ $funcstack[1] == _vae ]]; then
    _vae "$@"
else
    compdef _vae vae
fi
"""

_FISH = r"""# Completion of vae in fish.
# Save it as ~/.config/fish/completions/vae.fish, or: vae completion fish | source

# Whether the line has a command, and this one where one is given.
function __vae_command
    set -l words (commandline -opc)
    test (count $words) -ge 2; and begin
        test (count $argv) -eq 0; or test $words[2] = $argv[1]
    end
end

# Whether the line has this command, and whether the word belongs to this flag or, where none is given, to no flag.
function __vae_after
    __vae_command $argv[1]; or return
    set -l words (commandline -opc)
    set -l flag
    for word in $words[3..-1]
        string match -qr -- '^--[^=]*$' $word; and set flag $word
    end
    if test (count $argv) -eq 1
        test -z "$flag"; or not contains -- "$argv[1] $flag" $__vae_several
    else
        contains -- "$flag" $argv[2..-1]
    end
end

function __vae_configs
    set -l files configs/*.toml
    test $argv[1] = sweep; and set -a files configs/sweeps/*.toml
    for file in $files
        string replace -r '.*/(.*)[.]toml$' '$1' $file
    end
    __fish_complete_suffix .toml
end

# Words with commas between.
function __vae_list
    set -l before (string match -r '.*,' (commandline -ct))
    for word in $argv
        echo $before$word
    end
end

set -g __vae_several {{several}}
complete -c vae -e
complete -c vae -f
complete -c vae -n 'not __vae_command' -s h -l help -d Help.
complete -c vae -n 'not __vae_command' -s V -l version -d 'The version.'
{{lines}}
"""

_TCSH = r"""# Completion of vae in tcsh.
# Save it as a file, such as ~/.vae.tcsh, and put into ~/.tcshrc: source ~/.vae.tcsh
complete vae \
{{rules}}
    'p@*@f@'
"""

SCRIPTS: Mapping[str, Callable[[Commands], str]] = {"bash": bash, "zsh": zsh, "fish": fish, "tcsh": tcsh}
"""What makes the script of each shell."""
