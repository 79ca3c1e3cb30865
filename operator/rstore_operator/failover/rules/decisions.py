"""A rule, and what it may decide.

A rule is a function of the scene; its docstring says what it decides. In each table the first rule that decides wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rstore_operator.failover.planned import begin
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import FailoverIntent, Trigger


@dataclass(frozen=True)
class Begin:
    """A change of primary begins. ``reported``: the condition RequestAccepted says so."""

    intent: FailoverIntent
    reported: bool = True


@dataclass(frozen=True)
class Refuse:
    """The request is answered with a Warning and taken off."""

    reason: str
    message: str


@dataclass(frozen=True)
class Wait:
    """Something is wanted and cannot begin yet; the condition FailoverBlocked says why."""

    reason: str
    message: str


@dataclass(frozen=True)
class Done:
    """The request has been carried out already, and is taken off."""

    message: str


Decision = Begin | Refuse | Wait | Done
Rule = Callable[[Scene], Decision | None]


def switchover(scene: Scene, trigger: Trigger, to_region: str) -> FailoverIntent:
    """The intent of a switchover from the present primary region."""
    primary, epoch = scene.truth.primary_region, scene.truth.epoch
    return begin(trigger, primary, to_region, epoch=epoch, highest_epoch=scene.highest_epoch, now=scene.clock.now)


def first(rules: tuple[Rule, ...], scene: Scene) -> Decision | None:
    """The decision of the first rule that decides."""
    return next((decision for rule in rules if (decision := rule(scene)) is not None), None)
