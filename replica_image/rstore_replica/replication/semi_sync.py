"""When the primary may acknowledge a revision, as far as the other regions are concerned.

In SemiSync a revision may be acknowledged once ``min_in_sync_regions`` other regions have committed it; in Async at
once. The tenure is another condition, and not looked at here, but for one thing: with each of its rounds the primary
tells the voters how many other regions hold everything that it acknowledges (``guarantee``), and that binds it. It may
acknowledge with less only when a majority of the voters has granted a round that says less, because a failover that
fences a majority relies on what the voters received last.

``exposed`` is the highest revision that a client may have seen: from this leader or from those before it. A
guarantee is given only for all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

from rstore_api.domain.topology import ASYNC, SyncRule

EVERYTHING = sys.maxsize


class SemiSync:
    """The rule as one leader of the primary region keeps it.

    Regions count with what they have committed in this epoch, as their own leader reported. Nothing may be acknowledged
    before :meth:`begin` and after :meth:`end`.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._rule = ASYNC
        self._held: dict[str, int] = {}
        self._exposed: int | None = None
        self._degraded = False
        self._late = False
        self._lap: tuple[int, float] = (0, 0.0)

    # ------------------------------------------------------------------------------------------ role
    def begin(self, epoch: int, rule: SyncRule, others: Collection[str]) -> None:
        """This replica leads the primary of ``epoch``, perhaps again: what is known of other regions in it is kept."""
        revisions = self._held if epoch == self._epoch else {}
        self.end()
        self._epoch, self._rule = epoch, rule
        self._held = {region: revisions.get(region, 0) for region in others}

    def started(self, revision: int) -> None:
        """The leaders before can have shown nothing above ``revision``."""
        if self._epoch:
            self._exposed = max(revision, self._exposed or 0)

    def change(self, rule: SyncRule, others: Collection[str], revision: int, now: float) -> None:
        """The rule or the regions are others from now on, for what waits as well. ``revision`` is the newest."""
        self._rule = rule
        self._held = {region: self._held.get(region, 0) for region in others}
        self._catch_up(revision, now)

    def end(self) -> None:
        """It leads the primary no more."""
        self._epoch, self._held, self._exposed = 0, {}, None
        self._degraded = self._late = False

    @property
    def epoch(self) -> int:
        """The epoch in which it may acknowledge; 0: in none."""
        return self._epoch

    @property
    def rule(self) -> SyncRule:
        """The rule in force."""
        return self._rule

    # ------------------------------------------------------------------------------------------ news
    def stands_at(self, region: str, epoch: int, held_revision: int) -> None:
        """A stream begins: the region has committed ``held_revision`` and nothing above it."""
        if epoch == self._epoch and region in self._held:
            self._held[region] = held_revision

    def committed(self, region: str, epoch: int, held_revision: int) -> None:
        """The region has committed up to ``held_revision`` of this epoch."""
        if epoch == self._epoch and held_revision > self._held.get(region, EVERYTHING):
            self._held[region] = held_revision

    def look(self, revision: int, now: float) -> None:
        """See whether the other regions have caught up with ``revision``, the newest; as often as you like."""
        self._catch_up(revision, now)

    def timed_out(self, revision: int, now: float) -> None:
        """Something has waited for longer than the rule allows. ``revision`` is the newest."""
        if not self._epoch or not self._rule.min_in_sync_regions:
            return
        if not self._late:
            self._late, self._lap = True, (revision, now)
        self._degraded = self._rule.degrade

    def _catch_up(self, revision: int, now: float) -> None:
        """In sync again when the regions pass, within half the timeout, where the store was when that began."""
        if not self._rule.min_in_sync_regions:
            self._late = self._degraded = False
        while self._late and self.confirmed(self._rule.min_in_sync_regions) >= self._lap[0]:
            if now - self._lap[1] <= self._rule.timeout_seconds / 2 or revision <= self._lap[0]:
                self._late = self._degraded = False
            else:
                self._lap = (revision, now)
        if not self._rule.degrade:
            self._degraded = False

    # ------------------------------------------------------------------------------------------ answers
    def confirmed(self, regions: int) -> int:
        """Returns the revision that so many other regions have committed."""
        if regions <= 0:
            return EVERYTHING
        revisions = sorted(self._held.values(), reverse=True)
        return revisions[regions - 1] if regions <= len(revisions) else 0

    def allowed(self, promised: int) -> int:
        """Returns the revision up to which may be acknowledged, and shown, at this moment.

        ``promised`` is what the voters may believe: the highest guarantee in any round of the tenure since the newest
        one that a majority granted.
        """
        if not self._epoch:
            return 0
        required = 0 if self._degraded else self._rule.min_in_sync_regions
        return self.confirmed(max(required, promised))

    def expose(self, revision: int) -> None:
        """A client is being shown ``revision``."""
        if self._exposed is not None:
            self._exposed = max(self._exposed, revision)

    @property
    def exposed(self) -> int | None:
        """The highest revision that a client may have seen; None as long as that is not known."""
        return self._exposed

    @property
    def guarantee(self) -> int:
        """How many other regions hold all that is exposed, and will hold what is acknowledged: 0 or the rule's."""
        if self._exposed is None or self._degraded or self.confirmed(self._rule.min_in_sync_regions) < self._exposed:
            return 0
        return self._rule.min_in_sync_regions

    @property
    def in_sync(self) -> bool:
        """Whether acknowledgements come in time."""
        return not self._late

    @property
    def degraded(self) -> bool:
        """Whether acknowledgements do not wait for other regions although the rule wants it."""
        return self._degraded
