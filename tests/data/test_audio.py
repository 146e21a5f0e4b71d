"""Recordings to spectrogram tiles and back: rates, lengths, channels, levels, forms, and what is refused."""

import dataclasses
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from hourglass.data.audio import AudioFormat, AudioSettings
from hourglass.data.audio_places import Level
from hourglass.data.audio_tiles import Tiling
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Packed, Pictures, Recordings
from hourglass.errors import DataError, ModelFileError, SchemaError, UsageError

VIEWS = ("complex", "magnitude")


def recordings(*arrays: np.ndarray, rates: int | list[int] = 8_000) -> Recordings:
    names = [f"calls/{place}.wav" for place in range(len(arrays))]
    table = pa.table({"name": names, "folder": ["calls"] * len(names)})
    each = [rates] * len(arrays) if isinstance(rates, int) else rates
    return Recordings([np.asarray(array, dtype=np.float32) for array in arrays], each, table, "calls")


def call(frames: int, rate: int = 8_000, channels: int = 1, level: float = 0.3) -> np.ndarray:
    """A sweep up to an eighth of the rate, that swells and fades; each channel a little lower. (frames, channels)."""
    time = np.arange(frames) / max(frames, 1)
    phases = [2 * np.pi * frames * (time / 40 + (0.1 - 0.01 * channel) * time**2 / 2) for channel in range(channels)]
    return level * np.column_stack([np.sin(phase) for phase in phases]) * np.sin(np.pi * time)[:, None]


def there_and_back(data: Data, **options: Any) -> tuple[AudioFormat, Packed, Any]:
    form = AudioSettings(**options).fit(data)
    packed = form.pack(data)
    return form, packed, form.unpack(packed.samples, packed.places)


# There and back


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("frames", [1, 2, 255, 4_096, 8_001, 20_000])
def test_a_recording_comes_back_as_it_was(view: str, frames: int) -> None:
    given = call(frames, channels=2)
    form, packed, back = there_and_back(recordings(given, call(300)), view=view)
    assert packed.samples.shape[1:] == form.layout.shape == {"complex": (2, 128, 512), "magnitude": (1, 64, 64)}[view]
    assert packed.samples.dtype == back.arrays[0].dtype == np.float32
    assert back.arrays[0].shape == given.shape
    # two samples are a click, which reaches up to the bin that is left out
    np.testing.assert_allclose(back.arrays[0], given, atol=1e-4 if view == "complex" and frames > 2 else 2e-3)


def test_all_but_the_highest_bin_is_kept_to_rounding() -> None:
    given = np.random.default_rng(0).normal(size=(3_000, 1))
    form, _, back = there_and_back(recordings(given, given), view="complex")
    spectrogram = form.transform.forward(given[:, 0] - given.mean())
    without = form.transform.inverse(spectrogram[:-1], len(given)) + given.mean()
    np.testing.assert_allclose(back.arrays[0][:, 0], without, atol=1e-5)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("rate", [4_000, 8_000, 16_000, 22_050, 48_000])
def test_each_recording_comes_back_at_its_own_rate_and_length(view: str, rate: int) -> None:
    given = call(rate // 2 + 7, rate)
    _, packed, back = there_and_back(recordings(given, rates=[rate]), view=view, rate=16_000)
    assert list(back.rates) == [rate]
    assert back.arrays[0].shape == given.shape
    np.testing.assert_allclose(back.arrays[0], given, atol=5e-3)
    assert bool(packed.notices) == (rate != 16_000)


@pytest.mark.parametrize("view", VIEWS)
def test_silence_stays_silent_and_an_offset_stays_where_it_is(view: str) -> None:
    silent, still = np.zeros((500, 2)), np.full((500, 1), 0.25)
    shifted = call(4_000) + 0.5
    _, packed, back = there_and_back(recordings(silent, still, shifted), view=view)
    assert np.isfinite(packed.samples).all()
    np.testing.assert_array_equal(back.arrays[0], silent)
    np.testing.assert_array_equal(back.arrays[1], still)
    np.testing.assert_allclose(back.arrays[2], shifted, atol=2e-3)


@pytest.mark.parametrize("view", VIEWS)
def test_samples_do_not_depend_on_how_loud_a_recording_is(view: str) -> None:
    loud, quiet = (
        AudioSettings(view=view).fit(data).pack(data)
        for data in map(recordings, (call(5_000), call(5_000, level=1e-5)))
    )
    np.testing.assert_allclose(loud.samples, quiet.samples, atol=2e-3)


def test_a_level_is_that_of_the_whole_recording() -> None:
    given = np.array([[1.0, 5.0], [-1.0, 5.0]])
    level = Level.of(given)
    assert level.offset.tolist() == [0, 5]
    assert level.scale == pytest.approx(np.sqrt(0.5))
    assert np.sqrt(np.mean(level.taken_off(given) ** 2)) == pytest.approx(1)
    np.testing.assert_allclose(level.put_back(level.taken_off(given)), given, rtol=1e-6)


def test_magnitudes_are_in_decibels_below_the_loudest() -> None:
    data = recordings(call(8_000) * np.where(np.arange(8_000) < 4_000, 1, 0.01)[:, None])
    form, packed, _ = there_and_back(data)
    assert packed.samples.max() == pytest.approx(1, abs=1e-6)
    assert packed.samples.min() == 0
    decibels = np.array(form.cells_in_units(packed.samples[0]))
    assert decibels.max() == pytest.approx(0, abs=1e-4)
    assert decibels.min() == -80


def test_halving_a_magnitude_halves_the_sound() -> None:
    data = recordings(call(6_000))
    form = AudioSettings().fit(data)
    packed = form.pack(data)
    lower = form.unpack(packed.samples - np.float32(20 * np.log10(2) / 80), packed.places)
    np.testing.assert_allclose(lower.arrays[0], call(6_000) / 2, atol=2e-3)


# Tiles


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("frames", [1, 7, 8, 9, 30])
@pytest.mark.parametrize("height", [5, 12])
def test_tiles_cover_a_spectrogram_and_join_to_it(overlap: float, frames: int, height: int) -> None:
    random = np.random.default_rng(0)
    spectrogram = (random.normal(size=(12, frames)) + 1j * random.normal(size=(12, frames))).astype(np.complex64)
    tiling = Tiling(12, height, 8, overlap)
    pieces = [tiling.piece(spectrogram, start) for start in tiling.starts(frames)]
    assert {piece.shape for piece in pieces} == {(12, 8)}
    bands = [tiling.bands(piece[None]) for piece in pieces]
    assert {each.shape for each in bands} == {(len(tiling.lows), 1, height, 8)}
    joined = tiling.joined([tiling.unbanded(each)[0] for each in bands], frames)
    np.testing.assert_allclose(joined, spectrogram, rtol=1e-5, atol=1e-6)
    assert [tiling.lows[0], tiling.lows[-1] + height] == [0, 12]
    assert tiling.starts(frames)[-1] < frames


def test_where_tiles_overlap_one_fades_into_the_next() -> None:
    tiling = Tiling(1, 1, 8, 0.5)
    joined = tiling.joined([np.zeros((1, 8)), np.ones((1, 8))], 12)[0].real
    np.testing.assert_allclose(joined[[0, 3, 8, 11]], [0, 0, 1, 1])
    assert (np.diff(joined[3:9]) > 0).all()


def test_a_tile_that_is_not_full_continues_as_in_a_mirror() -> None:
    assert Tiling(1, 1, 7, 0.0).piece(np.arange(3)[None], 0).tolist() == [[0, 1, 2, 2, 1, 0, 0]]


def test_a_longer_recording_changes_no_tile_before_its_end() -> None:
    given = np.random.default_rng(0).normal(size=(40_000, 1))
    form = AudioSettings(view="complex", frames=16).fit(recordings(call(9)))
    spectrogram = form.transform.forward(given[:, 0])[:-1]
    whole, half = form.tiling.starts(spectrogram.shape[1]), form.tiling.starts(spectrogram.shape[1] // 2)
    assert list(whole[: len(half)]) == list(half)


def test_every_tile_is_of_its_recording_and_says_what_it_holds() -> None:
    data = recordings(call(12_000, channels=2), call(500))
    form, packed, _ = there_and_back(data)
    spans = form.spans(packed.places)
    assert len(spans) == len(packed.samples) == len(packed.groups)
    assert [span.name for span in spans] == [f"calls/{group}.wav" for group in packed.groups]
    first = [span for span in spans if span.name == "calls/0.wav" and span.channel == 2]
    assert first[0].start == 0
    assert first[-1].end == 1.5
    assert [(span.low, span.high) for span in first[:3]] == [(0, 2_000), (1_000, 3_000), (2_000, 4_000)]
    assert form.labels(packed.places)[3] == "calls/0.wav, 0.00 s to 0.51 s, channel 2, 0 to 2,000 Hz"
    seconds = [(span.start, span.end) for span in first[::3]]
    assert all(later[0] < earlier[1] for earlier, later in pairwise(seconds))


def test_a_recording_is_as_odd_as_its_oddest_tile() -> None:
    data = recordings(call(12_000), call(500), call(6_000, channels=2))
    form, packed, _ = there_and_back(data, view="complex")
    scores = np.arange(len(packed.samples), dtype=np.float64)[::-1]
    rows = form.rows(scores, packed.places)
    assert rows.index.to_pylist() == ["calls/0.wav", "calls/1.wav", "calls/2.wav"]
    assert rows.score.tolist() == [scores[packed.groups == recording].max() for recording in range(3)]
    assert packed.row_count == 3
    assert not packed.ordered


def test_of_a_single_recording_the_tiles_are_judged() -> None:
    data = recordings(call(20_000, channels=2))
    form, packed, back = there_and_back(data, view="complex")
    assert form.by_tile
    assert packed.ordered
    assert packed.groups is None
    assert packed.overlap == 3  # two channels, of the tile before, this one, and the tile after
    rows = form.rows(np.arange(len(packed.samples)), packed.places)
    assert rows.index[1].as_py() == "calls/0.wav, 0.00 s to 2.50 s, channel 2"
    assert len(rows.score) == len(packed.samples)
    assert len(back) == 1
    assert form.pack(recordings(call(500), call(500))).row_count == 2


def test_a_pair_is_on_the_scale_of_its_first() -> None:
    random = np.random.default_rng(0)
    clean = [call(6_000), call(3_000)]
    noisy = [3 * each + 0.5 + random.normal(scale=0.3, size=each.shape) for each in clean]
    form = AudioSettings(view="complex").fit(recordings(*clean))
    packed = form.pack(recordings(*clean))
    twin = form.pack_like(recordings(*[3 * each + 0.5 for each in clean]), packed.places)
    np.testing.assert_allclose(twin.samples, 3 * packed.samples, atol=1e-3)
    other = form.pack_like(recordings(*noisy), packed.places)
    assert np.abs(other.samples - 3 * packed.samples).max() > 0.1


def test_a_pair_of_magnitudes_has_one_loudest() -> None:
    clean = recordings(call(6_000), call(3_000))
    form = AudioSettings().fit(clean)
    packed = form.pack(clean)
    quieter = dataclasses.replace(clean, arrays=[each / 10 for each in clean.arrays])
    lower = form.pack_like(quieter, packed.places).samples
    np.testing.assert_allclose(lower, np.maximum(packed.samples - 0.25, 0), atol=1e-4)


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_powers_of_magnitudes_say_what_decibels_say(power: float) -> None:
    given = recordings(call(6_000), call(3_000))
    form, packed, back = there_and_back(given, power=power)
    usual, decibels, _ = there_and_back(given)
    np.testing.assert_allclose(packed.samples, 10 ** (4 * power * (decibels.samples - 1)), atol=1.1e-4**power)
    np.testing.assert_allclose(form.unpack(packed.samples), usual.unpack(decibels.samples), atol=0.02)
    np.testing.assert_allclose(back.arrays[0], given.arrays[0], atol=2e-3)
    with pytest.raises(UsageError, match="as they are"):
        AudioSettings(power=power, view="complex").fit(given)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (recordings(call(500)), "1 recording for 2"),
        (recordings(call(500), call(499)), "calls/1.wav.*499 frames.*600 frames"),
        (recordings(call(500), call(600, channels=2)), "2 channels"),
    ],
)
def test_takes_that_do_not_go_together_are_refused(other: Recordings, words: str) -> None:
    data = recordings(call(500), call(600))
    form = AudioSettings().fit(data)
    with pytest.raises(DataError, match=words):
        form.pack_like(other, form.pack(data).places)


# Forms


@pytest.mark.parametrize("view", VIEWS)
def test_rows_of_samples_come_back_as_rows(view: str) -> None:
    rows = np.stack([call(900)[:, 0], call(900, level=0.1)[:, 0]])
    form, packed, back = there_and_back(rows, view=view)
    assert form.rate == 16_000
    assert "16,000 frames a second" in form.notices[0]
    assert back.shape == rows.shape
    np.testing.assert_allclose(back, rows, atol=2e-3)
    assert form.rows(np.zeros(len(packed.samples)), packed.places).index.to_pylist() == [0, 1]
    assert form.labels(packed.places)[0].startswith("recording 0, 0.00 s")


def test_one_signal_comes_back_as_one() -> None:
    form, _, back = there_and_back(call(900)[:, 0], rate=8_000)
    assert form.notices == []
    assert back.shape == (900,)
    assert form.by_tile


def test_signals_without_a_rate_have_the_models() -> None:
    data = dataclasses.replace(recordings(call(500), call(700)[:, 0]), rates=[])
    _, packed, back = there_and_back(data, rate=8_000)
    assert packed.notices == []
    assert [array.shape for array in back.arrays] == [(500, 1), (700, 1)]


def test_a_table_holds_a_recording_a_row_or_one_a_column() -> None:
    columns = {f"t{place}": column for place, column in enumerate(np.stack([call(40)[:, 0], call(40)[:, 0]]).T)}
    frame = Frame(pa.table(columns | {"label": ["a", "b"]}))
    form, _, back = there_and_back(frame, rate=8_000)
    assert "column 'label' holds no numbers" in form.notices[0]
    assert back.column_names == list(columns)
    _, _, signal = there_and_back(Frame(pa.table({"value": call(300)[:, 0]}), unnamed=True), rate=8_000)
    assert signal.shape == (300,)
    _, _, column = there_and_back(
        Frame(pa.table({"left": call(300)[:, 0], "id": range(300)})), rate=8_000, ignore=["id"]
    )
    assert column.column_names == ["left"]


def test_the_commonest_rate_is_the_models_and_others_are_said() -> None:
    data = recordings(call(500), call(500), call(900, 44_100), rates=[8_000, 8_000, 44_100])
    form = AudioSettings().fit(data)
    assert form.rate == 8_000
    [notice] = form.notices
    assert notice.startswith("1 of 3 recordings (the first: calls/2.wav) brought from 44,100 to 8,000")
    assert notice.endswith("above 4,000 Hz is lost")


def test_without_places_samples_stay_tiles_in_units() -> None:
    form, packed, _ = there_and_back(recordings(call(500), call(500)))
    tiles = form.unpack(packed.samples)
    np.testing.assert_allclose(tiles, 80 * (packed.samples - 1))
    rows = form.rows(np.arange(3), None)
    assert rows.index.to_pylist() == [0, 1, 2]


def test_names_of_numbers() -> None:
    names = AudioSettings(view="complex", rate=8_000).fit(recordings(call(500))).cell_names()
    assert len(names) == 2 * 128 * 512
    assert names[513] == "real part at 31 Hz at 0.008 s"
    assert names[-1] == "imaginary part at 3,969 Hz at 4.088 s"
    assert names[:2] == ["real part at 0 Hz at 0.000 s", "real part at 0 Hz at 0.008 s"]
    cut = AudioSettings(rate=8_000).fit(recordings(call(500))).cell_names()
    assert cut[64] == "31 Hz above its lowest at 0.000 s"


# Refusals


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((2, 3, 4)), "shape .2, 3, 4., wanted recordings"),
        (np.array([["a", "b"]]), "wanted numbers"),
        (np.array([[0.0, np.nan], [0, 0]]), r"recording 0.*nan.*second 0\.000 of channel 1"),
        (recordings(call(9), np.full((9, 2), np.inf)), r"calls/1\.wav.*inf"),
        (recordings(call(9), np.zeros((0, 1))), r"calls/1\.wav.*no sound"),
        (recordings(), "no recordings"),
        (recordings(np.zeros((2, 2, 2))), r"calls/0\.wav.*shape"),
        (dataclasses.replace(recordings(call(9), call(9)), rates=[8_000]), "2 recordings, 1 rates"),
        (Frame(pa.table({"word": ["a"]})), "no column of numbers"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(data: Data, words: str) -> None:
    with pytest.raises(DataError, match=words):
        AudioSettings(rate=8_000).fit(data)


def test_pictures_are_no_recordings() -> None:
    pictures = Pictures([np.zeros((4, 4))], pa.table({"name": ["a"]}))
    with pytest.raises(SchemaError, match="got pictures, wanted recordings"):
        AudioSettings().fit(pictures)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fft": 100}, "power of 2"),
        ({"bins": 200}, "128 in all"),
        ({"columns": ["qq"]}, "no column 'qq'"),
        ({"rate": 5}, "at least 100"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AudioSettings(**({"rate": 8_000} | options)).fit(Frame(pa.table({"value": call(40)[:, 0]})))


# Saved


@pytest.mark.parametrize("view", VIEWS)
def test_a_format_comes_back_from_its_document(view: str) -> None:
    data = recordings(call(3_000, channels=2), call(500))
    form = AudioSettings(view=view, frames=32, overlap=0.5).fit(data)
    again = AudioFormat.restore(json.loads(json.dumps(form.document())), form.tensors())
    assert again.document() == form.document()
    assert again.layout == form.layout
    np.testing.assert_array_equal(again.pack(data).samples, form.pack(data).samples)
    assert again.rescaled(data, np.arange(1)) is again


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 1}, {"rate": "8000"}, {"rate": True}, {"by_tile": 1}, {"settings": {"is": "image"}}, {"notices": None},
        {"settings": {"is": "audio", "rate": 9_000}}, {"settings": {"is": "audio", "fft": 48}},
    ],
)  # fmt: skip
def test_a_document_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    document = AudioSettings().fit(recordings(call(500))).document() | change
    with pytest.raises(ModelFileError, match="sound is not described"):
        AudioFormat.restore(document, {})


def test_a_format_of_sound_has_no_tensors() -> None:
    with pytest.raises(ModelFileError, match="sound is not described"):
        AudioFormat.restore(AudioSettings().fit(recordings(call(500))).document(), {"scale": torch.zeros(1)})
