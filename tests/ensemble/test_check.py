import sys

import pytest

from ensemble import __main__ as command
from ensemble.check import known_labels

RIGHT = "fname,label\na.wav,Bark Bell Rain\nb.wav,Bell\nc.wav,Rain Bark\n"


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """A function that checks a submission of some bytes in a folder with data/: -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sample_submission.csv").write_text("fname,label\na.wav,x\nb.wav,x\nc.wav,x\n")
    train = "\ufefffname,manually_verified,label\n1.wav,1,Bark\n2.wav,0,Bell\n3.wav,1,Rain\n"
    (tmp_path / "data/train.csv").write_text(train, encoding="utf-8")

    def run(content, *arguments):
        (tmp_path / "s.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(sys, "argv", ["ensemble", "check", "s.csv", *map(str, arguments)])
        try:
            code = command.main()
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def test_a_right_submission_is_one_line(check):
    said = "s.csv: right: 3 clips with 6 labels, in the order of data/sample_submission.csv\n"
    assert check(RIGHT) == (0, said, "")


def test_another_order_is_right_and_said(check):
    header, *rows = RIGHT.splitlines()
    said = "s.csv: right: 3 clips with 6 labels, in another order (which is fine) than data/sample_submission.csv\n"
    assert check("\n".join([header, *rows[::-1]])) == (0, said, "")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("a.wav,Bark\nc.wav,Bark\n", "missing clips: 1 (b.wav)"),
        ("a.wav,Bark\nb.wav,Bark\nc.wav,Bark\na.wav,Bark\n", "clips that are given more than once: 1 (a.wav)"),
        ("a.wav,Bark\nb.wav,Bark\nc.wav,Bark\nd,Bark\n", "clips that the sample does not have: 1 (d)"),
        ("a.wav,\nb.wav,nan\nc.wav,Bark\n", "rows without 1 to 3 labels: 2 (a.wav has 0, b.wav has 0)"),
        ("a.wav,Bark Bell Rain Bark\nb.wav,Bark\nc.wav,Bell\n", "rows without 1 to 3 labels: 1 (a.wav has 4)"),
        ("a.wav,Bark Bell Bark\nb.wav,Bark\nc.wav,Bell\n", "rows with a label twice: 1 (a.wav: Bark)"),
        (
            'a.wav,"Bark,Bell"\nb.wav,Bark bell\nc.wav,0.31\n',
            "rows with unknown labels: 3 (a.wav: Bark,Bell, b.wav: bell, c.wav: 0.31)",
        ),
        (
            "a.wav,Bark  Bell\nb.wav,Bark \nc.wav, Bell\n",
            "rows with spaces that are not between labels: 3 (a.wav, b.wav, c.wav)",
        ),
    ],
)
def test_each_kind_of_problem_is_a_line_that_names_its_clips(check, rows, problem):
    code, out, err = check("fname,label\n" + rows)
    assert (code, err) == (1, "")
    assert f"s.csv: {problem}\n" in out


def test_all_kinds_are_said_at_once_and_many_clips_are_counted(check):
    rows = "".join(f"x{i}.wav,Bark Bark Brak Bell\n" for i in range(1200))
    assert check("fname,label\n" + rows) == (
        1,
        "s.csv: missing clips: 3 (a.wav, b.wav, c.wav)\n"
        "s.csv: clips that the sample does not have: 1,200 (x0.wav, x1.wav, x2.wav, x3.wav, x4.wav and 1,195 more)\n"
        "s.csv: rows without 1 to 3 labels: 1,200 (x0.wav has 4, x1.wav has 4, x2.wav has 4, x3.wav has 4, "
        "x4.wav has 4 and 1,195 more)\n"
        "s.csv: rows with a label twice: 1,200 (x0.wav: Bark, x1.wav: Bark, x2.wav: Bark, x3.wav: Bark, "
        "x4.wav: Bark and 1,195 more)\n"
        "s.csv: rows with unknown labels: 1,200 (x0.wav: Brak, x1.wav: Brak, x2.wav: Brak, x3.wav: Brak, "
        "x4.wav: Brak and 1,195 more)\n",
        "",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("\ufeff" + RIGHT, r"it begins with a byte order mark (BOM)"),
        ("fname,labels\na.wav,Bark\n", "columns must be fname,label, got 'fname,labels'"),
        ("id,fname,label\n0,a.wav,Bark\n", "columns must be fname,label, got 'id,fname,label'"),
        ("fname;label\na.wav;Bark\n", "columns must be fname,label, got 'fname;label'"),
        ("fname,label\na.wav,Bark,Bell\n", "row 0 must have 2 values, got 3"),
        ('fname,label\na.wav,"Bark\n', "unexpected end of data"),
        (b"\x93NUMPY\x01\x00v\x00{}", "'utf-8' codec can't decode byte 0x93 in position 0: invalid start byte"),
        (b"fname,label\na.wav," + b"x" * 200_000, "field larger than field limit (131072)"),
    ],
)
def test_what_is_no_submission_is_one_line_and_exit_2(check, content, reason):
    advice = "give a CSV file in UTF-8 with the header fname,label"
    assert check(content) == (2, "", f"ensemble: s.csv: the file is damaged: {reason}; {advice}\n")


def test_a_huge_file_is_refused_before_it_is_read(check, tmp_path):
    with open(tmp_path / "huge.csv", "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "data/sample_submission.csv").unlink()
    (tmp_path / "data/sample_submission.csv").symlink_to(tmp_path / "huge.csv")
    code, out, err = check(RIGHT)
    assert (code, out) == (2, "")
    assert "1,099,511,627,776 bytes are too many for this file; name the sample submission with --sample\n" in err


def test_the_sample_may_lie_elsewhere_and_needs_its_clips_once(check, tmp_path):
    (tmp_path / "other.csv").write_text("fname\nb.wav\na.wav\nc.wav\n")
    assert check(RIGHT, "--sample", "other.csv")[1].endswith("in another order (which is fine) than other.csv\n")
    (tmp_path / "other.csv").write_text("fname\nb.wav\na.wav\nb.wav\n")
    assert check(RIGHT, "--sample", "other.csv") == (
        2,
        "",
        "ensemble: other.csv: each clip must be listed once, got 'b.wav' twice; remove one row\n",
    )
    assert check(RIGHT, "--data", "nowhere") == (
        2,
        "",
        "ensemble: nowhere/sample_submission.csv: the file is missing; name the sample submission with --sample\n",
    )


def test_without_train_csv_the_labels_are_those_of_the_predictions_folders(check, tmp_path, make_predictions):
    (tmp_path / "data/train.csv").unlink()
    code, out, _ = check("fname,label\na.wav,y z\nb.wav,x\nc.wav,x y\n")
    assert code == 0
    assert out.splitlines()[1] == (
        "note: labels were not compared, as there is no train.csv in data and no predictions folder in work"
    )
    make_predictions(tmp_path / "work/trial/predictions_1d_conv", finish=[])
    assert known_labels(tmp_path / "data", tmp_path / "work/trial") == {"Bell", "None", "Bark, loud", "Rain"}
    assert (
        "unknown labels: 1 (a.wav: Siren)"
        in check('fname,label\na.wav,Siren\nb.wav,"Bark, loud None Rain"\nc.wav,Bell\n', "--name", "trial")[1]
    )


def test_labels_of_several_words_are_told_apart(check, tmp_path):
    (tmp_path / "data/train.csv").write_text("fname,label\n1,Rain\n2,Rain drops\n3,drops\n4,nan\n")
    assert check("fname,label\na.wav,Rain drops drops Rain\nb.wav,nan\nc.wav,Rain\n")[0] == 0
    assert "unknown labels: 1 (a.wav: Rainy)" in check("fname,label\na.wav,Rainy\nb.wav,nan\nc.wav,Rain\n")[1]


def test_names_from_outside_cannot_steer_the_terminal(check):
    assert "missing clips: 2 (b.wav, c.wav)" in (out := check("fname,label\na.wav,Bark\n\x1b[2J,Bark\n")[1])
    assert "does not have: 1 (\\u001b[2J)" in out
