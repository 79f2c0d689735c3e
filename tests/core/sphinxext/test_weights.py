from __future__ import annotations

from lucid.sphinxext.weights import weights_table
from lucid.weights import CatalogEntry

ENTRY = CatalogEntry(
    "tiny_net",
    "shapes_v2",
    "https://example.org/tiny_net-1f0c63ab.safetensors",
    "1f0c63ab",
    1_179_648,
    "CC-BY-4.0; no *warranty*",
    "toy",
    metrics={"acc@1": 97.1, "acc@5": 99.0},
    default=True,
)


def test_table_has_row_per_file():
    other = CatalogEntry("net_", "a", "https://example.org/b.npz", "0" * 64, 1024, "MIT", "toy")
    table = weights_table([ENTRY, other], {"tiny_net": "/models/tiny_net"}).splitlines()
    rows = table[table.index("     - Source") + 1 :]
    assert rows == [
        "   * - :doc:`tiny_net </models/tiny_net>`",
        "     - ``shapes_v2`` (default)",
        "     - | acc@1 97.1",
        "       | acc@5 99.0",
        "     - 1.1",
        "     - CC-BY-4.0; no \\*warranty\\*",
        "     - `toy <https://example.org/tiny_net-1f0c63ab.safetensors>`__",
        "   * - net\\_",
        "     - ``a``",
        "     -",
        "     - 0.0",
        "     - MIT",
        "     - `toy <https://example.org/b.npz>`__",
    ]


def test_table_without_weights_is_a_sentence():
    assert "list-table" not in weights_table([], {})
