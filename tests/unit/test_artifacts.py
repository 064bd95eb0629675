"""Large payloads: stored by their hash, fetched whole or not at all."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farandole.artifacts import ArtifactStore, LocalArtifacts, check_in, check_out, local
from farandole.errors import ClaimBroken, RecordError, StoreError, TransportError
from farandole.events.avro import Schema
from farandole.events.catalogue import encode, schema_of
from farandole.events.claims import is_claim
from farandole.events.tables import Claim
from farandole.ids import sha256

TEXT = Schema.parse('"string"')


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """An empty store."""
    return LocalArtifacts(tmp_path / "artifacts")


def only_file(root: Path) -> Path:
    """The one file below a folder."""
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) == 1
    return files[0]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_stored_payload_is_fetched_as_it_was(store: ArtifactStore, data: bytes) -> None:
    claim = store.put(data)

    assert claim == Claim(sha256(data), len(data))
    assert store.get(claim) == data


def test_payload_stored_twice_is_one_file_and_no_half_one_stays(store: ArtifactStore, tmp_path: Path) -> None:
    claim = store.put(b"x" * 1000)

    assert store.put(b"x" * 1000) == claim
    assert only_file(tmp_path).name == claim.sha256


def test_payload_stored_again_is_as_young_as_one_stored_now(store: ArtifactStore, tmp_path: Path) -> None:
    """What clears the store goes by age: it took payloads that fresh records referred to, for they had come before."""
    store.put(b"x" * 1000)
    file, began = only_file(tmp_path), tmp_path.stat().st_mtime
    os.utime(file, (began - 200 * 24 * 3600,) * 2)

    store.put(b"x" * 1000)

    assert file.stat().st_mtime >= began


def test_payload_that_is_cleared_away_while_it_is_stored_again_is_written(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = store.put(b"x" * 1000)
    holds = local._holds

    def cleared(path: Path, data: bytes) -> bool:
        found = holds(path, data)
        path.unlink()
        return found

    monkeypatch.setattr(local, "_holds", cleared)
    store.put(b"x" * 1000)

    assert store.get(claim) == b"x" * 1000


def test_put_makes_names_durable_that_somebody_else_has_made(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two who stored the same payload the second said that it was durable when the first had not synced its name,
    and of two in one folder when the first had not synced the folder's: a loss of power took what a record referred to.
    """
    root, synced = tmp_path / "artifacts", list[Path]()
    folder = root / store.put(b"held").sha256[:2]
    monkeypatch.setattr(local, "_sync", synced.append)

    store.put(b"held")
    of_held, synced[:] = list(synced), []
    (root / sha256(b"new")[:2]).mkdir()  # somebody else's, who has not synced it
    store.put(b"new")

    assert of_held == [folder, root]
    assert synced == [root / sha256(b"new")[:2], root]


def test_missing_payload_breaks_the_claim(store: ArtifactStore) -> None:
    store.put(b"another")

    with pytest.raises(ClaimBroken, match="missing"):
        store.get(Claim("ab" * 32, 5))


@pytest.mark.parametrize("altered", [b"y" * 10, b"x" * 9, b""])
def test_altered_payload_breaks_the_claim_and_is_mended_by_storing_it_again(
    store: ArtifactStore, tmp_path: Path, altered: bytes
) -> None:
    claim = store.put(b"x" * 10)
    only_file(tmp_path).write_bytes(altered)

    with pytest.raises(ClaimBroken):
        store.get(claim)

    store.put(b"x" * 10)
    assert store.get(claim) == b"x" * 10


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", "/" + "a" * 63, "ab" * 32 + "/x"]
)
def test_claim_that_names_no_hash_leads_nowhere(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ClaimBroken, match="SHA-256"):
        store.get(Claim(name, 3))


def test_claim_of_a_negative_size_is_broken(store: ArtifactStore) -> None:
    with pytest.raises(ClaimBroken):
        store.get(Claim("ab" * 32, -1))


def test_link_in_the_place_of_a_payload_is_not_followed(store: ArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    claim = store.put(b"x" * 6)
    path = tmp_path / "artifacts" / claim.sha256[:2] / claim.sha256
    path.unlink()
    path.symlink_to(secret)

    with pytest.raises((ClaimBroken, TransportError)):
        store.get(Claim(claim.sha256, 6))


def test_pipe_in_the_place_of_a_payload_does_not_block(store: ArtifactStore, tmp_path: Path) -> None:
    claim = store.put(b"x")
    path = tmp_path / "artifacts" / claim.sha256[:2] / claim.sha256
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(ClaimBroken):
        store.get(claim)


def test_store_that_cannot_be_written_is_the_operators_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(TransportError, match="expected to store 1 bytes"):
        LocalArtifacts(tmp_path / "file").put(b"x")


def test_folder_that_is_not_there_is_waited_for_and_not_made_anew(tmp_path: Path) -> None:
    """A share was not mounted when its agents went on: its payloads counted as gone, so that attempts were dead letters
    at once instead of waiting for the store; and what they stored went to a folder made anew on the disk below.
    """
    mount, away = tmp_path / "share", tmp_path / "away"
    mount.mkdir()
    store = LocalArtifacts(mount / "artifacts")
    claim = store.put(b"x" * 10)

    mount.rename(away)
    mount.mkdir()  # the mount point stays, empty

    with pytest.raises(StoreError, match="is not there: mount it"):
        store.get(claim)
    with pytest.raises(StoreError, match="is not there: mount it"):
        store.put(b"y")
    assert not list(mount.iterdir())

    mount.rmdir()
    away.rename(mount)
    assert store.get(claim) == b"x" * 10


def test_process_that_never_saw_the_folder_makes_it_only_where_its_parent_is(tmp_path: Path) -> None:
    store = LocalArtifacts(tmp_path / "share" / "artifacts")

    with pytest.raises(StoreError, match="is not there"):
        store.put(b"x")
    with pytest.raises(StoreError, match="is not there"):
        store.get(Claim("ab" * 32, 5))

    assert not list(tmp_path.iterdir())


def test_folder_of_a_project_is_made_with_the_one_around_it(tmp_path: Path) -> None:
    """`.farandole/artifacts` is the default: with a Kafka for a log nobody else has made `.farandole`."""
    store = LocalArtifacts(tmp_path / ".farandole" / "artifacts")

    assert store.get(store.put(b"x")) == b"x"


def test_payload_up_to_the_limit_stays_in_the_record(store: ArtifactStore, tmp_path: Path) -> None:
    framed = TEXT.encode("x" * 100)

    checked = check_in(store, framed, limit=len(framed))

    assert checked is framed
    assert check_out(store, checked) is framed
    assert not list(tmp_path.iterdir())


def test_payload_above_the_limit_becomes_a_claim_and_comes_back(store: ArtifactStore) -> None:
    framed = TEXT.encode("x" * 300_000)

    checked = check_in(store, framed)

    assert len(checked) < 100
    assert is_claim(checked) == Claim(sha256(framed), len(framed))
    assert check_out(store, checked) == framed


def test_payload_itself_is_no_claim() -> None:
    assert is_claim(TEXT.encode("x")) is None
    assert is_claim(b"{}") is None


def test_claim_of_a_claim_is_broken(store: ArtifactStore) -> None:
    twice = encode(store.put(encode(Claim("ab" * 32, 5))))

    with pytest.raises(ClaimBroken, match="another claim"):
        check_out(store, twice)


def test_frame_of_a_claim_around_rubbish_is_refused() -> None:
    head = schema_of(Claim).encode({"sha256": "", "size": 0})[:10]

    with pytest.raises(RecordError):
        is_claim(head + b"\xff")


def test_payload_that_another_folder_holds_says_that_the_folder_must_be_shared(tmp_path: Path) -> None:
    """`… it is missing` was all that two processes with a folder each had to go by."""
    claim = LocalArtifacts(tmp_path / "mine").put(b"large")
    theirs = LocalArtifacts(tmp_path / "theirs")
    theirs.put(b"something else")

    with pytest.raises(ClaimBroken, match="must be the same folder for all processes"):
        theirs.get(claim)


def test_relative_folder_stays_where_it_was_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler did `os.chdir`: payloads from before counted as missing, and new ones went to a folder of their own."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = LocalArtifacts(".farandole/artifacts")
    before = store.put(b"before")

    monkeypatch.chdir("elsewhere")
    store.put(b"after")

    assert store.get(before) == b"before"
    assert not list((tmp_path / "elsewhere").iterdir())
