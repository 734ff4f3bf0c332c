import sys

from uqbench import progress as module


def test_piped_output_is_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with module.progress("sampling", 4) as update:
        update(2, "1 divergence")
        update(4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "sampling: 2/4 1 divergence"
    assert lines[-1].startswith("sampling: 4/4 in ")
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_shows_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with module.progress("sampling", 4) as update:
        update(3)
    assert "3/4" in capsys.readouterr().err
