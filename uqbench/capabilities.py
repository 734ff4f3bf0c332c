"""What kinds of dynamics and of likelihoods can do, and the sentence about what one of them cannot."""

from collections.abc import Mapping
from typing import ClassVar

from .errors import InputError


class Capable:
    """Names what it can do in `capabilities`; whoever needs one asks for it, never for a type."""

    kind = "this"
    capabilities: frozenset[str] = frozenset()
    # capability -> what is missing without it, and what to do instead
    known_capabilities: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def require(self, capability: str, subject: str) -> None:
        """Raises where the capability is missing.

        Raises:
            InputError: with what is missing and what would do instead.
        """
        if capability not in self.capabilities:
            raise InputError(subject, [self.lacks(capability)])

    @property
    def described(self) -> str:
        """How it is called in a sentence."""
        return self.kind

    def lacks(self, capability: str) -> str:
        """The sentence about a missing capability."""
        missing, instead = self.known_capabilities[capability]
        return f"{self.described} has no {missing}; {instead}."
