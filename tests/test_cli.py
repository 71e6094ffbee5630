"""The command, from pictures to new ones, and what it says of every fault, before any work."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vaebook import cli, own_data
from vaebook.model_files import load_model
from vaebook.own_data import from_array
from vaebook.rows import MappedRows

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (24, 5, 7, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (24, 5, 7), dtype=np.uint8)
BINARY = RANDOM.random((24, 6)) < 0.4
REAL = 1e6 + RANDOM.normal(size=(24, 3)) * [1.0, 1e3, 1e-2]
QUICK = ["--epochs", "2", "--latents", "3", "--k", "4", "--batch-size", "10", "--device", "cpu"]


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path):
    """Return a function that writes an array to a file."""

    def write(array, name="data.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run on colour pictures, and their folder."""
    folder = tmp_path_factory.mktemp("colour")
    (folder / "pictures").mkdir()
    for i, image in enumerate(COLOUR):
        Image.fromarray(image).save(folder / "pictures" / f"{i}.png")
    assert (
        run("train", folder / "pictures", "--model", "conv", "--out", folder / "run", *QUICK) == 0
    )
    return folder / "run", folder / "pictures"


def test_a_run_holds_all_that_is_promised(trained):
    folder, _ = trained
    names = {path.name for path in folder.iterdir()}
    promised = ".lock run.json checkpoint.pt history.csv model.safetensors results.json"
    assert names == {*promised.split(), "samples.png", "reconstructions.png"}
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"epoch", "train_bound", "train_kl"} <= set(rows[0])
    assert Image.open(folder / "samples.png").size == (8 * 9 - 2, 8 * 7 - 2)
    assert Image.open(folder / "samples.png").mode == "RGB"


def test_results_are_those_of_the_saved_model_on_the_test_part(trained):
    """Measured again from the files alone, by enumeration of what the command does."""
    folder, pictures = trained
    results = json.loads((folder / "results.json").read_text())
    model = load_model(folder / "model.safetensors")
    from vaebook.own_data import read, split

    x = split(read(pictures).rows)[2].float() / 255
    generator = torch.Generator().manual_seed(0)
    bound = model.elbo(x, generator).detach().double()
    log_prob = model.log_prob_estimate(x, 4, generator).double()
    assert results["examples"] == len(x) == 2
    for name, values in (("bound", bound), ("log-likelihood", log_prob)):
        found = results[name]
        assert found["nats"] == pytest.approx(float(values.mean()), rel=1e-6)
        assert found["error"] == pytest.approx(float(values.std() / 2**0.5), rel=1e-4)
        assert found["bits_per_dimension"] == pytest.approx(-found["nats"] / (105 * np.log(2)))
        assert found["bits_error"] == pytest.approx(found["error"] / (105 * np.log(2)))


def test_a_finished_run_is_continued_and_another_one_refused(trained, tmp_path, capsys):
    folder, pictures = trained
    copied = shutil.copytree(folder, tmp_path / "run")
    before = (copied / "model.safetensors").read_bytes()
    same = ["train", pictures, "--model", "conv", "--out", copied, *QUICK]
    assert run(*same) == 0
    assert (copied / "model.safetensors").read_bytes() == before
    capsys.readouterr()
    assert run(*same, "--latents", 4) == 2
    message = capsys.readouterr().err
    assert "whose latents is 4, got" in message
    assert (copied / "model.safetensors").read_bytes() == before


def test_other_data_measured_by_a_trained_model(trained, tmp_path, capsys):
    folder, pictures = trained
    assert run("evaluate", folder, pictures, "--k", 4) == 0
    said = capsys.readouterr().out
    assert "24 examples:" in said
    assert "log-likelihood" in said
    assert "bits a dimension" in said
    np.save(tmp_path / "grey.npy", GREY)
    assert run("evaluate", folder, tmp_path / "grey.npy") == 2
    assert "wanted 8-bit data of shape [3, 5, 7]" in capsys.readouterr().err


def test_a_file_larger_than_memory_is_measured_in_parts(trained, tmp_path, capsys, monkeypatch):
    folder, _ = trained
    np.save(tmp_path / "many.npy", np.concatenate([COLOUR] * 9))
    said = []
    for bytes_in_memory in (2**30, 0):
        monkeypatch.setattr(own_data, "BYTES_IN_MEMORY", bytes_in_memory)
        sizes = note_reads(monkeypatch)
        assert run("evaluate", folder, tmp_path / "many.npy", "--k", 2) == 0
        said.append(capsys.readouterr().out)
        assert max(sizes, default=0) <= cli.AT_ONCE
    assert sum(sizes) >= 216
    assert said[0] == said[1]


def note_reads(monkeypatch):
    """Return a list that receives how many rows each reading of a file takes."""
    sizes, read = [], MappedRows.__getitem__

    def note(rows, chosen):
        found = read(rows, chosen)
        sizes.append(found[..., 0].numel())
        return found

    monkeypatch.setattr(MappedRows, "__getitem__", note)
    return sizes


def test_new_pictures_as_a_sheet_and_as_an_array(trained, tmp_path):
    folder, _ = trained
    for suffix in ("png", "npy"):
        assert (
            run("sample", folder, "--n", 5, "--seed", 3, "--out", tmp_path / f"new.{suffix}") == 0
        )
    array = np.load(tmp_path / "new.npy")
    assert (array.shape, array.dtype) == ((5, 5, 7, 3), np.uint8)
    sheet = np.asarray(Image.open(tmp_path / "new.png"))
    for i, image in enumerate(array):
        assert np.array_equal(sheet[:5, 9 * i : 9 * i + 7], image)
    expected = load_model(folder / "model.safetensors").sample(5, torch.Generator().manual_seed(3))
    assert np.array_equal(from_array(array).rows.numpy(), (255 * expected).round().numpy())
    assert run("sample", folder, "--n", 5, "--mean", "--out", tmp_path / "mean.npy") == 0
    assert np.load(tmp_path / "mean.npy").dtype == np.float32


@pytest.mark.parametrize(
    ("array", "options", "likelihood"),
    [
        (GREY, ["--model", "conv"], "logistic"),
        (GREY, ["--likelihood", "bernoulli"], "bernoulli"),
        (BINARY, ["--model", "residual"], "bernoulli"),
        (REAL, [], "gaussian"),
    ],
    ids=["levels", "drawn pixels", "binary", "real"],
)
def test_the_numbers_choose_and_an_option_overrides(
    data, tmp_path, capsys, array, options, likelihood
):
    path = data(array)
    assert run("train", path, "--out", tmp_path / "run", *QUICK, *options) == 0
    said = capsys.readouterr().out
    assert f"dimensions, {likelihood}" in said
    assert "(20 for training, 2 for validation, 2 for test)" in said
    assert run("sample", tmp_path / "run", "--n", 3, "--out", tmp_path / "new.npy") == 0
    new = np.load(tmp_path / "new.npy")
    assert new.shape == (3, *array.shape[1:])
    if likelihood == "gaussian":  # in the units of the data
        assert np.abs(new / 1e6 - 1).max() < 0.1
    if likelihood == "bernoulli" and array is GREY:
        assert set(np.unique(new)) <= {0, 255}


def one_row(folder):
    np.save(folder / "data.npy", GREY[:1])
    return [folder / "data.npy"], "data: wanted at least 20 examples, got 1"


def mixed_sizes(folder):
    (folder / "mixed").mkdir()
    for i, image in enumerate((GREY[0], GREY[1].T)):
        Image.fromarray(image).save(folder / "mixed" / f"{i}.png")
    return [folder / "mixed"], "1.png: wanted pictures of one size"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return [folder / "empty"], "in this folder, got none"


def corrupt_picture(folder):
    (folder / "bad").mkdir()
    (folder / "bad" / "a.jpg").write_bytes(b"\xff\xd8\xff and no more")
    return [folder / "bad"], "a.jpg: wanted a picture"


def missing(folder):
    return [folder / "nowhere"], "wanted an existing folder or file, got"


def no_image(folder):
    np.save(folder / "data.npy", BINARY)
    return [folder / "data.npy", "--model", "conv"], "--model: wanted mlp or residual"


def wrong_likelihood(folder):
    np.save(folder / "data.npy", BINARY)
    return [folder / "data.npy", "--likelihood", "gaussian"], "likelihood (of binary data): wanted"


def no_folder(folder):
    np.save(folder / "data.npy", BINARY)
    (folder / "file").write_text("")
    return [
        folder / "data.npy",
        "--out",
        folder / "file" / "run",
    ], "--out: wanted a folder"


def occupied(folder):
    np.save(folder / "data.npy", BINARY)
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("")
    return [folder / "data.npy", "--out", folder / "out"], "--out: wanted a new folder"


def bad_run(folder):
    np.save(folder / "data.npy", BINARY)
    (folder / "out").mkdir()
    (folder / "out" / "run.json").write_text('{"half": ')
    return [folder / "data.npy", "--out", folder / "out"], "RUN: wanted a folder that vaebook train"


def bad_rate(folder):
    np.save(folder / "data.npy", BINARY)
    return [folder / "data.npy", "--lr", "-1"], "lr: wanted a positive number"


def bad_number(folder):
    np.save(folder / "data.npy", BINARY)
    return [folder / "data.npy", "--lr", "nan"], "lr: wanted a positive number"


def one_line(folder):
    np.save(folder / "data.npy", GREY[:, :1])
    return [folder / "data.npy", "--model", "conv"], "--model: wanted mlp or residual for pictures"


def too_large(folder):
    np.save(folder / "data.npy", BINARY)
    return [folder / "data.npy", "--latents", "1000000000"], "weights, which takes"


FAULTS = [
    *(
        bad_number,
        one_line,
        too_large,
        one_row,
        mixed_sizes,
        empty_folder,
        corrupt_picture,
        missing,
        no_image,
        wrong_likelihood,
    ),
    *(no_folder, occupied, bad_run, bad_rate),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_one_line_and_status_2(fault, tmp_path, capsys):
    arguments, message = fault(tmp_path)
    assert run("train", "--out", tmp_path / "run", *QUICK, *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("vaebook: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "RUN", "--out", "new.gif"], "--out: wanted a file that ends in .png or .npy"),
        (["sample", "RUN", "--out", "no/folder/new.png"], "--out: wanted a file in a folder that"),
        (["sample", "nowhere", "--out", "new.png"], "RUN: wanted a folder that vaebook train"),
        (["sample", "RUN", "--n", str(10**9), "--out", "S.PNG"], "--n: wanted at most 1,065,220"),
        (["evaluate", "nowhere", "data.npy"], "RUN: wanted a folder that vaebook train"),
    ],
)
def test_faults_of_the_other_commands(trained, arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*[trained[0] if argument == "RUN" else argument for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_unfinished_run_cannot_be_sampled(trained, tmp_path, capsys):
    shutil.copy(trained[0] / "run.json", tmp_path)
    assert run("sample", tmp_path, "--out", tmp_path / "new.png") == 2
    assert "wanted a finished run" in capsys.readouterr().err


def test_rows_of_numbers_make_no_sheet(data, tmp_path, capsys):
    assert run("train", data(BINARY), "--out", tmp_path / "run", *QUICK) == 0
    assert not list((tmp_path / "run").glob("*.png"))
    assert run("sample", tmp_path / "run", "--out", tmp_path / "new.png") == 2
    assert "the examples are no images" in capsys.readouterr().err


def test_an_interrupted_run_is_continued(data, tmp_path, capsys, monkeypatch):
    command = ["train", data(GREY), "--out", tmp_path / "run", *QUICK]

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(cli, "fit", interrupt)
        assert run(*command) == 130
    assert "the same command continues the run" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "run.json"}
    assert run(*command) == 0
    assert (tmp_path / "run" / "results.json").exists()


def test_a_run_that_diverges_says_so(data, tmp_path, capsys):
    path = data(REAL)
    assert run("train", path, "--out", tmp_path / "run", *QUICK, "--lr", "1e30") == 1
    assert "vaebook: error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", str(2**40)],
        ["--epochs", str(10**30)],
        ["--device", "meta"],
        ["--seed", str(2**64)],
        ["--seed", "-1"],
        ["--device", "abacus"],
        ["--epochs", "0"],
        ["--model", "big"],
        ["--k", "x"],
        ["--out"],
    ],
)
def test_options_that_are_none_are_refused(options, capsys):
    with pytest.raises(SystemExit) as stop:
        run("train", "data", "--out", "run", *options)
    assert stop.value.code == 2
    assert f"vaebook train: error: argument {options[0]}: " in capsys.readouterr().err


def test_what_is_left_out_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        run("train")
    assert stop.value.code == 2
    assert "vaebook train: error: the following arguments are required" in capsys.readouterr().err


def test_the_command_is_installed():
    """The module answers as a script, and its function as the one that pip makes."""
    for command in (["-m", "vaebook.cli"], ["-c", "from vaebook.cli import main; main()"]):
        said = subprocess.check_output([sys.executable, *command, "--version"], text=True)
        assert said.startswith("vaebook ")


def epochs_in(folder):
    with (folder / "history.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_more_epochs_at_a_constant_rate_continue_a_run(data, tmp_path):
    file, out = data(BINARY), tmp_path / "run"
    options = [*QUICK, "--schedule", "constant"]
    assert run("train", file, "--out", out, *options) == 0
    first = load_model(out / "model.safetensors").state_dict()
    assert run("train", file, "--out", out, *options, "--epochs", "4") == 0
    assert epochs_in(out) == [0, 1, 2, 3, 4]
    whole = tmp_path / "whole"
    assert run("train", file, "--out", whole, *options, "--epochs", "4") == 0
    for name, weight in load_model(whole / "model.safetensors").state_dict().items():
        assert torch.equal(weight, load_model(out / "model.safetensors").state_dict()[name])
    longer = load_model(out / "model.safetensors").state_dict()
    assert not all(torch.equal(first[name], weight) for name, weight in longer.items())


def test_training_ends_when_validation_no_longer_improves(data, tmp_path):
    out = tmp_path / "run"
    hopeless = ["--lr", "1e-9", "--epochs", "30", "--patience", "2"]
    assert run("train", data(BINARY), "--out", out, *QUICK, *hopeless) == 0
    with (out / "history.csv").open() as file:
        bounds = [float(row["validation_bound"]) for row in csv.DictReader(file)]
    assert len(bounds) < 31
    assert max(range(len(bounds)), key=bounds.__getitem__) == len(bounds) - 3


@pytest.mark.parametrize("array", [COLOUR, GREY > 100, REAL], ids=["colour", "binary", "real"])
def test_a_file_larger_than_memory_trains_as_one_that_fits(data, tmp_path, monkeypatch, array):
    path = data(array)
    assert run("train", path, "--out", tmp_path / "whole", *QUICK) == 0
    monkeypatch.setattr(own_data, "BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(own_data, "ROWS_AT_ONCE", 5)
    assert run("train", path, "--out", tmp_path / "mapped", *QUICK) == 0
    assert run("evaluate", tmp_path / "mapped", path, "--k", 2) == 0
    one, other = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "mapped"))
    for name, weights in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], weights, rtol=1e-4, atol=1e-6)


# --- data of the run's own kind ---------------------------------------------------------------


def said_of(capsys, *arguments):
    """Run a command that ends well; return the measured lines."""
    assert run(*arguments) == 0
    return capsys.readouterr().out.splitlines()[1:]


@pytest.mark.parametrize(
    ("array", "others"),
    [
        (GREY, [0 * GREY, np.where(GREY > 100, 255, 0).astype(np.uint8)]),
        (REAL, [(REAL > 1e6).astype(float), np.zeros((5, 3)), np.array([[1, -2, 3]] * 2)]),
        (GREY > 100, [np.full_like(GREY, 255)]),
    ],
    ids=["8-bit", "real", "binary"],
)
def test_numbers_that_a_run_allows_are_measured_as_its_own(data, tmp_path, capsys, array, others):
    assert run("train", data(array), "--out", tmp_path / "run", *QUICK) == 0
    kind = json.loads((tmp_path / "run" / "run.json").read_text())["kind"]
    for other in others:
        capsys.readouterr()
        assert run("evaluate", tmp_path / "run", data(other, "other.npy"), "--k", 2) == 0
        assert f"{kind} numbers\n" in capsys.readouterr().out


def test_a_model_of_drawn_pixels_measures_binary_ones(data, tmp_path, capsys):
    drawn = ["--likelihood", "bernoulli"]
    assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK, *drawn) == 0
    capsys.readouterr()
    black_and_white = np.where(GREY > 100, 255, 0).astype(np.uint8)
    said = [
        said_of(capsys, "evaluate", tmp_path / "run", data(array, "other.npy"), "--k", 2)
        for array in (black_and_white, GREY > 100, (GREY > 100).astype(np.uint8))
    ]
    assert said[0] == said[1] == said[2]
    assert not any("one drawn for each" in line for line in said[0])
    assert any("one drawn for each" in line for line in said_of(capsys, *grey_of(data, tmp_path)))
    assert run("evaluate", tmp_path / "run", data(0.1 * GREY, "other.npy")) == 2


def grey_of(data, folder):
    return "evaluate", folder / "run", data(GREY, "other.npy"), "--k", 2


# --- what cannot be written, and who reads no more --------------------------------------------


def full(*arguments):
    raise OSError(28, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_costs_no_model(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vaebook.checkpoint.write", full)
    with pytest.warns(UserWarning, match="training goes on"):
        assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 2
    said = capsys.readouterr()
    assert "bits a dimension" in said.out
    assert said.err.splitlines()[-1] == "vaebook: error: [Errno 28] No space left on device"
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"model.safetensors", "results.json", "samples.png"}
    assert load_model(tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("save_model", "the model"),
        ("_draw_sheets", "the results or sheets"),
    ],
)
def test_what_else_cannot_be_written_is_told_at_the_end(
    data, tmp_path, capsys, monkeypatch, where, what
):
    monkeypatch.setattr(f"vaebook.cli.{where}", full)
    assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 2
    said = capsys.readouterr()
    assert "bits a dimension" in said.out
    fault = f"{what} could not be written: [Errno 28] No space left on device"
    assert said.err.splitlines()[-1] == f"vaebook: error: {fault}"
    assert (tmp_path / "run" / "results.json").exists()


def test_a_device_that_fails_before_the_end_stops_the_run(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "fit", lambda *arguments, **options: full())
    assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 2
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_results_outlast_a_closed_pipe(data, tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe, monkeypatch.context() as context:
        context.setattr(sys, "stdout", pipe)
        assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 0
    assert (tmp_path / "run" / "results.json").exists()


def test_nobody_need_listen(data, tmp_path):
    """Neither to results nor to the lines of the epochs, as behind a `head` that is done."""
    command = ["-m", "vaebook.cli", "train", str(data(GREY)), "--out", str(tmp_path / "run")]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, *command, *QUICK], stdout=writing, stderr=writing, check=False
    )
    os.close(writing)
    assert done.returncode == 0
    assert (tmp_path / "run" / "results.json").exists()


def test_numbers_that_cannot_be_written_are_no_success(trained, monkeypatch, capsys):
    class FullDisk(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", FullDisk())
    assert run("evaluate", *trained, "--k", 2) == 2
    assert "No space left" in capsys.readouterr().err


def start_two(*arguments):
    """Run the command as two processes, as a user starts them; return the status and errors."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", "vaebook.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout, done.stderr


def test_two_processes_make_one_run(data, tmp_path, trained):
    alone = run("train", data(GREY), "--out", tmp_path / "one", *QUICK)
    status, said, errors = start_two("train", data(GREY), "--out", tmp_path / "two", *QUICK)
    assert (status, alone) == (0, 0), errors
    names = [{path.name for path in (tmp_path / n).iterdir()} for n in ("one", "two")]
    assert names[0] == names[1]
    assert said.count("log-likelihood") == 2  # of one process: its number, and what k is


def test_what_the_first_process_refuses_all_refuse_and_leave_nothing(trained, tmp_path):
    pictures = trained[1]
    status, _, errors = start_two("train", pictures, "--out", pictures / "run", *QUICK)
    assert status != 0
    assert errors.count("vaebook: error: --out: wanted a folder outside of the data") == 2
    assert not (pictures / "run").exists()


def test_an_output_without_the_sign_of_errors_gets_another(data, tmp_path, monkeypatch):
    written = io.BytesIO()
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 0
        assert b" ? " in written.getvalue()


# --- more than there is room for --------------------------------------------------------------


def test_a_model_that_finds_no_room_is_refused(data, tmp_path, capsys, monkeypatch):
    command = ["train", data(GREY), *QUICK]
    monkeypatch.setattr(cli, "_memory", lambda device: 3 * 2**20)
    assert run(*command, "--out", tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert "--model: wanted one that trains in the 0.0 GiB of cpu (for pictures, conv" in message
    assert "got mlp with " in message
    assert run(*command, "--model", "conv", "--out", tmp_path / "run") == 0


@pytest.mark.parametrize(("limit", "status"), [(str(3 * 2**20), 2), ("max", 0)])
def test_a_container_may_have_less_room(data, tmp_path, monkeypatch, limit, status):
    file = tmp_path / "memory.max"
    file.write_text(limit + "\n", encoding="ascii")
    monkeypatch.setattr(cli, "MEMORY_OF_CONTAINER", file)
    assert run("train", data(GREY), *QUICK, "--out", tmp_path / "run") == status


def test_the_weights_that_are_counted_are_those_that_are_trained(data, tmp_path, monkeypatch):
    assert run("train", data(GREY), *QUICK, "--out", tmp_path / "run") == 0
    model = load_model(tmp_path / "run" / "model.safetensors")
    needed = 16 * sum(weight.numel() for weight in model.parameters())
    for there, status in ((needed, 0), (needed - 1, 2)):
        monkeypatch.setattr(cli, "_memory", lambda device, there=there: there)
        assert run("train", data(GREY), *QUICK, "--out", tmp_path / "run") == status


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lack_of_memory_is_one_line(data, tmp_path, capsys, monkeypatch, error):
    def lack(*arguments, **options):
        raise error

    monkeypatch.setattr(cli, "fit", lack)
    assert run("train", data(GREY), "--out", tmp_path / "run", *QUICK) == 2
    said = capsys.readouterr().err
    assert said.startswith("vaebook: error: memory: wanted less than there is")
    assert said.count("\n") == 1


def test_a_fault_of_the_program_is_shown_whole(data, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(cli, "fit", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run("train", data(GREY), "--out", tmp_path / "run", *QUICK)


def test_many_samples_are_drawn_in_pieces(trained, tmp_path, monkeypatch):
    folder, _ = trained
    for n in (100, 250):
        assert run("sample", folder, "--n", n, "--out", tmp_path / f"{n}.npy") == 0
    many = np.load(tmp_path / "250.npy")
    assert many.shape == (250, 5, 7, 3)
    assert np.array_equal(many[:100], np.load(tmp_path / "100.npy"))
    assert len(np.unique(many.reshape(250, -1), axis=0)) == 250
    expected = load_model(folder / "model.safetensors").sample(
        100, torch.Generator().manual_seed(0)
    )
    assert np.array_equal(from_array(many[:100]).rows.numpy(), (255 * expected).round().numpy())


def test_samples_that_find_no_room_are_refused(trained, tmp_path, capsys, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=104)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    assert run("sample", trained[0], "--n", 1, "--out", tmp_path / "new.npy") == 2
    assert "--n: wanted fewer examples" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_found_before_sampling(trained, tmp_path, capsys):
    (tmp_path / "new.npy").mkdir()
    assert run("sample", trained[0], "--n", 10**9, "--out", tmp_path / "new.npy") == 2
    assert "--out: " in capsys.readouterr().err


def test_a_sheet_may_end_in_capitals(trained, tmp_path):
    assert run("sample", trained[0], "--n", 2, "--out", tmp_path / "S.PNG") == 0
    assert Image.open(tmp_path / "S.PNG").size == (2 * 9 - 2, 5)


# --- the folder of a run ----------------------------------------------------------------------


def test_a_run_of_other_numbers_is_not_continued(data, tmp_path, capsys):
    assert run("train", data(REAL), "--out", tmp_path / "run", *QUICK) == 0
    capsys.readouterr()
    assert run("train", data(REAL + 1), "--out", tmp_path / "run", *QUICK) == 2
    said = capsys.readouterr().err
    assert "--out: wanted a folder for a run of these data, got" in said
    assert said.endswith("which holds one of other data\n")


def test_a_cycle_is_of_so_many_epochs(data, tmp_path, capsys):
    command = ["train", data(BINARY), "--out", tmp_path / "run", *QUICK]
    assert run(*command) == 0
    for epochs in (1, 3):
        assert run(*command, "--epochs", epochs) == 2
        said = capsys.readouterr().err
        assert "--epochs: wanted 2, over which the rate" in said
        assert "--schedule constant" in said


def test_a_run_tells_the_epochs_that_were_trained(data, tmp_path):
    def trained_epochs():
        return json.loads((tmp_path / "run" / "run.json").read_text())["trained_epochs"]

    command = ["train", data(BINARY), "--out", tmp_path / "run", *QUICK, "--schedule", "constant"]
    for epochs, expected in ((3, 3), (2, 3), (4, 4)):
        assert run(*command, "--epochs", epochs) == 0
        assert trained_epochs() == expected == epochs_in(tmp_path / "run")[-1]


def test_a_run_that_stopped_early_is_continued_by_the_same_command(data, tmp_path):
    hopeless = ["--lr", "1e-9", "--epochs", "30", "--patience", "2"]
    command = ["train", data(BINARY), "--out", tmp_path / "run", *QUICK, *hopeless]
    for _ in range(2):
        assert run(*command) == 0
        settings = json.loads((tmp_path / "run" / "run.json").read_text())
        assert settings["trained_epochs"] == epochs_in(tmp_path / "run")[-1] < 30


def test_a_run_among_its_pictures_is_refused(trained, tmp_path, capsys):
    pictures = shutil.copytree(trained[1], tmp_path / "pictures")
    for out in (pictures, pictures / "run", pictures / ".." / "pictures" / "run"):
        assert run("train", pictures, "--out", out, *QUICK) == 2
        assert "--out: wanted a folder outside of the data" in capsys.readouterr().err
    assert not (pictures / "run").exists()


def test_two_processes_do_not_write_one_run(data, tmp_path, capsys):
    command = ["train", data(BINARY), "--out", tmp_path / "run", *QUICK]
    (tmp_path / "run").mkdir()
    with cli._held(tmp_path / "run"):
        assert run(*command) == 2
    assert "--out: wanted a folder that no other process is writing" in capsys.readouterr().err
    (tmp_path / "run" / ".lock").touch()  # as a killed process leaves it
    assert run(*command) == 0


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--out", "run", "--epochs", "2.5"], "--epochs: wanted an integer from 1 to"),
        (["data", "--out", "run", "--k", "x"], "--k: wanted an integer from 1 to 1,000,000,000"),
        (["data", "--out", "run", "--device", "meta"], "--device: wanted auto, or a device that"),
        (["", "--out", "run"], "FOLDER_OR_FILE: wanted a path, got no name"),
        (["data", "--out", ""], "--out: wanted a path, got no name"),
        pytest.param(
            *(["data", "--out", "~nobody_of_this_name/run"], "--out: wanted a path, got ~nobody"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="which guesses the folder"),
        ),
    ],
)
def test_an_option_that_is_none_is_told_plainly(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run("train", *arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_only_training_is_continued(trained, tmp_path, capsys, monkeypatch, command):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load_run", interrupt)
    rest = [trained[1]] if command == "evaluate" else ["--out", tmp_path / "new.npy"]
    assert run(command, trained[0], *rest) == 130
    assert capsys.readouterr().err == "vaebook: interrupted\n"
