"""Libraries for tables, arrays and paths: the same through `vfs://` and through a mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub import Hub, a_hub
from vfs.api.filesystem import VfsFileSystem
from vfs.api.version import Version

numpy = pytest.importorskip("numpy", reason="needs numpy")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")

pytestmark = [pytest.mark.mounted, pytest.mark.filterwarnings("default")]
ROWS, COLUMNS = 100_000, 20
TWO = ["c03", "c11"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """data@v1 with a table as Parquet and, in two directories, as CSV and as an array of zarr."""
    with a_hub(tmp_path_factory.mktemp("tables")) as hub:
        source = hub.store.parent / "source"
        (source / "csv").mkdir(parents=True)
        rng = numpy.random.default_rng(0)
        table = pa.table({f"c{n:02}": rng.random(ROWS) for n in range(COLUMNS)})
        pq.write_table(table, source / "table.parquet")
        for part in range(2):
            rows = "".join(f"{n},{n * n}\n" for n in range(part, 100, 2))
            (source / "csv" / f"{part}.csv").write_text(f"n,square\n{rows}")
        put_array(source / "array.zarr")
        hub.import_(source, "v1")
        hub.mount()
        yield hub
        hub.unmount()


def put_array(path: Path) -> None:
    try:
        import zarr
    except ImportError:
        return
    array = zarr.create_array(store=path, shape=(200, 200), chunks=(50, 50), dtype="i4")
    array[:] = numpy.arange(40_000).reshape(200, 200)


@pytest.fixture(params=["fsspec", "mount"])
def base(request: pytest.FixtureRequest, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stands before a path in the version."""
    use_store(hub, monkeypatch)
    return "vfs://data@v1" if request.param == "fsspec" else str(hub["v1"])


def use_store(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("VFS_STORE", str(hub.store))
    fsspec.register_implementation("vfs", VfsFileSystem, clobber=True)  # known where installed
    VfsFileSystem.clear_instance_cache()


def original(hub: Hub) -> Any:
    return pq.read_table(hub.store.parent / "source" / "table.parquet", columns=TWO)


def test_pandas(hub: Hub, base: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(f"{base}/table.parquet", columns=TWO)
    assert frame.equals(original(hub).to_pandas())
    assert pandas.read_csv(f"{base}/csv/1.csv")["square"].sum() == sum(
        n * n for n in range(1, 100, 2)
    )


def test_pyarrow(hub: Hub, base: str) -> None:
    import fsspec
    from pyarrow import dataset

    fs, path = fsspec.url_to_fs(f"{base}/table.parquet")
    assert dataset.dataset(path, filesystem=fs).to_table(columns=TWO).equals(original(hub))


def test_polars(hub: Hub, base: str) -> None:
    import fsspec

    polars = pytest.importorskip("polars")
    with fsspec.open(f"{base}/table.parquet", "rb") as file:
        frame = polars.read_parquet(file, columns=TWO)
    assert frame.equals(polars.from_arrow(original(hub)))


def test_dask(hub: Hub, base: str) -> None:
    frames = pytest.importorskip("dask.dataframe")
    read = frames.read_csv(f"{base}/csv/*.csv")
    assert read["square"].sum().compute(scheduler="sync") == sum(n * n for n in range(100))


def test_zarr(hub: Hub, base: str) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(f"{base}/array.zarr", mode="r")
    assert int(array[137, 42]) == 137 * 200 + 42
    assert int(array[:].sum()) == sum(range(40_000))


def test_universal_pathlib(hub: Hub, base: str) -> None:
    upath = pytest.importorskip("upath")
    directory = upath.UPath(base) / "csv"
    assert sorted(path.name for path in directory.iterdir()) == ["0.csv", "1.csv"]
    assert (directory / "0.csv").read_text().startswith("n,square\n0,0\n")


def test_datasets(hub: Hub, base: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset(
        "csv", data_files=f"{base}/csv/*.csv", split="train", cache_dir=str(tmp_path)
    )
    assert sorted(read["n"]) == list(range(100))


def test_two_columns_cost_little_more_than_these(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    use_store(hub, monkeypatch)
    lengths = []
    read_entry = Version.read_entry

    def counted(version: Version, entry: Any, offset: int, length: int) -> bytes:
        data = read_entry(version, entry, offset, length)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(Version, "read_entry", counted)
    fs, path = fsspec.url_to_fs("vfs://data@v1/table.parquet")
    pq.read_table(path, columns=TWO, filesystem=fs)
    whole = (hub.store.parent / "source" / "table.parquet").stat().st_size
    assert sum(lengths) < 1.5 * whole * len(TWO) / COLUMNS
