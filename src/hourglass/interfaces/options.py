"""What each verb can be asked: torch-free dataclasses that the command line turns into options.

An option that belongs to `settings.Training` or `settings.Detection` is taken from there with its words and limits. It
is None here unless asked for, so that a recipe's own value holds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from hourglass.errors import UsageError
from hourglass.settings import Detection, Search, Settings, Training, Tuning, option

REQUIRED = dataclasses.MISSING
_MODALITIES = ("table", "series", "image", "audio")
_REASONS = ("flagged", "all", "none")


def said(owner: type[Settings], name: str) -> dict[str, Any]:
    """The words and limits of an option of another class, its default put into words.

    >>> said(Training, "seed")["doc"]
    'one number that makes the fit repeatable (default: 0)'
    """
    field = next(field for field in dataclasses.fields(owner) if field.name == name)
    words = dict(field.metadata)
    if field.default is not None:
        words["doc"] += f" (default: {field.default})"
    return words


@dataclass(frozen=True, kw_only=True)
class Request(Settings):
    """What every verb takes."""

    arguments: ClassVar[tuple[str, ...]] = ()
    """The fields that the command line takes by place, in order; the others are options."""

    json: bool = option(False, "print one JSON object on stdout")
    quiet: bool = option(False, "say nothing on stderr but errors")
    debug: bool = option(False, "show where in the code an error arose")


@dataclass(frozen=True, kw_only=True)
class Large(Request):
    """What verbs take that go through tables of any size."""

    memory: str | None = option(
        None, "tables in a folder, glob (s3://, gs:// too) or large file: memory beyond the program's (default: 1GB)"
    )
    on: str | None = option(
        None, "tables in a folder or glob (s3://, gs:// too): where to work: ray, ray://HOST:10001 (default: here)"
    )


@dataclass(frozen=True, kw_only=True)
class Labelled(Request):
    """Which rows are normal."""

    label: str | None = option(None, "column that says what a row is; it is no feature, and ignored later")
    normal: str | None = option(None, "value of the label that means normal; training takes those rows only")


@dataclass(frozen=True, kw_only=True)
class Learning(Labelled):
    """How an autoencoder is fitted to data."""

    also_with_a_model: ClassVar[tuple[str, ...]] = ()
    """The fields that still mean something where a fitted model is given."""

    modality: str | None = option(
        None, "what the data are (default: series where a column orders the rows in time)", choices=_MODALITIES
    )
    size: tuple[int, ...] | None = option(
        None, "height,width that pictures are brought to (default: their own, at most 256 a side)", low=1
    )
    tile: int | None = option(None, "cut pictures into squares of so many pixels a side", low=1)
    skip_bad: bool = option(False, "leave out files of a folder that cannot be read, and list them")
    kind: str | None = option(None, "kind of autoencoder, or kinds joined by +, such as denoising+variational")
    recipe: str | None = option(None, "a recipe to start from (see `hourglass recipes`)")
    latent: int | None = option(None, "numbers in a code (default: by the data's size)", low=1)
    layers: tuple[int, ...] | None = option(None, "widths of hidden layers, such as 64,32 (default: by rule)", low=1)
    set: tuple[str, ...] = option((), "one option of one part, such as corruption.rate=0.3 or loss=huber; repeatable")
    epochs: int | None = option(None, **said(Training, "epochs"))
    batch_size: int | None = option(None, **said(Training, "batch_size"))
    learning_rate: float | None = option(None, **said(Training, "learning_rate"))
    contaminated: bool = option(
        False, "expect anomalies among the rows to learn from, as `detect` does of a table: the oddest do not train"
    )
    seed: int | None = option(None, **said(Training, "seed"))
    device: str | None = option(None, **said(Training, "device"))
    prior: str | None = option(None, "source of new codes: normal, mixture, empirical, vamp, flow (default: normal)")
    time: str | None = option(None, "time column of a series (default: found by type or name)")
    window: str | None = option(None, "window of a series: steps (48), a length (1h, 1d), or row (default: by rule)")
    columns: tuple[str, ...] | None = option(None, "use only these columns, such as a,b,c (default: all that fit)")
    false_alarm_rate: float | None = option(None, **said(Detection, "false_alarm_rate"))
    threshold: str | None = option(None, **said(Detection, "threshold"))


@dataclass(frozen=True, kw_only=True)
class Fit(Learning, Large):
    """`hourglass fit`."""

    arguments = ("data",)

    data: str = option(
        REQUIRED, "file to learn from: CSV, Parquet, NPY, NPZ, IDX, ARFF, .ts, sound; or a folder (tables: also s3://)"
    )
    noise: tuple[str, ...] = option(
        (), "noise to mix into recordings: a file, a folder, or white,pink,brown,hum,rain,wind made up; repeatable"
    )
    clean: str | None = option(None, "the clean twins of noisy DATA: a folder of the same names, or as many rows")
    output: str = option(REQUIRED, "file to write the model to; .safetensors is added where it has no suffix")
    resume: bool = option(False, "go on with the training of this model that was cut off, by the same command")
    workers: int | None = option(
        None, "with --on: processes that train together, each on its share of the rows (default: 1)", low=1
    )
    report: str | None = option(None, "write a report to this HTML file")


@dataclass(frozen=True, kw_only=True)
class Tune(Learning):
    """`hourglass tune`."""

    arguments = ("data",)

    data: str = option(REQUIRED, "file to learn from, as for `hourglass fit`: a table or a series")
    output: str = option(REQUIRED, "file to write the best model to; .safetensors is added where it has no suffix")
    trials: int | None = option(None, **said(Search, "trials"))
    timeout: float | None = option(None, **said(Search, "timeout"))
    kinds: tuple[str, ...] | None = option(None, **said(Search, "kinds"))
    on: str | None = option(None, "where to try candidates: ray, or ray://HOST:10001 (default: in this process)")


@dataclass(frozen=True, kw_only=True)
class Detect(Learning, Large):
    """`hourglass detect`."""

    arguments = ("model", "data")
    also_with_a_model = ("false_alarm_rate", "threshold", "skip_bad")

    model: str | None = option(None, "fitted model; without one, an autoencoder is fitted to the data first")
    data: str = option(
        REQUIRED, "file to search for anomalies; a single file is this one; - is CSV on stdin, judged line by line"
    )
    output: str | None = option(None, "file to write the scores to: .csv, .jsonl or .parquet (default: CSV on stdout)")
    save: str | None = option(None, "keep the model that was fitted on the way in this file")
    report: str | None = option(None, "write a report to this HTML file")
    map: str | None = option(None, "draw the anomaly maps of flagged pictures, as PNG files in this folder")
    reasons: str = option("flagged", "rows to give reasons for (default: flagged)", choices=_REASONS)
    false_discovery_rate: float | None = option(
        None, "instead of a false-alarm rate: share of the flagged rows that may be normal", low=0, high=1
    )
    adapt: bool = option(False, "on stdin: follow a slow drift of the scores, so that it is no flood of alarms")
    anomaly_likelihood: bool = option(
        False, "series: judge the mean of the last 10 scores by the last 8,000, so that what is usual in it may change"
    )
    fail_on_anomaly: bool = option(False, "exit with code 4 if an anomaly is found")


@dataclass(frozen=True, kw_only=True)
class Denoise(Learning, Large):
    """`hourglass denoise`."""

    arguments = ("model", "data")
    also_with_a_model = ("skip_bad",)

    model: str | None = option(None, "fitted model; without one, an autoencoder is fitted to the noisy data first")
    data: str = option(
        REQUIRED, "file or folder to remove noise from; a single file is this one; - is raw sound on stdin"
    )
    output: str | None = option(
        None, "file to write, by suffix; recordings and pictures: a file or a folder (default: CSV on stdout)"
    )
    save: str | None = option(None, "keep the model that was fitted on the way in this file")
    report: str | None = option(None, "write a report with players and spectrograms to this HTML file")
    clean: str | None = option(None, "for the report: clean twins of DATA, a file or a folder of the same names")
    rate: int | None = option(None, "raw sound: frames a second (default: the model's)", low=100, high=1_000_000)
    channels: int | None = option(None, "raw sound: channels, a sample of each in turn (default: 1)", low=1, high=64)
    bits: str | None = option(
        None, "raw sound: bits of a little-endian sample (default: 16)", choices=("16", "24", "32", "f32")
    )


def check_rates(request: Detect) -> None:
    """Refuse rates that cannot be, or not together, before any work is done on a file."""
    if request.adapt:
        how = "give rows as they come: tail -f DATA | hourglass detect MODEL - --adapt"
        raise UsageError("a drift is followed from row to row, in a stream of them", where="--adapt", how=how)
    if request.anomaly_likelihood and request.report:
        what = "a report draws the scores of windows, and likelihoods are of rows"
        raise UsageError(what, where="--anomaly-likelihood", how="leave --report out")
    share = request.false_discovery_rate
    if share is None:
        return
    where, how = "--false-discovery-rate", "0.1 lets 1 flag in 10 be a false alarm"
    if not 0 < share < 1:
        raise UsageError(f"got {share:g}, wanted a share above 0 and below 1", where=where, how=how)
    if request.false_alarm_rate is not None or request.threshold is not None or request.anomaly_likelihood:
        how = "leave --false-alarm-rate, --threshold and --anomaly-likelihood out"
        raise UsageError("it sets the threshold by itself", where=where, how=how)


def only_for_fitting(request: type[Learning]) -> set[str]:
    """Options of a verb that mean nothing where a model is given."""
    always = {*(field.name for field in dataclasses.fields(Request)), "device", *request.also_with_a_model}
    return {field.name for field in dataclasses.fields(Learning)} - always | {"save"}


@dataclass(frozen=True, kw_only=True)
class Convert(Request):
    """`hourglass predict`, and what `encode` and `reconstruct` have in common."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model")
    data: str = option(REQUIRED, "file or folder to put through the model")
    output: str | None = option(
        None, "file to write: .npy, .npz, .csv, .parquet; pictures, sound: a file or a folder (default: CSV on stdout)"
    )
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Convert, Large):
    """`hourglass reconstruct`."""

    fill_missing: bool = option(False, "change missing cells of a table only, and write all its columns")


@dataclass(frozen=True, kw_only=True)
class Encode(Convert, Large):
    """`hourglass encode`."""

    plot: str | None = option(None, "draw the map of the codes in this HTML file; codes are then written with -o only")
    label: str | None = option(None, "column that colours the map (default: its clusters, or the anomaly score)")
    clusters: int | None = option(None, "group codes that are alike: a column, the map's colours", low=2, high=100)


@dataclass(frozen=True, kw_only=True)
class Generate(Request):
    """`hourglass generate`."""

    arguments = ("model",)

    model: str = option(REQUIRED, "fitted model")
    number: int | None = option(None, "samples to make (default: 16)", low=1)
    output: str | None = option(None, "file to write: .npy, .npz, .csv or .parquet (default: CSV on stdout)")
    seed: int | None = option(None, "one number that makes the samples repeatable (default: 0)", low=0)
    prior: str | None = option(
        None, "where codes come from: normal, mixture, empirical, vamp, flow (default: as fitted); others need --data"
    )
    data: str | None = option(None, "data that the prior is fitted to anew, best those that the model was fitted on")
    interpolate: str | None = option(None, "instead, ways from each sample of this file to the next one")
    steps: int | None = option(None, "samples on each way, both ends included (default: 8)", low=2)
    plane: int | None = option(None, "instead, N x N samples over the plane of the codes", low=1)
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Decode(Request):
    """`hourglass decode`."""

    arguments = ("model", "codes")

    model: str = option(REQUIRED, "fitted model")
    codes: str = option(REQUIRED, "file of codes, as `hourglass encode` writes them")
    output: str | None = option(
        None, "file to write: .npy, .npz, .csv, .parquet; pictures: .png or a folder (default: CSV on stdout)"
    )
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Evaluate(Request):
    """`hourglass evaluate`."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model")
    data: str = option(REQUIRED, "file of labelled rows, or folder of pictures or sound")
    label: str | None = option(None, "column that says what a row is (default: the one named at fit)")
    normal: str | None = option(None, "value of the label that means normal (default: as at fit, or 0 or false)")
    train: str | None = option(None, "rows that the model was fitted on: baselines then learn from them too")
    skip_bad: bool = option(False, "leave out files of a folder that cannot be read, and list them")
    false_alarm_rate: float | None = option(None, **said(Detection, "false_alarm_rate"))
    oracle: bool = option(False, "show figures at thresholds chosen by the labels too, and with point adjustment")
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Finetune(Request):
    """`hourglass finetune`."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model to start from")
    data: str = option(REQUIRED, "file of labelled rows, or folder of labelled pictures; rows without a label are left")
    label: str = option(REQUIRED, "column of labels: classes or numbers")
    output: str = option(REQUIRED, "file to write the taught model to; .safetensors is added where it has no suffix")
    task: str | None = option(
        None, "what labels are (default: classes where they are words, flags or few whole numbers)",
        choices=("classify", "regress"),
    )  # fmt: skip
    freeze: bool = option(False, "leave the encoder as it is: only a new layer on its codes learns")
    corrupt: bool = option(False, "corrupt samples in training, as they were when the autoencoder was trained")
    encoder_rate: float | None = option(None, **said(Tuning, "encoder_rate"))
    warm_up: float | None = option(None, **said(Tuning, "warm_up"))
    epochs: int | None = option(None, **said(Training, "epochs"))
    batch_size: int | None = option(None, **said(Training, "batch_size"))
    learning_rate: float | None = option(None, "the largest step size of the schedule (default: 0.01)", low=0)
    validation: float | None = option(
        None, "share of the labels held out to choose the best epoch (default: 0.1, or none of few)", low=0, high=0.5
    )
    seed: int | None = option(None, **said(Training, "seed"))
    skip_bad: bool = option(False, "leave out files of a folder that cannot be read, and list them")
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Probe(Request):
    """`hourglass probe`."""

    arguments = ("model", "data")

    model: str = option(REQUIRED, "fitted model")
    data: str = option(REQUIRED, "file of labelled samples")
    label: str | None = option(None, "column of classes (default: the one named at fit)")
    test: str | None = option(None, "file of other samples to judge on (default: a quarter of DATA)")
    seed: int | None = option(None, "one number that makes the split repeatable (default: 0)", low=0)
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Compress(Request):
    """`hourglass compress`."""

    arguments = ("data", "model")

    data: str = option(REQUIRED, "data to compress")
    model: str = option(REQUIRED, "fitted model; decompressing needs it again")
    output: str = option(REQUIRED, "file to write: .hgz")
    error: str | None = option(
        None, "largest mean squared error: 5% of the variance, or in squared units (default: the model's and a tenth)"
    )
    step: float | None = option(None, "how far a rounded code moves the scaled reconstruction", low=1e-6)
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Decompress(Request):
    """`hourglass decompress`."""

    arguments = ("file", "model")

    file: str = option(REQUIRED, "compressed file: .hgz")
    model: str = option(REQUIRED, "the model that it was compressed with")
    output: str | None = option(None, "file to write: .npy, .npz, .csv or .parquet (default: CSV on stdout)")
    device: str | None = option(None, **said(Training, "device"))


@dataclass(frozen=True, kw_only=True)
class Export(Request):
    """`hourglass export`."""

    arguments = ("model",)

    model: str = option(REQUIRED, "fitted model")
    output: str = option(REQUIRED, "file to write: .onnx for any runtime of ONNX, .pt2 for PyTorch's own")
    false_alarm_rate: float | None = option(None, **said(Detection, "false_alarm_rate"))
    threshold: str | None = option(None, **said(Detection, "threshold"))


@dataclass(frozen=True, kw_only=True)
class Inspect(Request):
    """`hourglass inspect`."""

    arguments = ("model",)

    model: str = option(REQUIRED, "fitted model")


@dataclass(frozen=True, kw_only=True)
class Recipes(Request):
    """`hourglass recipes`."""

    arguments = ("recipe",)

    recipe: str | None = option(None, "show this recipe as it is written")


@dataclass(frozen=True, kw_only=True)
class Demo(Request):
    """`hourglass demo`."""

    output: str = option("demo", "folder to write to (default: demo)")
    epochs: int | None = option(None, "passes over the data (default: 60 for the days, 50 for the digits)", low=1)
