import sys

from uqbench import progress as module


def test_piped_output_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    clock = iter([0.0, 100.0, 100.0, 600.0, 600.0, 700.0, 700.0, 800.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with module.progress("sampling", 7) as update:
        update(0)
        update(6, "1 divergence")
        update(7)
    lines = capsys.readouterr().err.splitlines()
    # 600 s for six of seven
    assert lines[:2] == ["sampling: 0/7", "sampling: 6/7 about 2 min left 1 divergence"]
    assert lines[-1].startswith("sampling: 7/7 in ")
    assert not any("\x1b" in line for line in lines)


def test_a_step_that_takes_long_is_no_silence(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(module, "WATCH", 0.01)
    said = []
    with module.progress("predictions", 7) as update:
        update(2)
        while len(said) < 3:
            said += capsys.readouterr().err.splitlines()
    assert all(line.startswith("predictions: ") for line in said)


def test_a_terminal_shows_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with module.progress("sampling", 4) as update:
        update(3)
    assert "3/4" in capsys.readouterr().err
