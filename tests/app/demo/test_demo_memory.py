"""What the page keeps of its visitors."""

from concurrent.futures import ThreadPoolExecutor

from reben.app.demo.memory import Memory


def test_what_was_made_for_a_visit_is_made_once_and_is_not_that_of_another():
    memory, made = Memory(100), []

    def make():
        made.append(len(made))
        return made[-1]

    first = [memory.get("a", "key", make, lambda _: 1) for _ in range(3)]
    assert first == [0, 0, 0]
    assert memory.get("b", "key", make, lambda _: 1) == 1


def test_never_more_than_the_bound_is_kept_and_the_oldest_goes_first():
    memory = Memory(100)
    things = [memory.get("visit", number, object, lambda _: 30) for number in range(3)]
    assert memory.get("visit", 0, object, lambda _: 30) is things[0]
    memory.get("another", 3, object, lambda _: 30)
    assert memory.num_bytes == 90
    assert memory.get("visit", 0, object, lambda _: 30) is things[0]
    assert memory.get("visit", 1, object, lambda _: 30) is not things[1]
    memory.get("visit", "larger than all", object, lambda _: 101)
    assert memory.num_bytes == 0


def test_the_end_of_a_visit_removes_its_things_and_its_files_that_nobody_else_uses(tmp_path):
    memory = Memory(100)
    files = [tmp_path / name / "upload.zip" for name in ("mine", "ours", "theirs")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"x")
    memory.note_uploads("me", files[:2])
    memory.note_uploads("them", files[1:])
    memory.get("me", "key", object, lambda _: 30)
    memory.get("them", "key", object, lambda _: 30)
    memory.end("me")
    assert [file.is_file() for file in files] == [False, True, True]
    assert memory.num_bytes == 30
    memory.end("them")
    memory.end("nobody")
    assert list(tmp_path.iterdir()) == []
    assert memory.num_bytes == 0


def test_many_threads_may_use_it():
    memory = Memory(50)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: memory.get(str(n % 9), 1, object, lambda _: 7), range(500)))
    assert len(found) == 500
    assert memory.num_bytes <= 50
