"""The root of the command line: commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click

from befl.rules.errors import BeflError
from befl.rules.version import __version__

#: Command, module and attribute, and what ``befl --help`` says; nothing is imported for that page.
_COMMANDS: Final = {
    "init": ("befl.cli.init:init", "Write a folder to start from: a task, an app, rows to try them on."),
    "simulate": ("befl.cli.simulate:simulate", "Run a task here and now with every institution in one process."),
    "network": ("befl.cli.network:network", "Bring a consortium up on this machine, see how it is, take it down."),
    "member": ("befl.cli.member:member", "See the members, register, approve and assign what each may do."),
    "parameters": ("befl.cli.parameters:parameters", "See and change what the consortium has set for all tasks."),
    "org": ("befl.cli.org:org", "Found one institution's own folder; write its public definition."),
    "channel": ("befl.cli.channel:channel", "Let institutions into the channel, or out, by signatures of a majority."),
    "identity": ("befl.cli.identity:identity", "An institution's identities: list, enroll, show, renew, revoke."),
    "chaincode": ("befl.cli.chaincode:chaincode", "Agree on the chaincode, each institution for itself."),
    "data": ("befl.cli.data:data", "Hold an institution's own file against a task."),
    "task": ("befl.cli.task:task", "Publish tasks, look at them, watch them, apply, decline, leave, cancel."),
    "agent": ("befl.cli.agent:agent", "Run an institution's agent."),
    "app": ("befl.cli.app:app", "Pack training apps, look at them, add them to the ledger, approve them."),
    "model": ("befl.cli.model:model", "List, fetch, verify, evaluate and export final models."),
    "predict": ("befl.cli.predict:predict", "Predict with a model folder; needs no network."),
    "audit": ("befl.cli.audit:audit", "See who did what and when on the ledger, and check all of it."),
    "doctor": ("befl.cli.doctor:doctor", "Find what is wrong with installation, network, agent and data."),
    "config": ("befl.cli.config:config", "See the configuration in force, and where each value comes from."),
    "explain": ("befl.cli.explain:explain", "Explain an error code."),
    "version": ("befl.cli.version:version", "Say which befl and which Fabric this is."),
}
#: Families of codes that mean: it could not run, rather than: it was refused.
_COULD_NOT_RUN: Final = frozenset("CGN")
_COULD_NOT: Final = 2
_BROKEN_PIPE: Final = 141  # as a shell says of a process that SIGPIPE ended
_TERMINATED: Final = 143  # the same of SIGTERM
_COMPLETE: Final = "_BEFL_COMPLETE"
_TRACEBACK: Final = "BEFL_TRACEBACK"


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which one meets them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit status: 0 yes, 1 refused or negative verdict, 2 usage or could not run, 130 interrupted, 141 nobody "
    "reads the output, 143 ended by SIGTERM.",
)
@click.version_option(__version__, prog_name="befl")
def root() -> None:
    """Institutions train one model together on a Hyperledger Fabric ledger, with nobody in the middle.

    Start with `befl init`, which simulates at once, or with `befl network up`; `befl COMMAND --help` explains each.
    """


def main() -> None:
    """Run the command line and exit; every refusal is printed with its code and what to do next."""
    # batch systems and service managers end a command so: what it made for itself only is cleaned up on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    if os.environ.get(_COMPLETE):
        root.main(prog_name="befl")  # a shell asks what could stand here
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # already said, or nobody is there to read it; not a second time when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or _COULD_NOT
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        # not root.main, which swallows a broken pipe
        with root.make_context("befl", list(arguments), color=_colour()) as context:
            root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return _COULD_NOT
    except BeflError as error:
        show(error)
        return _COULD_NOT if error.code.split("-")[1] in _COULD_NOT_RUN else 1
    except BrokenPipeError:  # the reader of our output has gone, as `head` goes: whatever came after was not done
        return _BROKEN_PIPE
    except OSError as error:
        what = error.filename or "the output, or a file"
        show(BeflError("BEFL-C-006", f"{what}: {error.strerror or type(error).__name__}"))
        return _COULD_NOT
    except Exception as error:  # noqa: BLE001  # a mistake of ours is neither a refusal nor a verdict: it is not 1
        show(_broken(error))
        return _COULD_NOT
    return 0


def _broken(error: Exception) -> BeflError:
    """Say where befl broke off; with the traceback before it where that was asked for."""
    import traceback

    from befl.cli.common import visible

    if os.environ.get(_TRACEBACK):
        click.echo(visible("".join(traceback.format_exception(error))), err=True, nl=False)
        hint = "Please report the lines above, and the command."
    else:
        hint = f"Please report it; the same command with {_TRACEBACK}=1 before it prints the whole traceback."
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "befl" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}"
    return BeflError("BEFL-C-015", f"{type(error).__name__}: {error} ({place})", hint)


def show(error: BeflError) -> None:
    """Print a refusal: code, what happened, what to do."""
    from befl.cli.common import visible

    colour = _colour()
    click.echo(f"{click.style(error.code, fg='red')}: {visible(error.message)}", err=True, color=colour)
    if error.hint:
        click.echo(visible(error.hint), err=True, color=colour)
    click.echo(f"More: befl explain {error.code}", err=True, color=colour)


def _colour() -> bool | None:
    """Say whether to colour: never with NO_COLOR (https://no-color.org), else where a terminal is."""
    return False if os.environ.get("NO_COLOR") else None


if __name__ == "__main__":
    main()
