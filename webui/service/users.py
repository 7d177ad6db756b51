"""Who may use this program: accounts with passwords, and the sessions of those who signed in.

Passwords are kept as salted scrypt hashes, sessions as the SHA-256 of a random token. All accounts and sessions are in memory too
(written through), so that asking who sent a request waits for no disk.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from webui.errors import StorageError, UserError, quoted
from webui.service.attempts import Attempts
from webui.service.database import Database
from webui.service.passwords import Hasher

LOGGER = logging.getLogger(__name__)
OWNER_ID = 1
LONGEST_NAME = 40  # characters
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 200  # characters
DAY = 86400.0
IDLE_SECONDS = 7 * DAY  # a session that is not used ends
LONGEST_SECONDS = 30 * DAY  # and so does every session
SEEN_SECONDS = 300.0  # the time of a session's last use is written no more often
MOST_SESSIONS = 50  # of one account; the one used longest ago ends
LONGEST_AGENT = 200  # characters kept of what a browser says it is
READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # for passwords we make: nothing that looks like something else
WRONG = "The name or the password is wrong."
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class User:
    """An account; an owner may do everything."""

    id: int
    name: str
    owner: bool


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who signed in somewhere; `id` names the session without opening it."""

    id: str
    user: User
    created: float
    seen: float
    ends: float
    address: str
    agent: str


def new_password() -> str:
    """A password nobody guesses and everybody can type: four groups of five, 99 bits."""
    return "-".join("".join(secrets.choice(READABLE) for _ in range(5)) for _ in range(4))


def check_name(name: str) -> str:
    """The name as it is kept; `UserError` where it cannot be one."""
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean or len(clean) > LONGEST_NAME or not clean.isprintable() or not re.search(r"\w", clean):
        raise UserError(f"A name has 1 to {LONGEST_NAME} letters, digits and signs; {quoted(name)} is none.")
    return clean


def check_password(password: str) -> str:
    """The password as it is hashed; `UserError` where it is too short or too long."""
    clean = unicodedata.normalize("NFC", password)
    if not SHORTEST_PASSWORD <= len(clean) <= LONGEST_PASSWORD:
        raise UserError(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; that one has {len(clean):,}.")
    return clean


class Users:
    """The accounts and sessions of one database, whose only writer this is. Safe from any thread."""

    def __init__(
        self, database: Database, clock: Clock = time.time, *, hasher: Hasher | None = None, attempts: Attempts | None = None,
        longest: Callable[[], float] = lambda: LONGEST_SECONDS,
    ) -> None:  # fmt: skip
        """`longest` is asked how many seconds a session may last, whenever one begins."""
        self._database = database
        self._clock = clock
        self._longest = longest
        self._hasher = hasher or Hasher()
        self._attempts = attempts or Attempts(clock)
        self._writing = threading.RLock()  # held while the database is written
        self._turn = threading.RLock()  # held for moments only, so that whoever asks for a session never waits for a disk
        rows = database.all("SELECT id, name, owner, password IS NOT NULL AS able FROM users ORDER BY id")
        self._users = {row["id"]: User(id=row["id"], name=row["name"], owner=bool(row["owner"])) for row in rows}
        self._able = {row["id"] for row in rows if row["able"]}
        self._highest = max(self._users, default=0)  # a number that was given is not given again while this runs
        self._written: dict[str, float] = {}  # when sessions were last used, as the database knows it
        self._sessions: dict[str, Session] = {}
        for row in database.all("SELECT * FROM sessions ORDER BY seen"):
            self._sessions[row["token"]] = Session(
                id=row["token"][:16], user=self._users[row["user"]], created=row["created"], seen=row["seen"], ends=row["ends"],
                address=row["address"], agent=row["agent"],
            )  # fmt: skip
            self._written[row["token"]] = row["seen"]

    # --- accounts

    def get(self, id: int) -> User:  # noqa: A002
        """The account with that number; `UserError` where there is none."""
        user = self._users.get(id)
        if user is None:
            raise UserError(f"There is no account {id}.")
        return user

    def all(self) -> list[User]:
        """Every account, the owner's first."""
        with self._turn:
            return list(self._users.values())

    def can_sign_in(self, id: int) -> bool:  # noqa: A002
        """Whether the account has a password."""
        return id in self._able

    def has_passwords(self) -> bool:
        """Whether any account can sign in."""
        return bool(self._able)

    def create(self, name: str, password: str, owner: bool = False) -> User:
        """Make an account; `UserError` where the name is taken or the password too short."""
        clean, hashed = check_name(name), self._hasher.hash(check_password(password))
        with self._writing:
            if any(clean.casefold() == user.name.casefold() for user in self.all()):
                raise UserError(f"The name {quoted(clean)} is taken; choose another one.")
            with self._database.write() as connection:
                connection.execute(
                    "INSERT INTO users (id, name, owner, password, created) VALUES (?, ?, ?, ?, ?)",
                    (self._highest + 1, clean, int(owner), hashed, self._clock()),
                )
            self._highest += 1
            user = User(id=self._highest, name=clean, owner=owner)
            with self._turn:
                self._users[user.id] = user
                self._able.add(user.id)
        return user

    def set_password(self, id: int, password: str) -> None:  # noqa: A002
        """Give the account a password, and end its sessions."""
        self.get(id)
        hashed = self._hasher.hash(check_password(password))
        with self._writing:
            with self._database.write() as connection:
                connection.execute("UPDATE users SET password = ? WHERE id = ?", (hashed, id))
            with self._turn:
                self._able.add(id)
            self.sign_out_everywhere(id)

    def remove(self, id: int) -> None:  # noqa: A002
        """Remove the account with what the database has of it; its pictures' files stay.

        Its sessions end in any case. `UserError` for the first owner, and while jobs of the account wait or run.
        """
        user = self.get(id)
        if id == OWNER_ID:
            raise UserError("The first owner's account cannot be removed; whoever sits at this machine works with it.")
        with self._writing:
            self.sign_out_everywhere(id)
            with self._database.write() as connection:
                query = "SELECT COUNT(*) FROM jobs WHERE user = ? AND state IN ('queued', 'running')"
                waiting = connection.execute(query, (id,)).fetchone()[0]
                statement = "UPDATE users SET password = NULL WHERE id = ?" if waiting else "DELETE FROM users WHERE id = ?"
                connection.execute(statement, (id,))
            with self._turn:
                self._able.discard(id)
                if not waiting:
                    del self._users[id]
        if waiting:
            raise UserError(
                f"{user.name} cannot sign in any more, but has {waiting} unfinished jobs: cancel them, then remove the account."
            )

    # --- sessions

    def sign_in(self, name: str, password: str, address: str, agent: str, browser: str = "") -> str:
        """Begin a session; returns its token, which only the caller has. Takes as long for names that nobody has.

        `UserError` where name or password are wrong, and after too many tries (see `attempts`); `browser` is what `browser_of`
        gave it when somebody signed in with it before.
        """
        user, hashed = self._known(name, password, address, browser)
        return self._begin(user, hashed, address, agent)

    def confirm(self, id: int, password: str, address: str) -> None:  # noqa: A002
        """Have somebody who is signed in say the password again; `UserError` as for signing in."""
        self._known(self.get(id).name, password, address, signed_in=True)

    def sign_in_again(self, id: int, password: str, address: str, agent: str) -> str:  # noqa: A002
        """Begin a session for somebody who was signed in until the password was changed; tries count as for `confirm`."""
        user, hashed = self._known(self.get(id).name, password, address, signed_in=True)
        return self._begin(user, hashed, address, agent)

    def browser_of(self, token: str) -> str:
        """What a browser is to keep, so that it is known when somebody signs in to the session's account with it again.

        It opens nothing, and is worth nothing any more once the account has another password.
        """
        session = self._sessions.get(_key(token))
        hashed = self._hashed(session.user if session is not None else None)
        name = secrets.token_hex(16)
        return f"{name}.{_sign(name, hashed)}" if hashed else ""

    def session(self, token: str) -> User | None:
        """Who has that token, if the session has not ended; the session counts as used now."""
        key = _key(token)
        with self._turn:
            session = self._sessions.get(key)
            if session is None or not self._lasts(session):
                return None
            self._sessions[key] = replace(session, seen=self._clock())
            return session.user

    def lasts(self, token: str) -> bool:
        """Whether the session goes on; asking is no use of it."""
        session = self._sessions.get(_key(token))
        return session is not None and self._lasts(session)

    def sign_out(self, token: str) -> None:
        """End a session."""
        self._end([_key(token)])

    def sign_out_everywhere(self, id: int) -> None:  # noqa: A002
        """End all sessions of an account."""
        self._end(self._keys(lambda session: session.user.id == id))

    def end(self, by: User, session: str) -> None:
        """End the session with that id: one's own, or as an owner anybody's; `UserError` where there is none."""
        found = self._keys(lambda each: each.id == session and (by.owner or each.user.id == by.id))
        if not found:
            raise UserError(f"There is no session {quoted(session)}; it may have ended already.")
        self._end(found)

    def sessions(self) -> list[Session]:
        """Everyone who is signed in, the latest seen first; for owners."""
        with self._turn:
            lasting = [session for session in self._sessions.values() if self._lasts(session)]
        return sorted(lasting, key=lambda session: session.seen, reverse=True)

    def id_of(self, token: str) -> str:
        """The id of the session with that token."""
        return _key(token)[:16]

    def unwritten(self) -> bool:
        """Whether it is time for `write_seen`."""
        with self._turn:
            return any(self._due(key, session) for key, session in self._sessions.items())

    def write_seen(self) -> None:
        """Write when sessions were last used, and forget those that ended. Where the disk fails, that is only logged."""
        try:
            self._end(self._keys(lambda session: not self._lasts(session)))
        except StorageError:  # they have ended, and end again at the next start
            LOGGER.warning("The end of some sessions could not be written.", exc_info=True)
        with self._writing:
            with self._turn:
                due = [(session.seen, key) for key, session in self._sessions.items() if self._due(key, session)]
            if due:
                try:
                    with self._database.write() as connection:
                        connection.executemany("UPDATE sessions SET seen = ? WHERE token = ?", due)
                except StorageError:  # nobody is kept out for that; it is tried again when they are next due
                    LOGGER.warning("When people were last here could not be written.", exc_info=True)
                with self._turn:
                    self._written.update({key: seen for seen, key in due if key in self._sessions})

    def _hashed(self, user: User | None) -> str | None:
        row = self._database.one("SELECT password FROM users WHERE id = ?", (user.id,)) if user is not None else None
        hashed: str | None = row["password"] if row is not None else None
        return hashed

    def _seen(self, user: User | None, browser: str) -> str:
        """The name of a browser that has signed in to the account before, else ""."""
        name, _, signature = browser.partition(".")
        hashed = self._hashed(user) if signature else None
        same = hashed and hmac.compare_digest(_sign(name, hashed).encode(), signature.encode("utf-8", "replace"))
        return name if same else ""

    def _known(self, name: str, password: str, address: str, browser: str = "", *, signed_in: bool = False) -> tuple[User, str]:
        """The account with that name and password, and the hash that it fits."""
        clean = unicodedata.normalize("NFC", name).strip()[:LONGEST_NAME]
        user = next((user for user in self.all() if user.name.casefold() == clean.casefold()), None)
        own = f"of {user.id}" if user is not None and signed_in else self._seen(user, browser)
        with self._attempts.trying(clean.casefold(), address, own) as attempt:
            hashed = self._hashed(user)
            fits = self._hasher.fits(unicodedata.normalize("NFC", password[: 4 * LONGEST_PASSWORD]), hashed)
            if user is None or not fits:
                raise UserError(WRONG)
            attempt.succeeded()
        return user, str(hashed)

    def _begin(self, user: User, hashed: str, address: str, agent: str) -> str:
        token, now = secrets.token_urlsafe(32), self._clock()
        key = _key(token)
        session = Session(
            id=key[:16], user=user, created=now, seen=now, ends=now + min(self._longest(), LONGEST_SECONDS), address=address,
            agent=agent[:LONGEST_AGENT],
        )  # fmt: skip
        with self._writing:
            own = sorted(self._keys(lambda each: each.user.id == user.id), key=lambda old: self._sessions[old].seen)
            self._end(own[: max(len(own) - MOST_SESSIONS + 1, 0)])
            with self._database.write() as connection:
                # While the password was hashed the account may have been removed, or its password changed.
                row = connection.execute("SELECT password FROM users WHERE id = ?", (user.id,)).fetchone()
                if row is None or row["password"] != hashed:
                    raise UserError(WRONG)
                connection.execute(
                    "INSERT INTO sessions (token, user, created, seen, ends, address, agent) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, user.id, now, now, session.ends, session.address, session.agent),
                )
            with self._turn:
                self._sessions[key], self._written[key] = session, now
        return token

    def _keys(self, wanted: Callable[[Session], bool]) -> list[str]:
        with self._turn:
            return [key for key, session in self._sessions.items() if wanted(session)]

    def _end(self, keys: list[str]) -> None:
        with self._turn:  # in memory first: whatever the disk does, they have ended
            known = [key for key in keys if self._sessions.pop(key, None) is not None]
            for key in known:
                self._written.pop(key, None)
        if known:
            with self._writing, self._database.write() as connection:
                connection.executemany("DELETE FROM sessions WHERE token = ?", [(key,) for key in known])

    def _lasts(self, session: Session) -> bool:
        now = self._clock()
        return now < session.ends and now < session.seen + IDLE_SECONDS

    def _due(self, key: str, session: Session) -> bool:
        return session.seen - self._written[key] >= SEEN_SECONDS or not self._lasts(session)


def _sign(browser: str, hashed: str) -> str:
    """What only this program can have given a browser: signed with the hash of the account's password, which nobody else has."""
    return hmac.new(hashed.encode(), f"browser {browser}".encode("utf-8", "replace"), "sha256").hexdigest()


def _key(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
