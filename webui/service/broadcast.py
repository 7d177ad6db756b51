"""Telling people what happens to their jobs: every subscriber gets each event once and in order, and slow ones cost nobody.

What a newer event makes pointless (progress, previews, places in the queue) is dropped, so a subscriber's memory is bounded; one
that falls too far behind is told so and looks everything up again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

MOST_WAITING = 1000  # events that nobody took, before the subscriber is told to look again
BEHIND: Mapping[str, Any] = {"job": "", "number": 0, "kind": "behind"}  # events were dropped: ask for the view again
Event = dict[str, Any]


class Subscription:
    """One listener's events since it last took them. `notify` is called from any thread when there are any; it must not block.

    `previews` says whether it wants any; it may be changed at any time.
    """

    def __init__(self, broadcast: Broadcast, user: int, notify: Callable[[], None], previews: bool) -> None:
        self.user = user
        self.previews = previews
        self._broadcast = broadcast
        self._notify = notify
        self._lock = threading.Lock()
        self._waiting: dict[tuple[Any, ...], Event] = {}
        self._count = 0

    def take(self) -> list[Event]:
        """The events since the last call, in order."""
        with self._lock:
            taken = list(self._waiting.values())
            self._waiting.clear()
            return taken

    def close(self) -> None:
        """Stop listening."""
        self._broadcast.remove(self)

    def put(self, event: Event) -> None:
        """Add an event, in place of the one it supersedes."""
        with self._lock:
            self._count += 1
            kept = event["number"] > 0
            key = (self._count,) if kept else (event["job"], event["kind"], event.get("picture"), event.get("group"))
            self._waiting.pop(key, None)
            if len(self._waiting) >= MOST_WAITING:
                self._waiting = {(self._count, BEHIND["kind"]): dict(BEHIND)}
            self._waiting[key] = event
        self._notify()


class Broadcast:
    """Who listens to whose jobs. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: dict[int, tuple[Subscription, ...]] = {}

    def subscribe(self, user: int, notify: Callable[[], None], *, previews: bool = True) -> Subscription:
        """Listen to the jobs of a user, from now on."""
        subscription = Subscription(self, user, notify, previews)
        with self._lock:
            self._subscriptions[user] = (*self._subscriptions.get(user, ()), subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Listen no more; what `Subscription.close` calls."""
        with self._lock:
            left = tuple(each for each in self._subscriptions.get(subscription.user, ()) if each is not subscription)
            self._subscriptions.pop(subscription.user, None)
            if left:
                self._subscriptions[subscription.user] = left

    def watched(self, user: int) -> bool:
        """Whether anybody wants previews of this user's jobs."""
        return any(subscription.previews for subscription in self._subscriptions.get(user, ()))

    def watchers(self) -> tuple[int, ...]:
        """The users whose jobs somebody listens to."""
        with self._lock:
            return tuple(self._subscriptions)

    def tell(self, user: int, event: Event) -> None:
        """Hand an event to all who listen to a user's jobs."""
        for subscription in self._subscriptions.get(user, ()):
            try:
                subscription.put(event)
            except RuntimeError:  # its event loop has ended
                subscription.close()
