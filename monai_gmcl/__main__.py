# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``python -m monai_gmcl COMMAND``. Only the command that is called is imported."""

from __future__ import annotations

import sys
from importlib import import_module

import fire

from monai_gmcl.exceptions import GMCLError

__all__ = ["main"]

COMMANDS = {
    "audit": "list the labels of a data set that are probably wrong",
    "check": "compare hypergradient estimators on your student; with --cost true, print the cost of a step",
    "compare": "compare GMCL with other small-data methods on your data, at equal compute",
    "export": "write a trained student as TorchScript",
    "init": "copy a bundle to a new folder",
    "report": "write the report of a comparison again",
    "synthesize": "write labeled synthetic images with a trained teacher",
    "validate": "check every file of a data set and report all problems",
}
"""Each command is a function in the module of the same name in :mod:`monai_gmcl.commands`."""


def main() -> None:
    """Run a command of monai_gmcl by its name. An error is shown in a few lines; with ``--debug``, by its traceback."""
    debug = "--debug" in sys.argv
    name, *arguments = [argument for argument in sys.argv[1:] if argument != "--debug"] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_usage())
        return
    if name not in COMMANDS:
        sys.exit(f"monai_gmcl: unknown command {name!r}.\n{_usage()}")
    try:
        command = getattr(import_module(f"monai_gmcl.commands.{name}"), name)
        fire.Fire(command, command=arguments, name=f"monai_gmcl {name}")
    except GMCLError as error:
        if debug:
            raise
        sys.exit(f"monai_gmcl: {error}")
    except Exception as error:
        if debug:
            raise
        sys.exit(
            f"monai_gmcl: {type(error).__name__}: {error}\nThis error was not expected. Add --debug to show its "
            "traceback."
        )


def _usage() -> str:
    lines = [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m monai_gmcl COMMAND ...", *lines, "Help of a command: python -m monai_gmcl COMMAND --help"]
    )


if __name__ == "__main__":
    main()
