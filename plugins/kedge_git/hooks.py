"""The hooks that git runs on a push: small shell scripts, as an interpreter would cost more than git itself.

`pre-receive` notes in the journal what is asked for, before it happens. `post-receive` tells Kedge which
refs have moved, then prints what Kedge answers; git sends that to the pusher as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HOOKS = {
    "pre-receive": """\
#!/bin/sh
exec cat >>"$KEDGE_JOURNAL"
""",
    # An empty line ends the list. If Kedge is gone, the journal is what its next start reads.
    "post-receive": """\
#!/bin/sh
trap '' PIPE
{ cat && echo; } >"/dev/fd/$KEDGE_ACCEPTED" && exec cat "/dev/fd/$KEDGE_REPLY"
""",
}


def write_hooks(folder: Path) -> None:
    """Put every hook in `folder`, ready to run; one that is in use is replaced, not changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, script in _HOOKS.items():
        draft = folder / f".{name}"
        draft.write_text(script)
        draft.chmod(0o755)
        draft.replace(folder / name)
