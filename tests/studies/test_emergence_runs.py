"""The emergence study on models: a planted training series, broken checkpoints, stops, names of revisions, downloads that go."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mnemoscope.runner as runner
from mnemoscope.errors import JobsFailedError, LoadError, OptionError

STRENGTH = {0: 0.0, 200: 0.0, 400: 0.3, 800: 1.0}  # step -> how much the planted heads attend


@pytest.fixture(autouse=True)
def version(monkeypatch):
    """Sources that are edited while the tests run would make it another run."""
    monkeypatch.setattr(runner.one, "own_version", lambda: "the version under test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of checkpoints: a planted model whose promoting heads attend to nothing in particular until step 400."""
    import torch

    from mnemoscope.reference import planted

    made = planted("semantic", noise=0.25, seed=1)
    folder = tmp_path_factory.mktemp("series")
    heads = [h for h in made.truth.to_json()["heads"] if h["kind"] in ("semantic", "contextual", "erased")]
    size = made.model.config.head_dim
    full = {h["layer"]: made.model.model.layers[h["layer"]].self_attn.q_proj.weight.detach().clone() for h in heads}
    for step, strength in STRENGTH.items():
        with torch.no_grad():
            for h in heads:
                rows = slice(h["head"] * size, (h["head"] + 1) * size)
                weight = made.model.model.layers[h["layer"]].self_attn.q_proj.weight
                weight[rows] = strength * full[h["layer"]][rows]
        made.model.save_pretrained(folder / f"step{step}")
        made.tokenizer.save_pretrained(folder / f"step{step}")
    data = folder.parent / "planted.jsonl"
    data.write_text("".join(json.dumps(_line(document)) + "\n" for document in made.corpus.documents))
    return folder, data, [(h["layer"], h["head"]) for h in heads]


def _line(document):
    place = lambda i: list(document.mentions[i].span)  # noqa: E731
    return {
        "text": document.text,
        "mentions": [{"at": list(m.span), "type": m.type, "entity": m.entity} for m in document.mentions],
        "triples": [[place(t.head), t.relation, place(t.tail)] for t in document.triples],
    }


def contents(out: Path):
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


ASK = {"limit": 6, "threads": 1, "quiet": True, "distinct": 20, "copies": 3}


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    folder, data, _ = trained
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.one, "own_version", lambda: "the version under test")
        return runner.run("emergence", folder, data=str(data), out=tmp_path_factory.mktemp("run") / "whole", **ASK)


@pytest.mark.slow
def test_the_planted_onset_is_found(run, trained):
    _, data, heads = trained
    onsets = run.tables["onsets"]
    scope = f"{data.stem}/followed heads"
    place = {row["quantity"]: row for row in onsets.filter(pl.col("scope") == scope).iter_rows(named=True)}
    formed = place["excess_per_opportunity:ctx_src:argmax"]
    assert (formed["place"], formed["estimate"]) == (2, 400)
    attends = place["excess_pass_rate:argmax"]  # beyond distance, though they answer few of their opportunities
    assert (attends["place"], attends["estimate"]) == (2, 400)
    assert place["excess:ctx_src:free"]["censored"] == "already there"  # they could write it all along
    followed = run.tables["followed"].filter(pl.col("score") == "ctx_src").select("layer", "head")
    assert set(followed.iter_rows()) <= set(heads)
    each = run.tables["head_onsets"].filter(
        (pl.col("score") == "excess_per_opportunity:ctx_src") & (pl.col("place") == 2)
    )
    assert set(followed.iter_rows()) <= set(each.select("layer", "head").iter_rows())


@pytest.mark.slow
def test_what_cannot_be_asked_is_said(run):
    notes = dict(run.tables["checkpoints"].filter(pl.col("step") == 400).select("measure", "note").iter_rows())
    assert "needed" in notes["texts"]
    assert "cannot be asked" in notes["tasks"]
    assert set(run.tables["claims"]["verdict"]) <= {"not testable", "undetermined"}
    assert set(run.tables["curves"]["copy"]) == {"trained", "reinitialised"}


@pytest.mark.slow
def test_a_stopped_run_makes_the_same_tables_and_loses_one_job(run, trained, tmp_path, monkeypatch):
    folder, data, _ = trained
    real, count = runner.one._kept, [0]

    def interrupted(*args):
        count[0] += 1
        if count[0] % 7 == 0:
            raise KeyboardInterrupt  # the job in flight is lost
        real(*args)

    monkeypatch.setattr(runner.one, "_kept", interrupted)
    stops = 0
    while True:
        try:
            runner.run("emergence", folder, data=str(data), out=tmp_path / "stopped", **ASK)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 2
    assert count[0] - stops == len((tmp_path / "stopped" / "jobs.jsonl").read_text().splitlines())
    assert contents(tmp_path / "stopped") == contents(run.path)


@pytest.mark.slow
def test_a_broken_checkpoint_is_reported_and_the_others_go_on(trained, tmp_path):
    folder, data, _ = trained
    broken = tmp_path / "series"
    shutil.copytree(folder, broken, ignore=shutil.ignore_patterns("step400"))
    (broken / "step200" / "model.safetensors").write_bytes(b"not a model")
    ask = {**ASK, "limit": 2, "out": tmp_path / "run"}
    with pytest.raises(JobsFailedError, match="series-step200") as caught:
        runner.run("emergence", broken, data=str(data), **ask)
    assert caught.value.exit_code == 3
    done = runner.Run(tmp_path / "run").tables["checkpoints"]
    assert set(done["step"]) == {-1, 0, 800}
    shutil.copy(folder / "step200" / "model.safetensors", broken / "step200")
    again = runner.run("emergence", broken, data=str(data), **ask)  # only what had failed is done
    assert set(again.tables["checkpoints"]["step"]) == {-1, 0, 200, 800}
    assert len((tmp_path / "run" / "jobs.jsonl").read_text().splitlines()) == 16 + 4


def test_names_of_checkpoints(trained):
    from mnemoscope.model.load import load
    from mnemoscope.studies.emergence.revisions import checkpoints

    folder, _, _ = trained
    lm = load(folder, revision="step800")
    names = lambda asked, most=None: [one.revision for one in checkpoints(asked, lm, most)]  # noqa: E731
    assert names(None) == [f"step{step}" for step in STRENGTH]
    assert names(None, 3) == ["step0", "step200", "step800"]
    assert names("step{0,200,400}") == ["step0", "step200", "step400"]
    assert names("step{200,400,800}, step0") == [f"step{step}" for step in STRENGTH]
    assert names("step*00") == [f"step{step}" for step in STRENGTH if step]
    assert names(str(folder), 3)[0] == f"{folder}@step0"
    seeds = checkpoints(f"{folder}@step{{0,200}},step400", lm)
    assert [(one.series, one.step) for one in seeds] == [(folder.name, 0), (folder.name, 200), (folder.name, 400)]
    assert len({one.files for one in seeds}) == 3
    with pytest.raises(OptionError, match=r"no checkpoint of .* is called 'step300'"):
        names("step{200,300}")
    with pytest.raises(OptionError, match="did you mean 'step800'"):
        names("step80")
    with pytest.raises(OptionError, match="braces"):
        names("step{200")
    alone = load(folder / "step800")
    with pytest.raises(LoadError, match=r"no checkpoints of .*no subfolder holds a config\.json"):
        checkpoints("step{0,1}", alone)  # before anything is run
    with pytest.raises(LoadError, match="all there are"):
        checkpoints(None, alone)


def test_a_model_that_is_asked_for_by_another_name(trained):
    from mnemoscope.runner.source import source_of

    folder, _, _ = trained
    source = source_of(folder)  # nothing but checkpoints: the last one
    assert source.load(None).revision == "step800"
    models = source.models()
    there = models(f"{folder}@step0")
    assert (there.name, there.revision) == (str(folder), "step0")
    with pytest.raises(LoadError, match="no checkpoint 'step7'"):
        models("step7")


def test_schedules_are_those_that_were_published():
    from mnemoscope.studies.emergence.schedules import expanded, published, step_of, thinned

    pythia = published("pythia", "EleutherAI/pythia-160m")
    assert len(pythia) == 154
    assert pythia[:4] == ("step0", "step1", "step2", "step4")
    olmo = published("olmo-2", "allenai/OLMo-2-1124-7B")
    assert {"stage1-step150-tokens1B", "stage1-step1000-tokens5B", "stage1-step207000-tokens869B"} <= set(olmo)
    assert olmo[-1] == "stage1-step928646-tokens3896B"
    assert published("olmo-2", "allenai/OLMo-2-1124-13B")[-1] == "stage1-step596057-tokens5001B"
    assert published("olmo-2", "allenai/OLMo-2-0425-1B")[-1] == "stage1-step1907359-tokens4001B"
    steps = tuple(step_of(name) for name in pythia)
    kept = [steps[i] for i in thinned(steps, 18)]
    assert (len(kept), kept[0], kept[-1]) == (18, 0, 143000)
    gaps = np.diff(np.log1p(kept))
    assert gaps.max() < 2.5 * gaps.min()
    assert expanded("a{1,2}-{0..4..2}") == ("a1-0", "a1-2", "a1-4", "a2-0", "a2-2", "a2-4")
    assert expanded("step{0,1,2,4,...,32}")[-3:] == ("step8", "step16", "step32")
    assert expanded("step{0,100,...,500}")[-2:] == ("step400", "step500")
    with pytest.raises(OptionError, match="cannot be continued"):
        expanded("step{0,1,...}")


def test_downloads_go_when_done_and_nothing_else_does():
    from mnemoscope.runner.source import Models

    gone: list[str] = []
    models = Models(load=str, forget=gone.append)
    for revision in (None, "step0", "step1", "reinitialised", "step1", "step2"):
        models(revision)
    assert gone == ["step0"]
    models.close()
    assert gone == ["step0", "step1", "step2"]
    kept = Models(load=str, forget=None)
    kept("step0")
    kept.close()


def test_one_commit_is_removed_from_the_cache_and_the_files_it_shares_stay(tmp_path):
    from mnemoscope.model.hub import discard

    repository = tmp_path / "models--owner--name"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    for blob in ("one", "two", "both"):
        (repository / "blobs" / blob).write_text(blob * 100)
    for commit, blobs in (("a" * 40, ("one", "both")), ("b" * 40, ("two", "both"))):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "refs" / f"step{commit[0]}").write_text(commit)
        for blob in blobs:
            (repository / "snapshots" / commit / f"{blob}.json").symlink_to(repository / "blobs" / blob)
    assert discard("owner/name", "a" * 40, cache=tmp_path) == 300
    assert sorted(p.name for p in (repository / "blobs").iterdir()) == ["both", "two"]
    assert discard("owner/name", "a" * 40, cache=tmp_path) == 0


def test_only_what_this_process_fetched_is_forgotten(monkeypatch):
    from types import SimpleNamespace

    from mnemoscope.model import hub
    from mnemoscope.runner.source import _Downloads

    cached, gone = {("owner/name", "step1")}, []
    monkeypatch.setattr(hub, "is_cached", lambda name, revision: (name, revision) in cached)
    monkeypatch.setattr(hub, "discard", lambda name, commit: gone.append((name, commit)))
    lm = lambda revision, commit: SimpleNamespace(name="owner/name", revision=revision, source={"commit": commit})  # noqa: E731
    downloads = _Downloads(lm(None, "main"))
    for revision, commit in (("step0", "c0"), ("step1", "c1"), ("step2", "main")):
        downloads.before("owner/name", revision)
        downloads.after(revision, lm(revision, commit))
        downloads.forget(revision)
    assert gone == [("owner/name", "c0")]  # step1 was there before, step2 is the run's own commit


def test_own_tasks_and_texts(tmp_path):
    from mnemoscope.studies.emergence import prompts
    from mnemoscope.studies.emergence.config import Config

    tasks = tmp_path / "opposites.json"
    tasks.write_text(json.dumps([{"input": f"w{i}", "output": f"o{i % 3}"} for i in range(12)]))
    config = Config(data=str(tasks), limit=3)
    (task,) = prompts.tasks(config)
    asked = prompts.prompts(config, task)
    assert {p.labels["shots"] for p in asked} == {0, 1, 2, 3, 4, 5}  # ten would need fourteen inputs
    assert len(asked) == 3 * 4 * 6
    assert len(asked[0].foils) == 2
    assert prompts.corpora(config) == prompts.CORPORA
    assert prompts.texts(config) == prompts.texts(Config(limit=3))
    texts = tmp_path / "own.jsonl"
    texts.write_text("".join(json.dumps({"text": f"A story of {i} words."}) + "\n" for i in range(5)))
    assert prompts.texts(Config(data=str(texts)))[1] == "A story of 1 words."
    assert [task.name for task in prompts.tasks(Config(data=str(texts)))] == [t.name for t in prompts.tasks(Config())]
