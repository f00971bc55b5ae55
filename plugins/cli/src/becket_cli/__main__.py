"""`python -m becket_cli`: the command `becket` where its script is not on the path."""

from __future__ import annotations

from becket_cli import main

if __name__ == "__main__":
    main()
