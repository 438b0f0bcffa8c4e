from mlops_assets.spec.keys import known_keys, repeated_keys


def test_keys_of_all_parts_are_known():
    assert {"task", "known_at", "window", "max_rejected_share", "delimiter"} <= set(known_keys())


def test_a_key_that_stands_twice_is_told_with_the_place_and_the_first_line():
    text = "type: x\nattributes:\n  a: 1\n  b: [{c: 1}, {c: 1, c: 2}]\n  a: 3\n"
    found = {one.place: one.message for one in repeated_keys(text)}
    assert set(found) == {("a",), ("b", 1, "c")}
    assert found[("a",)] == "the key 'a' is in line 3 already: remove one of them"


def test_the_same_key_in_two_parts_is_no_repetition():
    assert repeated_keys("attributes:\n  a: {x: 1}\n  b: {x: 1}\n") == []
