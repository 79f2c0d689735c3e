"""Builds of a small site with valid and broken plugins."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

VALID = '''
    from __future__ import annotations

    from lucid import nn


    class Net(nn.Linear):
        """A layer."""


    def small_net(num_classes: int = 5, **kwargs) -> Net:
        """A small network of :class:`int` things.

        It is small.

        Parameters
        ----------
        num_classes : int, default 5
            Number of logits.
        **kwargs
            Passed on.

        Returns
        -------
        Net
            With weights.

        Examples
        --------
        >>> 1 + 1
        2

        Training Notes
        --------------
        Train it.
        """
        return Net(3, num_classes)
'''

HOOK = """
    import lucid

    @lucid.hookimpl
    def lucid_register_models(register):
        register("{name}", "{package}.models:{name}", task="toy", family="small",
                 total_parameters={total}, summary="A summary.", input_shape=(1, 3))
"""


class Site:
    """A folder with installed plugins and a Sphinx project."""

    def __init__(self, folder):
        self.folder = folder
        self.docs = folder / "docs"
        self.docs.mkdir()
        self.configure()
        (self.docs / "index.rst").write_text("Toys\n====\n\n.. toctree::\n\n   models/index\n")

    def configure(self, **options):
        lines = ['project = "toys"', 'extensions = ["lucid.sphinxext"]']
        # Exclude the plugins of the environment.
        options = {"lucid_models_plugins": ["toy-valid", "toy-broken"]} | options
        lines += [f"{key} = {value!r}" for key, value in options.items()]
        (self.docs / "conf.py").write_text("\n".join(lines) + "\n")

    def add(self, distribution, models, *, name, total=20, hook=HOOK):
        package = distribution.replace("-", "_")
        folder = self.folder / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "models.py").write_text(textwrap.dedent(models))
        hook = hook.format(name=name, package=package, total=total)
        (folder / "plugin.py").write_text(textwrap.dedent(hook))
        info = self.folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[lucid.models]\ntoy = {package}.plugin\n")

    def build(self, *options):
        """Build the site; return exit code, standard output and standard error."""
        environment = dict(os.environ, PYTHONPATH=str(self.folder), NO_COLOR="1")
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-n", *options, self.docs, self.folder / "out"],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def html(self, model):
        return (self.folder / "out" / "models" / f"{model}.html").read_text(encoding="utf-8")


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def add_valid(site):
    site.add("toy-valid", VALID, name="small_net")


def test_valid_plugin_builds_without_warnings(site):
    add_valid(site)
    code, _, errors = site.build("-W", "-j", "2")
    assert (code, errors) == (0, "")
    page = site.html("small_net")
    # 3 inputs, 5 outputs: 15 weights and 5 biases; 15 multiply-adds for one row.
    assert "<strong>Total Parameters</strong>: 20" in page
    assert "<strong>Multiply-adds</strong>: 15 at 1 x 3" in page
    assert page.count("It is small.") == 1
    assert page.count("Number of logits.") == 1
    assert "lucid-models.js" in site.html("index")
    assert 'href="small_net.html"' in site.html("index")


def test_stale_pages_are_removed_and_unchanged_pages_kept(site):
    add_valid(site)
    assert site.build()[0] == 0
    pages = site.docs / "models"
    stamp = (pages / "small_net.rst").stat().st_mtime_ns
    (pages / "gone.rst").write_text((pages / "small_net.rst").read_text())
    (pages / "mine.rst").write_text(":orphan:\n\nMine\n====\n")
    (pages / "families" / "gone.rst").write_text((pages / "small_net.rst").read_text())
    assert site.build("-W")[0] == 0
    written = {page.relative_to(pages).as_posix() for page in pages.rglob("*.rst")}
    assert written == {"index.rst", "small_net.rst", "mine.rst", "families/small.rst"}
    assert (pages / "small_net.rst").stat().st_mtime_ns == stamp


WEIGHTS = """
    @lucid.hookimpl
    def lucid_register_weights(register):
        register("{name}", "shapes_v1", url="https://example.org/shapes.npz", sha256="0f" * 4,
                 size=2**20, license="MIT", source="toy")
"""


def test_weights_have_a_table_and_are_on_the_page_of_their_model(site):
    index = (site.docs / "index.rst").read_text()
    (site.docs / "index.rst").write_text(f"{index}\n.. lucid-weights::\n")
    site.add("toy-valid", VALID, name="small_net", hook=HOOK + WEIGHTS)
    other = VALID.replace("small_net", "other_net")
    # Not documented, and registers weights of a model that is.
    hook = HOOK + WEIGHTS.replace("{name}", "small_net").replace("shapes_v1", "others_v1")
    site.add("toy-other", other, name="other_net", hook=hook)
    code, _, errors = site.build("-W", "-j", "2")
    assert (code, errors) == (0, "")
    assert "shapes_v1" in site.html("small_net")
    page = (site.folder / "out" / "index.html").read_text(encoding="utf-8")
    table = page.partition("lucid-weights")[2].partition("</table>")[0]
    assert 'href="models/small_net.html"' in table
    assert 'href="https://example.org/shapes.npz"' in table
    assert "others_v1" not in page


def test_invalid_weights_are_reported_with_plugin(site):
    hook = HOOK + WEIGHTS.replace("2**20", "0")
    site.add("toy-broken", VALID, name="small_net", hook=hook)
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    assert "plugin toy-broken 1.0: its weights: ValueError: " in output
    assert "Published weights" not in site.html("small_net")


BROKEN = {
    "does not import": ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
    "raises when built": (
        VALID.replace("return Net(3, num_classes)", "raise RuntimeError('no luck')"),
        "RuntimeError: no luck",
    ),
    "returns no module": (VALID.replace("return Net(3, num_classes)", "return 3"), "int"),
    "counts wrong": (VALID.replace("Net(3, num", "Net(4, num"), "total_parameters=20"),
    "has invalid markup": (VALID.replace("It is small.", ":norole:`x` and *more"), "norole"),
    "refers to nothing": (VALID.replace(":class:`int`", ":class:`Nowhere`"), "Nowhere"),
    "has a section twice": (
        VALID.replace(
            "Train it.", "Train it.\n\n        Examples\n        --------\n        Again."
        ),
        "'Examples'",
    ),
}


def test_broken_models_are_reported_with_plugin(site):
    """One build with one plugin per broken model."""
    plugins = {f"toy-broken-{number}": kind for number, kind in enumerate(BROKEN)}
    site.configure(lucid_models_plugins=["toy-valid", *plugins])
    add_valid(site)
    for distribution, kind in plugins.items():
        name = distribution.replace("-", "_")
        site.add(distribution, BROKEN[kind][0].replace("small_net", name), name=name)
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    for distribution, kind in plugins.items():
        name, expected = distribution.replace("-", "_"), BROKEN[kind][1]
        reports = [line for line in output.splitlines() if f"plugin {distribution} 1.0:" in line]
        assert any(name in line and expected in line for line in reports), (kind, output)
        assert name in site.html(name), kind
    assert "<strong>Total Parameters</strong>: 20" in site.html("small_net")


def test_strict_plugin_fails_build(site):
    site.configure(lucid_models_strict=["toy-broken"])
    site.add("toy-broken", BROKEN["raises when built"][0], name="small_net")
    code, _, errors = site.build("-W")
    assert code != 0
    assert "plugin toy-broken 1.0: model small_net: RuntimeError: no luck" in errors


def test_plugin_that_fails_to_load_is_reported(site):
    add_valid(site)
    site.add("toy-broken", VALID, name="bad_net", hook="raise RuntimeError('at import')")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    assert "plugin toy-broken 1.0: RuntimeError: at import" in output


def test_ambiguous_name_has_page_per_plugin(site):
    add_valid(site)
    site.add("toy-broken", VALID, name="small_net")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, ""), output
    for page in ("toy-valid.small_net", "toy-broken.small_net"):
        assert "<strong>Total Parameters</strong>: 20" in site.html(page)


def test_plugin_that_registers_name_twice_is_reported(site):
    add_valid(site)
    site.add("toy-broken", VALID, name="small_net")
    entry_points = site.folder / "toy_broken-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(f"{entry_points.read_text()}again = toy_broken.again\n")
    plugin = (site.folder / "toy_broken" / "plugin.py").read_text()
    (site.folder / "toy_broken" / "again.py").write_text(plugin)
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, ""), output
    assert "plugin toy-broken: model toy-broken:small_net: " in output
    assert "<strong>Total Parameters</strong>: 20" in site.html("toy-valid.small_net")


def test_folder_and_plugins_options(site):
    site.configure(lucid_models_dir="zoo", lucid_models_plugins=["toy-valid"])
    (site.docs / "index.rst").write_text("Toys\n====\n\n.. toctree::\n\n   zoo/index\n")
    add_valid(site)
    site.add("toy-broken", VALID.replace("small_net", "other_net"), name="other_net")
    assert site.build("-W")[0] == 0
    pages = {page.stem for page in (site.folder / "out" / "zoo").rglob("*.html")}
    assert pages == {"index", "small_net", "small"}


TWO = """
    import lucid

    @lucid.hookimpl
    def lucid_register_models(register):
        for model in ("{name}", "other_net"):
            register(model, "{package}.models:" + model, task="toy", family="small",
                     total_parameters={total}, summary="Of **two**_.", input_shape=(1, 3))
"""


def add_two(site, distribution, introduction="It is small."):
    models = VALID.replace("It is small.", introduction)
    other = models[models.index("    def small_net") :].replace("small_net", "other_net")
    site.add(distribution, f"{models}\n\n{other}", name="small_net", hook=TWO)


def test_family_page_has_common_introduction(site):
    add_two(site, "toy-valid")
    code, _, errors = site.build("-W")
    assert (code, errors) == (0, "")
    page = site.html("families/small")
    assert page.count("It is small.") == 1
    assert page.count("Of **two**_.") == 2
    assert 'href="../other_net.html"' in page
    assert 'href="families/small.html"' in site.html("index")


def test_problem_on_family_page_is_reported_with_plugin(site):
    add_two(site, "toy-broken", introduction=":norole:`x`")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    assert "plugin toy-broken 1.0: page of families/small: " in output


def test_family_of_two_plugins_has_no_introduction(site):
    add_two(site, "toy-valid")
    add_two(site, "toy-broken")
    assert site.build("-W")[0] == 0
    page = site.html("families/small")
    assert "4 models from toy-broken 1.0, toy-valid 1.0." in page
    assert "It is small." not in page


def test_template_option(site):
    add_valid(site)
    site.configure(lucid_models_template="model.jinja")
    template = (
        "{{ page }}\n\nOn a phone: {{ facts.parameters // 2 }} of {{ info.family }}.\n\n"
        "{{ parts['Training Notes'].replace('Notes', 'Advice') }}\n"
    )
    (site.docs / "model.jinja").write_text(template)
    code, _, errors = site.build("-W")
    assert (code, errors) == (0, "")
    page = site.html("small_net")
    assert "On a phone: 10 of small." in page
    assert page.index("Training Notes</") < page.index("Training Advice</")


@pytest.mark.parametrize(
    ("template", "expected"),
    [(None, "No such file"), ("{% if %}", "Expected an expression"), ("{{ nil }}", "'nil'")],
)
def test_invalid_template_fails_build(site, template, expected):
    add_valid(site)
    site.configure(lucid_models_template="model.jinja")
    if template is not None:
        (site.docs / "model.jinja").write_text(template)
    code, _, errors = site.build()
    assert code != 0
    assert "lucid_models_template = 'model.jinja': " in errors
    assert expected in errors
