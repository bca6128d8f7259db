import json

import pytest

from keras_aaa.results import Measurement, check_same_run, provenance, write_json


def test_wilson_interval_of_known_values():
    # Wilson 1927 by hand: 80 of 100 gives 0.7112 to 0.8666.
    low, high = Measurement(80, 100).interval95
    assert low == pytest.approx(0.7112, abs=1e-4) and high == pytest.approx(0.8666, abs=1e-4)
    assert Measurement(0, 50).interval95[0] == 0.0 and Measurement(0, 50).interval95[1] > 0.05
    assert Measurement(50, 50).interval95 == pytest.approx((0.9287, 1.0), abs=1e-4)


def test_json_round_trip_and_atomic_write(tmp_path):
    accuracy = Measurement(9539, 10_000)
    path = tmp_path / "deep" / "result.json"
    write_json(path, accuracy.to_json())
    data = json.loads(path.read_text())
    assert data["accuracy"] == 0.9539
    assert Measurement.from_json(data) == accuracy
    with pytest.raises(TypeError):
        write_json(path, {"not": object()})
    assert json.loads(path.read_text()) == data
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_provenance_names_versions_and_machine():
    known = provenance()
    assert known["versions"]["tensorflow"] and known["versions"]["python"]
    assert known["machine"]["cores"] >= 1


def test_the_error_margin_is_the_longer_side_of_the_interval():
    measured = Measurement(80, 100)
    assert measured.error_margin() == pytest.approx(0.8 - 0.7112, abs=1e-4)
    assert measured.error_margin(claims=5) > measured.error_margin()
    assert Measurement(0, 50).error_margin() == Measurement(0, 50).interval95[1]


def test_another_run_in_a_folder_is_refused_with_the_fields_that_differ(tmp_path):
    key = {"threat": {"norm": "linf", "eps": 0.3}, "steps": (40, 200)}
    stored = json.loads(json.dumps(key))
    check_same_run(tmp_path, stored, key)
    with pytest.raises(ValueError, match=r"another run: threat\.eps is 0\.3 there and 0\.1 here\."):
        check_same_run(tmp_path, stored, key | {"threat": {"norm": "linf", "eps": 0.1}})
    with pytest.raises(ValueError, match=r"seed is None there and 1 here"):
        check_same_run(tmp_path, stored, key | {"seed": 1})
