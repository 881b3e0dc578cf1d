"""`python -m report`: the whole page, on a cache of arrays."""

import html
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from ensemble.predictions import PredictionsError
from report.__main__ import SettingsError, main
from tests.report.conftest import HOSTILE, make_cache


def _data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_page_is_one_file_that_asks_for_nothing(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*["']""", text)
    assert not re.findall(r"url\((?!#|\"#)", text)
    assert "default-src 'none'" in html.unescape(text)


def test_no_script_comes_from_a_label_or_a_file_name(page):
    text = page.read_text()
    assert text.count("<script") == 2 and text.count("</script") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert HOSTILE in _data(text)["clips"]["label"]


def test_every_figure_has_a_text_alternative(page):
    figures = re.findall(r"<svg[^>]*>", page.read_text())
    assert len(figures) > 15
    assert all(re.search(r'role="img" aria-label="[^"]{20,}"', figure) for figure in figures)


def test_no_id_is_there_twice_but_those_of_equal_definitions(page):
    ids = re.findall(r'<(?!path|clipPath)[a-zA-Z]+[^>]* id="([^"]*)"', page.read_text())
    assert len(ids) == len(set(ids))


def test_clips_are_encoded_once_however_often_they_are_played(page):
    data = _data(page.read_text())
    assert page.read_text().count("data:audio/mpeg") == len(data["sounds"])


def test_troubles_are_named_with_their_reasons(page):
    text = page.read_text()
    assert "1 truncated, 1 empty, 1 failed" in text
    assert "no RIFF header" in text and "data ends after 20,800 of 30,000 samples" in text
    assert "in train and in test" in text and "under 2 labels" in text


def test_suspects_are_written_beside_the_page(work, page):
    table = pd.read_csv(work / "suspects.csv")
    assert list(table.columns) == ["fname", "label", "suggested", "score"]
    assert table.loc[0, ["fname", "label", "suggested"]].tolist() == ["clip 08.wav", "Flute", "Bark"]


def test_cache_without_a_run_says_what_runs_need(tmp_path, caches):
    caches[str(tmp_path / "cache")] = make_cache()
    assert main(["--work", str(tmp_path), "--examples", "0"]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "python -m train conv2d" in text
    assert not (tmp_path / "suspects.csv").exists()


def test_cache_without_waveforms_says_what_players_need(tmp_path, caches):
    caches[str(tmp_path / "cache")] = make_cache(kinds=("mfcc",))
    assert main(["--work", str(tmp_path), "--examples", "1"]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "python -m featurize --features raw" in text and "data:audio" not in text


def test_figures_are_also_written_as_png_and_svg(tmp_path, caches, work):
    main(
        [
            "--work",
            str(work),
            "--output",
            str(tmp_path / "a.html"),
            "--figures",
            str(tmp_path / "f"),
            "--examples",
            "0",
        ]
    )
    names = {path.name for path in (tmp_path / "f").iterdir()}
    assert {"clips-of-each-label.png", "clips-of-each-label.svg", "confusion-by-share.png"} <= names
    assert len(names) >= 2 * 14


def test_runs_can_be_named(tmp_path, work, page):
    output = tmp_path / "one.html"
    assert (
        main([str(work / "predictions_2d_conv"), "--work", str(work), "--output", str(output), "--examples", "0"])
        == 0
    )
    data = _data(output.read_text())
    assert len(data["views"]) == 1


@pytest.mark.parametrize("number", ["-1", "51"])
def test_number_of_examples_is_checked(number):
    with pytest.raises(SettingsError, match="--examples: number must be 0 to 50, got "):
        main(["--examples", number])


@pytest.mark.parametrize("name", ["..", "a/b"])
def test_name_must_be_plain(name):
    with pytest.raises(PredictionsError, match="--name must be one plain folder name, got "):
        main(["--name", name])


def test_output_must_not_be_a_folder(tmp_path):
    with pytest.raises(SettingsError, match="output must be a file, got a folder"):
        main(["--output", str(tmp_path)])


def test_folder_without_predictions_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match="holds no predictions"):
        main([str(tmp_path)])


def test_report_imports_neither_keras_nor_a_decoder():
    """soundfile writes players; nothing of ours that decodes recordings is loaded."""
    code = (
        "import sys, report.__main__;"
        "print([name for name in sys.modules if name.split('.')[0] in ('keras', 'tensorflow', 'featurize', 'train', 'librosa')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_page_of_a_real_cache(tmp_path):
    """Recordings are featurized by the command, and the page tells of them."""
    rows = [("fname", "label", "manually_verified")]
    for i in range(6):
        label, name = ("Bark", "Flute")[i % 2], f"{i}.wav"
        path = tmp_path / "data" / "audio_train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, 0.3 * np.sin(np.arange(9000 + 1000 * i) * (0.05 + 0.1 * (i % 2))), 44100)
        rows.append((name, label, "1"))
    (tmp_path / "data" / "audio_train" / "5.wav").write_text("no recording")
    (tmp_path / "data" / "train.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    for command in (["featurize", "--data", str(tmp_path / "data")], ["report"]):
        subprocess.run([sys.executable, "-m", *command, "--work", str(tmp_path)], check=command == ["report"])
    text = (tmp_path / "report.html").read_text()
    data = _data(text)
    assert data["clips"]["status"] == ["ok"] * 5 + ["failed"]
    assert data["clips"]["seconds"][0] == pytest.approx(9000 / 44100, abs=0.01)
    assert data["clips"]["peak"][0] == pytest.approx(-10.5, abs=0.3)
    assert len(data["sounds"]) == 5
