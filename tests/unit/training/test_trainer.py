from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from befl.gateway import wait
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.training import AppCode, Problem, Trainer, builtin_apps, read_app

PROBLEM = Problem((4,), 2)
SETTINGS = {
    "model": "perceptron",
    "hidden": [8],
    "learning_rate": "0.05",
    "optimiser": "adam",
    "epochs": 3,
    "batch": 16,
}

NUMPY_APP = """
import numpy as np

def init(settings, problem, seed):
    classes = problem["outputs"]
    return {"w": np.zeros((classes, *problem["shape"]), np.float32), "b": np.full(classes, seed, np.float32)}

def train(model, x, y, settings, problem, seed):
    return {"w": model["w"] + x.sum(axis=0), "b": model["b"] + y.sum() + seed}

def predict(model, x, settings, problem):
    return np.full((len(x), 2), 0.5)
"""


def app(changes: str = "", name: str = "mine") -> AppCode:
    """A small app on numpy; later definitions take the place of earlier ones."""
    return AppCode.of(name, (NUMPY_APP + textwrap.dedent(changes)).encode())


def rows(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def make(changes: str = "", **options) -> Trainer:
    return Trainer(
        app(changes),
        options.pop("settings", {}),
        options.pop("problem", PROBLEM),
        timeout=options.pop("timeout", 60),
        **options,
    )


def train_once(trainer: Trainer) -> np.ndarray:
    layout, vector = trainer.init(1)
    return trainer.train(layout, vector, *rows(), 2)


def refusal(trainer: Trainer) -> BeflError:
    with trainer, pytest.raises(BeflError) as caught:
        train_once(trainer)
    return caught.value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_two_processes_give_the_same_bytes():
    x, y = rows()
    made = []
    for _ in range(2):
        with Trainer(builtin_apps()["tabular"], SETTINGS, PROBLEM) as trainer:
            layout, vector = trainer.init(11)
            for number in range(2):
                vector = trainer.train(layout, vector, x, y, 100 + number)
            made.append((layout, vector.tobytes(), trainer.predict(layout, vector, x).tobytes()))
            assert trainer.train(layout, vector, x, y, 5).tobytes() != trainer.train(layout, vector, x, y, 6).tobytes()
    assert made[0] == made[1]


def test_init_train_predict():
    x, y = rows()
    with make() as trainer:
        layout, vector = trainer.init(3)
        assert layout == (Tensor("w", (2, 4)), Tensor("b", (2,)))
        assert vector.tolist() == [0] * 8 + [3, 3]
        assert vector.dtype == np.float32
        made = trainer.train(layout, vector, x, y, 2)
        assert made[:4] == pytest.approx(x.sum(axis=0), rel=1e-4)
        assert made[8:].tolist() == [5 + y.sum()] * 2
        assert trainer.predict(layout, made, x).tolist() == [[0.5, 0.5]] * 120
        assert trainer.predict(layout, made, x[:0]).shape == (0, 2)


def test_writeable_rows_are_sent_anew():
    x, y = (array.copy() for array in rows())
    with make() as trainer:
        layout, vector = trainer.init(0)
        first = trainer.train(layout, vector, x, y, 0)
        x[0, 0] += 1000
        assert trainer.train(layout, vector, x, y, 0)[0] == pytest.approx(first[0] + 1000, rel=1e-4)


def test_large_rows_pass_through_the_pipes():
    x = np.ones((400_000, 4), np.float32)
    with make() as trainer:
        layout, vector = trainer.init(0)
        assert trainer.train(layout, vector, x, np.zeros(400_000, np.int64), 0)[:4].tolist() == [400_000.0] * 4
        assert trainer.predict(layout, vector, x).shape == (400_000, 2)


def test_the_app_sees_nothing_of_the_agent(monkeypatch):
    monkeypatch.setenv("BEFL_SECRET", "hunter2")
    descriptor = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    lines: list[str] = []
    looks = """
    def train(model, x, y, settings, problem, seed):
        import os, sys
        print("environment", sorted(os.environ), "hunter2" in repr(os.environ))
        print("parent", any("hunter2" in v for v in os.environ.values()))
        print("folder", os.listdir("."), os.environ["HOME"] == os.getcwd())
        print("input", repr(sys.stdin.read()))
        print("descriptors", [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{n}")])
        return model
    """
    try:
        with make(looks, log=lines.append) as trainer:
            train_once(trainer)
            folder = Path(f"/proc/{trainer.pid}/cwd").readlink()
    finally:
        os.close(descriptor)
    said = dict(line.split(" ", 1) for line in lines)
    names = [
        "CUBLAS_WORKSPACE_CONFIG",
        "HOME",
        "LANG",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
        "TMPDIR",
    ]
    assert said["environment"] == f"{names} False"
    assert said["parent"] == "False"
    assert said["folder"] == "[] True"
    assert said["input"] == "''"
    assert "/etc/hostname" not in said["descriptors"]
    assert "socket" not in said["descriptors"]
    assert not folder.exists()


def test_prints_go_to_the_log_and_not_into_the_protocol():
    lines: list[str] = []
    prints = """
    import os, sys
    def train(model, x, y, settings, problem, seed):
        print("on stdout")
        os.write(1, b"raw on 1\\n")
        os.system("echo from a program")
        print("on stderr", file=sys.stderr)
        print("x" * 5000)
        return model
    """
    with make(prints, log=lines.append) as trainer:
        train_once(trainer)
    assert lines[:4] == ["on stdout", "raw on 1", "from a program", "on stderr"]
    assert max(len(line) for line in lines) <= 1000


def test_torch_is_deterministic_and_has_the_threads_it_was_given():
    lines: list[str] = []
    says = """
    def train(model, x, y, settings, problem, seed):
        import torch
        print(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
        return model
    """
    with make(says, log=lines.append, threads=2) as trainer:
        train_once(trainer)
    assert lines == ["2 True 2"]


def test_an_app_on_numpy_does_not_wait_for_torch():
    lines: list[str] = []
    says = """
    def train(model, x, y, settings, problem, seed):
        import sys
        print("tor" + "ch" in sys.modules)
        return model
    """
    with make(says.replace("torch", ""), log=lines.append) as trainer:
        train_once(trainer)
    assert lines == ["False"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"def init(:\n", "SyntaxError"),
        (b"import nothing_of_this_name\n", "No module named 'nothing_of_this_name' (line 1)"),
        (b"raise SystemExit(3)\n", "SystemExit"),
        (b"def init(): pass\ntrain = 3\n", "no function train, predict"),
        (b"\xff\xfe", "SyntaxError"),
    ],
)
def test_an_app_that_cannot_be_loaded(source, text):
    with Trainer(AppCode.of("mine", source), {}, PROBLEM) as trainer:
        for _ in range(2):  # it says the same again
            with pytest.raises(BeflError, match='app "mine"') as caught:
                trainer.check()
            assert caught.value.code == "BEFL-M-101"
            assert text in caught.value.message


def test_an_interpreter_that_does_not_exist(tmp_path):
    with pytest.raises(BeflError) as caught:
        make(python=str(tmp_path / "python"))
    assert caught.value.code == "BEFL-M-101"
    assert "No such file" in caught.value.message


def test_an_interpreter_that_is_none():
    error = refusal(make(python="/bin/false"))
    assert error.code == "BEFL-M-105"
    assert "ended with status 1" in error.message


def test_something_that_does_not_speak_the_protocol(tmp_path):
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 'what is this? it is no frame at all'\ncat >/dev/null\n")
    other.chmod(0o700)
    error = refusal(make(python=str(other)))
    assert error.code == "BEFL-M-105"
    assert "answered what cannot be read" in error.message


def test_settings_that_the_app_refuses():
    fast = Trainer(builtin_apps()["tabular"], {"learning_rate": "fast"}, PROBLEM)
    with fast as trainer, pytest.raises(BeflError) as caught:
        trainer.init(0)
    assert caught.value.code == "BEFL-M-106"
    assert "learning_rate: must be a number" in caught.value.message


def test_an_app_that_raises_is_told_with_its_line_and_lives_on():
    raises = """
    def train(model, x, y, settings, problem, seed):
        if seed == 2:
            raise KeyError("dose")
        return model
    """
    with make(raises) as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError) as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-102"
        line = (NUMPY_APP + textwrap.dedent(raises)).splitlines().index('        raise KeyError("dose")') + 1
        assert f"train: KeyError: 'dose' (line {line})" in caught.value.message
        pid = trainer.pid
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()
        assert trainer.pid == pid


def test_an_app_that_exits_is_an_app_that_raises():
    error = refusal(make("def train(*_): raise SystemExit('enough')"))
    assert error.code == "BEFL-M-102"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("None", "NoneType"),
        ("[1, 2]", "list"),
        ("{'w': [1.0]}", "w is list"),
        ("{'w': model['w'].astype('i8'), 'b': model['b']}", "array of int64"),
        ("{'w': np.array(['a'], dtype=object), 'b': model['b']}", "array of object"),
        ("{'w': model['w']}", 'tensor "b" has shape (absent)'),
        ("{'w': model['w'].T, 'b': model['b']}", 'tensor "w" has shape (4, 2)'),
        ("{**model, 'extra': model['b']}", 'tensor "extra" has shape (2,)'),
    ],
)
def test_an_app_that_returns_something_else(body, text):
    error = refusal(make(f"def train(model, x, y, settings, problem, seed): return {body}"))
    assert error.code == "BEFL-M-103"
    assert text in error.message


@pytest.mark.parametrize("value", ["np.nan", "np.inf", "1e300"])
def test_an_app_that_returns_what_is_not_finite(value):
    returned = f"{{'w': model['w'] * 0., 'b': np.full(2, {value})}}"
    error = refusal(make(f"def train(model, x, y, settings, problem, seed): return {returned}"))
    assert error.code == "BEFL-M-107"
    assert "2 of 10 values" in error.message


@pytest.mark.parametrize(
    "body",
    ["np.ones((3, 2))", "np.ones((len(x), 2))", "np.full((len(x), 2), [-0.5, 1.5])", "np.full((len(x), 3), 1 / 3)"],
)
def test_an_app_that_predicts_what_are_no_probabilities(body):
    with make(f"def predict(model, x, settings, problem): return {body}") as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError) as caught:
            trainer.predict(layout, vector, rows()[0])
    assert caught.value.code == "BEFL-M-103"


def test_an_initial_model_that_cannot_be_one():
    error = refusal(make("def init(*_): return {'a name with spaces': np.zeros(3)}"))
    assert error.code == "BEFL-M-006"


@pytest.mark.parametrize("hang", ["import threading; threading.Event().wait()", "exec('while True: pass')"])
def test_an_app_that_hangs_is_killed_and_the_next_call_starts_anew(hang):
    with make(
        f"def train(model, x, y, settings, problem, seed):\n    if seed == 2: {hang}\n    return model", timeout=5
    ) as trainer:
        layout, vector = trainer.init(1)
        pid = trainer.pid
        with pytest.raises(BeflError, match="within 5 s") as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-104"
        assert not alive(pid)
        assert trainer.pid is None
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()


@pytest.mark.parametrize("when", ["before it is there", "when it is there", "while it is written to"])
def test_making_a_trainer_that_is_interrupted_leaves_no_process(tmp_path, monkeypatch, when):
    """Nobody gets the trainer then, so nobody could close it; the process' own thread ends when the process has."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start, spawn, keepers, interrupted = threading.Thread.start, subprocess.Popen, [], threading.Event()

    def begin(thread):
        start(thread)
        keepers.append(thread)
        if when == "when it is there":
            wait.until(lambda: not thread._args[-1].empty(), timeout=20, what="the process")
        if when != "while it is written to":
            raise KeyboardInterrupt

    def late(*arguments, **options):
        assert when != "before it is there" or interrupted.wait(20)
        return spawn(*arguments, **options)

    def write(process, pieces, timeout):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", begin)
    monkeypatch.setattr(subprocess, "Popen", late)
    if when == "while it is written to":
        monkeypatch.setattr("befl.training.trainer._Process.write", write)
    with pytest.raises(KeyboardInterrupt):
        make()
    interrupted.set()
    [keeper] = keepers
    keeper.join(20)
    assert not keeper.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_an_app_whose_process_dies():
    dies = """
    import os, sys
    def train(model, x, y, settings, problem, seed):
        if seed == 2:
            print("out of luck", file=sys.stderr)
            os.kill(os.getpid(), 9)
        return model
    """
    with make(dies) as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError) as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-105"
        assert "killed by SIGKILL; its last words: out of luck" in caught.value.message
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()


@pytest.mark.parametrize(
    "spoils",
    ["os.closerange(0, 100)", "sys.stdout.close()", "[os.dup2(2, n) for n in range(100)]", "os.closerange(3, 100)"],
)
def test_an_app_that_closes_what_it_did_not_open(spoils):
    body = f"if seed == 2: {spoils}\n    return model"
    with make(f"import os, sys\ndef train(model, x, y, settings, problem, seed):\n    {body}") as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError) as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-105"
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()


def test_an_app_that_eats_memory_is_refused_it_and_lives_on():
    eats = """
    def train(model, x, y, settings, problem, seed):
        held = []
        while seed == 2:
            held.append(np.ones(2**20))
        return model
    """
    with make(eats, memory=300) as trainer:
        layout, vector = trainer.init(1)
        pid = trainer.pid
        with pytest.raises(BeflError, match="MemoryError") as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-102"
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()
        assert trainer.pid == pid


def test_where_memory_runs_out_the_app_goes_first():
    """Without a limit, what the kernel ends is not the peer beside it."""
    lines: list[str] = []
    says = """
    def train(model, x, y, settings, problem, seed):
        print(open("/proc/self/oom_score_adj").read().strip())
        try:
            open("/proc/self/oom_score_adj", "w").write("0")
        except PermissionError:
            print("stays")
        return model
    """
    own = Path("/proc/self/oom_score_adj").read_text()
    with make(says, log=lines.append) as trainer:
        train_once(trainer)
    assert lines == ["1000", "stays"]
    assert Path("/proc/self/oom_score_adj").read_text() == own


def test_torch_is_refused_memory_too():
    eats = """
    import torch
    def train(model, x, y, settings, problem, seed):
        return {"w": torch.ones(2**30).numpy()}
    """
    error = refusal(make(eats, memory=3_000))
    assert error.code == "BEFL-M-102"
    assert "allocate memory" in error.message


FLOODS = """
import fcntl, json, os, struct
def flood(name, kind, count):
    answers = next(fd for fd in range(3, 20) if writes(fd))
    header = json.dumps({"ok": True, "arrays": [{"name": name, "type": kind, "shape": [count]}]}).encode()
    os.set_blocking(answers, True)
    os.write(answers, struct.pack(">IQ", len(header), count) + header)
    while count:
        count -= os.write(answers, bytes(min(count, 2**20)))
    os._exit(0)

def writes(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")[:5] == "pipe:" and fcntl.fcntl(fd, fcntl.F_GETFL) & 3 == os.O_WRONLY
    except OSError:
        return False
"""


@pytest.mark.parametrize(
    ("function", "body"),
    [
        ("train(model, x, y, settings, problem, seed)", "flood('w', 'uint8', 2**26) if seed == 2 else None"),
        ("predict(model, x, settings, problem)", "flood('predictions', 'uint8', 2**26)"),
        ("init(settings, problem, seed)", "flood('w', 'uint8', 2**26)"),
        ("check(settings, problem)", "flood('w', 'uint8', 2**26)"),
    ],
)
def test_an_app_cannot_make_the_agent_hold_what_it_never_held_itself(function, body):
    """An app of ten values that is held to 200 MiB and sends 64 MiB, a piece at a time."""
    with make(f"{FLOODS}\ndef {function}:\n    {body}\n    return model", memory=200) as trainer:
        tracemalloc.start()
        try:
            with pytest.raises(BeflError, match=r"answered what cannot be read \(ValueError\)") as caught:
                trainer.predict((Tensor("w", (2, 4)),), train_once(trainer)[:8], rows()[0])
            assert tracemalloc.get_traced_memory()[1] < 2**24
        finally:
            tracemalloc.stop()
        assert caught.value.code == "BEFL-M-105"
        assert trainer.pid is None


def test_an_app_cannot_give_itself_more_memory():
    asks = """
    import resource
    def train(model, x, y, settings, problem, seed):
        resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))
    """
    error = refusal(make(asks, memory=300))
    assert error.code == "BEFL-M-102"
    assert "not allowed to raise maximum limit" in error.message


def test_rows_for_which_there_is_no_memory():
    x = np.zeros((25_000_000, 4), np.float32)
    with make(memory=300) as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError, match="its last words: MemoryError") as caught:
            trainer.train(layout, vector, x, np.zeros(len(x), np.int64), 2)
        assert caught.value.code == "BEFL-M-105"
        assert len(trainer.train(layout, vector, *rows(), 3)) == len(vector)


def test_a_process_that_an_app_leaves_behind_keeps_nobody_waiting():
    """It holds the pipes of the one that has ended."""
    forks = """
    import os, threading
    def train(model, x, y, settings, problem, seed):
        if seed == 2 and os.fork():
            os._exit(3)
        if seed == 2:
            open("pid", "w").write(str(os.getpid()))
            threading.Event().wait()
        return model
    """
    with make(forks) as trainer:
        layout, vector = trainer.init(1)
        note = Path(f"/proc/{trainer.pid}/cwd").readlink() / "pid"
        pids: list[int] = []

        def wait_and_see():
            wait.until(lambda: note.exists() and note.read_text(), timeout=20, what="the process left behind")
            pids.append(int(note.read_text()))

        seen = threading.Thread(target=wait_and_see)
        seen.start()
        with pytest.raises(BeflError, match="ended with status 3") as caught:
            trainer.train(layout, vector, *rows(), 2)
        seen.join()
        assert caught.value.code == "BEFL-M-105"
        wait.until(lambda: not alive(pids[0]), timeout=5, what="the end of the process left behind")
        assert trainer.train(layout, vector, *rows(), 3).tolist() == vector.tolist()


def test_a_child_killed_between_two_calls():
    with make() as trainer:
        layout, vector = trainer.init(1)
        os.kill(trainer.pid, signal.SIGKILL)
        with pytest.raises(BeflError) as caught:
            trainer.train(layout, vector, *rows(), 2)
        assert caught.value.code == "BEFL-M-105"
        assert len(trainer.train(layout, vector, *rows(), 2)) == len(vector)


def test_close_ends_the_child_and_what_it_started():
    starts = """
    import subprocess
    def train(model, x, y, settings, problem, seed):
        open("pid", "w").write(str(subprocess.Popen(["sleep", "1000"]).pid))
        return model
    """
    trainer = make(starts)
    train_once(trainer)
    pids = [trainer.pid, int(Path(f"/proc/{trainer.pid}/cwd/pid").read_text())]
    assert all(alive(pid) for pid in pids)
    trainer.close()
    wait.until(lambda: not any(alive(pid) for pid in pids), timeout=5, what="the end of the child and its child")
    trainer.close()  # twice is once


def test_the_child_lives_longer_than_the_thread_that_made_the_trainer():
    made: list[Trainer] = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join()
    with made[0] as trainer:
        trainer.check()
        pid = trainer.pid
        train_once(trainer)
        assert trainer.pid == pid


@pytest.mark.parametrize("busy", [True, False])
def test_the_child_dies_with_the_agent(tmp_path, busy):
    note = tmp_path / "pid"
    program = f"""
import os, sys
import numpy as np
from pathlib import Path
from befl.training import AppCode, Problem, Trainer
app = AppCode.of("mine", {app("def predict(*_): exec('while True: pass')").files["app.py"]!r})
trainer = Trainer(app, {{}}, Problem((4,), 2))
layout, vector = trainer.init(1)
Path({str(note)!r}).write_text(str(trainer.pid))
if {busy}:
    trainer.predict(layout, vector, np.zeros((3, 4), np.float32))
sys.stdin.read()
"""
    agent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        wait.until(lambda: note.exists() and note.read_text(), timeout=30, what="the agent's child")
        pid = int(note.read_text())
        assert alive(pid)
    finally:
        agent.kill()
        agent.communicate()
    wait.until(lambda: not alive(pid), timeout=5, what="the end of the child")


def test_an_app_whose_train_takes_no_correction():
    with make() as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(BeflError, match="its train takes no correction") as caught:
            trainer.train(layout, vector, *rows(), 2, correction=np.ones_like(vector))
        assert caught.value.code == "BEFL-M-106"


def test_a_correction_arrives_as_tensors_of_the_model():
    takes = """
    def train(model, x, y, settings, problem, seed, correction=None):
        return {name: model[name] + 2 * correction[name] for name in model} if correction else model
    """
    with make(takes) as trainer:
        layout, vector = trainer.init(1)
        correction = np.arange(10, dtype=np.float32)
        made = trainer.train(layout, vector, *rows(), 2, correction=correction)
        assert made.tolist() == (vector + 2 * correction).tolist()
        assert trainer.train(layout, vector, *rows(), 2).tolist() == vector.tolist()


def test_a_torch_module_of_ones_own_is_a_folder(tmp_path):
    (tmp_path / "app.toml").write_text('befl = 1\nname = "own"\nloop = "torch"\n')
    (tmp_path / "app.py").write_text(
        "import loop\n"
        "from layers import Twice\n"
        "from torch import nn\n"
        "def module(settings, problem):\n"
        "    loop.whole('width', settings['width'], 1)\n"
        "    inside = nn.Linear(problem['shape'][0], settings['width'])\n"
        "    return nn.Sequential(inside, nn.Tanh(), Twice(), nn.Linear(settings['width'], problem['outputs']))\n"
        "init, train, predict, check, export = loop.app(module, width=8)\n"
    )
    (tmp_path / "layers.py").write_text(
        "from torch import nn\nclass Twice(nn.Module):\n    def forward(self, x):\n        return 2 * x\n"
    )
    own, (x, y) = read_app(tmp_path), rows()
    settings = {"width": 6, "steps": 60, "batch": 30, "learning_rate": "0.2"}
    with Trainer(own, settings, PROBLEM, timeout=60) as trainer:
        layout, vector = trainer.init(1)
        assert layout[0] == Tensor("0.weight", (6, 4))
        made = trainer.train(layout, vector, x, y, 2)
        assert (trainer.predict(layout, made, x).argmax(axis=1) == y).mean() > 0.95
        away = trainer.train(layout, vector, x, y, 2, correction=np.full_like(vector, 0.5))
        assert away.mean() < made.mean()
    with Trainer(own, {"width": 0}, PROBLEM, timeout=60) as trainer, pytest.raises(BeflError) as caught:
        trainer.check()
    assert caught.value.code == "BEFL-M-106"
    assert "width: must be a whole number from 1" in caught.value.message


def test_a_vector_of_another_length_is_a_mistake_of_the_caller():
    with make() as trainer:
        layout, vector = trainer.init(1)
        with pytest.raises(ValueError, match="for a layout of 10"):
            trainer.train(layout, vector[:-1], *rows(), 2)


def test_apps_from_files(tmp_path):
    place = tmp_path / "mine.py"
    place.write_bytes(app().files["app.py"])
    assert read_app(place) == app()
    place.write_bytes(b"#" * (2**22 + 1))
    absent = tmp_path / "absent.py"
    for path, code, text in ((place, "BEFL-M-101", "larger"), (absent, "BEFL-C-006", "No such file")):
        with pytest.raises(BeflError, match=text) as caught:
            read_app(path)
        assert caught.value.code == code
