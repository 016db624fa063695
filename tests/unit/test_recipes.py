import json
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.recipes import charts, network, statistics, uds_vs_tcp
from paramgmt_tasks.recipes.analysis import compare
from paramgmt_tasks.recipes.recipe import Recipe, json_lines, points


def prepared(module: Any, **given: object) -> Recipe:
    recipe: Recipe = module.NETWORK if module is network else module.UDS_VS_TCP
    defaults: dict[str, object] = {choice.name: choice.default for choice in recipe.options}
    return recipe.prepare(recipe, {**defaults, **given})


def test_without_options_it_is_the_articles_test() -> None:
    recipe = prepared(uds_vs_tcp)
    assert recipe.parameters == {"size": [2**n for n in range(15)], "transport": ["uds", "tcp"]}
    assert recipe.runs == 10
    assert "--packets 100000 " in recipe.roles[0].command


@pytest.mark.parametrize(
    ("module", "given", "message"),
    [
        (uds_vs_tcp, {"sizes": "big"}, "--sizes big: must be bytes"),
        (uds_vs_tcp, {"sizes": "70000"}, "--sizes 70000: must be from 1 to 65507"),
        (uds_vs_tcp, {"sizes": "0"}, "must be from 1 to"),
        (uds_vs_tcp, {"runs": "none"}, "--runs none: must be a whole number, 1 or more"),
        (uds_vs_tcp, {"warmup": "-1"}, "--warmup -1: must be a whole number, 0 or more"),
        (uds_vs_tcp, {"transports": "carrier-pigeon"}, "there are uds, tcp, udp, socketpair, pipe"),
        (uds_vs_tcp, {"runtime": "node", "transports": "pipe"}, "with node there are uds, tcp, udp"),
        (uds_vs_tcp, {"pin": "all"}, "--pin all: must be a core such as 0, or two such as 0,1"),
        (uds_vs_tcp, {"runtime": "perl"}, "--runtime perl: must be python or node"),
        (network, {"tool": "netperf"}, "--tool netperf: must be one of builtin, iperf3"),
        (network, {"pairing": "some"}, "--pairing some: must be one of one-to-one, all-to-all, incast"),
        (network, {"seconds": "0"}, "--seconds 0: must be a number, 0.1 or more"),
        (network, {"runs": "1.5"}, "--runs 1.5: must be a whole number, 1 or more"),
    ],
)
def test_options_that_cannot_be_used_are_named(module: Any, given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        prepared(module, **given)
    assert message in str(raised.value)


def test_warm_ups_come_first_and_runs_are_interleaved() -> None:
    found = points({"size": [1, 2], "via": ["u", "t"]}, runs=2, warmup=1)
    assert [(p.run, dict(p.parameters)["size"], dict(p.parameters)["via"]) for p in found] == [
        (run, size, via) for run in (-1, 0, 1) for size in (1, 2) for via in ("u", "t")
    ]


def test_a_random_order_follows_its_seed() -> None:
    one, again, other = (points({"n": range(20)}, 2, 1, "random", seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [p.run for p in one[:20]] == [-1] * 20
    assert sorted(p.name for p in one) == sorted(p.name for p in other)


def test_of_samples_with_one_name_the_last_counts_and_what_was_cut_off_does_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"name": "a", "n": 1}\n{"name": "b", "n": 2}\n{"name": "a", "n": 3}\n{"name": "c", "n"')
    assert list(json_lines(path)) == [{"name": "a", "n": 3}, {"name": "b", "n": 2}]


def test_iperf3s_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "iperf3-tool=iperf3,pairing=incast,run=2-10.0.0.7.json"
    said = {
        "end": {
            "sum_received": {"bytes": 1000, "seconds": 2.0, "bits_per_second": 4e9},
            "sum_sent": {"retransmits": 3},
        },
        "intervals": [{"sum": {"bits_per_second": 5e9}}],
    }
    path.write_text(json.dumps(said))
    (sample,) = network._from_iperf3(path)
    assert (sample["name"], sample["receiver"]) == ("tool=iperf3,pairing=incast,run=2", "10.0.0.7")
    assert (sample["mbit_per_s"], sample["rates_mbit_s"], sample["retransmits"]) == (4000.0, [5000.0], 3)
    path.write_text('{"error": "unable to connect"}')
    assert list(network._from_iperf3(path)) == []


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([10.0, 10.1, 9.9, 10.0, 10.2], "no difference beyond noise"),
        ([12.0, 12.1, 11.9, 12.0, 12.2], "20% more"),
        ([5.0, 5.1, 4.9, 5.0, 5.2], "50% less"),
        ([12.0, 12.1], "too few runs to tell"),
    ],
)
def test_a_ratio_says_whether_it_is_beyond_noise(after: list[float], verdict: str) -> None:
    found = statistics.ratio([9.9, 10.0, 10.1, 10.0, 9.95], after)
    assert found is not None
    assert found.verdict == verdict


def results(folder: Path, values: dict[int, list[float]], metric: str = "ms") -> Path:
    folder.mkdir()
    plan = {"parameters": {"size": list(values)}, "runs": 5, "metric": metric}
    (folder / "plan.json").write_text(json.dumps(plan))
    samples = [{"size": size, "ms": ms, "cpu": 1.0} for size, each in values.items() for ms in each]
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return folder


def test_two_folders_of_results_side_by_side(tmp_path: Path) -> None:
    a = results(tmp_path / "a", {1: [1.0, 1.01, 0.99, 1.0], 2: [4.0] * 4, 3: [1.0]})
    b = results(tmp_path / "b", {1: [2.0, 2.01, 1.99, 2.0], 2: [4.0] * 4})
    text = compare(a, b)
    lines = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert [line[:4] for line in lines] == [["1", "1", "2", "2.000"], ["2", "4", "4", "1.000"]]
    assert lines[0][-2:] == ["100%", "more"]
    assert lines[1][-2:] == ["beyond", "noise"]
    assert "left out: 1 only in A" in text
    assert "no difference beyond noise" in compare(a, b, "cpu")


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    a = results(tmp_path / "a", {1: [1.0]})
    with pytest.raises(UsageError, match="no results of a benchmark"):
        compare(a, tmp_path / "none")
    with pytest.raises(UsageError, match=r"--metric speed: not in .*: there are cpu, ms"):
        compare(a, a, "speed")
    with pytest.raises(UsageError, match="nothing was measured in both"):
        compare(a, results(tmp_path / "b", {7: [1.0]}))


def test_charts_come_as_svg_and_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = charts.lines(
        tmp_path / "chart", {"uds": [(1, 2, 1, 3), (2, 3, 2, 4)]}, title="t", x="x", y="y", level=1.0
    )
    written += charts.bars(tmp_path / "bars", {"a > b": (2, 1, 3)}, title="t", x="Mbit/s")
    written += charts.matrix(tmp_path / "matrix", ["a"], ["b"], {("a", "b"): 1.0}, title="t")
    assert [path.suffix for path in written] == [".svg", ".png"] * 3
    assert all(path.stat().st_size > 1000 for path in written)
