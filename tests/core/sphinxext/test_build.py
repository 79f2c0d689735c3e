"""Whole builds of a small site, with small plugins that are sound or broken in one way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

SOUND = '''
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
    """A folder with plugins as pip would leave them, and a Sphinx project over them."""

    def __init__(self, folder):
        self.folder = folder
        self.docs = folder / "docs"
        self.docs.mkdir()
        self.configure()
        (self.docs / "index.rst").write_text("Toys\n====\n\n.. toctree::\n\n   models/index\n")

    def configure(self, **options):
        lines = ['project = "toys"', 'extensions = ["lucid.sphinxext"]']
        # Plugins of the environment stay out: these tests are about the toys.
        options = {"lucid_models_plugins": ["toy-sound", "toy-broken"]} | options
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
        """Returns exit code, standard output and standard error."""
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


def sound(site):
    site.add("toy-sound", SOUND, name="small_net")


def test_a_page_and_a_table_without_a_warning(site):
    sound(site)
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


def test_pages_of_models_that_are_gone_are_removed_and_unchanged_ones_left_alone(site):
    sound(site)
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


BROKEN = {
    "does not import": ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
    "raises when built": (
        SOUND.replace("return Net(3, num_classes)", "raise RuntimeError('no luck')"),
        "RuntimeError: no luck",
    ),
    "returns no module": (SOUND.replace("return Net(3, num_classes)", "return 3"), "int"),
    "counts wrong": (SOUND.replace("Net(3, num", "Net(4, num"), "total_parameters=20"),
    "has invalid markup": (SOUND.replace("It is small.", ":norole:`x` and *more"), "norole"),
    "refers to nothing": (SOUND.replace(":class:`int`", ":class:`Nowhere`"), "Nowhere"),
    "has a section twice": (
        SOUND.replace(
            "Train it.", "Train it.\n\n        Examples\n        --------\n        Again."
        ),
        "'Examples'",
    ),
}


def test_broken_models_are_reported_by_plugin_and_break_nothing(site):
    """All of them in one build, each from a plugin of its own."""
    plugins = {f"toy-broken-{number}": kind for number, kind in enumerate(BROKEN)}
    site.configure(lucid_models_plugins=["toy-sound", *plugins])
    sound(site)
    for distribution, kind in plugins.items():
        name = distribution.replace("-", "_")
        site.add(distribution, BROKEN[kind][0].replace("small_net", name), name=name)
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    for distribution, kind in plugins.items():
        name, told = distribution.replace("-", "_"), BROKEN[kind][1]
        reports = [line for line in output.splitlines() if f"plugin {distribution} 1.0:" in line]
        assert any(name in line and told in line for line in reports), (kind, output)
        assert name in site.html(name), kind
    assert "<strong>Total Parameters</strong>: 20" in site.html("small_net")


def test_a_strict_plugin_fails_the_build(site):
    site.configure(lucid_models_strict=["toy-broken"])
    site.add("toy-broken", BROKEN["raises when built"][0], name="small_net")
    code, _, errors = site.build("-W")
    assert code != 0
    assert "plugin toy-broken 1.0: model small_net: RuntimeError: no luck" in errors


def test_a_plugin_that_does_not_load_is_reported(site):
    sound(site)
    site.add("toy-broken", SOUND, name="bad_net", hook="raise RuntimeError('at import')")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    assert "plugin toy-broken 1.0: RuntimeError: at import" in output


def test_two_plugins_with_one_name_get_a_page_each(site):
    sound(site)
    site.add("toy-broken", SOUND, name="small_net")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, ""), output
    for page in ("toy-sound.small_net", "toy-broken.small_net"):
        assert "<strong>Total Parameters</strong>: 20" in site.html(page)


def test_a_plugin_that_registers_a_name_twice_is_reported(site):
    sound(site)
    site.add("toy-broken", SOUND, name="small_net")
    entry_points = site.folder / "toy_broken-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(f"{entry_points.read_text()}again = toy_broken.again\n")
    plugin = (site.folder / "toy_broken" / "plugin.py").read_text()
    (site.folder / "toy_broken" / "again.py").write_text(plugin)
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, ""), output
    assert "plugin toy-broken: model toy-broken:small_net: " in output
    assert "<strong>Total Parameters</strong>: 20" in site.html("toy-sound.small_net")


def test_a_folder_and_a_choice_of_plugins(site):
    site.configure(lucid_models_dir="zoo", lucid_models_plugins=["toy-sound"])
    (site.docs / "index.rst").write_text("Toys\n====\n\n.. toctree::\n\n   zoo/index\n")
    sound(site)
    site.add("toy-broken", SOUND.replace("small_net", "other_net"), name="other_net")
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


def two(site, distribution, introduction="It is small."):
    models = SOUND.replace("It is small.", introduction)
    other = models[models.index("    def small_net") :].replace("small_net", "other_net")
    site.add(distribution, f"{models}\n\n{other}", name="small_net", hook=TWO)


def test_a_family_has_a_page_with_what_its_members_share(site):
    two(site, "toy-sound")
    code, _, errors = site.build("-W")
    assert (code, errors) == (0, "")
    page = site.html("families/small")
    assert page.count("It is small.") == 1
    assert page.count("Of **two**_.") == 2
    assert 'href="../other_net.html"' in page
    assert 'href="families/small.html"' in site.html("index")


def test_a_fault_on_the_page_of_a_family_is_its_plugin_s(site):
    two(site, "toy-broken", introduction=":norole:`x`")
    code, output, errors = site.build("-W")
    assert (code, errors) == (0, "")
    assert "plugin toy-broken 1.0: page of families/small: " in output


def test_a_family_of_two_plugins_speaks_for_neither(site):
    two(site, "toy-sound")
    two(site, "toy-broken")
    assert site.build("-W")[0] == 0
    page = site.html("families/small")
    assert "4 models from toy-broken 1.0, toy-sound 1.0." in page
    assert "It is small." not in page


def test_a_template_of_the_site_s_own(site):
    sound(site)
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
    ("template", "told"),
    [(None, "No such file"), ("{% if %}", "Expected an expression"), ("{{ nil }}", "'nil'")],
)
def test_a_template_that_is_wrong_is_the_site_s_fault(site, template, told):
    sound(site)
    site.configure(lucid_models_template="model.jinja")
    if template is not None:
        (site.docs / "model.jinja").write_text(template)
    code, _, errors = site.build()
    assert code != 0
    assert "lucid_models_template = 'model.jinja': " in errors
    assert told in errors
