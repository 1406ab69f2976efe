# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import fire

from monai_gmcl.commands.audit import audit
from monai_gmcl.commands.check import check
from monai_gmcl.commands.compare import compare
from monai_gmcl.commands.export import export
from monai_gmcl.commands.init import init
from monai_gmcl.commands.report import report
from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.commands.validate import validate
from monai_gmcl.exceptions import GMCLError

__all__ = ["main"]


COMMANDS = {
    "audit": audit,
    "check": check,
    "compare": compare,
    "export": export,
    "init": init,
    "report": report,
    "synthesize": synthesize,
    "validate": validate,
}


def main() -> None:
    """Run a command of monai_gmcl by its name. An error is told in a few lines; with ``--debug``, by its traceback."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        fire.Fire(COMMANDS, name="monai_gmcl")
    except GMCLError as error:
        if debug:
            raise
        sys.exit(f"monai_gmcl: {error}")
    except Exception as error:
        if debug:
            raise
        sys.exit(
            f"monai_gmcl: {type(error).__name__}: {error}\nThis was not foreseen: --debug shows where it came from."
        )


if __name__ == "__main__":
    main()
