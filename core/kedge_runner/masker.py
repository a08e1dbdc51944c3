"""Takes secrets out of a stream of bytes, wherever it is cut."""

from __future__ import annotations

from kedge_runner.encodings import forms_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STARS = b"***"


class Masker:
    """Replaces every form of every secret, the leftmost first and of several there the longest.

    It holds back only the end of what it was given, and only if a form really begins like that.
    However a text is cut, what comes out is the same.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Secrets that are too short to have forms are left alone."""
        forms = {form for secret in set(secrets) for form in forms_of(secret)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._single = _Beginnings(form for form in self._forms if b"\n" not in form)
        self._several = _Beginnings(form for form in self._forms if b"\n" in form)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next part, masked; its end may come with a later part."""
        if self._held:
            data = self._held + data
        until = self._doubtful(data)
        masked, end = self._mask(data, until)
        self._held = data[end:]
        # what looked like a beginning was the end of a secret: look again at what follows it
        return masked + self.feed(b"") if end > until else masked

    def finish(self) -> bytes:
        """What was held back: the stream has ended, so no form is longer than what there is."""
        held, self._held = self._held, b""
        return self._mask(held, len(held))[0]

    def _doubtful(self, data: bytes) -> int:
        """Where the first form begins that may go on in the next part; the length if none does."""
        line = data[data.rfind(b"\n", max(len(data) - self._single.longest, 0)) + 1 :]
        tail = max(self._single.at_end(line), self._several.at_end(data))
        return len(data) - tail

    def _mask(self, data: bytes, until: int) -> tuple[bytes, int]:
        """Replace forms that begin before `until`; also return up to where `data` is used up."""
        # Looking for each form in turn is far quicker than one pattern for all: the longer it is, the
        # larger are the steps in which it is looked for.
        present = [form for form in self._forms if form in data]
        if not present:
            return data[:until], until
        if len(present) == 1 and until == len(data):
            return data.replace(present[0], STARS), until
        parts, start = [], 0
        found = {form: data.find(form) for form in present}
        while found:
            form = min(found, key=lambda form: (found[form], -len(form)))
            position = found[form]
            if position >= until:
                break
            parts += [data[start:position], STARS]
            start = position + len(form)
            found = {form: at if at >= start else data.find(form, start) for form, at in found.items()}
            found = {form: at for form, at in found.items() if at >= 0}
        end = max(start, until)
        return b"".join([*parts, data[start:end]]), end


class _Beginnings:
    """Tells how much of the end of a text could be the beginning of a form."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._forms = list(forms)
        self.longest = max(map(len, self._forms), default=0)

    def at_end(self, data: bytes) -> int:
        """The length of the longest end of `data` that some form begins with and goes on after."""
        tail = data[max(len(data) - self.longest + 1, 0) :]
        most = 0
        if not tail:
            return most
        for form in self._forms:
            position = tail.find(form[:1], max(len(tail) - len(form) + 1, 0))
            while 0 <= position < len(tail) - most:
                if form.startswith(tail[position:]):
                    most = len(tail) - position
                    break
                position = tail.find(form[:1], position + 1)
        return most
