"""``python -m bpnumba`` is the command ``bpnumba``."""

from bpnumba.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
