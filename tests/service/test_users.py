"""Accounts, passwords and sessions: what is kept cannot be used, what ends has ended, and nobody may try for ever."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.errors import StorageError, UserError
from webui.service.attempts import (
    BY_ACCOUNT,
    BY_ADDRESS,
    BY_BROWSER,
    BY_NAME,
    BY_SHARED,
    HERE,
    MOST_KEYS,
    TUNNEL,
    WINDOW,
    Attempts,
    TooManyAttempts,
)
from webui.service.database import Database
from webui.service.passwords import Cost, Hasher
from webui.service.users import (
    DAY,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MOST_SESSIONS,
    OWNER_ID,
    SEEN_SECONDS,
    User,
    Users,
    new_password,
)

CHEAP = Cost(n=16, r=1, p=1)
SECRET = "correct horse"
AWAY = "192.0.2.7"


class Clock:
    """A time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class CountingHasher(Hasher):
    """Counts the hashes it computes."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.computed = 0

    def _compute(self, password: str, salt: bytes, cost: Cost) -> bytes:
        self.computed += 1
        return super()._compute(password, salt, cost)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "webui.sqlite3")
    yield database
    database.close()


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def users(database: Database, clock: Clock, hasher: CountingHasher) -> Users:
    return Users(database, clock, hasher=hasher)


def sign_in(users: Users, name: str = "Anna", password: str = SECRET, address: str = AWAY, browser: str = "") -> str:
    return users.sign_in(name, password, address, "a browser", browser)


def attack(users: Users, *names: str, address: str = TUNNEL, browser: str = "") -> None:
    """Try until nobody answers any more."""
    for number in range(10_000):
        try:
            sign_in(users, names[number % len(names)], f"guess {number}", address, browser)
        except TooManyAttempts:
            return
        except UserError:
            continue
    raise AssertionError("nobody was ever refused")


# --- accounts


def test_the_first_owner_is_there_and_cannot_sign_in(users: Users) -> None:
    assert users.get(OWNER_ID) == User(id=OWNER_ID, name="owner", owner=True)
    assert not users.has_passwords() and not users.can_sign_in(OWNER_ID)
    with pytest.raises(UserError, match="wrong"):
        sign_in(users, "owner", "")


def test_accounts_are_made_and_kept(users: Users, database: Database, clock: Clock) -> None:
    anna = users.create("  Anna ", SECRET)
    assert anna.name == "Anna" and not anna.owner and users.has_passwords() and users.can_sign_in(anna.id)
    bert = users.create("Ærøskøbing 漢", SECRET, owner=True)
    assert users.all() == [users.get(OWNER_ID), anna, bert]
    again = Users(database, clock, hasher=Hasher(CHEAP))
    assert again.all() == users.all() and again.session(sign_in(again)) == anna
    with pytest.raises(UserError, match="There is no account 99"):
        users.get(99)


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\nb", "\x00", "a\u202eb", "..", "--"])
def test_what_cannot_be_a_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UserError, match="A name has"):
        users.create(name, SECRET)


@pytest.mark.parametrize("name", ["anna", "ANNA", " Anna", "OWNER"])
def test_a_name_is_taken_however_it_is_written(users: Users, name: str) -> None:
    users.create("Anna", SECRET)
    with pytest.raises(UserError, match="is taken"):
        users.create(name, SECRET)
    assert len(users.all()) == 2


@pytest.mark.parametrize("password", ["", "short12", "x" * 201])
def test_what_cannot_be_a_password_is_refused(users: Users, password: str) -> None:
    with pytest.raises(UserError, match="A password has 8 to 200"):
        users.create("Anna", password)
    with pytest.raises(UserError, match="A password has 8 to 200"):
        users.set_password(OWNER_ID, password)
    assert not users.has_passwords() and len(users.all()) == 1


def test_removing_ends_sessions_and_forgets_the_name(users: Users) -> None:
    anna = users.create("Anna", SECRET)
    token = sign_in(users)
    users.remove(anna.id)
    assert users.session(token) is None and users.all() == [users.get(OWNER_ID)]
    with pytest.raises(UserError, match="wrong"):
        sign_in(users)
    assert users.create("Bert", SECRET).id > anna.id, "what is remembered of one is never another's"
    with pytest.raises(UserError, match="first owner"):
        users.remove(OWNER_ID)


def test_an_account_with_unfinished_jobs_is_only_shut(users: Users, database: Database) -> None:
    anna = users.create("Anna", SECRET)
    token = sign_in(users)
    with database.write() as connection:
        values = "('j', ?, '', '{}', 'running', 0, 1, 0)"
        connection.execute(
            f"INSERT INTO jobs (id, user, kind, request, state, place, pictures, created) VALUES {values}", (anna.id,)
        )
    with pytest.raises(UserError, match="1 unfinished"):
        users.remove(anna.id)
    assert users.session(token) is None and anna in users.all() and not users.can_sign_in(anna.id)
    with pytest.raises(UserError, match="wrong"):
        sign_in(users)
    with database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'done'")
    users.remove(anna.id)
    assert anna not in users.all()


# --- passwords


def test_a_generated_password_is_long_and_never_the_same() -> None:
    made = {new_password() for _ in range(200)}
    assert len(made) == 200 and all(len(set(each)) > 5 and len(each) == 23 for each in made)
    assert all(not set(each) & set("il1o0") for each in made)


def test_hashes_are_salted_and_carry_their_cost(users: Users, database: Database) -> None:
    users.create("Anna", SECRET)
    users.create("Bert", SECRET)
    first, second = (row["password"] for row in database.all("SELECT password FROM users WHERE password IS NOT NULL"))
    assert first != second and first.startswith("scrypt$16$1$1$") and SECRET not in first
    dearer = Hasher(Cost(n=32, r=2, p=1))
    assert dearer.fits(SECRET, first) and not dearer.fits(SECRET + "x", first) and not dearer.fits(SECRET, None)
    assert dearer.hash(SECRET).startswith("scrypt$32$2$1$")


def test_the_real_cost_can_be_paid() -> None:
    hasher = Hasher()
    assert hasher.fits("pässword 漢", hasher.hash("pässword 漢"))
    assert Cost().memory < 40 * 2**20


def test_a_password_may_be_typed_in_either_form_of_its_accents(users: Users) -> None:
    users.create("Zoë", "Zo\u00eb's secret")
    assert users.session(sign_in(users, "Zoe\u0308", "Zoe\u0308's secret"))


def test_only_a_few_hashes_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    computing: list[int] = []
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(password: bytes, **options: object) -> bytes:
        computing.append(1)
        entered.release()
        assert leave.wait(30)
        return password

    monkeypatch.setattr("webui.service.passwords.hashlib.scrypt", slow)
    hasher = Hasher(CHEAP, at_once=2, waiting=3)
    threads = [threading.Thread(target=hasher.hash, args=("x",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=30) and entered.acquire(timeout=30)
    threads += [threading.Thread(target=hasher.hash, args=("x",)) for _ in range(3)]
    for thread in threads[2:]:
        thread.start()
    while hasher._places._value > 0:
        assert all(thread.is_alive() for thread in threads)
    assert len(computing) == 2, "the others wait"
    with pytest.raises(UserError, match="try again"):
        hasher.hash("x")
    leave.set()
    for thread in threads:
        thread.join(30)
    assert len(computing) == 5 and hasher.hash("x"), "afterwards there is room again"


# --- sessions


def test_only_the_tokens_digest_is_kept(users: Users, database: Database, tmp_path: Path) -> None:
    users.create("Anna", SECRET)
    token = sign_in(users)
    assert len(token) >= 43 and sign_in(users) != token
    row = database.one("SELECT * FROM sessions")
    assert row is not None and token not in list(row) and len(row["token"]) == 64
    assert (row["address"], row["agent"]) == (AWAY, "a browser")
    assert users.session(row["token"]) is None, "what the database has opens nothing"
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.encode() not in files and SECRET.encode() not in files


@pytest.mark.parametrize("token", ["", "x", "x" * 100_000, "\ud800", "' OR 1=1 --"])
def test_made_up_tokens_open_nothing(users: Users, token: str) -> None:
    users.create("Anna", SECRET)
    sign_in(users)
    assert users.session(token) is None and not users.lasts(token)
    users.sign_out(token)
    assert len(users.sessions()) == 1


def test_a_session_that_is_not_used_ends(users: Users, clock: Clock, database: Database) -> None:
    users.create("Anna", SECRET)
    token, other = sign_in(users), sign_in(users)
    clock.now += IDLE_SECONDS - 1
    assert users.session(token) is not None
    clock.now += 2
    assert users.session(token) is not None and users.session(other) is None
    assert [session.id for session in users.sessions()] == [users.id_of(token)]
    users.write_seen()
    assert len(database.all("SELECT * FROM sessions")) == 1


def test_every_session_ends(users: Users, clock: Clock) -> None:
    users.create("Anna", SECRET)
    token, began = sign_in(users), clock.now
    while clock.now + DAY < began + LONGEST_SECONDS:
        clock.now += DAY
        assert users.session(token) is not None
    clock.now = began + LONGEST_SECONDS
    assert users.session(token) is None and not users.lasts(token)


def test_asking_whether_it_lasts_is_no_use_of_it(users: Users, clock: Clock) -> None:
    users.create("Anna", SECRET)
    token = sign_in(users)
    clock.now += IDLE_SECONDS - 1
    assert users.lasts(token)
    clock.now += 2
    assert not users.lasts(token)


def test_sessions_survive_a_restart_as_they_were_seen(users: Users, clock: Clock, database: Database) -> None:
    users.create("Anna", SECRET)
    token = sign_in(users)
    clock.now += SEEN_SECONDS - 1
    users.session(token)
    assert not users.unwritten(), "not for every request"
    clock.now += 1
    users.session(token)
    assert users.unwritten()
    users.write_seen()
    assert not users.unwritten()
    again = Users(database, clock, hasher=Hasher(CHEAP))
    assert again.sessions() == users.sessions() and again.session(token) == users.session(token)


def test_signing_out_here_and_everywhere(users: Users, database: Database) -> None:
    anna, bert = users.create("Anna", SECRET), users.create("Bert", SECRET)
    first, second, third = sign_in(users), sign_in(users), sign_in(users, "Bert")
    users.sign_out(first)
    assert users.session(first) is None and users.session(second) == anna
    users.sign_out_everywhere(anna.id)
    assert users.session(second) is None and users.session(third) == bert
    assert len(database.all("SELECT * FROM sessions")) == 1


def test_a_new_password_ends_the_sessions(users: Users) -> None:
    anna = users.create("Anna", SECRET)
    token = sign_in(users)
    users.set_password(anna.id, "another one")
    assert users.session(token) is None
    with pytest.raises(UserError, match="wrong"):
        sign_in(users)
    assert users.session(sign_in(users, password="another one")) == anna


def test_owners_end_everybodys_sessions_and_others_their_own(users: Users) -> None:
    anna, bert, owner = users.create("Anna", SECRET), users.create("Bert", SECRET), users.get(OWNER_ID)
    first, second = sign_in(users), sign_in(users, "Bert")
    with pytest.raises(UserError, match="There is no session"):
        users.end(bert, users.id_of(first))
    assert users.session(first) == anna
    users.end(anna, users.id_of(first))
    users.end(owner, users.id_of(second))
    assert users.sessions() == []


def test_one_account_has_a_bounded_number_of_sessions(users: Users, clock: Clock) -> None:
    users.create("Anna", SECRET)
    tokens = []
    for _ in range(MOST_SESSIONS + 3):
        clock.now += 1
        tokens.append(sign_in(users))
    assert [users.session(token) is not None for token in tokens] == [False] * 3 + [True] * MOST_SESSIONS


def test_a_password_changed_while_it_was_checked_opens_nothing(users: Users, hasher: CountingHasher) -> None:
    anna = users.create("Anna", SECRET)
    real = hasher.fits

    def meanwhile(password: str, hashed: str | None) -> bool:
        fits = real(password, hashed)
        users.set_password(anna.id, "another one")
        return fits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hasher, "fits", meanwhile)
        with pytest.raises(UserError, match="wrong"):
            sign_in(users)
    assert users.sessions() == []


def test_a_session_has_ended_even_where_the_disk_fails(users: Users, database: Database) -> None:
    users.create("Anna", SECRET)
    token = sign_in(users)
    database.close()
    with pytest.raises(sqlite3.Error):
        users.sign_out(token)
    assert users.session(token) is None


def test_asking_for_a_session_waits_for_no_disk(users: Users, database: Database) -> None:
    users.create("Anna", SECRET)
    token = sign_in(users)
    asked = threading.Event()
    thread = threading.Thread(target=lambda: users.session(token) and asked.set())
    with database.write():
        thread.start()
        assert asked.wait(30)
    thread.join()


def test_a_full_disk_keeps_nobody_out(
    users: Users, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    anna = users.create("Anna", SECRET)
    token, idle = sign_in(users), sign_in(users)

    def full() -> None:
        raise StorageError("The disk is full.")

    clock.now += IDLE_SECONDS - 1
    users.session(token)
    clock.now += 2
    with monkeypatch.context() as patch:
        patch.setattr(database, "write", full)
        users.write_seen()
        assert not users.unwritten() and caplog.text.count("could not be written") == 2
    assert users.session(token) == anna and users.session(idle) is None
    clock.now += SEEN_SECONDS
    users.session(token)
    assert users.unwritten(), "it is tried again"


# --- attempts


def test_ten_thousand_tries_find_nothing_and_cost_nothing(users: Users, hasher: CountingHasher) -> None:
    users.create("Anna", SECRET)
    hasher.computed = 0
    refused = 0
    for number in range(10_000):
        with pytest.raises(UserError) as caught:
            sign_in(users, password=SECRET if number == 9_999 else f"guess {number}", address=f"192.0.2.{number % 200}")
        refused += isinstance(caught.value, TooManyAttempts)
    assert refused == 10_000 - BY_ACCOUNT and hasher.computed == BY_ACCOUNT
    assert "try again in 15 minutes" in str(caught.value)


def test_after_the_wait_the_right_password_fits(users: Users, clock: Clock) -> None:
    anna = users.create("Anna", SECRET)
    for _ in range(BY_NAME):
        with pytest.raises(UserError, match="wrong"):
            sign_in(users, password="guess")
        clock.now += 1
    with pytest.raises(TooManyAttempts, match="in 15 minutes"):
        sign_in(users)
    clock.now += WINDOW - BY_NAME - 30
    with pytest.raises(TooManyAttempts, match="in a minute"):
        sign_in(users)
    clock.now += 30
    assert users.session(sign_in(users)) == anna


def test_one_address_may_not_try_many_names(users: Users, hasher: CountingHasher) -> None:
    users.create("Anna", SECRET)
    hasher.computed = 0
    for number in range(BY_ADDRESS):
        with pytest.raises(UserError, match="wrong"):
            sign_in(users, f"name {number}")
    with pytest.raises(TooManyAttempts):
        sign_in(users)
    assert hasher.computed == BY_ADDRESS, "names that nobody has take as long as others"
    assert users.session(sign_in(users, address="192.0.2.8")), "others are not kept out by it"


def test_whoever_sits_at_the_machine_is_not_locked_out_by_others(users: Users) -> None:
    users.create("Anna", SECRET)
    for number in range(100):
        with pytest.raises(UserError):
            sign_in(users, password="guess", address=f"192.0.2.{number}")
    assert users.session(sign_in(users, address=HERE))


def test_whoever_was_here_before_waits_for_nobody(users: Users, hasher: CountingHasher, clock: Clock) -> None:
    """Behind the shared address all have one, so one attacker uses up every try that is counted by it."""
    anna = users.create("Anna", SECRET)
    users.set_password(OWNER_ID, SECRET)
    browser = users.browser_of(sign_in(users, address=TUNNEL))
    hasher.computed = 0
    attack(users, *(f"name {number}" for number in range(30)), address=TUNNEL)
    attack(users, "Anna", "owner", address=TUNNEL)
    assert hasher.computed <= BY_SHARED
    with pytest.raises(TooManyAttempts) as caught:
        sign_in(users, address=TUNNEL)
    assert caught.value.seconds <= WINDOW, "a browser that is new here waits"
    assert users.session(sign_in(users, address=TUNNEL, browser=browser)) == anna
    for name in ("owner", "Anna"):
        assert users.session(sign_in(users, name, address=HERE)), "nor is anybody kept out at the machine itself"
    attack(users, "Anna", address=AWAY)
    users.confirm(anna.id, SECRET, AWAY)
    clock.now += WINDOW
    assert users.session(sign_in(users, address=TUNNEL)) == anna


def test_what_a_browser_keeps_opens_nothing_and_is_its_accounts_alone(users: Users, hasher: CountingHasher) -> None:
    anna, bert = users.create("Anna", SECRET), users.create("Bert", "another one")
    browser = users.browser_of(sign_in(users))
    assert users.session(browser) is None and browser != users.browser_of(sign_in(users))
    hasher.computed = 0
    attack(users, "Anna", browser=browser)
    assert hasher.computed == BY_BROWSER, "whoever has the browser guesses no better"
    assert users.session(sign_in(users)) == anna, "and keeps nobody out with that"
    attack(users, "Bert", browser=browser)
    for wrong in (browser, browser[:-1], browser.replace(".", "x"), "." + browser.partition(".")[2], "\ud800.é"):
        with pytest.raises(TooManyAttempts):
            sign_in(users, "Bert", "another one", TUNNEL, wrong)
    fresh = users.browser_of(sign_in(users, "Bert", "another one", address=HERE))
    users.set_password(bert.id, "a third one")
    with pytest.raises(TooManyAttempts):
        sign_in(users, "Bert", "a third one", TUNNEL, fresh)
    assert users.browser_of("no token") == ""


def test_one_address_keeps_nobody_out_at_another(users: Users) -> None:
    anna = users.create("Anna", SECRET)
    attack(users, "Anna", address="192.0.2.66")
    assert users.session(sign_in(users, address=AWAY)) == anna


def test_success_forgets_the_failures_with_the_name_only(clock: Clock) -> None:
    attempts = Attempts(clock, by_name=3, by_address=5)
    for _ in range(2):
        with attempts.trying("anna", AWAY):
            pass
    with attempts.trying("anna", AWAY) as attempt:
        attempt.succeeded()
    for _ in range(3):
        with attempts.trying("anna", AWAY):
            pass
    with pytest.raises(TooManyAttempts), attempts.trying("bert", AWAY):
        pass


def test_tries_at_the_same_time_count(clock: Clock) -> None:
    attempts = Attempts(clock, by_name=2)
    with attempts.trying("anna", AWAY), attempts.trying("anna", AWAY), pytest.raises(TooManyAttempts):
        attempts.trying("anna", AWAY).__enter__()


def test_what_is_remembered_of_tries_is_bounded(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(MOST_KEYS):
        with attempts.trying(f"name {number}", f"address {number}"):
            pass
    assert len(attempts._times) == MOST_KEYS
