from edgepers.meter.track import MOST_POINTS, MemoryTrack, thinned


def test_neighbours_become_one_point_with_the_highest_of_them():
    seconds, values = thinned([0.0, 1.0, 2.0, 3.0, 4.0], {"a": [5, 1, 2, 9, 3]}, 3)
    assert (seconds, values) == ([0.0, 2.0, 4.0], {"a": [5, 9, 3]})
    assert thinned([], {"a": []}, 3) == ([], {"a": []})
    assert len(thinned([0.1] * 5000, {"a": [1] * 5000}, MOST_POINTS)[0]) <= MOST_POINTS


def test_peaks_belong_to_their_stage_and_even_a_short_one_is_looked_at(tmp_path):
    track = MemoryTrack(tmp_path, "before")
    (tmp_path / "file").write_bytes(bytes(5000))
    track.stage("full")
    (tmp_path / "file").unlink()
    track.stage("after")
    track.close()
    found = track.record()
    assert [stage["name"] for stage in found["stages"]] == list(found["peak_by_stage"]) == ["before", "full", "after"]
    assert [peak["storage_bytes"] for peak in found["peak_by_stage"].values()][1:] == [5000, 0]
    assert all(peak["host_bytes"] > 10e6 for peak in found["peak_by_stage"].values())
    assert max(found["storage_bytes"]) == 5000 and len(found["seconds"]) == len(found["host_bytes"])
