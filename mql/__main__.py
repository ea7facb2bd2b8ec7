"""`python -m mql` is the `mql` command."""

from __future__ import annotations

from mql.cli.app import main

if __name__ == "__main__":
    main()
