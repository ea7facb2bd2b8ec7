"""Reads LeRobot data sets, and Parquet files in general: a row for each time step, lists of numbers in a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mql.data.logged import Column
from mql.data.table import Budget, Table, check_inside, not_numbers
from mql.errors import UserError, missing_package, told


@dataclass(frozen=True)
class _ParquetTable(Table):
    path: Path = Path()
    budget: Budget | None = None

    def load(self, names: Sequence[str], texts: Sequence[str] = ()) -> dict[str, Column]:
        import pyarrow
        import pyarrow.parquet

        assert self.budget is not None
        wanted = list(dict.fromkeys((*names, *texts)))
        try:
            with pyarrow.parquet.ParquetFile(self.path, page_checksum_verification=True) as file:
                self.budget.take(_size(file.metadata, wanted), self.file)
                read = file.read(columns=wanted, use_threads=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"it can't be read ({told(error)})", where=self.file, mend="write the file again") from None
        return {name: _values(read.column(name), f"{self.file} {name}", text=name in texts) for name in wanted}


def is_data_set(folder: Path) -> bool:
    """Tell whether a folder is a LeRobot data set."""
    return (folder / "meta" / "info.json").is_file()


def tables(path: Path, budget: Budget) -> Iterator[Table]:
    """Yield the tables of a Parquet file, or of a data set's ``data/*/*.parquet``, in the order of their names.

    Raises:
        UserError: there is none, one is damaged; or pyarrow is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_package("pyarrow", where=str(path)) from None

    files = sorted((path / "data").rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise UserError("the data set has no data/*.parquet", where=str(path), mend="download its data, not only meta/")
    for file in files:
        if path.is_dir():
            check_inside(file, path)
        try:
            names = pyarrow.parquet.read_schema(file).names
        except (pyarrow.ArrowException, OSError) as error:
            what = f"not a Parquet file, or cut off ({told(error)})"
            raise UserError(what, where=str(file), mend="write it again, and close the file at the end") from None
        yield _ParquetTable(str(file), tuple(names), None, {}, file, budget)


def _size(metadata: Any, wanted: Sequence[str]) -> int:
    """Return the bytes that columns take: what the file says, or at least what its values need."""
    size = int(metadata.num_rows) * 8 * len(wanted)
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        for place in range(chunks.num_columns):
            chunk = chunks.column(place)
            if chunk.path_in_schema.split(".list.")[0] in wanted:
                size += max(int(chunk.total_uncompressed_size), 8 * int(chunk.num_values))
    return size


def _values(column: Any, where: str, *, text: bool) -> Column:
    """Return a column as numbers [n] or [n, D]."""
    import pyarrow

    kind = column.type
    if text and (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        return np.asarray(column.to_pylist(), dtype=str)
    lists = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    inner = kind.value_type if lists else kind
    if not (pyarrow.types.is_floating(inner) or pyarrow.types.is_integer(inner) or pyarrow.types.is_boolean(inner)):
        raise not_numbers(np.dtype("U" if pyarrow.types.is_string(inner) else "O"), where=where)
    if not lists:
        return np.asarray(column.to_numpy())
    lengths = {len(row) if row is not None else 0 for row in column.to_pylist()} if column.null_count else None
    widths = lengths or set(_widths(column))
    if len(widths) > 1:
        first = next(n for n, row in enumerate(column.to_pylist()) if row is None or len(row) != max(widths))
        what = f"row {first} has another number of values than the others ({', '.join(map(str, sorted(widths)))})"
        raise UserError(what, where=where, mend="a column has equally many values in each row")
    flat = [np.asarray(chunk.flatten().to_numpy(zero_copy_only=False)) for chunk in column.chunks]
    values = np.concatenate(flat) if flat else np.zeros(0)
    return values.reshape(len(column), -1)


def _widths(column: Any) -> list[int]:
    import pyarrow.compute

    return [int(width) for width in pyarrow.compute.unique(pyarrow.compute.list_value_length(column)).to_pylist()]
