from ensemble.differences import list_difference, settings_differences


def _said(differences):
    return [str(difference) for difference in differences]


def test_equal_lists_have_no_difference():
    assert list_difference("fname", ["a", "b"], ["a", "b"]) is None
    assert list_difference("fname", [], []) is None


def test_first_differing_row_is_named():
    assert str(list_difference("fname", ["a", "b", "c"], ["a", "x", "y"])) == "fname, row 1, must be 'b', got 'x'"


def test_other_order_is_called_order():
    assert str(list_difference("fname", ["a", "b"], ["b", "a"])) == "order of fname, row 0, must be 'a', got 'b'"


def test_other_number_is_said():
    said = str(list_difference("fname", ["a", "b"], ["a"]))
    assert said == "fname, row 1, must be 'b' (of 2), got nothing (of 1)"


def test_equal_settings_have_no_difference():
    settings = {"a": 1, "b": {"c": [1, {"d": None}]}, "e": {}}
    assert settings_differences(settings, settings) == []


def test_numbers_are_compared_by_value():
    assert settings_differences({"seconds": 2}, {"seconds": 2.0}) == []


def test_every_differing_setting_is_named_with_both_values():
    said = _said(settings_differences({"a": 1, "b": {"c": [1, 2]}, "d": 0}, {"a": 2, "b": {"c": [1, 3]}, "d": 0}))
    assert said == ["a must be 1, got 2", "b.c.1 must be 2, got 3"]


def test_absent_setting_is_nothing_and_null_is_none():
    said = _said(settings_differences({"a": None, "b": 1}, {"b": 1, "c": "x"}))
    assert said == ["a must be None, got nothing", "c must be nothing, got 'x'"]


def test_empty_configurations_may_gain_a_setting():
    assert _said(settings_differences({}, {"a": 1})) == ["a must be nothing, got 1"]
    assert _said(settings_differences(None, {"a": 1})) == ["a must be nothing, got 1"]
