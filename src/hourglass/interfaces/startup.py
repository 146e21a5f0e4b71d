"""What is kept from being imported when a verb starts."""

from __future__ import annotations

import sys


class _NoPandas:
    """Says that pandas is not installed, for as long as it stands on `sys.meta_path`."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=name)


def leave_pandas_out() -> None:
    """Keep Arrow from importing pandas, as it does unasked with the first array that it makes: .4 s of every verb.

    It looks for pandas once. Whoever imports pandas later gets it, and Arrow then reads its frames all the same.
    """
    refusal = _NoPandas()
    sys.meta_path.insert(0, refusal)
    import pyarrow

    pyarrow.array([0])
    sys.meta_path.remove(refusal)
