"""What each round of the tenure says about the other regions, on the primary's side and on the voter's.

A guarantee is a number: so many other regions, at least, hold everything that the primary has acknowledged or does
acknowledge. It binds the primary until a majority of the voters has granted a round that says less. So when a majority
of the voters is fenced, and a majority of them received a guarantee last, it held for all that was ever acknowledged:
any round that says less, by which something was acknowledged, was granted by one of them.
"""

from __future__ import annotations

MAX_RUNS = 16
"""Changes of the guarantee that are remembered one by one; more are taken together, which binds longer."""


class AnnouncedGuarantees:
    """The primary's side, of one leader in one epoch."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []  # the first round of a run, and what its rounds say; ascending

    def forget(self) -> None:
        """Another leadership or epoch begins: nothing has been announced in it."""
        self._runs = []

    def sent(self, round_number: int, guarantee: int) -> None:
        """A round begins, with this guarantee."""
        if self._runs and self._runs[-1][1] == guarantee:
            return
        self._runs.append((round_number, guarantee))
        if len(self._runs) > MAX_RUNS:
            (first, left), (_, right) = self._runs[:2]
            self._runs[:2] = [(first, max(left, right))]

    def granted(self, round_number: int) -> None:
        """A majority granted that round: the guarantees of earlier ones bind no more."""
        while len(self._runs) > 1 and self._runs[1][0] <= round_number:
            del self._runs[0]

    @property
    def newest(self) -> int:
        """The guarantee of the newest round."""
        return self._runs[-1][1] if self._runs else 0

    @property
    def binding(self) -> int:
        """The highest guarantee that any majority of the voters may rely on."""
        return max((guarantee for _, guarantee in self._runs), default=0)


class ReceivedGuarantee:
    """A voter's side: the guarantee of the newest round that it granted, in the newest epoch that it granted in.

    A leader of the voter's region does not know what those before it received, and a question that was sent to one of
    them may reach it late. So it counts only rounds that name its own term, which the primary learns from its answers.
    Nor does it count a guarantee about regions that have left the store: a round names the version of its topology.
    """

    def __init__(self) -> None:
        self._newest = (0, 0)
        self._guarantee = 0
        self._version = 0
        self._term = 0

    def granted(
        self, epoch: int, round_number: int, guarantee: int, *, version: int, asked_term: int, term: int
    ) -> None:
        """A round was granted in ``term``. Questions may come out of order; only the newest counts."""
        if term != self._term:
            self._newest, self._guarantee, self._term = (0, 0), 0, term
        if asked_term == term and (epoch, round_number) > self._newest:
            self._newest, self._guarantee, self._version = (epoch, round_number), guarantee, version

    def in_term(self, term: int, topology: tuple[int, int]) -> tuple[int, int]:
        """Returns epoch and guarantee, as the leader of that term received them; (0, 0) when it received none.

        ``topology``: epoch and version of the one that the voter holds.
        """
        outdated = topology > (self._newest[0], self._version)
        return (self._newest[0], self._guarantee) if self._term == term and not outdated else (0, 0)
